//! Holds an answer against its schema in the OpenAPI file: the few words that file uses.

use serde_json::Value;

use crate::api::openapi;

/// Panics with the place where `value` is not of the named schema.
pub(super) fn assert_is(name: &str, value: &Value) {
    let api = openapi();
    let schemas = &api["components"]["schemas"];
    check(schemas, &schemas[name], value, name);
}

fn check(schemas: &Value, schema: &Value, value: &Value, at: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().expect("a name");
        assert!(schemas[name].is_object(), "no schema {name}");
        return check(schemas, &schemas[name], value, at);
    }
    if let Some(allowed) = schema["enum"].as_array() {
        assert!(
            allowed.contains(value),
            "{at}: {value} is none of {allowed:?}"
        );
        return;
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        other => panic!("{at}: a schema of type {other}"),
    };
    let is = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() || number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    assert!(types.contains(&is), "{at}: {value} is {is}, not {types:?}");
    match value {
        Value::Array(items) if schema["items"].is_object() => {
            for item in items {
                check(schemas, &schema["items"], item, &format!("{at}[]"));
            }
        }
        Value::Object(members) => check_members(schemas, schema, members, at),
        _ => {}
    }
}

fn check_members(
    schemas: &Value,
    schema: &Value,
    members: &serde_json::Map<String, Value>,
    at: &str,
) {
    for name in schema["required"].as_array().into_iter().flatten() {
        let name = name.as_str().expect("a name");
        assert!(members.contains_key(name), "{at}: {name} is missing");
    }
    for (name, member) in members {
        let at = format!("{at}.{name}");
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (known @ Value::Object(_), _) | (_, known @ Value::Object(_)) => {
                check(schemas, known, member, &at);
            }
            (_, Value::Bool(false)) => panic!("{at}: not in the schema"),
            _ => {}
        }
    }
}

//! Which of a request's and an answer's data an entry keeps.
//!
//! By default method, path, status and sizes. Bodies, headers and query fields only where asked,
//! with redaction by name; credentials never, whatever is asked.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

/// What replaces a redacted value.
const REDACTED: &str = "[redacted]";

/// Headers that are never kept.
const CREDENTIAL_HEADERS: [&str; 8] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "selvedge-session",
    "selvedge-carried",
    "selvedge-client",
    "x-api-key",
];

/// Field names that are redacted in kept JSON bodies whatever is configured.
const CREDENTIAL_FIELDS: [&str; 8] = [
    "password",
    "passwd",
    "secret",
    "token",
    "access_token",
    "refresh_token",
    "api_key",
    "authorization",
];

/// The rules.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Keep {
    /// Content types whose bodies are kept, by prefix (`application/json`). Default none.
    pub bodies: Vec<String>,
    /// Bytes of a body that are kept at most. Default 16 KiB.
    pub body_bytes_max: usize,
    /// Headers that are kept, in lower case. Default none.
    pub headers: Vec<String>,
    /// Keep the query of the path. Default no.
    pub query: bool,
    /// Show what actions wrote of their sessions' state to whoever reads entries. Default no.
    pub state: bool,
    /// Names of JSON fields whose values are replaced, beside the ones that always are.
    pub redact: Vec<String>,
}

impl Default for Keep {
    fn default() -> Self {
        Self {
            bodies: Vec::new(),
            body_bytes_max: 16 << 10,
            headers: Vec::new(),
            query: false,
            state: false,
            redact: Vec::new(),
        }
    }
}

impl Keep {
    /// Rules that keep JSON bodies, and show state.
    #[must_use]
    pub fn json_bodies() -> Self {
        Self {
            bodies: vec!["application/json".to_owned()],
            state: true,
            ..Self::default()
        }
    }

    /// Whether a body of this content type is kept, so whether its bytes must be gathered.
    #[must_use]
    pub fn wants_body(&self, content_type: Option<&str>) -> bool {
        content_type.is_some_and(|kind| {
            let kind = kind.trim_start().to_ascii_lowercase();
            self.bodies.iter().any(|prefix| kind.starts_with(prefix))
        })
    }

    /// Whether a header may be kept. `name` in lower case.
    #[must_use]
    pub fn wants_header(&self, name: &str) -> bool {
        self.headers.iter().any(|kept| kept == name) && !CREDENTIAL_HEADERS.contains(&name)
    }

    /// The path as an entry keeps it.
    #[must_use]
    pub fn path<'a>(&self, target: &'a str) -> &'a str {
        if self.query {
            return target;
        }
        target.split(['?', '#']).next().unwrap_or(target)
    }

    /// The body as an entry keeps it, and whether it was cut. A JSON body is redacted; one that
    /// was cut, and so cannot be read as JSON, is not kept at all unless it is plain text.
    #[must_use]
    pub fn body(&self, content_type: Option<&str>, body: &[u8]) -> (Option<Bytes>, bool) {
        if body.is_empty() || !self.wants_body(content_type) {
            return (None, false);
        }
        let json = content_type.is_some_and(|kind| kind.to_ascii_lowercase().contains("json"));
        if !json {
            let kept = &body[..body.len().min(self.body_bytes_max)];
            return (Some(Bytes::copy_from_slice(kept)), kept.len() < body.len());
        }
        if body.len() > self.body_bytes_max {
            return (None, true);
        }
        match serde_json::from_slice::<Value>(body) {
            Ok(mut value) => {
                if self.redact_value(&mut value) {
                    (serde_json::to_vec(&value).ok().map(Bytes::from), false)
                } else {
                    (Some(Bytes::copy_from_slice(body)), false)
                }
            }
            Err(_) => (None, false),
        }
    }

    /// Whether a value of state is hidden from whoever reads entries. Servers need it as it is, so
    /// there is no redacting a part of it: one with a field that would be redacted is hidden as a
    /// whole.
    #[must_use]
    pub fn hides_state(&self, value: &[u8]) -> bool {
        !self.state
            || serde_json::from_slice::<Value>(value)
                .map_or(true, |mut value| self.redact_value(&mut value))
    }

    /// Replaces credentials in place; returns whether it did. (serde_json bounds the depth of
    /// what it parses to 128, and so the recursion here.)
    fn redact_value(&self, value: &mut Value) -> bool {
        match value {
            Value::Object(fields) => {
                let mut changed = false;
                for (name, value) in fields {
                    let lower = name.to_ascii_lowercase();
                    if CREDENTIAL_FIELDS.contains(&lower.as_str()) || self.redact.contains(&lower) {
                        *value = Value::from(REDACTED);
                        changed = true;
                    } else {
                        changed |= self.redact_value(value);
                    }
                }
                changed
            }
            Value::Array(values) => {
                let mut changed = false;
                for value in values {
                    changed |= self.redact_value(value);
                }
                changed
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_redacted_at_any_depth_and_the_rest_kept() {
        let keep = Keep {
            redact: vec!["card".to_owned()],
            ..Keep::json_bodies()
        };
        let body = br#"{"item":"tea","pay":[{"card":"4111","Password":"x"}]}"#;
        let (kept, cut) = keep.body(Some("application/json; charset=utf-8"), body);
        let kept: Value = serde_json::from_slice(&kept.expect("kept")).expect("json");
        assert_eq!(kept["item"], "tea");
        assert_eq!(kept["pay"][0]["card"], REDACTED);
        assert_eq!(kept["pay"][0]["Password"], REDACTED);
        assert!(!cut);
    }

    #[test]
    fn bodies_of_other_types_and_broken_json_are_not_kept() {
        let keep = Keep::json_bodies();
        assert_eq!(keep.body(Some("text/html"), b"<p>"), (None, false));
        assert_eq!(keep.body(None, b"{}"), (None, false));
        assert_eq!(
            keep.body(Some("application/json"), b"{\"password\":"),
            (None, false)
        );
    }

    #[test]
    fn credential_headers_are_never_kept() {
        let keep = Keep {
            headers: vec!["cookie".to_owned(), "accept".to_owned()],
            ..Keep::default()
        };
        assert!(!keep.wants_header("cookie"));
        assert!(keep.wants_header("accept"));
    }

    #[test]
    fn the_query_is_dropped_unless_asked_for() {
        let mut keep = Keep::default();
        assert_eq!(keep.path("/a?b=c"), "/a");
        keep.query = true;
        assert_eq!(keep.path("/a?b=c"), "/a?b=c");
    }
}

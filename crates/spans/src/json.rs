//! What the readers of JSON share: members, ids, numbers that may be text.

use selvedge_entry::Text;
use selvedge_identity::{Interaction, Origin};
use serde_json::{Map, Value as Json};

use crate::intake::{self, Refusal, SpanError, check_length};

pub(crate) type Object = Map<String, Json>;

/// The JSON values of an input, one after the other (the Collector writes one a line).
pub(crate) fn values(input: &[u8]) -> Result<Vec<Json>, SpanError> {
    check_length(input)?;
    serde_json::Deserializer::from_slice(input)
        .into_iter()
        .collect::<Result<_, _>>()
        .map_err(|error| SpanError::Json(error.to_string()))
}

/// A list; empty where it is absent or null.
pub(crate) fn list<'a>(object: &'a Object, name: &str) -> Result<&'a [Json], Refusal> {
    match object.get(name) {
        None | Some(Json::Null) => Ok(&[]),
        Some(Json::Array(list)) => Ok(list),
        Some(_) => Err(Refusal::Malformed),
    }
}

/// An object; `None` where it is absent or null.
pub(crate) fn object<'a>(from: &'a Object, name: &str) -> Result<Option<&'a Object>, Refusal> {
    match from.get(name) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::Object(object)) => Ok(Some(object)),
        Some(_) => Err(Refusal::Malformed),
    }
}

/// A text; empty where it is absent or null.
pub(crate) fn text<'a>(object: &'a Object, name: &str) -> Result<&'a str, Refusal> {
    match object.get(name) {
        None | Some(Json::Null) => Ok(""),
        Some(Json::String(text)) => Ok(text),
        Some(_) => Err(Refusal::Malformed),
    }
}

/// A text; `None` where it is absent, null or empty.
pub(crate) fn some_text(object: &Object, name: &str) -> Result<Option<Text>, Refusal> {
    let text = text(object, name)?;
    Ok((!text.is_empty()).then(|| text.into()))
}

pub(crate) fn flag(object: &Object, name: &str) -> bool {
    object.get(name) == Some(&Json::Bool(true))
}

/// A whole number, as a number or as text (protobuf's JSON writes 64 bits as text); 0 where it is
/// absent or null. The bounds of `i128` stand for anything outside of them.
pub(crate) fn number(object: &Object, name: &str) -> Result<i128, Refusal> {
    match object.get(name) {
        None | Some(Json::Null) => Ok(0),
        Some(value) => whole(value).ok_or(Refusal::Malformed),
    }
}

pub(crate) fn whole(value: &Json) -> Option<i128> {
    match value {
        Json::String(text) => text.parse().ok(),
        Json::Number(number) => number
            .as_i128()
            // 1.5e9 is whole, too. A cast saturates, and what is not finite is no JSON.
            .or_else(|| {
                number
                    .as_f64()
                    .filter(|n| n.fract() == 0.0)
                    .map(|n| n as i128)
            }),
        _ => None,
    }
}

/// A count; one that does not fit is cut.
pub(crate) fn count(object: &Object, name: &str) -> Result<u32, Refusal> {
    Ok(number(object, name)?.clamp(0, i128::from(u32::MAX)) as u32)
}

/// Hex of either case, at most `N` bytes; a shorter one is filled with zeros in front, as Zipkin
/// and Jaeger write ids. The second value says whether it was.
pub(crate) fn hex<const N: usize>(text: &str) -> Result<([u8; N], usize), Refusal> {
    let digits = text.as_bytes();
    if digits.is_empty() {
        return Err(Refusal::ZeroId);
    }
    if digits.len() > 2 * N {
        return Err(Refusal::BadId);
    }
    let mut bytes = [0; N];
    for (n, digit) in digits.iter().rev().enumerate() {
        let value = (*digit as char).to_digit(16).ok_or(Refusal::BadId)? as u8;
        bytes[N - 1 - n / 2] |= value << (4 * (n % 2));
    }
    Ok((bytes, digits.len()))
}

/// A trace id as hex, and whether it has 64 bits or fewer.
pub(crate) fn origin(text: &str) -> Result<(Origin, bool), Refusal> {
    let (bytes, digits) = hex::<16>(text)?;
    Ok((intake::origin(&bytes)?, digits <= 16))
}

/// A span id as hex.
pub(crate) fn interaction(text: &str) -> Result<Interaction, Refusal> {
    intake::interaction(&hex::<8>(text)?.0)
}

/// A parent's id as hex: none where it is empty or zero.
pub(crate) fn parent(text: &str) -> Result<Option<Interaction>, Refusal> {
    match interaction(text) {
        Ok(id) => Ok(Some(id)),
        Err(Refusal::ZeroId) => Ok(None),
        Err(other) => Err(other),
    }
}

/// A time in microseconds, in nanoseconds.
pub(crate) fn microseconds(value: i128) -> i128 {
    value.saturating_mul(1000)
}

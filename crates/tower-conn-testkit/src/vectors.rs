//! Test vectors as data: one JSON object a line.

use std::{fs, path::Path};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

/// Reads a `.jsonl` file: one JSON value a line, empty lines skipped.
///
/// # Panics
///
/// When the file cannot be read, holds no vector, or a line is not JSON; with the path and the line's number.
#[must_use]
pub fn load(path: impl AsRef<Path>) -> Vec<Value> {
    let path = path.as_ref();
    let text = fs::read_to_string(path)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    let vectors: Vec<_> = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(index, line)| {
            serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("{}:{}: {error}", path.display(), index + 1))
        })
        .collect();
    assert!(!vectors.is_empty(), "{} holds no vector", path.display());
    vectors
}

/// The bytes of a string that writes each byte as the `char` of the same number, as JSON vectors do for bytes
/// that are not UTF-8: `"\u00ff"` is the byte 0xFF.
///
/// # Panics
///
/// When a `char` is above U+00FF.
#[must_use]
pub fn latin1(text: &str) -> Vec<u8> {
    text.chars()
        .map(|char| {
            u8::try_from(u32::from(char))
                .unwrap_or_else(|_| panic!("{char:?} in {text:?} is no byte"))
        })
        .collect()
}

/// The header map of a list of `[name, value]` pairs, appended in order, or of an object of names and values (a
/// list for several lines). Strings are [`latin1`]; `null` is an empty map.
///
/// # Panics
///
/// When the value has another shape, or the `http` crate refuses a name or a value.
#[must_use]
pub fn headers(value: &Value) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs(value) {
        let field = HeaderName::from_bytes(&latin1(&name))
            .unwrap_or_else(|error| panic!("header name {name:?}: {error}"));
        let bytes = HeaderValue::from_bytes(&latin1(&value))
            .unwrap_or_else(|error| panic!("header {name:?} with value {value:?}: {error}"));
        map.append(field, bytes);
    }
    map
}

/// The pairs behind [`headers`], untouched by the `http` crate.
///
/// # Panics
///
/// When the value has another shape.
#[must_use]
pub fn pairs(value: &Value) -> Vec<(String, String)> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(lines) => lines
            .iter()
            .map(|line| match line.as_array().map(Vec::as_slice) {
                Some([Value::String(name), Value::String(value)]) => (name.clone(), value.clone()),
                _ => panic!("not a [name, value] pair: {line}"),
            })
            .collect(),
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, value)| {
                let values = match value {
                    Value::Array(values) => values.clone(),
                    other => vec![other.clone()],
                };
                values.into_iter().map(move |value| match value {
                    Value::String(value) => (name.clone(), value),
                    other => panic!("the value of {name:?} is no string: {other}"),
                })
            })
            .collect(),
        other => panic!("not a list of headers: {other}"),
    }
}

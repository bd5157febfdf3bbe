//! Loading vectors: good files, and bad ones with the line that is wrong.

use std::{fs, path::PathBuf};

use http::{HeaderMap, HeaderValue};
use serde_json::json;
use tower_conn_testkit::vectors::{headers, latin1, load};

fn file(name: &str, text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn each_line_is_a_vector() {
    let path = file("good.jsonl", "{\"a\": 1}\n\n{\"a\": 2}\n");
    assert_eq!(load(path), [json!({"a": 1}), json!({"a": 2})]);
}

#[test]
#[should_panic(expected = "bad.jsonl:3: ")]
fn a_bad_line_is_named() {
    let _ = load(file("bad.jsonl", "{}\n\n{\n"));
}

#[test]
#[should_panic(expected = "empty.jsonl holds no vector")]
fn an_empty_file_is_no_set_of_vectors() {
    let _ = load(file("empty.jsonl", "\n"));
}

#[test]
#[should_panic(expected = "cannot read no/such/file.jsonl")]
fn a_missing_file_is_named() {
    let _ = load("no/such/file.jsonl");
}

#[test]
fn a_list_of_pairs_keeps_lines_and_bytes() {
    let map = headers(&json!([["X-A", "1"], ["x-a", "\u{ff}"], ["b", ""]]));
    let values: Vec<_> = map
        .get_all("x-a")
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    assert_eq!(values, [&b"1"[..], b"\xff"]);
    assert_eq!(map["b"], "");
    assert_eq!(headers(&json!(null)), HeaderMap::new());
    assert_eq!(headers(&json!({"a": ["1", "2"], "b": "3"})).len(), 3);
}

#[test]
#[should_panic(expected = "not a [name, value] pair: [\"a\"]")]
fn half_a_pair_is_an_error() {
    let _ = headers(&json!([["a"]]));
}

#[test]
fn latin1_is_one_byte_a_char() {
    assert_eq!(latin1("a\u{ff}\u{0}"), b"a\xff\0");
}

#[test]
#[should_panic(expected = "is no byte")]
fn a_char_above_ff_is_no_byte() {
    let _ = latin1("\u{100}");
}

//! Every behaviour in the table of vectors has its test, or a reason for having none here.

use std::collections::BTreeSet;
use std::fs;

use tower_conn_testkit::vectors::load;

/// Where the behaviours are tested that this crate does not have.
const ELSEWHERE: &[(&str, &str)] = &[
    (
        "cold-park-partial-head",
        "tower-conn-serve owns the engine's state",
    ),
    (
        "linger-sleep-is-not-enough",
        "a counter-example, not a behaviour",
    ),
    ("pool-", "tower-conn-pool"),
];

fn elsewhere(name: &str) -> bool {
    ELSEWHERE
        .iter()
        .any(|(prefix, _)| name == *prefix || (prefix.ends_with('-') && name.starts_with(prefix)))
}

/// The names of all tests of this crate.
fn tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");
    for entry in fs::read_dir(folder).expect("the tests are here") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let source = fs::read_to_string(path).expect("text");
        let mut is_test = false;
        for line in source.lines() {
            if line.starts_with("#[tokio::test") || line.starts_with("#[test]") {
                is_test = true;
            } else if is_test {
                let name = line
                    .split("fn ")
                    .nth(1)
                    .and_then(|rest| rest.split('(').next());
                names.extend(name.map(str::to_owned));
                is_test = false;
            }
        }
    }
    names
}

#[test]
fn every_vector_has_a_test_of_its_name() {
    let tests = tests();
    let vectors = load(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/vectors/reaping.jsonl"
    ));
    assert!(vectors.len() > 70, "the whole table");
    for vector in vectors {
        let name = vector["name"].as_str().expect("a name");
        let tested = tests.contains(&name.replace('-', "_"));
        assert_ne!(tested, elsewhere(name), "{name}");
    }
}

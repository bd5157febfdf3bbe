//! Page loads over real sockets, from the command line to what is printed and written.

use std::collections::HashMap;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::args::{Args, Strategy};
use crate::page::Page;
use crate::{BoxError, run};

fn run_with(args: &[&str]) -> Result<String, BoxError> {
    let args = Args::try_parse_from(["waterfall"].iter().chain(args))?;
    let mut printed = Vec::new();
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(run(&args, &mut printed))?;
    Ok(String::from_utf8(printed)?)
}

/// The columns of each row: total, first object, four shares, connections, TIME_WAIT on both sides.
fn rows(printed: &str) -> HashMap<&str, Vec<f64>> {
    let rows = printed.lines().filter_map(|line| {
        let mut fields = line.split_whitespace();
        let name = fields
            .next()
            .filter(|name| Strategy::from_str(name, false).is_ok())?;
        let figures = fields.map_while(|field| field.trim_end_matches(',').parse().ok());
        Some((name, figures.collect()))
    });
    rows.collect()
}

#[test]
fn it_opens_as_many_connections_as_each_strategy_says() {
    let objects = Page::new().len();
    let printed = run_with(&[
        "--rtt",
        "4ms",
        "--bandwidth",
        "unlimited",
        "--parallel",
        "4",
    ]);
    let printed = printed.expect("runs");
    let rows = rows(&printed);
    assert_eq!(rows.len(), Strategy::value_variants().len(), "{printed}");
    let connections = |strategy: &str| rows[strategy][6] as usize;
    assert_eq!(connections("serial"), objects);
    assert_eq!(connections("parallel"), objects);
    assert_eq!(connections("persistent"), 1);
    assert!(
        (2..=4).contains(&connections("parallel-persistent")),
        "{printed}"
    );
    assert_eq!(connections("pipelined"), 1);
    assert_eq!(connections("multiplexed"), 1);
    for (strategy, row) in &rows {
        let shares: f64 = row[2..6].iter().sum();
        assert!((98.0..=102.0).contains(&shares), "{strategy}: {row:?}");
    }
    // Each of 21 new connections takes two round trips at least.
    assert!(rows["serial"][0] >= 168.0, "{printed}");
}

#[cfg(target_os = "linux")]
#[test]
fn whoever_closes_first_keeps_the_port() {
    let objects = Page::new().len();
    let printed = run_with(&["--rtt", "4ms", "--only", "serial,pipelined"]).expect("runs");
    let rows = rows(&printed);
    let held = |strategy: &str| (rows[strategy][7] as usize, rows[strategy][8] as usize);
    // The requests say `Connection: close`, so the server closes. A system may have forgotten some.
    let (browser, server) = held("serial");
    assert!(
        server > objects / 2 && browser + server <= objects,
        "{printed}"
    );
    // The browser closes what it has kept, when it has the page.
    assert_eq!(held("pipelined"), (1, 0), "{printed}");
}

#[test]
fn it_writes_pictures_that_are_small_and_well_formed() {
    let folder: PathBuf = std::env::temp_dir().join(format!("waterfall-{}", std::process::id()));
    let path = folder.to_str().expect("UTF-8");
    run_with(&["--rtt", "4ms", "--svg", path]).expect("runs");
    let names = Strategy::value_variants()
        .iter()
        .map(|strategy| strategy.name());
    for name in names.chain(["overview"]) {
        let text = std::fs::read_to_string(folder.join(format!("{name}.svg"))).expect("written");
        assert!(text.len() < 20_000, "{name}: {} bytes", text.len());
        let document =
            roxmltree::Document::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let root = document.root_element();
        assert_eq!(root.tag_name().name(), "svg", "{name}");
        let words: Vec<_> = root.descendants().filter_map(|node| node.text()).collect();
        let says = |word: &str| words.iter().any(|text| text.contains(word));
        assert!(says("handshake") && says("slow start"), "{name}: {words:?}");
        let is_drawn = |class: &str| {
            let mut paths = root
                .descendants()
                .filter(|node| node.has_tag_name((SVG, "path")));
            paths.any(|path| path.attribute("class") == Some(class))
        };
        for class in ["opening", "waiting", "receiving"] {
            assert!(is_drawn(class), "{name}: {class}");
        }
    }
    std::fs::remove_dir_all(folder).expect("removed");
}

const SVG: &str = "http://www.w3.org/2000/svg";

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let error = run_with(&["--svg", "/dev/null/here"]).expect_err("refused");
    assert!(
        error.to_string().contains("cannot make /dev/null/here"),
        "{error}"
    );
}

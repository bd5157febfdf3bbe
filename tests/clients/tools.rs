//! Runs the tools.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The output of a tool; `None`, and a word about it, if the tool is not there.
pub(crate) fn run(tool: &str, args: &[&str]) -> Option<String> {
    run_in(Path::new("."), tool, args)
}

/// [`run`] in a directory.
pub(crate) fn run_in(directory: &Path, tool: &str, args: &[&str]) -> Option<String> {
    if !is_installed(tool) {
        eprintln!("skipped: {tool} is not installed");
        return None;
    }
    let output = Command::new(tool)
        .args(args)
        .current_dir(directory)
        // What Go builds stays in the target directory.
        .env("GOCACHE", scratch("go-cache"))
        .env("GO111MODULE", "off")
        .output()
        .expect("the tool runs");
    let (out, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{tool} {args:?}: {out}{errors}");
    Some(out)
}

pub(crate) fn is_installed(tool: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|path| path.join(tool).is_file())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A directory of the tests' own, under the target directory.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&path).expect("a directory");
    path
}

/// A script or program that stands beside this file.
pub(crate) fn script(name: &str) -> String {
    format!("{}/tests/clients/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The number that follows this name in an output, on the same line.
pub(crate) fn figure(output: &str, name: &str) -> Option<usize> {
    let (_, rest) = output.split_once(name)?;
    rest.split_whitespace().next()?.parse().ok()
}

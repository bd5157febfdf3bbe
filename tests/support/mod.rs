//! Starts the examples that the tests drive.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

/// Where cargo puts an example when it builds the tests.
pub(crate) fn path_of(example: &str) -> PathBuf {
    let mut path = std::env::current_exe().expect("a test binary");
    path.pop();
    path.pop();
    path.push("examples");
    path.push(example);
    path
}

/// A running example, killed when dropped.
pub(crate) struct Example {
    child: Child,
    /// `HOST:PORT`, as it said on its one line.
    pub(crate) addr: String,
    line: String,
}

impl Example {
    pub(crate) fn start(example: &str, flags: &[&str]) -> Self {
        let mut child = Command::new(path_of(example))
            .args(["--listen", "127.0.0.1:0"])
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .expect("`cargo test` and `cargo build --examples` build the examples");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("one line when it listens");
        let addr = line
            .trim_end()
            .strip_prefix("listening on http://")
            .and_then(|rest| rest.split(',').next())
            .unwrap_or_else(|| panic!("unexpected line {line:?}"))
            .to_owned();
        Self { child, addr, line }
    }
}

impl Example {
    /// `HOST:PORT` of its admin pages.
    #[allow(dead_code, reason = "only the gateway has them")]
    pub(crate) fn admin(&self) -> &str {
        let after = self.line.split("admin on http://").nth(1);
        after.expect("started with --admin").trim_end()
    }

    /// Waits for its end.
    #[allow(dead_code, reason = "not every test waits for it")]
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// The id of its process.
    #[allow(dead_code, reason = "not every test looks at the process")]
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM and waits for the end.
    #[allow(dead_code, reason = "not every test stops its example")]
    pub(crate) fn terminate(mut self) -> ExitStatus {
        let sent = Command::new("kill")
            .arg(self.child.id().to_string())
            .status()
            .expect("kill runs");
        assert!(sent.success(), "the example is no longer there");
        self.child.wait().expect("a child")
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

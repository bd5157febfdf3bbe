//! Ctrl-C, and the progress bar under a pseudo terminal.

use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;

use tokio::sync::Notify;
use tower_conn_testkit::peer::ScriptedPeer;

use crate::Run;
use crate::support::path_of;

/// Answers two requests, and of the third response a part; the rest when it is told to.
struct Slow {
    peer: ScriptedPeer,
    third: Arc<Notify>,
    rest: Arc<Notify>,
}

impl Slow {
    async fn start() -> Self {
        let (third, rest) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (asked, told) = (Arc::clone(&third), Arc::clone(&rest));
        let peer = ScriptedPeer::start(move |mut exchange| {
            let (asked, told) = (Arc::clone(&asked), Arc::clone(&told));
            async move {
                if exchange.total() < 3 {
                    exchange.ok("hi").await.expect("an open connection");
                    return;
                }
                let head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel";
                exchange.send(head).await.expect("an open connection");
                asked.notify_one();
                told.notified().await;
                // A client that was interrupted has left.
                let _ = exchange.send("lo").await;
            }
        })
        .await;
        Self { peer, third, rest }
    }

    /// One request after the other.
    fn args(&self, requests: &str) -> Vec<String> {
        let url = self.peer.uri("/").to_string();
        [&url, "-n", requests, "-c", "1"].map(str::to_owned).into()
    }
}

fn interrupt(child: &Child) {
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status();
    assert!(sent.expect("kill runs").success(), "the client has gone");
}

#[tokio::test]
async fn an_interrupt_ends_it_with_what_has_come() {
    let server = Slow::start().await;
    let child = Command::new(path_of("client"))
        .args(server.args("5"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("`cargo test` builds the examples");
    server.third.notified().await;
    interrupt(&child);
    let output = tokio::task::spawn_blocking(|| child.wait_with_output());
    let run = Run(output.await.expect("no panic").expect("it ran"));

    assert_eq!(run.code(), Some(1), "it ended by itself");
    assert_eq!(run.column("status"), ["200", "200"]);
    let requests = "2, 0 failed, 1 cut off, 2 not begun";
    assert_eq!(run.summary("requests"), requests);
    assert_eq!(run.summary("bytes"), "4 of bodies");
    assert_eq!(run.stderr(), "", "no progress where nobody looks");
    assert_eq!(server.peer.requests().len(), 3);
}

/// The client on a terminal of its own.
struct Terminal {
    child: Child,
    screen: String,
}

impl Terminal {
    /// `None`, and a word about it, where there is no `script`.
    fn start(args: &[String]) -> Option<Self> {
        let command = [&[path_of("client").display().to_string()], args].concat();
        let child = Command::new("script")
            .args(["--quiet", "--flush", "--return", "--command"])
            // As wide as a terminal is, whatever the test runs in.
            .arg(format!("stty cols 80; exec {}", command.join(" ")))
            .arg("/dev/null")
            .env("TERM", "xterm")
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        match child {
            Ok(child) => Some(Self {
                child,
                screen: String::new(),
            }),
            Err(error) => {
                eprintln!("skipped: script: {error}");
                None
            }
        }
    }

    fn type_in(&mut self, keys: &str) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        stdin.write_all(keys.as_bytes()).expect("it reads");
    }

    /// Reads on until this is on the screen, or to the end.
    async fn until(mut self, text: &'static str) -> Self {
        let reading = move || {
            let stdout = self.child.stdout.as_mut().expect("piped");
            let mut chunk = [0; 1024];
            while !self.screen.contains(text) {
                match stdout.read(&mut chunk).expect("it can be read") {
                    0 => break,
                    n => self.screen += &String::from_utf8_lossy(&chunk[..n]),
                }
            }
            self
        };
        let read = tokio::task::spawn_blocking(reading).await;
        read.expect("no panic")
    }

    async fn end(self) -> (ExitStatus, String) {
        let mut this = self.until("\0no terminal says this").await;
        let status = this.child.wait().expect("a child");
        (status, this.screen)
    }
}

/// What the terminal was last told of the bar, and what came behind it.
fn after_bar(screen: &str) -> (&str, &str) {
    let erase = "\x1b[2K";
    let erased = screen.rfind(erase).unwrap_or_else(|| panic!("{screen:?}"));
    (&screen[..erased], &screen[erased + erase.len()..])
}

#[tokio::test]
async fn a_long_run_shows_its_progress_and_clears_it_away() {
    let server = Slow::start().await;
    let Some(terminal) = Terminal::start(&server.args("3")) else {
        return;
    };
    // It stands at the third request until this is seen.
    let terminal = terminal.until(" 2 of 3").await;
    server.rest.notify_one();
    let (status, screen) = terminal.end().await;
    assert_eq!(status.code(), Some(0), "{screen:?}");
    let (bar, rest) = after_bar(&screen);
    assert!(bar.contains(" 2 of 3, "), "{screen:?}");
    assert!(!bar.contains("requests"), "{screen:?}");
    assert!(!rest.contains(" of 3"), "{screen:?}");
    assert!(rest.contains("requests     3, 0 failed\r\n"), "{screen:?}");
}

#[tokio::test]
async fn control_c_at_a_terminal_clears_the_bar_and_sums_up() {
    let server = Slow::start().await;
    let Some(terminal) = Terminal::start(&server.args("9")) else {
        return;
    };
    let mut terminal = terminal.until(" 2 of 9").await;
    terminal.type_in("\x03");
    let (status, screen) = terminal.end().await;
    assert_eq!(status.code(), Some(1), "{screen:?}");
    let (_, rest) = after_bar(&screen);
    assert!(!rest.contains(" of 9"), "{screen:?}");
    let requests = "requests     2, 0 failed, 1 cut off, 6 not begun\r\n";
    assert!(rest.contains(requests), "{screen:?}");
}

#[tokio::test]
async fn a_short_run_shows_no_progress() {
    let server = Slow::start().await;
    let Some(terminal) = Terminal::start(&server.args("2")) else {
        return;
    };
    let (status, screen) = terminal.end().await;
    assert_eq!(status.code(), Some(0), "{screen:?}");
    assert!(!screen.contains(" of 2"), "{screen:?}");
    assert!(
        screen.contains("requests     2, 0 failed\r\n"),
        "{screen:?}"
    );
}

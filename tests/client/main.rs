//! `examples/client`, run as a program against real servers.

#[path = "../support/mod.rs"]
mod support;
mod terminal;
#[path = "../support/tls.rs"]
mod tls;

use std::collections::BTreeSet;
use std::process::{Command, Output};

use tower_conn_testkit::peer::ScriptedPeer;

use support::{Example, path_of};
use tls::TlsServer;

/// Runs the client to its end, while the servers of the test go on.
async fn client(args: &[&str]) -> Run {
    let mut command = Command::new(path_of("client"));
    command.args(args);
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .expect("no panic")
        .expect("`cargo test` builds the examples");
    Run(output)
}

struct Run(Output);

impl Run {
    fn code(&self) -> Option<i32> {
        self.0.status.code()
    }

    fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    /// The cells of the table under this heading; cells are parted by two spaces.
    fn column(&self, heading: &str) -> Vec<String> {
        let stdout = self.stdout();
        let lines: Vec<_> = stdout.lines().collect();
        let cells = |line: &str| -> Vec<String> {
            let parts = line.split("  ").map(str::trim);
            let parts = parts.filter(|part| !part.is_empty());
            parts.map(str::to_owned).collect()
        };
        let at = cells(lines[0]).iter().position(|cell| cell == heading);
        // The first column, the number, has no heading.
        let at = at.unwrap_or_else(|| panic!("no {heading} in {stdout}")) + 1;
        let rows = lines[1..].iter().take_while(|line| !line.is_empty());
        rows.map(|row| cells(row))
            .filter(|row| row.len() > 1)
            .map(|row| row[at].clone())
            .collect()
    }

    /// What the summary says on this line.
    fn summary(&self, label: &str) -> String {
        let stdout = self.stdout();
        let line = stdout
            .lines()
            .find_map(|line| line.strip_prefix(label))
            .unwrap_or_else(|| panic!("no {label} in {stdout}"));
        line.trim().to_owned()
    }
}

#[tokio::test]
async fn requests_share_a_connection_and_the_table_says_so() {
    let server = ScriptedPeer::start(|mut exchange| async move {
        let head = "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\nhi";
        exchange.send(head).await.expect("an open connection");
    })
    .await;
    let run = client(&[&server.uri("/a").to_string(), "-n", "3", "-c", "1"]).await;
    assert_eq!(run.code(), Some(0), "{}{}", run.stdout(), run.stderr());
    assert_eq!(run.column("status"), ["200", "200", "200"]);
    assert_eq!(run.column("bytes"), ["2", "2", "2"]);
    assert_eq!(run.column("use"), ["new", "after 1", "after 2"]);
    let connections = run.column("conn");
    assert!(connections.iter().all(|id| *id == connections[0]));
    assert_eq!(run.column("lookup"), ["-", "-", "-"], "an address");
    assert_ne!(run.column("connect")[0], "-");
    assert_eq!(run.column("connect")[1..], ["-", "-"]);
    let expected = "1 opened, 2 of the requests on a used one";
    assert_eq!(run.summary("connections"), expected);
    assert_eq!(run.summary("announced"), "timeout=5; kept 3.0 s");
    assert_eq!(run.stderr(), "", "no progress where nobody looks");
    assert_eq!(server.connections().len(), 1);
}

/// Each connection answers once and is closed when it is asked again.
async fn forgetful() -> ScriptedPeer {
    ScriptedPeer::start(|mut exchange| async move {
        if exchange.nth() == 1 {
            exchange.ok("hi").await.expect("an open connection");
        } else {
            exchange.close();
        }
    })
    .await
}

#[tokio::test]
async fn a_get_on_a_stale_connection_is_sent_again() {
    let server = forgetful().await;
    let run = client(&[&server.uri("/").to_string(), "-n", "2", "-c", "1"]).await;
    assert_eq!(run.code(), Some(0), "{}", run.stdout());
    assert_eq!(run.column("tries"), ["1", "2"]);
    assert_eq!(run.column("use"), ["new", "new"]);
    assert!(run.summary("attempts").starts_with("3, repeated for: "));
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn a_post_is_not_and_the_exit_code_tells() {
    let server = forgetful().await;
    let url = server.uri("/").to_string();
    let run = client(&[&url, "-n", "2", "-c", "1", "-d", "order"]).await;
    assert_eq!(run.code(), Some(1));
    assert_eq!(run.column("status"), ["200", "failed"]);
    assert_eq!(run.column("tries"), ["1", "1"]);
    assert_eq!(run.summary("requests"), "2, 1 failed");
    assert_eq!(server.requests().len(), 2);

    let server = forgetful().await;
    let url = server.uri("/").to_string();
    let keyed = ["-n", "2", "-c", "1", "-d", "order", "--idempotency-key"];
    let run = client(&[&[url.as_str()], &keyed[..]].concat()).await;
    assert_eq!(run.code(), Some(0), "{}", run.stdout());
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn https_is_checked_against_the_given_roots() {
    let server = TlsServer::start("client-https", &[b"http/1.1"]).await;
    let ca = server.ca.to_str().expect("a path");
    let run = client(&[&server.url(), "-n", "2", "-c", "1", "--ca", ca]).await;
    assert_eq!(run.code(), Some(0), "{}{}", run.stdout(), run.stderr());
    assert_eq!(run.column("status"), ["200", "200"]);
    assert_ne!(run.column("lookup")[0], "-", "localhost is a name");
    assert_ne!(run.column("tls")[0], "-");
    assert_eq!(run.column("tls")[1], "-");
    assert_eq!(server.accepted(), 1);

    let run = client(&[&server.url()]).await;
    assert_eq!(run.code(), Some(1));
    assert!(run.stdout().contains("certificate"), "{}", run.stdout());
    assert_eq!(run.column("tries"), ["1"], "a second try would fail alike");
}

#[tokio::test]
async fn https_speaks_http2_where_the_server_does() {
    let server = TlsServer::start("client-h2", &[b"h2", b"http/1.1"]).await;
    let ca = server.ca.to_str().expect("a path");
    for (choice, version) in [("--retries=2", "2"), ("--http1", "1.1")] {
        let run = client(&[&server.url(), "-n", "2", "-p", "1", "--ca", ca, choice]).await;
        assert_eq!(run.code(), Some(0), "{}{}", run.stdout(), run.stderr());
        assert_eq!(run.column("http"), [version; 2]);
    }
    assert_eq!(server.accepted(), 2);
    let run = client(&[&server.url(), "-n", "8", "-p", "4", "--ca", ca, "--http2"]).await;
    assert_eq!(run.code(), Some(0), "{}{}", run.stdout(), run.stderr());
    assert_eq!(run.column("bytes"), ["15"; 8]);
    assert_eq!(server.accepted(), 3, "streams share a connection");
}

/// Answers the second request of a connection when the third and the fourth have come behind it.
#[tokio::test]
async fn requests_are_pipelined_once_the_connection_has_proved_itself() {
    let server = ScriptedPeer::start(|mut exchange| async move {
        let mut answers = 1;
        if exchange.nth() == 2 {
            for _ in 0..2 {
                exchange.read_request().await.expect("a pipelined request");
                answers += 1;
            }
        }
        for _ in 0..answers {
            exchange.ok("hi").await.expect("an open connection");
        }
    })
    .await;
    let url = server.uri("/").to_string();
    let run = client(&[&url, "-n", "4", "-c", "1", "--pipeline-depth", "3"]).await;
    assert_eq!(run.code(), Some(0), "{}{}", run.stdout(), run.stderr());
    assert_eq!(run.column("status"), ["200"; 4]);
    assert_eq!(run.column("tries"), ["1"; 4]);
    assert_eq!(server.connections().len(), 1);
}

#[tokio::test]
async fn no_more_connections_are_opened_than_allowed() {
    let server = Example::start("hyper_server", &[]);
    let url = format!("http://{}/", server.addr);
    let run = client(&[&url, "-n", "40", "-c", "2", "-p", "8"]).await;
    assert_eq!(run.code(), Some(0), "{}{}", run.stdout(), run.stderr());
    assert_eq!(run.column("status"), ["200"; 40]);
    assert_eq!(run.summary("announced"), "timeout=74; kept 45.0 s");
    let connections: BTreeSet<_> = run.column("conn").into_iter().collect();
    assert!((1..=2).contains(&connections.len()), "{connections:?}");
}

#[tokio::test]
async fn what_fails_is_said_with_its_cause() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let addr = closed.expect("binds").local_addr().expect("bound");
    let run = client(&[&format!("http://{addr}/"), "--retries", "1"]).await;
    assert_eq!(run.code(), Some(1));
    assert_eq!(run.column("status"), ["failed"]);
    assert_eq!(run.column("tries"), ["2"], "nothing was sent");
    assert!(run.stdout().contains("refused"), "{}", run.stdout());

    let missing = ScriptedPeer::start(|mut exchange| async move {
        let head = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
        exchange.send(head).await.expect("an open connection");
    })
    .await;
    let run = client(&[&missing.uri("/").to_string()]).await;
    assert_eq!(
        (run.code(), run.column("status")),
        (Some(1), vec!["404".to_owned()])
    );

    let cut = ScriptedPeer::start(|mut exchange| async move {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc";
        exchange.send(head).await.expect("an open connection");
        exchange.close();
    })
    .await;
    let run = client(&[&cut.uri("/").to_string()]).await;
    assert_eq!(
        (run.code(), run.column("status")),
        (Some(1), vec!["200 cut".to_owned()])
    );
    assert_eq!(run.column("bytes"), ["3"]);

    let silent = ScriptedPeer::start(|_| std::future::pending()).await;
    let run = client(&[&silent.uri("/").to_string(), "--timeout", "300ms"]).await;
    assert_eq!(
        (run.code(), run.column("status")),
        (Some(1), vec!["failed".to_owned()])
    );
    assert!(run.stdout().contains("time"), "{}", run.stdout());
}

#[tokio::test]
async fn what_cannot_be_run_is_refused_before_anything_is_sent() {
    for (args, complaint) in [
        (&["example.com"][..], "expected http://HOST/PATH"),
        (&["ftp://example.com/"], "expected http://HOST/PATH"),
        (&["http://a.example/", "-H", "nothing"], "NAME:VALUE"),
        (
            &["http://a.example/", "--ca", "/does/not/exist"],
            "cannot read",
        ),
        (
            &["http://a.example/", "--ca", "/dev/null"],
            "no certificate",
        ),
        (&[], "required"),
    ] {
        let run = client(args).await;
        assert_ne!(run.code(), Some(0));
        assert!(
            run.stderr().contains(complaint),
            "{args:?}: {}",
            run.stderr()
        );
        assert_eq!(run.stdout(), "");
    }
}

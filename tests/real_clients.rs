//! Clients that others have written, against the axum and hyper examples: `ab -k`, Python's
//! `http.client` and `curl --http1.0`. A test whose tool is missing says so and passes.

mod support;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use support::Example;

const EXAMPLES: [&str; 2] = ["axum_server", "hyper_server"];

/// An example behind a relay that counts its connections.
struct Server {
    _example: Example,
    url: String,
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl Server {
    fn start(example: &str, flags: &[&str]) -> Self {
        let example = Example::start(example, flags);
        let server = example.addr.parse().expect("an address");
        let connections = Arc::new(AtomicUsize::new(0));
        let port = relay(server, Arc::clone(&connections));
        Self {
            _example: example,
            url: format!("http://127.0.0.1:{port}/"),
            port,
            connections,
        }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Passes connections on to a server and counts them.
fn relay(server: SocketAddr, connections: Arc<AtomicUsize>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (Ok(client), Ok(server)) = (client, TcpStream::connect(server)) else {
                continue;
            };
            connections.fetch_add(1, Ordering::SeqCst);
            let _ = (client.set_nodelay(true), server.set_nodelay(true));
            pump(&client, &server);
            pump(&server, &client);
        }
    });
    port
}

fn pump(from: &TcpStream, to: &TcpStream) {
    let (mut from, mut to) = (
        from.try_clone().expect("a handle"),
        to.try_clone().expect("a handle"),
    );
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
}

/// The output of a tool; `None`, and a word about it, if the tool is not there.
fn run(tool: &str, args: &[&str]) -> Option<String> {
    let output = match Command::new(tool).args(args).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("skipped: {tool} is not installed");
            return None;
        }
        output => output.expect("the tool runs"),
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {args:?}: {errors}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

// ===== ab =====

/// The number that stands behind this name in the output of `ab`.
fn figure(output: &str, name: &str) -> Option<usize> {
    let rest = output.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

fn ab(server: &Server, requests: usize, clients: usize) -> Option<()> {
    let (requests, clients) = (requests.to_string(), clients.to_string());
    let output = run("ab", &["-k", "-n", &requests, "-c", &clients, &server.url])?;
    assert_eq!(
        figure(&output, "Complete requests:"),
        requests.parse().ok(),
        "{output}"
    );
    assert_eq!(figure(&output, "Failed requests:"), Some(0), "{output}");
    assert_eq!(figure(&output, "Non-2xx responses:"), None, "{output}");
    Some(())
}

#[test]
fn ab_keeps_one_connection_for_each_of_its_clients() {
    for example in EXAMPLES {
        let server = Server::start(example, &[]);
        if ab(&server, 400, 4).is_some() {
            assert_eq!(server.connections(), 4, "{example}");
        }
    }
}

#[test]
fn ab_loses_nothing_when_connections_end_after_their_last_request() {
    for example in EXAMPLES {
        let server = Server::start(example, &["--max-requests", "50"]);
        if ab(&server, 400, 1).is_some() {
            assert_eq!(server.connections(), 8, "{example}");
        }
    }
}

#[test]
fn without_the_layer_the_examples_answer_too_and_do_not_count() {
    for example in EXAMPLES {
        let server = Server::start(example, &["--bare", "--max-requests", "50"]);
        if ab(&server, 400, 1).is_some() {
            assert_eq!(server.connections(), 1, "{example}");
        }
    }
}

// ===== curl =====

/// How many connections `curl` made for each of three requests.
fn curl(server: &Server, args: &[&str]) -> Option<Vec<usize>> {
    let mut all = vec![
        "-sS",
        "-w",
        "%{http_code} %{num_connects}\n",
        "-o",
        "/dev/null",
    ];
    all.extend_from_slice(args);
    let url = server.url.as_str();
    all.extend_from_slice(&[url, "-o", "/dev/null", url, "-o", "/dev/null", url]);
    let output = run("curl", &all)?;
    let connects = |line: &str| line.strip_prefix("200 ")?.parse().ok();
    let made = output.lines().map(connects).collect::<Option<Vec<_>>>();
    Some(made.unwrap_or_else(|| panic!("{output}")))
}

#[test]
fn curl_reuses_an_http10_connection_if_it_asks_for_that() {
    for example in EXAMPLES {
        for (args, made) in [
            (
                &["--http1.0", "-H", "Connection: keep-alive"][..],
                [1, 0, 0],
            ),
            (&["--http1.0"], [1, 1, 1]),
            (
                &["--http1.0", "-H", "Proxy-Connection: keep-alive"],
                [1, 1, 1],
            ),
            (&["--http1.1"], [1, 0, 0]),
            (&["--http1.1", "-H", "Connection: close"], [1, 1, 1]),
        ] {
            let server = Server::start(example, &[]);
            if let Some(connects) = curl(&server, args) {
                assert_eq!(connects, made, "{example} {args:?}");
                assert_eq!(
                    server.connections(),
                    made.iter().sum::<usize>(),
                    "{example} {args:?}"
                );
            }
        }
    }
}

// ===== Python =====

const PYTHON: &str = r#"
import http.client, sys
port, version, headers = int(sys.argv[1]), int(sys.argv[2]), {}
if version == 10:
    http.client.HTTPConnection._http_vsn = 10
    http.client.HTTPConnection._http_vsn_str = "HTTP/1.0"
    headers["Connection"] = "keep-alive"
connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
for _ in range(20):
    connection.request("GET", "/", headers=headers)
    response = connection.getresponse()
    assert response.status == 200, response.status
    assert response.read() == b"hello\n"
"#;

#[test]
fn pythons_client_keeps_one_connection() {
    for example in EXAMPLES {
        for (version, flags, connections) in [
            ("11", &[][..], 1),
            ("10", &[], 1),
            ("11", &["--max-requests", "5"], 4),
            ("10", &["--max-requests", "5"], 4),
        ] {
            let server = Server::start(example, flags);
            let port = server.port.to_string();
            if run("python3", &["-c", PYTHON, &port, version]).is_some() {
                assert_eq!(
                    server.connections(),
                    connections,
                    "{example} {version} {flags:?}"
                );
            }
        }
    }
}

//! Go's `net/http`.

use crate::server::{EXAMPLES, Server};
use crate::tools::{run, scratch, script};
use crate::upstream::Upstream;

/// It has four at a time for 100 and more requests. On a busy machine it drops some of its own accord,
/// when its writer is not heard of within 50 ms of the response.
const MANY: usize = 20;

/// Builds the client once; `None` without Go.
fn client() -> Option<String> {
    static BUILT: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let build = || {
        let program = scratch("go").join("client").to_string_lossy().into_owned();
        run("go", &["build", "-o", &program, &script("client.go")]).map(|_| program)
    };
    BUILT.get_or_init(build).clone()
}

fn go(server: &Server, what: &str) -> Option<()> {
    let program = client()?;
    let output = std::process::Command::new(program)
        .args([&server.url, what])
        .output()
        .expect("the client runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    Some(())
}

#[test]
fn go_gets_right_answers_from_the_examples() {
    for example in EXAMPLES {
        let server = Server::start(example, &[]);
        if go(&server, "hello").is_some() {
            assert!(server.connections() < MANY, "{example}");
        }
    }
}

#[test]
fn go_gets_and_sends_every_byte_through_the_gateway() {
    let upstream = Upstream::start();
    let gateway = Server::gateway(&upstream, &[]);
    if go(&gateway, "bytes").is_some() {
        assert!(gateway.connections() < MANY);
        assert_eq!(upstream.reads(), 80);
        assert_eq!(upstream.writes(), 40);
        assert_eq!(upstream.received(), 40 * 50_000);
    }
}

//! `wrk`, one request at a time and pipelined, with a script that looks at every response.

use crate::server::{EXAMPLES, Server};
use crate::tools::{figure, run, script};
use crate::upstream::Upstream;

const CONNECTIONS: usize = 4;

/// It makes one more, to see whether anybody is there.
const OPENED: usize = CONNECTIONS + 1;

/// Runs it for a second; how many right answers it got.
fn wrk(url: &str, depth: usize) -> Option<usize> {
    let (c, script, d) = (
        CONNECTIONS.to_string(),
        script("wrk.lua"),
        depth.to_string(),
    );
    let args = ["-t1", "-c", &c, "-d1s", "-s", &script, url, "--", &d];
    let output = run("wrk", &args)?;
    for fault in ["wrong", "connect", "read", "write", "status", "timeout"] {
        let count = figure(&output, &format!("{fault}:"));
        assert_eq!(count, Some(0), "{fault} at depth {depth}: {output}");
    }
    let seen = figure(&output, "seen:").expect("a count");
    assert!(seen > 0, "{output}");
    Some(seen)
}

#[test]
fn wrk_gets_right_answers_from_the_examples() {
    for example in EXAMPLES {
        for (depth, flags) in [(1, &[][..]), (8, &[]), (8, &["--parallel", "8"])] {
            let server = Server::start(example, flags);
            if wrk(&server.url, depth).is_some() {
                assert_eq!(server.connections(), OPENED, "{example} {flags:?}");
            }
        }
    }
}

#[test]
fn wrk_gets_right_answers_from_the_gateway() {
    for depth in [1, 8] {
        let upstream = Upstream::start();
        let gateway = Server::gateway(&upstream, &[]);
        let Some(seen) = wrk(&gateway.url, depth) else {
            return;
        };
        assert_eq!(gateway.connections(), OPENED);
        // When the second is over, wrk leaves what it has sent.
        let asked = upstream.reads();
        let left = CONNECTIONS * depth;
        assert!(
            (seen..=seen + left).contains(&asked),
            "{seen} seen, {asked} asked"
        );
    }
}

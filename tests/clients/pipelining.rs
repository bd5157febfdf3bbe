//! Python over raw sockets, pipelining: every response is compared with the one that the same request
//! gets alone.

use crate::server::{EXAMPLES, Server};
use crate::tools::{run, script};

#[test]
fn every_answer_is_in_its_place_and_whole() {
    for example in EXAMPLES {
        for flags in [&[][..], &["--parallel", "8"], &["--bare"]] {
            let server = Server::start(example, flags);
            let (file, port) = (script("pipelining.py"), server.port.to_string());
            let Some(done) = run("python3", &[&file, &port]) else {
                return;
            };
            assert_eq!(done.lines().count(), 5, "{example} {flags:?}: {done}");
        }
    }
}

//! The decoder is never more lenient than hyper's client, and never sees another message.
//!
//! A fixed number of mutations of a few streams, from a fixed seed; the fuzz target `decoder` goes on
//! from there.

mod compare;

use std::fs;
use std::path::Path;

use compare::{compare, compare_input};
use http::Method;

const SEEDS: [&str; 19] = [
    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nONE",
    "HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nONEHTTP/1.1 200 OK\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nONE\r\nA\r\n0123456789\r\n0\r\nX: 1\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n1 \r\nx\r\n000\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\nContent-Length: 1\r\n\r\nuntil the end",
    "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nONE",
    "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi",
    "HTTP/1.0 200\r\n\r\nuntil the end",
    "HTTP/1.1 205 Reset Content\r\nContent-Length: 18446744073709551615\r\n\r\nx",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "HTTP/1.1 200 \r\nX:\r\nY: \t z \r\nContent-Length: 00\r\n\r\n",
    "HTTP/1.1 407 A\r\nContent-Length: +1\r\n\r\nx",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\u{e9}, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked,\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    "HTTP/1.0 200 OK\r\nConnection: \u{e9}, keep-alive\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 999 \u{e9}\r\nContent-Length: 1\r\n\r\nx",
];

/// What mutations insert.
const TOKENS: [&str; 22] = [
    "\r\n",
    "\n",
    "\r",
    "\r\n\r\n",
    " ",
    "\t",
    ",",
    ";",
    ":",
    "0",
    "1",
    "f",
    "+",
    "-",
    "0x",
    "\0",
    "chunked",
    "Content-Length: 1\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: x\r\n",
    "Connection: close\r\n",
    "HTTP/1.1 200 OK\r\n",
];

/// xorshift: the same mutations in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).expect("below a usize")
    }

    fn mutate(&mut self, stream: &mut Vec<u8>) {
        let at = self.below(stream.len() + 1);
        match self.below(5) {
            0 if at < stream.len() => drop(stream.remove(at)),
            1 if at < stream.len() => stream[at] = u8::try_from(self.below(256)).expect("a byte"),
            2 => stream.truncate(at),
            _ => {
                let token = TOKENS[self.below(TOKENS.len())];
                drop(stream.splice(at..at, token.bytes()));
            }
        }
    }
}

#[test]
fn seeds_and_their_mutations() {
    let methods = [Method::GET, Method::HEAD, Method::POST];
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut ours, mut theirs, mut total) = (0, 0, 0);
    for round in 0..1_500 {
        for seed in SEEDS {
            let mut stream = seed.as_bytes().to_vec();
            for _ in 0..round % 4 {
                random.mutate(&mut stream);
            }
            let (here, there) = compare(&methods[round % 3], &stream);
            ours += usize::from(here);
            theirs += usize::from(there);
            total += 1;
        }
    }
    // The comparison means something only if a good part is accepted, and a good part is not.
    assert!(
        ours > total / 5 && theirs < total,
        "{ours} {theirs} {total}"
    );
}

/// What the fuzz target has found, cut down to the inputs that take a way of their own.
#[test]
fn the_corpus_of_the_fuzz_target() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    if !fuzz.exists() {
        // The crate by itself, without the workspace that the corpus belongs to.
        return;
    }
    let (mut ours, mut theirs, mut total) = (0, 0, 0);
    for file in fs::read_dir(fuzz.join("corpus/decoder")).expect("a corpus") {
        let path = file.expect("readable").path();
        let input = fs::read(&path).expect("readable");
        let (here, there) = compare_input(&input);
        ours += usize::from(here);
        theirs += usize::from(there);
        total += 1;
    }
    assert!(
        total >= 100 && ours > 0 && ours < theirs && theirs < total,
        "{ours} {theirs} {total}"
    );
}

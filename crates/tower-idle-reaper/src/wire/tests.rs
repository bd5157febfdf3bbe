use super::*;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Every head so far has had its exchange.
fn feed(wire: &mut Wire, bytes: &[u8]) -> bool {
    let begun = wire.heads.into();
    wire.feed(bytes, begun)
}

/// Every way of cutting the input in two must lead to the same place.
fn follow(input: &[u8]) -> Wire {
    let mut whole = Wire::new();
    feed(&mut whole, input);
    for cut in 1..input.len() {
        let mut halves = Wire::new();
        feed(&mut halves, &input[..cut]);
        feed(&mut halves, &input[cut..]);
        assert_eq!(halves.at, whole.at, "cut at {cut}");
    }
    let mut bytes = Wire::new();
    for byte in input {
        feed(&mut bytes, &[*byte]);
    }
    assert_eq!(bytes.at, whole.at, "byte by byte");
    whole
}

#[test]
fn a_request_without_a_body_ends_at_its_empty_line() {
    for input in [
        GET,
        b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"POST / HTTP/1.1\r\nConnection: x\r\nTe: trailers\r\nC\r\n\r\n",
    ] {
        let wire = follow(input);
        assert!(!wire.in_head() && !wire.in_body(), "{wire:?}");
    }
}

#[test]
fn half_a_head_is_in_the_head() {
    for cut in 1..GET.len() {
        let wire = follow(&GET[..cut]);
        assert!(wire.in_head(), "{:?}", &GET[..cut]);
    }
    assert!(follow(b"P").in_head());
}

#[test]
fn empty_lines_between_requests_are_no_head() {
    let mut wire = Wire::new();
    assert!(feed(&mut wire, GET));
    assert!(!feed(&mut wire, b"\r\n\r\n"));
    assert!(!wire.in_head());
    assert!(feed(&mut wire, b"\r\nG"));
    assert!(wire.in_head());
    assert!(!feed(&mut wire, b"ET /"), "the head has begun before");
}

#[test]
fn a_length_is_counted_down() {
    let head: &[u8] = b"POST / HTTP/1.1\r\ncontent-LENGTH:  5 \r\nHost: a\r\n\r\n";
    assert!(follow(head).in_body());
    assert!(follow(&[head, b"hell"].concat()).in_body());
    let wire = follow(&[head, b"hello"].concat());
    assert!(!wire.in_body() && !wire.in_head());
    assert!(
        follow(&[head, b"helloG"].concat()).in_head(),
        "part of a next head"
    );
    assert!(!follow(&[head, b"hello", GET].concat()).in_head());
}

#[test]
fn chunks_are_followed_and_not_their_contents() {
    let head: &[u8] = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n";
    let tricky: &[u8] = b"7;a=b\r\n0\r\n\r\n\r\n\r\n";
    assert!(follow(&[head, tricky].concat()).in_body());
    assert!(follow(&[head, tricky, b"0\r\n"].concat()).in_body());
    assert!(follow(&[head, tricky, b"0\r\nX: y\r\n"].concat()).in_body());
    let wire = follow(&[head, tricky, b"0\r\nX: y\r\n\r\n"].concat());
    assert!(!wire.in_body() && !wire.in_head());
    assert!(follow(&[head, b"1A\r\n", &[b'x'; 26], b"\r\n0\r\n\r\nGE"].concat()).in_head());
}

#[test]
fn names_that_only_look_alike_are_passed_over() {
    let wire = follow(b"POST / HTTP/1.1\r\nContent-Lengthy: 9\r\nX-Content-Length: 9\r\n\r\n");
    assert!(!wire.in_body());
}

#[test]
fn a_length_beyond_counting_is_never_reached() {
    let wire = follow(b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\nx");
    assert!(wire.in_body());
}

#[test]
fn http2_opens_with_the_preface_and_settings() {
    let settings: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    let opening = [PREFACE, settings].concat();
    for cut in 1..opening.len() {
        let wire = follow(&opening[..cut]);
        assert!(wire.in_head() && wire.is_opening_http2(), "at {cut}");
    }
    let wire = follow(&opening);
    assert!(wire.is_http2() && !wire.in_head());
    let ping = [&opening[..], &[0, 0, 8, 6, 0, 0, 0, 0, 0]].concat();
    assert!(follow(&ping).is_http2());
    assert!(follow(b"PRIVATE / HTTP/1.1\r\nContent-Length: 1\r\n\r\n").in_body());
}

#[test]
fn a_body_behind_a_head_that_was_not_looked_into_is_told() {
    let mut wire = Wire::new();
    feed(&mut wire, b"GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\n");
    assert!(wire.has_unread_head());
    wire.expect_body(Body::Length(5));
    assert!(wire.in_body());
    assert!(!feed(&mut wire, b"hello"));
    assert!(!wire.in_body() && !wire.has_unread_head());

    feed(&mut wire, GET);
    wire.expect_body(Body::Chunked);
    feed(&mut wire, b"1\r\nx\r\n");
    assert!(wire.in_body());
    feed(&mut wire, b"0\r\n\r\n");
    assert!(!wire.in_body());
    wire.expect_body(Body::Length(9));
    assert!(!wire.in_body(), "no head is waiting for it");
}

#[test]
fn a_head_that_is_read_ahead_is_looked_into() {
    let mut wire = Wire::new();
    feed(&mut wire, GET);
    wire.feed_ahead(b"DELETE / HTTP/1.1\r\nContent-Length: 3\r\n\r\n");
    assert!(wire.in_body() && !wire.has_unread_head());
    assert!(!wire.feed_ahead(b"abc"));
    assert!(!wire.in_body() && !wire.in_head());
}

#[test]
fn several_requests_at_once_are_looked_into() {
    let mut wire = Wire::new();
    feed(&mut wire,
        b"GET /a HTTP/1.1\r\n\r\nPOST /b HTTP/1.1\r\nContent-Length: 2\r\n\r\nhiGET /c HTTP/1.1\r\n\r\n",
    );
    assert!(!wire.has_unread_head(), "the body of the second is here");
    wire.expect_body(Body::Length(2));
    assert!(!wire.in_body() && !wire.in_head());

    let mut wire = Wire::new();
    feed(
        &mut wire,
        b"GET /a HTTP/1.1\r\n\r\nPUT /b HTTP/1.1\r\nContent-Length: 2\r\n\r\n",
    );
    assert!(wire.in_body(), "the body of the second is to come");
}

proptest::proptest! {
    #[test]
    fn no_input_makes_it_panic_or_stop(chunks: Vec<Vec<u8>>) {
        let mut wire = Wire::new();
        for chunk in chunks {
            feed(&mut wire, &chunk);
        }
    }

    #[test]
    fn pipelined_requests_end_where_they_end(bodies in proptest::collection::vec(proptest::collection::vec(0u8.., 0..40), 1..8)) {
        let mut input = Vec::new();
        for (n, body) in bodies.iter().enumerate() {
            if n % 2 == 0 {
                input.extend(format!("PUT / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len()).bytes());
                input.extend(body);
            } else {
                input.extend(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
                for piece in body.chunks(7) {
                    input.extend(format!("{:x}\r\n", piece.len()).bytes());
                    input.extend(piece);
                    input.extend(b"\r\n");
                }
                input.extend(b"0\r\n\r\n");
            }
        }
        let wire = follow(&input);
        proptest::prop_assert!(!wire.in_head() && !wire.in_body());
    }
}

#[test]
fn heads_are_counted_wherever_they_are_cut() {
    let post = b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
    let chunked = b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n";
    for (input, heads) in [
        ([GET, GET].concat(), 2),
        ([GET, &post[..], GET].concat(), 3),
        ([GET, &chunked[..]].concat(), 2),
        ([&post[..], chunked, post].concat(), 3),
    ] {
        for cut in 1..input.len() {
            let mut wire = Wire::new();
            feed(&mut wire, &input[..cut]);
            feed(&mut wire, &input[cut..]);
            assert_eq!(wire.heads, heads, "cut at {cut}");
            assert!(!wire.in_body() && !wire.in_head(), "cut at {cut}: {wire:?}");
        }
    }
}

#[test]
fn heads_are_counted_on_from_the_exchanges_between_requests() {
    let mut wire = Wire::new();
    let put = b"PUT / HTTP/1.1\r\nContent-Length: 2\r\n\r\n";
    wire.feed(&[GET, GET, put].concat(), 0);
    wire.feed(b"x", 2);
    assert_eq!(wire.heads, 3, "in a body");
    wire.feed(b"y", 2);
    wire.feed(GET, 2);
    assert_eq!(wire.heads, 3, "one had no exchange");
}

#[test]
fn only_one_head_can_go_unread() {
    for filler in 0..9 {
        let head = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(filler));
        let chunked = b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
        let mut wire = Wire::new();
        feed(&mut wire, head.as_bytes());
        assert!(wire.has_unread_head());
        let bare = b"GET / HTTP/1.1\n\nGET / HTTP/1.1\r\n\r\n";
        for more in [
            head.as_bytes(),
            chunked,
            b"\r\n",
            b"\r\n\r\n",
            b"\n\r\n\r\n",
            bare,
        ] {
            let mut wire = Wire::new();
            feed(&mut wire, &[head.as_bytes(), more].concat());
            assert!(!wire.has_unread_head(), "{filler}");
        }
    }
}

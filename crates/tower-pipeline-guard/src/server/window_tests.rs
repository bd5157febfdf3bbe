use super::*;

const A: &str = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
const B: &str = "GET /b HTTP/1.1\r\nHost: x\r\n\r\n";

fn window(bytes: impl AsRef<[u8]>) -> Window {
    let mut window = Window::default();
    window.receive(bytes.as_ref());
    window
}

fn head(text: &str) -> Request<()> {
    parse(text.as_bytes()).expect("a head").0
}

fn paths(window: &mut Window) -> Vec<String> {
    std::iter::from_fn(|| window.read_ahead())
        .map(|head| head.uri().to_string())
        .collect()
}

#[test]
fn heads_are_read_ahead_once_and_in_order() {
    let mut window = window(format!("{A}{B}{A}"));
    window.dispatched(&head(A));
    assert_eq!(paths(&mut window), ["/b", "/a"]);
    assert_eq!(paths(&mut window), [""; 0]);
    window.dispatched(&head(B));
    window.receive(B.as_bytes());
    assert_eq!(paths(&mut window), ["/b"]);
}

#[test]
fn a_head_may_arrive_byte_by_byte() {
    let mut window = Window::default();
    for byte in format!("{A}{B}").as_bytes() {
        assert_eq!(window.has_next_head(), window.bytes.len() >= A.len());
        window.receive(&[*byte]);
    }
    window.dispatched(&head(A));
    assert!(window.has_next_head());
    assert_eq!(paths(&mut window), ["/b"]);
}

#[test]
fn empty_lines_before_a_head_are_skipped() {
    let mut window = window(format!("\r\n{A}\r\n\r\n{B}\r\n"));
    window.dispatched(&head(A));
    assert_eq!(paths(&mut window), ["/b"]);
    window.dispatched(&head(B));
    assert!(!window.has_next_head());
    assert!(window.is_between_messages());
}

#[test]
fn empty_lines_may_arrive_in_any_number_of_pieces() {
    let lead = "\r\n\r\n\r\n";
    for split in 0..=lead.len() {
        let mut window = window(A);
        window.dispatched(&head(A));
        for piece in [&lead[..split], &lead[split..]] {
            window.receive(piece.as_bytes());
            assert!(!window.has_next_head(), "split at {split}");
        }
        window.receive(B.as_bytes());
        assert!(window.has_next_head());
        window.dispatched(&head(B));
        assert!(!window.has_next_head(), "nothing is left");
        assert_eq!(paths(&mut window), [""; 0]);
    }
}

#[test]
fn a_body_is_stepped_over_and_never_read_as_a_head() {
    let post = format!(
        "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        A.len()
    );
    let all = format!("{post}{A}{B}");
    for split in 0..all.len() {
        let mut window = window(&all[..split]);
        if split < post.len() {
            assert!(!window.has_next_head());
            window.receive(&all.as_bytes()[split..]);
            window.dispatched(&head(&post));
        } else {
            window.dispatched(&head(&post));
            window.receive(&all.as_bytes()[split..]);
        }
        assert_eq!(paths(&mut window), ["/b"], "split at {split}");
    }
}

#[test]
fn what_cannot_be_followed_makes_blind_for_good() {
    for first in [
        "POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
        "GET /w HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    ] {
        let mut window = window(format!("{first}{B}"));
        window.dispatched(&head(first));
        assert_eq!(paths(&mut window), [""; 0], "{first}");
        assert_eq!(window.read_limit(1), usize::MAX);
    }
    let mut lone = window(format!("GET /a HTTP/1.1\nHost: x\n\n{B}"));
    lone.dispatched(&head(A));
    assert_eq!(paths(&mut lone), [""; 0], "hyper takes the lone LF");
    let mut preface = window("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert!(!preface.has_next_head());
    let mut nothing = window("");
    nothing.dispatched(&head(A));
    assert!(
        !nothing.is_between_messages(),
        "dispatched without having been read"
    );
}

#[test]
fn complete_heads_that_wait_are_counted() {
    let mut window = window(format!("\r\n{A}{B}{A}GET /c HT"));
    assert_eq!(window.waiting(), 3);
    window.dispatched(&head(A));
    assert_eq!(window.waiting(), 2);
    window.receive(b"TP/1.1\r\nHost: x\r\n\r");
    assert_eq!(window.waiting(), 2);
    window.receive(b"\n");
    assert_eq!(window.waiting(), 3);

    let post = "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n";
    window.receive(format!("{post}\r\n\r\n{B}").as_bytes());
    for left in [B, A, "GET /c HTTP/1.1\r\nHost: x\r\n\r\n"] {
        window.dispatched(&head(left));
    }
    window.dispatched(&head(post));
    assert_eq!(window.waiting(), 1, "what is left behind the body");
    window.dispatched(&head(B));
    assert_eq!(window.waiting(), 0);
}

#[test]
fn memory_is_bounded() {
    let mut window = window("GET / HTTP/1.1\r\n");
    for _ in 0..100 {
        window.receive(&[b'a'; 1024]);
    }
    assert!(window.bytes.is_empty());
    assert!(!window.is_between_messages());
}

#[test]
fn only_ordinary_safe_requests_overlap() {
    for (fields, expected) in [
        ("Host: x\r\n", true),
        ("Host: x\r\nConnection: keep-alive\r\n", true),
        ("Host: x\r\nConnection: close\r\n", false),
        ("Host: x\r\nConnection: keep-alive, X-Token\r\n", false),
        ("Host: x\r\nUpgrade: h2c\r\n", false),
        ("Host: x\r\nExpect: 100-continue\r\n", false),
        ("Host: x\r\nContent-Length: 0\r\n", false),
        ("Host: x\r\nTransfer-Encoding: chunked\r\n", false),
        ("Host: x\r\nTE: trailers\r\n", false),
        ("Host: x\r\nHost: x\r\n", false),
        ("X: x\r\n", false),
    ] {
        let head = head(&format!("GET / HTTP/1.1\r\n{fields}\r\n"));
        assert_eq!(Seen::of(&head).may_overlap, expected, "{fields:?}");
    }
    for (method, expected) in [
        ("GET", true),
        ("HEAD", true),
        ("OPTIONS", true),
        ("TRACE", false),
        ("PUT", false),
        ("get", false),
        ("PURGE", false),
    ] {
        let head = head(&format!("{method} / HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert_eq!(Seen::of(&head).may_overlap, expected, "{method}");
    }
    assert!(parse(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n").is_none());
}

#[test]
fn a_head_is_the_same_only_with_every_field_in_order() {
    let one = head("GET /a HTTP/1.1\r\nHost: x\r\nX: 1\r\nY: 2\r\n\r\n");
    assert!(same_head(&one, &one.clone()));
    for other in [
        "GET /b HTTP/1.1\r\nHost: x\r\nX: 1\r\nY: 2\r\n\r\n",
        "HEAD /a HTTP/1.1\r\nHost: x\r\nX: 1\r\nY: 2\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: x\r\nX: 1\r\nY: 3\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: x\r\nY: 2\r\nX: 1\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: x\r\nX: 1\r\nY: 2\r\nY: 2\r\n\r\n",
    ] {
        assert!(!same_head(&one, &head(other)), "{other}");
    }
}

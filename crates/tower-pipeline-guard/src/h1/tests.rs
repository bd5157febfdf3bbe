use bytes::BytesMut;
use http::Method;

use super::*;

/// What a stream decodes to: text for each event, in order, and the bytes left over.
fn decode(method: &Method, pieces: &[&[u8]], ends: bool) -> (Vec<String>, BytesMut) {
    let mut decoder = Decoder::new(Limits::default());
    decoder.expect(method);
    let mut input = BytesMut::new();
    let mut events = Vec::new();
    let mut data = Vec::new();
    let mut note = |event, data: &mut Vec<u8>| {
        if let Event::Data(more) = event {
            return data.extend_from_slice(&more);
        }
        if !data.is_empty() {
            events.push(format!(
                "data {}",
                String::from_utf8_lossy(&std::mem::take(data))
            ));
        }
        events.push(match event {
            Event::Informational(response) => format!("informational {}", response.status()),
            Event::Head(head) => format!(
                "head {} {:?} persistent {} tunnel {}",
                head.response.status(),
                head.framing,
                head.persistent,
                head.tunnel
            ),
            Event::Trailers(trailers) => format!("trailers {trailers:?}"),
            Event::End => "end".to_owned(),
            Event::Data(_) => unreachable!(),
        });
    };
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut input) {
                Ok(Some(event)) => note(event, &mut data),
                Ok(None) => break,
                Err(error) => {
                    events.push(format!("{error:?}"));
                    return (events, BytesMut::new());
                }
            }
        }
    }
    if ends {
        match decoder.finish() {
            Ok(Some(event)) => note(event, &mut data),
            Ok(None) => {}
            Err(error) => events.push(format!("{error:?}")),
        }
    }
    (events, input)
}

const STREAMS: [(&str, bool); 14] = [
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nONEHTTP/1.1",
        false,
    ),
    ("HTTP/1.1 204 No Content\r\n\r\n", false),
    (
        "HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        false,
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nX: 1\r\n\r\nH",
        false,
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        false,
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nuntil the end",
        true,
    ),
    ("HTTP/1.0 200 OK\r\n\r\nuntil the end", true),
    (
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx",
        true,
    ),
    ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nON", true),
    ("HTTP/1.1 200 OK\r\nContent-Le", true),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcX\r\n",
        false,
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: 1\n\r\n",
        false,
    ),
    ("HTTP/1.1 101 Switching Protocols\r\n\r\n", false),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        false,
    ),
];

#[test]
fn where_a_stream_is_split_changes_nothing() {
    for (stream, ends) in STREAMS {
        let stream = stream.as_bytes();
        let (whole, left) = decode(&Method::GET, &[stream], ends);
        assert!(!whole.is_empty());
        for at in 0..=stream.len() {
            let (split, rest) = decode(&Method::GET, &[&stream[..at], &stream[at..]], ends);
            assert_eq!((&split, &rest), (&whole, &left), "split at {at}");
        }
        let bytes: Vec<_> = stream.chunks(1).collect();
        assert_eq!(decode(&Method::GET, &bytes, ends), (whole, left));
    }
}

#[test]
fn events_are_those_of_the_message() {
    let (events, left) = decode(&Method::GET, &[STREAMS[3].0.as_bytes()], false);
    assert_eq!(
        events,
        [
            "head 200 OK Chunked persistent true tunnel false",
            "data abc0123456789",
            "trailers {\"x\": \"1\"}",
            "end"
        ]
    );
    assert_eq!(left, "H");
    assert_eq!(
        decode(&Method::GET, &[STREAMS[8].0.as_bytes()], true)
            .0
            .last()
            .map(String::as_str),
        Some("IncompleteBody")
    );
}

#[test]
fn the_request_decides_about_the_body() {
    let stream = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nONE";
    let (events, left) = decode(&Method::HEAD, &[stream], false);
    assert_eq!(
        events,
        ["head 200 OK Empty persistent true tunnel false", "end"]
    );
    assert_eq!(left, "ONE");
    let (events, left) = decode(&Method::CONNECT, &[stream], false);
    assert_eq!(
        events,
        ["head 200 OK Empty persistent false tunnel true", "end"]
    );
    assert_eq!(left, "ONE");
}

#[test]
fn a_connection_is_not_reused_on_doubtful_options() {
    for (fields, persistent) in [
        ("HTTP/1.1 200 OK\r\n", true),
        ("HTTP/1.1 200 OK\r\nConnection: x, y\r\n", true),
        ("HTTP/1.1 200 OK\r\nConnection: x, Close\r\n", false),
        ("HTTP/1.1 200 OK\r\nConnection: \u{e9}\r\n", false),
        ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", true),
        (
            "HTTP/1.0 200 OK\r\nConnection: \u{e9}, keep-alive\r\n",
            false,
        ),
    ] {
        let stream = format!("{fields}Content-Length: 0\r\n\r\n");
        let (events, _) = decode(&Method::GET, &[stream.as_bytes()], false);
        assert_eq!(
            events[0],
            format!("head 200 OK Length(0) persistent {persistent} tunnel false"),
            "{fields}"
        );
    }
}

#[test]
fn everything_has_a_cap() {
    let long = "a".repeat(70_000);
    let many = "X: 1\r\n".repeat(101);
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let extensions = format!("1;{}\r\nx\r\n", "e".repeat(9_000)).repeat(2);
    for (stream, error) in [
        (format!("HTTP/1.1 200 OK\r\nX: {long}"), "HeadTooLarge"),
        (format!("HTTP/1.1 200 OK\r\n{many}\r\n"), "TooManyFields"),
        (
            "HTTP/1.1 100 Continue\r\n\r\n".repeat(17),
            "TooManyInformational",
        ),
        (format!("{chunked}1;{long}"), "ChunkExtensions"),
        (format!("{chunked}{extensions}"), "ChunkExtensions"),
        (format!("{chunked}0\r\nX: {long}"), "Trailers"),
        (format!("{chunked}0\r\n{many}\r\n"), "Trailers"),
        (format!("{chunked}10000000000000000\r\n"), "ChunkSize"),
        (format!("{chunked}\r\n"), "ChunkSize"),
    ] {
        let (events, _) = decode(&Method::GET, &[stream.as_bytes()], false);
        assert_eq!(events.last().map(String::as_str), Some(error));
    }
}

#[test]
fn requests_are_written_with_one_host_and_one_framing() {
    let encode = |request: http::Request<()>, framing| {
        let mut output = BytesMut::new();
        let result = super::super::encode_head(&request.into_parts().0, framing, &mut output);
        assert!(result.is_ok() || output.is_empty(), "nothing half-written");
        result.map(|()| String::from_utf8(output.to_vec()).expect("ASCII"))
    };
    use super::super::EncodeError;
    let request = http::Request::post("http://user@h:1/p?q")
        .header("transfer-encoding", "gzip")
        .header("x", "1");
    assert_eq!(
        encode(request.body(()).expect("a request"), BodyFraming::Length(3)).as_deref(),
        Ok("POST /p?q HTTP/1.1\r\nhost: h:1\r\nx: 1\r\ncontent-length: 3\r\n\r\n")
    );
    let request = http::Request::get("/")
        .header("host", "a")
        .header("host", "b");
    assert_eq!(
        encode(request.body(()).expect("a request"), BodyFraming::Empty),
        Err(EncodeError::Host)
    );
    let request = http::Request::put("http://h/").header("content-length", "4");
    assert_eq!(
        encode(request.body(()).expect("a request"), BodyFraming::Length(3)),
        Err(EncodeError::Length)
    );
    assert_eq!(
        encode(
            http::Request::get("/").body(()).expect("a request"),
            BodyFraming::Empty
        ),
        Err(EncodeError::Host)
    );
    assert_eq!(
        encode(
            http::Request::put("http://h").body(()).expect("a request"),
            BodyFraming::Empty
        )
        .as_deref(),
        Ok("PUT / HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n")
    );
}

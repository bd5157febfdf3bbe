//! The raw stream against bytes whose reading is known from RFC 9112.

use std::time::Duration;

use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::task::yield_now;
use tower_conn_testkit::raw::{Ended, Framing, RawClient, RawError, RawStream};

/// A client that finds these bytes, then a FIN.
async fn client(bytes: impl AsRef<[u8]>) -> RawClient<DuplexStream> {
    let (mut far, near) = duplex(1 << 20);
    far.write_all(bytes.as_ref()).await.unwrap();
    drop(far);
    RawClient::over(near)
}

#[tokio::test]
async fn a_response_is_kept_byte_by_byte() {
    let bytes =
        b"HTTP/1.1 200 All  fine\r\nX-A:  one \r\nx-a: \xfftwo\r\nContent-Length: 3\r\n\r\nabcrest";
    let mut client = client(bytes).await;
    let response = client.read_response("GET").await.unwrap();

    assert_eq!(response.version, "HTTP/1.1");
    assert_eq!(
        (response.status, response.reason.as_str()),
        (200, "All  fine")
    );
    let lines: Vec<_> = response.fields.iter().collect();
    assert_eq!(
        lines,
        [
            (&b"X-A"[..], &b"one"[..]),
            (b"x-a", b"\xfftwo"),
            (b"Content-Length", b"3")
        ]
    );
    assert_eq!(response.fields.all("X-a").len(), 2);
    assert_eq!(response.framing, Framing::Length(3));
    assert_eq!(response.body, "abc");
    assert!(response.complete);
    assert_eq!(response.raw, bytes[..bytes.len() - 4].to_vec());
    assert_eq!(client.unread(), b"rest");
}

#[tokio::test]
async fn framing_follows_the_method_and_the_status() {
    for (method, head, framing) in [
        ("GET", "200 OK\r\nContent-Length: 0", Framing::Length(0)),
        ("HEAD", "200 OK\r\nContent-Length: 9", Framing::None),
        (
            "HEAD",
            "200 OK\r\nTransfer-Encoding: chunked",
            Framing::None,
        ),
        (
            "GET",
            "304 Not Modified\r\nContent-Length: 9",
            Framing::None,
        ),
        ("GET", "204 No Content", Framing::None),
        ("GET", "100 Continue", Framing::None),
        (
            "GET",
            "101 Switching Protocols\r\nUpgrade: a",
            Framing::None,
        ),
        ("CONNECT", "200 OK\r\nContent-Length: 9", Framing::None),
        ("CONNECT", "407 No\r\nContent-Length: 0", Framing::Length(0)),
        ("GET", "200 OK", Framing::UntilClose),
        (
            "GET",
            "200 OK\r\nTransfer-Encoding: gzip",
            Framing::UntilClose,
        ),
        (
            "GET",
            "200 OK\r\nContent-Length: 2, 2\r\nContent-Length: 2",
            Framing::Length(2),
        ),
    ] {
        let tail = if matches!(framing, Framing::Length(2)) {
            "ab"
        } else {
            ""
        };
        let mut client = client(format!("HTTP/1.1 {head}\r\n\r\n{tail}")).await;
        let response = client.read_response(method).await.unwrap();
        assert_eq!(response.framing, framing, "{method} {head}");
        assert!(response.complete, "{method} {head}");
    }
}

#[tokio::test]
async fn chunks_and_trailers_are_told_apart() {
    let mut client = client(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
         3;note=x\r\nabc\r\nA \r\n0123456789\r\n0\r\nX-Sum: 1\r\nx-sum: 2\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    )
    .await;
    let response = client.read_response("GET").await.unwrap();
    assert_eq!(response.framing, Framing::Chunked);
    assert_eq!(response.chunks, [3, 10]);
    assert_eq!(response.text(), "abc0123456789");
    assert_eq!(response.trailers.all("x-sum"), [b"1", b"2"]);
    assert_eq!(client.read_response("GET").await.unwrap().status, 204);
}

#[tokio::test]
async fn a_body_cut_short_is_not_complete() {
    for (tail, body) in [
        ("Content-Length: 5\r\n\r\nabc", "abc"),
        ("Transfer-Encoding: chunked\r\n\r\n5\r\nabc", "abc"),
        ("Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "abc"),
        ("Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", "abc"),
    ] {
        let response = client(format!("HTTP/1.1 200 OK\r\n{tail}"))
            .await
            .read_response("GET")
            .await
            .unwrap();
        assert!(!response.complete, "{tail}");
        assert_eq!(response.text(), body, "{tail}");
    }
}

#[tokio::test]
async fn what_is_not_http_is_an_error_and_loses_nothing() {
    for bytes in [
        "HTTP/1.1 200 OK\n\n",
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 2x0 OK\r\n\r\n",
        "SSH-2.0-a\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    ] {
        let error = client(bytes).await.read_response("GET").await.unwrap_err();
        let RawError::Malformed { unread, .. } = error else {
            panic!("{bytes:?}: {error}");
        };
        assert_eq!(unread, bytes, "all of it is in the error");
    }
}

#[tokio::test]
async fn the_end_before_a_head_is_an_error_of_its_own() {
    let error = client("").await.read_response("GET").await.unwrap_err();
    assert_eq!(error.ended(), Some(Ended::Fin));
    let error = client("HTTP/1.1 2")
        .await
        .read_response("GET")
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "connection ended (Fin) with b\"HTTP/1.1 2\" unread"
    );
}

#[tokio::test(start_paused = true)]
async fn a_deadline_loses_nothing() {
    let (far, near) = duplex(1024);
    let mut far = RawStream::over(far);
    let mut near = RawClient::over(near).deadline(Duration::from_millis(20));
    for part in ["HTTP/1.1 200 OK\r\nContent-", "Length: 6\r\n\r\nabc"] {
        far.send(part).await.unwrap();
        assert!(near.read_response("GET").await.unwrap_err().is_timeout());
    }
    far.send("defHTTP/1.1 204 No").await.unwrap();
    assert_eq!(near.read_response("GET").await.unwrap().text(), "abcdef");
    assert_eq!(near.unread(), b"HTTP/1.1 204 No");
    assert_eq!(near.ended(Duration::from_millis(5)).await, Ended::Open);
}

#[tokio::test]
async fn a_request_is_read_by_its_head_and_then_whole() {
    let mut stream =
        client("PUT /x HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n\r\n").await;
    let head = stream.read_request_head().await.unwrap();
    assert_eq!((head.method.as_str(), head.target.as_str()), ("PUT", "/x"));
    assert!(!head.complete && head.body.is_empty());
    let whole = stream.read_request().await.unwrap();
    assert_eq!((whole.method.as_str(), whole.text()), ("PUT", "abc"));
    let next = stream.read_request_head().await.unwrap();
    assert!(next.complete, "no body to wait for");
    assert_eq!(next.framing, Framing::None);
}

#[tokio::test]
async fn lines_without_end_are_bounded() {
    for start in [
        "",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
    ] {
        let (far, near) = duplex(1 << 16);
        let mut far = RawStream::over(far);
        let endless = tokio::spawn(async move {
            far.send(start).await?;
            loop {
                far.send([b'a'; 4096]).await?;
            }
            #[expect(unreachable_code, reason = "gives the block its type")]
            Ok::<(), RawError>(())
        });
        let mut near = RawClient::over(near);
        let error = near.read_response("GET").await.unwrap_err();
        assert!(
            matches!(error, RawError::TooLarge { cap: 1_048_576 }),
            "{error}"
        );
        drop(near);
        assert!(endless.await.unwrap().is_err());
    }
}

#[tokio::test]
async fn the_cap_bounds_what_is_kept() {
    let (mut far, near) = duplex(1 << 20);
    far.write_all(&[b'a'; 200_000]).await.unwrap();
    let error = RawClient::over(near)
        .cap(50_000)
        .read_response("GET")
        .await
        .unwrap_err();
    assert!(
        matches!(error, RawError::TooLarge { cap: 50_000 }),
        "{error}"
    );
}

#[tokio::test]
async fn a_split_write_arrives_in_its_parts() {
    let (far, near) = duplex(1024);
    let reader = tokio::spawn(async move {
        let mut near = near;
        let mut parts = Vec::new();
        let mut buf = [0; 64];
        loop {
            match tokio::io::AsyncReadExt::read(&mut near, &mut buf)
                .await
                .unwrap()
            {
                0 => return parts,
                count => parts.push(String::from_utf8_lossy(&buf[..count]).into_owned()),
            }
        }
    });
    let mut far = RawStream::over(far);
    far.send_split("abcdef", &[2, 2, 5]).await.unwrap();
    yield_now().await;
    far.send_each_byte("xyz").await.unwrap();
    far.half_close().await.unwrap();
    assert_eq!(reader.await.unwrap(), ["ab", "cde", "f", "x", "y", "z"]);
}

#[test]
#[should_panic(expected = "2 lines named \"a\"")]
fn the_first_of_several_lines_is_never_taken_for_the_only_one() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let response = runtime.unwrap().block_on(async {
        client("HTTP/1.1 204 No\r\nA: 1\r\na: 2\r\n\r\n")
            .await
            .read_response("GET")
            .await
            .unwrap()
    });
    let _ = response.fields.get("a");
}

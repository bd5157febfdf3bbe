use http::{HeaderName, HeaderValue};

use super::*;

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields
        .iter()
        .map(|&(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        })
        .fold(HeaderMap::new(), |mut map, (name, value)| {
            map.append(name, value);
            map
        })
}

fn request(fields: &[(&'static str, &'static str)]) -> Result<BodyFraming, FramingError> {
    request_framing(Version::HTTP_11, &headers(fields))
}

fn response(
    method: &Method,
    status: u16,
    fields: &[(&'static str, &'static str)],
) -> Result<BodyFraming, FramingError> {
    let status = StatusCode::from_u16(status).expect("a status");
    response_framing(method, status, Version::HTTP_11, &headers(fields))
}

#[test]
fn a_request_without_framing_fields_has_no_body() {
    assert_eq!(request(&[]), Ok(BodyFraming::Empty));
    assert_eq!(
        request(&[("content-length", "0")]),
        Ok(BodyFraming::Length(0))
    );
}

#[test]
fn transfer_encoding_wins_over_content_length() {
    let fields = [("content-length", "10"), ("transfer-encoding", "Chunked")];
    assert_eq!(request(&fields), Ok(BodyFraming::Chunked));
    assert!(has_both(&headers(&fields)));
}

#[test]
fn a_request_must_end_in_chunked() {
    let gzip_last = [
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", "gzip"),
    ];
    assert_eq!(request(&gzip_last), Err(FramingError::ChunkedNotLast));
    assert_eq!(
        response(&Method::GET, 200, &gzip_last),
        Ok(BodyFraming::Close)
    );
    assert_eq!(
        request(&[("transfer-encoding", "chunked, chunked")]),
        Err(FramingError::ChunkedTwice)
    );
    assert_eq!(
        request(&[("transfer-encoding", "gzip, chunked")]),
        Ok(BodyFraming::Chunked)
    );
    assert_eq!(
        request(&[("transfer-encoding", "xchunked")]),
        Err(FramingError::ChunkedNotLast)
    );
}

#[test]
fn a_list_of_codings_that_others_end_elsewhere_is_refused() {
    for bad in [
        &b""[..],
        b"chunked,",
        b"gzip,, chunked",
        b"gzip\xff, chunked",
        b"gz ip, chunked",
        b"gzip;a=\xff, chunked",
        b"gzip;a=\"b, chunked",
    ] {
        let mut map = HeaderMap::new();
        let value = HeaderValue::from_bytes(bad).expect("a field value");
        map.append(TRANSFER_ENCODING, value);
        assert_eq!(
            request_framing(Version::HTTP_11, &map),
            Err(FramingError::InvalidCoding),
            "{bad:?}"
        );
    }
    assert_eq!(
        request(&[("transfer-encoding", "gzip ; q=1,\tchunked")]),
        Ok(BodyFraming::Chunked)
    );
}

#[test]
fn http10_has_no_transfer_codings() {
    let map = headers(&[("transfer-encoding", "chunked")]);
    assert_eq!(
        request_framing(Version::HTTP_10, &map),
        Err(FramingError::CodingInHttp10)
    );
}

#[test]
fn lengths_are_plain_decimals_and_agree() {
    assert_eq!(
        request(&[("content-length", "5, 5")]),
        Ok(BodyFraming::Length(5))
    );
    assert_eq!(
        request(&[("content-length", "5"), ("content-length", "6")]),
        Err(FramingError::ConflictingLengths)
    );
    assert_eq!(
        request(&[("content-length", "18446744073709551615")]),
        Ok(BodyFraming::Length(u64::MAX))
    );
    for bad in [
        "",
        ",",
        "+5",
        "-1",
        "0x5",
        "5 5",
        "18446744073709551616",
        "5, x",
        "5,",
        ", 5",
        "5,,5",
    ] {
        assert_eq!(
            request(&[("content-length", bad)]),
            Err(FramingError::InvalidLength),
            "{bad}"
        );
    }
}

#[test]
fn some_responses_never_have_a_body() {
    let length = [("content-length", "99")];
    assert_eq!(
        response(&Method::HEAD, 200, &length),
        Ok(BodyFraming::Empty)
    );
    assert_eq!(
        response(&Method::CONNECT, 200, &length),
        Ok(BodyFraming::Empty)
    );
    for status in [101, 103, 204, 304] {
        assert_eq!(
            response(&Method::GET, status, &length),
            Ok(BodyFraming::Empty),
            "{status}"
        );
    }
    assert_eq!(
        response(&Method::CONNECT, 407, &length),
        Ok(BodyFraming::Length(99))
    );
    assert_eq!(response(&Method::GET, 200, &[]), Ok(BodyFraming::Close));
    assert!(!BodyFraming::Close.is_self_delimited());
}

#[test]
fn http2_bodies_end_with_their_stream() {
    assert_eq!(
        request_framing(Version::HTTP_2, &headers(&[])),
        Ok(BodyFraming::Stream)
    );
    let length = headers(&[("content-length", "3")]);
    assert_eq!(
        request_framing(Version::HTTP_2, &length),
        Ok(BodyFraming::Length(3))
    );
}

//! Requests as bytes.

use std::fmt;

use bytes::{BufMut, BytesMut};
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method};
use tower_conn_core::framing::BodyFraming;

/// The request cannot be sent as HTTP/1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EncodeError {
    /// The target has a byte that would end it, or the line.
    Target,
    /// CONNECT without an authority.
    Authority,
    /// There is neither a `Host` field nor an authority in the URI, or there are several fields.
    Host,
    /// A `Content-Length` that is not the length of the body.
    Length,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Target => "the request target has a byte that is not allowed there",
            Self::Authority => "CONNECT needs an authority as its target",
            Self::Host => "a request needs exactly one Host field, or an authority in its URI",
            Self::Length => "Content-Length is not the length of the body",
        })
    }
}

impl std::error::Error for EncodeError {}

/// Appends the head of an HTTP/1.1 request.
///
/// The target is in origin form, for CONNECT in authority form. `Host` comes first, from the field or
/// else from the URI. The framing fields are written from `framing` alone; a `Content-Length` in the
/// request has to agree with it. The version of the request is not looked at.
///
/// # Errors
///
/// [`EncodeError`]; then nothing is appended.
pub fn encode_head(
    parts: &Parts,
    framing: BodyFraming,
    output: &mut BytesMut,
) -> Result<(), EncodeError> {
    let start = output.len();
    let result = try_encode(parts, framing, output);
    if result.is_err() {
        output.truncate(start);
    }
    result
}

fn try_encode(
    parts: &Parts,
    framing: BodyFraming,
    output: &mut BytesMut,
) -> Result<(), EncodeError> {
    let target = target(parts)?;
    if target.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return Err(EncodeError::Target);
    }
    output.reserve(64 + target.len() + parts.headers.len() * 48);
    output.put_slice(parts.method.as_str().as_bytes());
    output.put_u8(b' ');
    output.put_slice(target.as_bytes());
    output.put_slice(b" HTTP/1.1\r\n");
    field(output, &HOST, host(parts)?);
    for (name, value) in &parts.headers {
        if name == CONTENT_LENGTH {
            check_length(value.as_bytes(), framing)?;
        } else if name != HOST && name != TRANSFER_ENCODING {
            field(output, name, value.as_bytes());
        }
    }
    match framing {
        BodyFraming::Length(length) => {
            field(output, &CONTENT_LENGTH, length.to_string().as_bytes());
        }
        BodyFraming::Chunked => field(output, &TRANSFER_ENCODING, b"chunked"),
        // A method for which a body is usual says that it has none (RFC 9110 section 8.6).
        BodyFraming::Empty if expects_body(&parts.method) => field(output, &CONTENT_LENGTH, b"0"),
        BodyFraming::Empty | BodyFraming::Close | BodyFraming::Stream => {}
    }
    output.put_slice(b"\r\n");
    Ok(())
}

fn field(output: &mut BytesMut, name: &HeaderName, value: &[u8]) {
    output.put_slice(name.as_str().as_bytes());
    output.put_slice(b": ");
    output.put_slice(value);
    output.put_slice(b"\r\n");
}

fn target(parts: &Parts) -> Result<&str, EncodeError> {
    if parts.method == Method::CONNECT {
        return parts
            .uri
            .authority()
            .map(http::uri::Authority::as_str)
            .ok_or(EncodeError::Authority);
    }
    Ok(match parts.uri.path_and_query() {
        Some(target) if !target.as_str().is_empty() => target.as_str(),
        _ => "/",
    })
}

fn host(parts: &Parts) -> Result<&[u8], EncodeError> {
    let mut fields = parts.headers.get_all(HOST).iter();
    match (fields.next(), fields.next()) {
        (Some(host), None) => Ok(host.as_bytes()),
        (None, _) => parts
            .uri
            .authority()
            // What stands before the @ is not for the wire (RFC 9110 section 4.2.4).
            .map(|authority| authority.as_str().rsplit('@').next().unwrap_or_default())
            .map(str::as_bytes)
            .ok_or(EncodeError::Host),
        (Some(_), Some(_)) => Err(EncodeError::Host),
    }
}

fn check_length(value: &[u8], framing: BodyFraming) -> Result<(), EncodeError> {
    let length = match framing {
        BodyFraming::Length(length) => length,
        BodyFraming::Empty => 0,
        _ => return Err(EncodeError::Length),
    };
    if value == length.to_string().as_bytes() {
        Ok(())
    } else {
        Err(EncodeError::Length)
    }
}

fn expects_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

/// Appends one chunk of a body in the chunked coding; nothing for no data, which would end the body.
pub fn encode_chunk(data: &[u8], output: &mut BytesMut) {
    if data.is_empty() {
        return;
    }
    output.put_slice(format!("{:X}\r\n", data.len()).as_bytes());
    output.put_slice(data);
    output.put_slice(b"\r\n");
}

/// Appends the end of a body in the chunked coding, with the fields of its trailer section.
pub fn encode_last_chunk(trailers: &HeaderMap, output: &mut BytesMut) {
    output.put_slice(b"0\r\n");
    for (name, value) in trailers {
        field(output, name, value.as_bytes());
    }
    output.put_slice(b"\r\n");
}

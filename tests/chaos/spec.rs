//! What an exchange is to be: both ends read it from the request target.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::rng::Rng;

/// One exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spec {
    pub(crate) id: u64,
    pub(crate) method: &'static str,
    /// How long the request body is, if there is one.
    pub(crate) upload: Option<usize>,
    pub(crate) upload_chunked: bool,
    pub(crate) length: usize,
    pub(crate) chunked: bool,
    /// How long the upstream works.
    pub(crate) wait: Duration,
    /// The upstream closes the connection after its response, and says so.
    pub(crate) close: bool,
}

impl Spec {
    pub(crate) fn random(id: u64, rng: &mut Rng) -> Self {
        let method = rng.pick(&["GET", "GET", "GET", "HEAD", "DELETE", "POST", "POST", "PUT"]);
        let upload = matches!(method, "POST" | "PUT").then(|| rng.size(32 << 10) as usize);
        Self {
            id,
            method,
            upload,
            upload_chunked: rng.percent(50),
            length: rng.size(32 << 10) as usize,
            chunked: rng.percent(50),
            wait: Duration::from_millis(if rng.percent(70) { 0 } else { rng.size(30) }),
            close: rng.percent(3),
        }
    }

    /// A GET that is answered at once, with little.
    pub(crate) fn small(id: u64) -> Self {
        Self {
            id,
            method: "GET",
            upload: None,
            upload_chunked: false,
            length: 20,
            chunked: false,
            wait: Duration::ZERO,
            close: false,
        }
    }

    /// Where an HTTP/1 request with this spec goes, and with which id in its fields.
    pub(crate) fn head(&self, version: &str, connection: &str) -> String {
        let mut head = format!(
            "{} {self} HTTP/{version}\r\nHost: chaos\r\nX-Id: {}\r\n{connection}",
            self.method, self.id
        );
        match self.upload {
            Some(_) if self.upload_chunked => head += "Transfer-Encoding: chunked\r\n",
            Some(length) => head += &format!("Content-Length: {length}\r\n"),
            None => {}
        }
        head + "\r\n"
    }

    /// The request body with its framing.
    pub(crate) fn framed_upload(&self) -> Vec<u8> {
        let Some(length) = self.upload else {
            return Vec::new();
        };
        let body = upload(self.id, length);
        if !self.upload_chunked {
            return body;
        }
        let mut framed = Vec::new();
        for chunk in body.chunks(5000) {
            framed.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            framed.extend_from_slice(chunk);
            framed.extend_from_slice(b"\r\n");
        }
        framed.extend_from_slice(b"0\r\n\r\n");
        framed
    }
}

/// The response body of this id.
pub(crate) fn download(id: u64, length: usize) -> Vec<u8> {
    repeated(&format!("{id:016x}."), length)
}

/// The request body of this id.
pub(crate) fn upload(id: u64, length: usize) -> Vec<u8> {
    repeated(&format!("{id:016x}!"), length)
}

fn repeated(text: &str, length: usize) -> Vec<u8> {
    text.bytes().cycle().take(length).collect()
}

// ===== the request target =====

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "/{}/{}/{}/{}/{}/{}",
            self.id,
            self.upload.map_or(-1, |length| length as i64),
            self.length,
            u8::from(self.chunked),
            self.wait.as_millis(),
            u8::from(self.close)
        )
    }
}

impl FromStr for Spec {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let numbers: Result<Vec<i64>, _> = text.split('/').skip(1).map(str::parse).collect();
        let [id, upload, length, chunked, wait, close] = numbers.map_err(drop)?[..] else {
            return Err(());
        };
        Ok(Self {
            id: id as u64,
            method: "",
            upload: usize::try_from(upload).ok(),
            upload_chunked: false,
            length: length as usize,
            chunked: chunked == 1,
            wait: Duration::from_millis(wait as u64),
            close: close == 1,
        })
    }
}

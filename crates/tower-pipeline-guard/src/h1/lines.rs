//! Where a head ends.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// A line ends in LF without CR: where the head ends depends on who reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LoneLf;

/// Looks for the empty line that ends a head, and remembers how far it got.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HeadEnd {
    /// The start of the line that is not complete yet.
    line: usize,
}

impl HeadEnd {
    /// The number of bytes up to and including the empty line; `None` if it has not come yet.
    pub(crate) fn find(&mut self, bytes: &[u8]) -> Result<Option<usize>, LoneLf> {
        let from = self.line;
        for at in memchr::memchr_iter(b'\n', &bytes[from..]) {
            let newline = from + at;
            if newline == self.line || bytes[newline - 1] != b'\r' {
                return Err(LoneLf);
            }
            if newline == self.line + 1 {
                return Ok(Some(newline + 1));
            }
            self.line = newline + 1;
        }
        Ok(None)
    }
}

static EMPTY_LINE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\n\r\n"));
static LONE_LF: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\n\n"));

/// Looks for the end of the next request head, as a server does that skips empty lines before it
/// (RFC 9112 section 2.2), and remembers how far it got.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NextHead {
    /// The empty lines, complete or not, before the head.
    empty: usize,
    seen: usize,
}

impl NextHead {
    /// A search that begins after `skip` bytes.
    pub(crate) const fn after(skip: usize) -> Self {
        Self {
            empty: skip,
            seen: skip,
        }
    }

    /// The number of bytes up to and including the empty line that ends the head; `None` if it has not
    /// come yet. An error if a lone LF ends it, or begins an empty line: then it depends on who reads.
    pub(crate) fn find(&mut self, bytes: &[u8]) -> Result<Option<usize>, LoneLf> {
        if self.empty == self.seen {
            let line_end = |byte: &&u8| matches!(byte, b'\r' | b'\n');
            self.empty += bytes[self.empty..].iter().take_while(line_end).count();
        }
        let from = self.empty.max(self.seen.saturating_sub(2));
        let rest = &bytes[from..];
        let end = EMPTY_LINE.find(rest).map(|at| at + 3);
        let head = &rest[..end.unwrap_or(rest.len())];
        if LONE_LF.find(head).is_some() {
            return Err(LoneLf);
        }
        self.seen = from + head.len();
        Ok(end.map(|end| from + end))
    }
}

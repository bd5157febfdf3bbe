//! Where a head ends.

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
    /// A search that begins after `skip` bytes.
    pub(crate) const fn after(skip: usize) -> Self {
        Self { line: skip }
    }

    pub(crate) const fn is_new(self) -> bool {
        self.line == 0
    }

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

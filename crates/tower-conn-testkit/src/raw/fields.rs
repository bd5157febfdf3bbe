use std::fmt;

use bytes::Bytes;

/// Header or trailer lines in the order and spelling of the wire.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Fields(Vec<(Bytes, Bytes)>);

impl Fields {
    pub(crate) fn push(&mut self, name: Bytes, value: Bytes) {
        self.0.push((name, value));
    }

    /// The number of lines.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no line at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Name and value of each line, in wire order and with the spelling of the wire.
    /// Optional whitespace around the value is gone; everything else is untouched.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(name, value)| (&name[..], &value[..]))
    }

    /// The names of all lines, lower-cased, in wire order.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.iter().map(|(name, _)| lower(name)).collect()
    }

    /// The values of every line with this name (any case), in wire order.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&[u8]> {
        self.iter()
            .filter(|(candidate, _)| candidate.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
            .collect()
    }

    /// The value of the only line with this name.
    ///
    /// # Panics
    ///
    /// When there is more than one such line, since a test that reads the first of several
    /// checks less than it says. Use [`Fields::all`] where several are expected.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let all = self.all(name);
        assert!(
            all.len() < 2,
            "{} lines named {name:?} where at most one was expected: {self:?}",
            all.len()
        );
        all.first().copied()
    }

    /// [`Fields::get`] as text, each byte one `char` (Latin-1).
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name)
            .map(|value| value.iter().copied().map(char::from).collect())
    }

    /// Whether any line has this name (any case).
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    /// The members of a comma-separated list over all lines with this name, lower-cased, without
    /// empty ones: `tokens("connection")`.
    #[must_use]
    pub fn tokens(&self, name: &str) -> Vec<String> {
        self.all(name)
            .iter()
            .flat_map(|value| value.split(|&byte| byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|token| !token.is_empty())
            .map(lower)
            .collect()
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(
                self.iter().map(|(name, value)| {
                    format!("{}: {}", name.escape_ascii(), value.escape_ascii())
                }),
            )
            .finish()
    }
}

fn lower(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| char::from(byte.to_ascii_lowercase()))
        .collect()
}

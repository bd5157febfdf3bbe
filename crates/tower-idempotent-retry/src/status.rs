//! A set of status codes.

use http::StatusCode;

/// A set of status codes, as a bit for each of 100 to 999.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StatusSet([u64; 15]);

impl StatusSet {
    const fn place(status: u16) -> (usize, u64) {
        let index = status.saturating_sub(100);
        ((index / 64) as usize, 1 << (index % 64))
    }

    pub(crate) const fn contains(&self, status: StatusCode) -> bool {
        let (word, bit) = Self::place(status.as_u16());
        word < self.0.len() && self.0[word] & bit != 0
    }

    pub(crate) const fn of(statuses: &[StatusCode]) -> Self {
        let mut set = Self([0; 15]);
        let mut at = 0;
        while at < statuses.len() {
            let (word, bit) = Self::place(statuses[at].as_u16());
            if word < set.0.len() {
                set.0[word] |= bit;
            }
            at += 1;
        }
        set
    }
}

impl FromIterator<StatusCode> for StatusSet {
    fn from_iter<I: IntoIterator<Item = StatusCode>>(statuses: I) -> Self {
        let mut set = Self::default();
        for status in statuses {
            let (word, bit) = Self::place(status.as_u16());
            if let Some(word) = set.0.get_mut(word) {
                *word |= bit;
            }
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in_and_nothing_else() {
        let set: StatusSet = [100, 429, 503, 999]
            .into_iter()
            .map(|code| StatusCode::from_u16(code).expect("a status"))
            .collect();
        let held: Vec<u16> = (100..1000)
            .filter(|&code| set.contains(StatusCode::from_u16(code).expect("a status")))
            .collect();
        assert_eq!(held, [100, 429, 503, 999]);
        assert_eq!(
            StatusSet::of(&[StatusCode::NOT_FOUND]),
            [StatusCode::NOT_FOUND].into_iter().collect()
        );
    }
}

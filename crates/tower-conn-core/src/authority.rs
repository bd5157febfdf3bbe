//! An authority as the key of a map.

use std::fmt;
use std::hash::{Hash, Hasher};

use http::uri::Authority;

/// An authority as the key of a map: equal and hashed without regard to case, as
/// [`Authority`] is, in a fraction of the time.
///
/// `Authority` hashes and compares byte by byte; a pool or a budget that is looked up on every request
/// spends more there than in its map.
///
/// ```
/// use std::collections::HashSet;
/// use tower_conn_core::AuthorityKey;
///
/// let mut seen = HashSet::new();
/// assert!(seen.insert(AuthorityKey::new("example.com:8080".parse().unwrap())));
/// assert!(!seen.insert(AuthorityKey::new("EXAMPLE.com:8080".parse().unwrap())));
/// ```
#[derive(Clone, Debug)]
pub struct AuthorityKey(Authority);

impl AuthorityKey {
    /// Makes a key of an authority.
    #[must_use]
    pub const fn new(authority: Authority) -> Self {
        Self(authority)
    }

    /// The authority, as it was written.
    #[must_use]
    pub const fn get(&self) -> &Authority {
        &self.0
    }
}

impl PartialEq for AuthorityKey {
    fn eq(&self, other: &Self) -> bool {
        let (one, other) = (self.0.as_str().as_bytes(), other.0.as_str().as_bytes());
        std::ptr::eq(one, other) || one == other || one.eq_ignore_ascii_case(other)
    }
}

impl Eq for AuthorityKey {}

impl Hash for AuthorityKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // This bit is all that upper and lower case differ in. That it also joins a few other bytes
        // costs a comparison, not an equality.
        const LOWER: u8 = 0x20;
        // In pieces as long as most authorities: hashers are faster with one long piece than with words.
        for piece in self.0.as_str().as_bytes().chunks(64) {
            let mut lower = [0; 64];
            for (to, from) in lower.iter_mut().zip(piece) {
                *to = from | LOWER;
            }
            state.write(&lower[..piece.len()]);
        }
        state.write_usize(self.0.as_str().len());
    }
}

impl From<Authority> for AuthorityKey {
    fn from(authority: Authority) -> Self {
        Self(authority)
    }
}

impl fmt::Display for AuthorityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, RandomState};

    use proptest::prelude::*;

    use super::*;

    fn key(text: &str) -> AuthorityKey {
        AuthorityKey::new(text.parse().expect("an authority"))
    }

    #[test]
    fn ports_and_user_information_count() {
        for (one, other) in [
            ("h:80", "h:81"),
            ("h", "h:80"),
            ("a@h", "b@h"),
            ("localhost", "localhosu"),
        ] {
            assert_ne!(key(one), key(other), "{one} {other}");
        }
        assert_eq!(key("[::ABCD]:8080"), key("[::abcd]:8080"));
    }

    proptest! {
        /// Equality is that of `http`, and what is equal hashes alike.
        #[test]
        fn agrees_with_http(one in "[aA@b]{0,2}[a-cA-C.]{1,20}", other in "[aA@b]{0,2}[a-cA-C.]{1,20}") {
            let (Ok(one), Ok(other)) = (one.parse::<Authority>(), other.parse::<Authority>()) else {
                return Ok(());
            };
            let keys = (AuthorityKey::new(one.clone()), AuthorityKey::new(other.clone()));
            prop_assert_eq!(keys.0 == keys.1, one == other);
            let upper = key(&one.as_str().to_ascii_uppercase());
            let seed = RandomState::new();
            prop_assert_eq!(seed.hash_one(&upper), seed.hash_one(&keys.0));
            prop_assert_eq!(&upper, &keys.0);
        }
    }
}

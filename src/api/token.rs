//! Names and secrets of tokens: made, hashed, and found again.
//!
//! A secret is 256 random bits, so that one plain hash of it gives nothing away; only the hash is stored, and hashes are
//! compared without regard to where they differ.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRng as _;
use sha2::{Digest as _, Sha256};

use crate::domain::hexadecimal;
use crate::store::Token;

/// By which a secret is known where it should not be.
const PREFIX: &str = "cft_";

/// Whether an audit log can name somebody so: 1 to 64 letters, digits, `_`, `-`, `.` and `@`.
pub fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.@".contains(&b))
}

/// A new secret, and the hash that is stored of it.
///
/// # Errors
/// The operating system gives no random bytes.
pub fn make() -> Result<(String, String), String> {
    let mut bytes = [0_u8; 32];
    rand::rngs::SysRng
        .try_fill_bytes(&mut bytes)
        .map_err(|error| format!("the operating system gives no random bytes: {error}"))?;
    let secret = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
    let hash = hash(&secret);
    Ok((secret, hash))
}

/// What is stored of a secret, in hexadecimal.
pub fn hash(secret: &str) -> String {
    hexadecimal::of(&Sha256::digest(secret))
}

/// The token whose secret this is; every one is compared, and each to its end.
pub fn find<'t>(tokens: &'t [Token], secret: &str) -> Option<&'t Token> {
    let hash = hash(secret);
    tokens.iter().fold(None, |found, token| {
        let is_it = is_equal(token.hash.as_bytes(), hash.as_bytes());
        if is_it { Some(token) } else { found }
    })
}

/// Takes as long whether they differ early, late or not at all.
fn is_equal(one: &[u8], other: &[u8]) -> bool {
    let differ = one.iter().zip(other).fold(0, |differ, (one, other)| differ | (one ^ other));
    one.len() == other.len() && std::hint::black_box(differ) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::Instant;
    use crate::store::Scope;

    #[test]
    fn a_secret_finds_its_token_and_no_other_does() {
        let token = |name: &str, hash| Token {
            name: name.to_owned(),
            hash,
            scope: Scope::Read,
            created_at: Instant(0),
            expires_at: None,
            revoked_at: None,
        };
        let ((one, hash_of_one), (other, hash_of_other)) = (make().unwrap(), make().unwrap());
        assert_ne!(one, other);
        assert!(one.starts_with(PREFIX) && one.len() == PREFIX.len() + 43, "{one}");
        let tokens = [token("one", hash_of_one.clone()), token("other", hash_of_other)];
        assert_eq!(find(&tokens, &one).map(|token| token.name.as_str()), Some("one"));
        assert_eq!(find(&tokens, &other).map(|token| token.name.as_str()), Some("other"));
        for wrong in ["", PREFIX, &one[..one.len() - 1], &format!("{one}A"), &hash_of_one] {
            assert_eq!(find(&tokens, wrong), None, "{wrong}");
        }
    }
}

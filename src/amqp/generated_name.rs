//! Names that the broker makes up, for consumer tags and direct reply-to.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Random bytes in a generated name.
const RANDOM_BYTES: usize = 16;

/// A name that cannot be guessed: 22 characters, as in RabbitMQ's generated names.
pub(crate) fn generated_name() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; RANDOM_BYTES]>())
}

/// Whether [`generated_name`] could have made this name.
pub(crate) fn is_generated_name(name: &str) -> bool {
    let decoded = URL_SAFE_NO_PAD.decode(name);
    decoded.is_ok_and(|bytes| bytes.len() == RANDOM_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_names_are_told_from_others() {
        assert!(is_generated_name(&generated_name()));
        for name in ["", "abc", "nonsense.abc", "AAAAAAAAAAAAAAAAAAAAAA=="] {
            assert!(!is_generated_name(name), "{name}");
        }
    }
}

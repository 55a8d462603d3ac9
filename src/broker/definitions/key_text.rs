//! The key of a definition as people read it.

/// The kind and the names of the definition under this key, such as `queue '/' 'jobs'`.
pub fn key_text(key: &[u8]) -> String {
    let Some(at) = key.iter().position(|byte| *byte == 0) else {
        return key.escape_ascii().to_string();
    };
    let (kind, identity) = key.split_at(at);
    let identity = identity.get(1..).unwrap_or_default();
    let kind = kind.escape_ascii();
    let parts = names(identity).or_else(|| ids(identity));
    let parts = parts.unwrap_or_else(|| vec![identity.escape_ascii().to_string()]);
    std::iter::once(kind.to_string())
        .chain(parts)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Names, each with its length before it.
fn names(mut identity: &[u8]) -> Option<Vec<String>> {
    let mut names = Vec::new();
    while !identity.is_empty() {
        let (len, rest) = identity.split_first_chunk::<4>()?;
        let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
        let (name, rest) = rest.split_at_checked(len)?;
        names.push(format!("'{}'", std::str::from_utf8(name).ok()?));
        identity = rest;
    }
    Some(names)
}

/// Ids of eight bytes.
fn ids(identity: &[u8]) -> Option<Vec<String>> {
    let (ids, []) = identity.as_chunks::<8>() else {
        return None;
    };
    Some(
        ids.iter()
            .map(|id| u64::from_be_bytes(*id).to_string())
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_told_by_kind_and_names() {
        let cases: [(&[u8], &str); 5] = [
            (b"queue\0\0\0\0\x01/\0\0\0\x04jobs", "queue '/' 'jobs'"),
            (b"cmq-topic\0\0\0\0\0\0\0\x01\x02", "cmq-topic 258"),
            (b"clock\0", "clock"),
            (b"queue-ids", "queue-ids"),
            (b"user\0\0\0\0\x09x", "user \\x00\\x00\\x00\\tx"),
        ];
        for (key, text) in cases {
            assert_eq!(key_text(key), text);
        }
    }
}

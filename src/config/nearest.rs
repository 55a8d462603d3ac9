//! The name that was probably meant. Pure.

/// The nearest of `candidates` to `word`, if it is near enough to be a slip.
pub fn nearest<T: AsRef<str> + Ord>(
    word: &str,
    candidates: impl IntoIterator<Item = T>,
) -> Option<T> {
    let near = candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate.as_ref()), candidate))
        .min()?;
    // Two slips are a typo, in a long word three; more is another word.
    let slips_max = 2.max(word.chars().count() / 6);
    (near.0 <= slips_max).then_some(near.1)
}

/// Insertions, deletions and replacements between two words.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for (y, pair) in b.iter().zip(row.windows(2)) {
            let (Some(&[diagonal, above]), Some(&left)) = (pair.first_chunk::<2>(), next.last())
            else {
                continue;
            };
            next.push(
                (diagonal + usize::from(x != *y))
                    .min(above + 1)
                    .min(left + 1),
            );
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_find_their_word() {
        let words = ["add_user", "list_queues", "memory-high-watermark"];
        for (word, expected) in [
            ("add_usr", Some("add_user")),
            ("list_queue", Some("list_queues")),
            ("memory_highwater-mark", Some("memory-high-watermark")),
            ("bogus_verb", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, words), expected, "{word}");
        }
    }
}

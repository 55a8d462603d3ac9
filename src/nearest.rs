//! Finds the name that a user probably meant. Pure.

/// The most similar of `candidates`, if it is similar enough for a typing error.
pub fn nearest<T: AsRef<str> + Ord>(
    word: &str,
    candidates: impl IntoIterator<Item = T>,
) -> Option<T> {
    let (errors, candidate) = candidates
        .into_iter()
        .map(|candidate| (strsim::levenshtein(word, candidate.as_ref()), candidate))
        .min()?;
    // Two errors, or one per six letters. With more it is another word.
    let errors_max = 2.max(word.chars().count() / 6);
    (errors <= errors_max).then_some(candidate)
}

/// Ends a message about an unknown name.
pub(crate) fn did_you_mean(near: Option<&str>) -> String {
    near.map_or_else(String::new, |near| format!("; did you mean '{near}'?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_find_their_word() {
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

//! Tags as RabbitMQ takes them: an array of strings, or one string with commas.

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use utoipa::ToSchema;

use super::limits::WORDS_MAX;
use crate::model::Name;

/// The tags of a user or of a virtual host, trimmed, without empty ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, ToSchema)]
#[schema(value_type = Vec<String>)]
pub(super) struct Words(pub(super) Vec<Name>);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Words, D::Error> {
        struct WordsVisitor;
        impl<'de> Visitor<'de> for WordsVisitor {
            type Value = Words;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "at most {WORDS_MAX} tags, in an array or with commas")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Words, E> {
                let mut words = Words::default();
                for word in text.split(',') {
                    words.add(word).map_err(E::custom)?;
                }
                Ok(words)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Words, A::Error> {
                let mut words = Words::default();
                while let Some(word) = items.next_element::<String>()? {
                    words.add(&word).map_err(de::Error::custom)?;
                }
                Ok(words)
            }
        }
        deserializer.deserialize_any(WordsVisitor)
    }
}

impl Words {
    fn add(&mut self, word: &str) -> Result<(), String> {
        match word.trim() {
            "" => Ok(()),
            _ if self.0.len() == WORDS_MAX => Err(format!("more than {WORDS_MAX} tags")),
            word => {
                self.0.push(word.into());
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn tags_are_an_array_or_a_string() {
        let words = |json: Value| {
            let words = serde_json::from_value::<Words>(json);
            words.map(|words| words.0.join("|")).ok()
        };
        for (json, expected) in [
            (json!(""), Some("")),
            (json!("a, b,,c "), Some("a|b|c")),
            (json!([]), Some("")),
            (json!(["a,b", " c ", ""]), Some("a,b|c")),
            (json!([1]), None),
            (json!(1), None),
            (json!({}), None),
        ] {
            assert_eq!(words(json.clone()).as_deref(), expected, "{json}");
        }
        let most = vec!["t"; WORDS_MAX];
        assert!(words(json!(most)).is_some());
        assert!(words(json!(most.join(",") + ",t")).is_none());
    }
}

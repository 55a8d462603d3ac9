//! The document: lists of entries by category.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use super::entries::{
    GlobalParameterEntry, ParameterEntry, PermissionEntry, TopicPermissionEntry, UserEntry,
    VhostEntry, VhostMetadataEntry,
};
use super::own::OwnEntries;
use super::topology::{BindingEntry, ExchangeEntry, PolicyEntry, QueueEntry};

/// Maximum length of a document. 100,000 queues with a binding each take about 40 MB.
pub(crate) const DOCUMENT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Some editors begin a file with it.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Why bytes are no definitions.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotADocument {
    #[error("definitions have at most {DOCUMENT_BYTES_MAX} bytes")]
    TooLong,
    #[error("definitions are a JSON object")]
    NoObject,
    #[error("{0}")]
    Malformed(#[from] serde_json::Error),
}

/// Everything in a definitions file. A category that is missing is empty.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Document {
    /// The version of the broker that wrote it.
    #[serde(skip_serializing)]
    pub(super) rabbitmq_version: Option<String>,
    /// The same before RabbitMQ 3.8.
    #[serde(skip_serializing)]
    pub(super) rabbit_version: Option<String>,
    #[serde(skip_serializing_if = "Entries::is_none")]
    pub(super) users: Entries<UserEntry>,
    #[serde(skip_serializing_if = "Entries::is_none")]
    pub(super) vhosts: Entries<VhostEntry>,
    #[serde(skip_serializing_if = "Entries::is_none")]
    pub(super) permissions: Entries<PermissionEntry>,
    #[serde(skip_serializing_if = "Entries::is_none")]
    pub(super) topic_permissions: Entries<TopicPermissionEntry>,
    pub(super) parameters: Entries<ParameterEntry>,
    #[serde(skip_serializing_if = "Entries::is_none")]
    pub(super) global_parameters: Entries<GlobalParameterEntry>,
    pub(super) policies: Entries<PolicyEntry>,
    pub(super) queues: Entries<QueueEntry>,
    pub(super) exchanges: Entries<ExchangeEntry>,
    pub(super) bindings: Entries<BindingEntry>,
    #[serde(skip_serializing_if = "OwnEntries::is_empty")]
    pub(super) leveret: OwnEntries,
}

/// A document as it is written: with what it says of itself, which no import needs.
#[derive(Debug, Serialize)]
pub(crate) struct Exported {
    #[serde(flatten)]
    pub(super) about: About,
    #[serde(flatten)]
    pub(super) document: Document,
}

impl Exported {
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self)
            .unwrap_or_else(|error| unreachable!("entries are plain text and numbers: {error}"))
    }
}

/// What a document says of itself.
#[derive(Debug, Serialize)]
pub(super) struct About {
    pub(super) rabbit_version: &'static str,
    pub(super) rabbitmq_version: &'static str,
    pub(super) product_name: &'static str,
    pub(super) product_version: &'static str,
    pub(super) rabbitmq_definition_format: &'static str,
    pub(super) explanation: String,
    #[serde(flatten)]
    pub(super) origin: Origin,
}

/// The broker or virtual host that a document describes.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Origin {
    Cluster {
        original_cluster_name: String,
    },
    Vhost {
        original_vhost_name: String,
        description: String,
        metadata: Box<VhostMetadataEntry>,
        limits: Map<String, Value>,
    },
}

/// The entries of a category. Elements that are no objects are counted and left out, as in RabbitMQ.
#[derive(Debug)]
pub(super) struct Entries<T> {
    /// `None`: the document does not have the category.
    pub(super) list: Option<Vec<T>>,
    pub(super) not_objects: usize,
}

impl<T> Entries<T> {
    pub(super) fn of(list: Vec<T>) -> Entries<T> {
        Entries {
            list: Some(list),
            not_objects: 0,
        }
    }

    fn is_none(&self) -> bool {
        self.list.is_none()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.list.iter().flatten()
    }
}

impl<T> Default for Entries<T> {
    fn default() -> Entries<T> {
        Entries {
            list: None,
            not_objects: 0,
        }
    }
}

impl<T> IntoIterator for Entries<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.unwrap_or_default().into_iter()
    }
}

impl<T: Serialize> Serialize for Entries<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Entries<T>, D::Error> {
        deserializer.deserialize_seq(EntriesVisitor(PhantomData))
    }
}

struct EntriesVisitor<T>(PhantomData<T>);

impl<'de, T: DeserializeOwned> Visitor<'de> for EntriesVisitor<T> {
    type Value = Entries<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Entries<T>, A::Error> {
        let mut entries = Entries::of(Vec::new());
        while let Some(value) = seq.next_element::<Value>()? {
            if !value.is_object() {
                entries.not_objects += 1;
                continue;
            }
            // An entry is short, so its text tells which one it is.
            let text = value.to_string();
            let entry = T::deserialize(value).map_err(|error| {
                let text: String = text.chars().take(ENTRY_CHARS_SHOWN).collect();
                serde::de::Error::custom(format!("{error} in {text}"))
            })?;
            entries.list.get_or_insert_default().push(entry);
        }
        Ok(entries)
    }
}

/// Characters of a malformed entry that the error shows.
const ENTRY_CHARS_SHOWN: usize = 200;

impl Document {
    /// Reads a document. Nothing is a document without entries, as in RabbitMQ.
    pub(crate) fn read(bytes: &[u8]) -> Result<Document, NotADocument> {
        if bytes.len() > DOCUMENT_BYTES_MAX {
            return Err(NotADocument::TooLong);
        }
        let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
        match bytes.trim_ascii_start() {
            [] => Ok(Document::default()),
            // Serde would take a list for an object.
            [b'{', ..] => Ok(serde_json::from_slice(bytes)?),
            _ => Err(NotADocument::NoObject),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_an_object_of_bounded_length() {
        let read = |bytes: &[u8]| Document::read(bytes).map(drop);
        for nothing in ["", " \n", "\u{feff}", "{}", "\u{feff}{\"unknown\":1}"] {
            assert!(read(nothing.as_bytes()).is_ok(), "{nothing:?}");
        }
        for other in ["[]", "\"x\"", "null", "7"] {
            assert!(
                matches!(read(other.as_bytes()), Err(NotADocument::NoObject)),
                "{other}"
            );
        }
        for broken in ["{", "{\"users\":{}}", "{\"users\":null}", "{} {}"] {
            assert!(
                matches!(read(broken.as_bytes()), Err(NotADocument::Malformed(_))),
                "{broken}"
            );
        }
        let deep = format!("{{\"policies\":{}{}}}", "[".repeat(200), "]".repeat(200));
        assert!(matches!(
            read(deep.as_bytes()),
            Err(NotADocument::Malformed(_))
        ));
        let mut long = b"{}".to_vec();
        long.resize(DOCUMENT_BYTES_MAX, b' ');
        assert!(read(&long).is_ok());
        long.push(b' ');
        assert!(matches!(read(&long), Err(NotADocument::TooLong)));
    }

    #[test]
    fn elements_that_are_no_objects_are_counted() {
        let document = Document::read(br#"{"queues":[7,{"name":"q"},[]]}"#).unwrap();
        assert_eq!(document.queues.not_objects, 2);
        let queue = document.queues.iter().next().unwrap();
        assert!(queue.durable && !queue.auto_delete);
    }
}

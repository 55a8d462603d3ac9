//! The names of queues by their ids, from their records alone: for those who look at a store that no broker uses.

use std::collections::HashMap;

use serde::Deserialize;

use super::kind::Kind;
use crate::model::{LogId, Name, QueueId};
use crate::store::{DefinitionEntry, StoreError};

/// Virtual host and name of queues.
#[derive(Debug, Default)]
pub struct QueueNames {
    names: HashMap<QueueId, (Name, Name)>,
}

/// The fields of a queue's record that name it.
#[derive(Deserialize)]
struct Named {
    vhost: Name,
    name: Name,
    id: u64,
}

impl QueueNames {
    /// Reads the names. `definitions` returns the definitions whose keys have a prefix. Leaves out what cannot be read.
    pub fn read(
        definitions: impl FnOnce(&[u8]) -> Result<Vec<DefinitionEntry>, StoreError>,
    ) -> Result<QueueNames, StoreError> {
        let prefix = [Kind::Queue.word().as_bytes(), &[0]].concat();
        let records = definitions(&prefix)?;
        let named = records
            .iter()
            .filter_map(|(_, value)| serde_json::from_slice::<Named>(value).ok());
        Ok(named
            .map(|named| (QueueId(named.id), named.vhost, named.name))
            .collect())
    }

    /// Virtual host and name of the queue of a log.
    pub fn of(&self, log: LogId) -> Option<(&str, &str)> {
        let (vhost, name) = self.names.get(&log.queue())?;
        Some((vhost, name))
    }
}

impl FromIterator<(QueueId, Name, Name)> for QueueNames {
    fn from_iter<I: IntoIterator<Item = (QueueId, Name, Name)>>(queues: I) -> QueueNames {
        QueueNames {
            names: queues
                .into_iter()
                .map(|(id, vhost, name)| (id, (vhost, name)))
                .collect(),
        }
    }
}

/// The keys of definitions whose values are no JSON, escaped. `all` are all definitions of a store.
pub fn unreadable_definitions(all: &[DefinitionEntry]) -> Vec<String> {
    // The counter of queue ids, whose key has no NUL, is a number of eight bytes.
    let is_readable = |(key, value): &DefinitionEntry| match key.contains(&0) {
        true => serde_json::from_slice::<serde::de::IgnoredAny>(value).is_ok(),
        false => value.len() == size_of::<u64>(),
    };
    all.iter()
        .filter(|entry| !is_readable(entry))
        .map(|(key, _)| key.escape_ascii().to_string())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_named_from_their_records() {
        let value = br#"{"vhost":"/","name":"jobs","id":7,"arguments":""}"#;
        let names = QueueNames::read(|prefix| {
            assert_eq!(prefix, b"queue\0");
            Ok(vec![
                (b"queue\0x".to_vec(), value.to_vec()),
                (b"queue\0y".to_vec(), b"{".to_vec()),
            ])
        });
        let names = names.unwrap();
        assert_eq!(names.of(QueueId(7).log(3)), Some(("/", "jobs")));
        assert_eq!(names.of(QueueId(8).log(0)), None);
    }

    #[test]
    fn definitions_that_are_no_json_are_named() {
        let all = [
            (b"queue-ids".to_vec(), vec![0; 8]),
            (b"user\0a".to_vec(), b"{}".to_vec()),
            (b"user\0b".to_vec(), b"{".to_vec()),
        ];
        assert_eq!(unreadable_definitions(&all), [r"user\x00b"]);
    }
}

//! The state file: what a second run must know. Written whole, synced and renamed, so that it is never half a state.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::error::MigrateError;

/// The format of the file.
const VERSION: u32 = 1;

/// A queue by its full name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct QueueKey {
    pub(super) vhost: String,
    pub(super) name: String,
}

impl QueueKey {
    pub(super) fn new(vhost: &str, name: &str) -> QueueKey {
        QueueKey {
            vhost: vhost.to_owned(),
            name: name.to_owned(),
        }
    }
}

/// What a broker has of a queue at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tally {
    /// Messages that are ready; of a stream, all.
    pub(super) messages: u64,
    /// Messages that consumers hold without an ack.
    #[serde(default)]
    pub(super) unacked: u64,
    /// Messages that consumers have settled in the queue's life: acked, or taken without acks.
    pub(super) settled: u64,
}

/// What is known of one queue over all runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct QueueState {
    /// Both brokers when the migration first saw the queue; `None` before.
    pub(super) before: Option<Both>,
    /// Messages that the target has confirmed.
    pub(super) confirmed: u64,
    /// Of the messages published there, those that may be there twice.
    pub(super) flagged: u64,
    /// Messages that the target has refused; the source took them back.
    pub(super) refused: u64,
    /// Of a stream: the first offset that was published.
    pub(super) first_offset: Option<u64>,
    /// Of a stream: the offset after the last that the target has with all before it.
    pub(super) next_offset: u64,
    /// Of a stream: no offset from here on has been published.
    pub(super) reserved_offset: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Both {
    pub(super) source: Tally,
    pub(super) target: Tally,
}

#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    version: u32,
    from: String,
    to: String,
    definitions_copied: bool,
    queues: Vec<StoredQueue>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredQueue {
    vhost: String,
    name: String,
    #[serde(flatten)]
    state: QueueState,
}

#[derive(Debug)]
struct State {
    definitions_copied: bool,
    queues: BTreeMap<QueueKey, QueueState>,
}

/// The state, and the file if there is one.
#[derive(Debug)]
pub(super) struct StateFile {
    path: Option<PathBuf>,
    from: String,
    to: String,
    state: Mutex<State>,
    /// Held while the file is written.
    writing: Mutex<()>,
}

impl StateFile {
    /// Reads the file if it exists. `from` and `to` are the brokers without their logins: the file must be theirs.
    pub(super) fn open(
        path: Option<PathBuf>,
        from: &str,
        to: &str,
    ) -> Result<StateFile, MigrateError> {
        let mut state = State {
            definitions_copied: false,
            queues: BTreeMap::new(),
        };
        if let Some(path) = &path
            && let Some(stored) = read(path)?
        {
            if (stored.from.as_str(), stored.to.as_str()) != (from, to) {
                return Err(MigrateError::OtherState {
                    path: path.clone(),
                    from: stored.from,
                    to: stored.to,
                });
            }
            state.definitions_copied = stored.definitions_copied;
            for StoredQueue {
                vhost,
                name,
                state: queue,
            } in stored.queues
            {
                state.queues.insert(QueueKey { vhost, name }, queue);
            }
        }
        Ok(StateFile {
            path,
            from: from.to_owned(),
            to: to.to_owned(),
            state: Mutex::new(state),
            writing: Mutex::new(()),
        })
    }

    pub(super) fn queue(&self, key: &QueueKey) -> QueueState {
        self.state
            .lock()
            .queues
            .get(key)
            .copied()
            .unwrap_or_default()
    }

    pub(super) fn change(&self, key: &QueueKey, change: impl FnOnce(&mut QueueState)) {
        change(self.state.lock().queues.entry(key.clone()).or_default());
    }

    pub(super) fn definitions_copied(&self) -> bool {
        self.state.lock().definitions_copied
    }

    pub(super) fn set_definitions_copied(&self) {
        self.state.lock().definitions_copied = true;
    }

    /// Messages that the target has confirmed, in all runs.
    pub(super) fn confirmed(&self) -> u64 {
        let state = self.state.lock();
        state.queues.values().map(|queue| queue.confirmed).sum()
    }

    /// Writes the file; it is on disk when this returns.
    pub(super) fn save(&self) -> Result<(), MigrateError> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let _writing = self.writing.lock();
        let text = self.text();
        write(path, &text).map_err(|error| MigrateError::State {
            path: path.clone(),
            error,
        })
    }

    fn text(&self) -> String {
        let state = self.state.lock();
        let queues = state.queues.iter().map(|(key, queue)| StoredQueue {
            vhost: key.vhost.clone(),
            name: key.name.clone(),
            state: *queue,
        });
        let stored = Stored {
            version: VERSION,
            from: self.from.clone(),
            to: self.to.clone(),
            definitions_copied: state.definitions_copied,
            queues: queues.collect(),
        };
        serde_json::to_string_pretty(&stored).unwrap_or_default()
    }
}

fn read(path: &Path) -> Result<Option<Stored>, MigrateError> {
    let failed = |error| MigrateError::State {
        path: path.to_owned(),
        error,
    };
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let stored: Stored = serde_json::from_str(&text).map_err(|error| failed(error.into()))?;
    match stored.version {
        VERSION => Ok(Some(stored)),
        version => {
            let text = format!("version {version} is not known");
            Err(failed(io::Error::other(text)))
        }
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".new");
    let unfinished = PathBuf::from(unfinished);
    let mut file = File::create(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_finds_the_state_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        let open = |from| StateFile::open(Some(path.clone()), from, "amqp://new");
        let key = QueueKey::new("/", "q");
        let first = open("amqp://old").unwrap();
        assert_eq!(first.queue(&key), QueueState::default());
        first.set_definitions_copied();
        first.change(&key, |queue| {
            queue.before = Some(Both::default());
            queue.confirmed = 5;
            queue.next_offset = 9;
        });
        first.save().unwrap();
        let second = open("amqp://old").unwrap();
        assert_eq!(second.queue(&key), first.queue(&key));
        assert!(second.definitions_copied());
        assert_eq!(second.confirmed(), 5);
        let other = open("amqp://other").unwrap_err().to_string();
        assert!(
            other.contains("belongs to another migration: from amqp://old"),
            "{other}"
        );
    }

    #[test]
    fn a_damaged_or_newer_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        for text in [
            "",
            "{\"version\": 1",
            "{\"version\": 2, \"from\": \"a\", \"to\": \"b\", \"definitions_copied\": false, \"queues\": []}",
        ] {
            fs::write(&path, text).unwrap();
            assert!(
                StateFile::open(Some(path.clone()), "a", "b").is_err(),
                "{text}"
            );
        }
    }
}

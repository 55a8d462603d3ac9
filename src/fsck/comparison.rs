//! Compares what the data directories of stopped members of a set hold. A member that does not know yet that a majority
//! has an entry learns it from the others here, so members that have the same log are compared at the same entry.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::bar::Bar;
use super::digest_report::{entry_json, entry_text, log_text};
use super::error::FsckError;
use crate::broker::definitions::{QueueNames, key_text};
use crate::model::LogId;
use crate::store::{
    Contents, Difference, Digest, EntryId, Identity, LogDifference, LogDigest, Presence,
    StoppedStore, StoreDigest, StoreError,
};

/// Differences of one directory that are told; more are only counted.
const TOLD_MAX: usize = 100;

/// The key of the definition that says how far the broker's time is.
const CLOCK_KEY: &[u8] = b"clock\0";

/// What a comparison has found.
pub(super) struct Comparison {
    /// The entry up to which they are compared, in a set.
    upto: Option<EntryId>,
    /// The directory that the others are compared with.
    reference: Compared,
    others: Vec<Compared>,
}

/// One directory.
struct Compared {
    dir: String,
    /// The last entry that is applied, in a set.
    entry: Option<EntryId>,
    digest: Digest,
    told: Vec<Told>,
    left_off: usize,
}

/// A difference, for people and for programs.
struct Told {
    text: String,
    json: Value,
}

/// Compares directories with each other.
pub(super) fn compare(dirs: &[PathBuf]) -> Result<Comparison, FsckError> {
    check_sets(dirs)?;
    let mut stores = Vec::new();
    for dir in dirs {
        stores.push(StoppedStore::lock(dir)?.into_contents()?);
    }
    let upto = stores.iter().filter_map(Contents::entry).max();
    if let Some(upto) = upto {
        advance(&mut stores, upto)?;
    }
    let read = stores.into_iter().map(ReadStore::new);
    let mut read = read.collect::<Result<Vec<_>, _>>()?;
    // The others are compared with one that has everything, and can be read if possible.
    let flaws = |store: &ReadStore| (store.digest.entry != upto, store.unreadable());
    let best = (0..read.len()).min_by_key(|at| read.get(*at).map(flaws));
    let reference = read.remove(best.unwrap_or(0));
    let mut others = Vec::new();
    for store in &read {
        others.push(reference.compare(store)?);
    }
    Ok(Comparison {
        upto,
        reference: reference.compared(reference.damage()),
        others,
    })
}

/// Brings all stores to this entry, as far as their logs have it. A member that lacks some of it may hold the same
/// nevertheless: some entries change nothing.
fn advance(stores: &mut [Contents], upto: EntryId) -> Result<(), StoreError> {
    let mut behind = Vec::new();
    for (at, store) in stores.iter_mut().enumerate() {
        if store.entry().is_some() && !store.advance(upto)? {
            behind.push(at);
        }
    }
    for at in behind {
        let knows = stores.iter().find(|store| store.entry() == Some(upto));
        let common = stores
            .get(at)
            .zip(knows)
            .and_then(|(store, knows)| store.last_in_common(knows, upto));
        if let Some((store, common)) = stores.get_mut(at).zip(common) {
            store.advance(common)?;
        }
    }
    Ok(())
}

/// Fails if the directories belong to several sets.
fn check_sets(dirs: &[PathBuf]) -> Result<(), FsckError> {
    let mut known: Option<(u64, &Path)> = None;
    for dir in dirs {
        let identity = Identity::read(dir)?;
        let Some(set) = identity.and_then(|identity| identity.set) else {
            continue;
        };
        match known {
            Some((other, of)) if other != set => {
                return Err(FsckError::OtherSet {
                    first: of.display().to_string(),
                    second: dir.display().to_string(),
                });
            }
            Some(_) | None => known = Some((set, dir)),
        }
    }
    Ok(())
}

/// A store that was read.
struct ReadStore {
    store: Contents,
    digest: StoreDigest,
    names: QueueNames,
}

impl ReadStore {
    fn new(store: Contents) -> Result<ReadStore, StoreError> {
        let bar = Bar::new();
        let digest = store.digest(&mut |progress| bar.show(progress))?;
        drop(bar);
        let names = QueueNames::read(|prefix| store.definitions(prefix))?;
        Ok(ReadStore {
            store,
            digest,
            names,
        })
    }

    fn dir(&self) -> String {
        self.store.dir().display().to_string()
    }

    fn compared(&self, mut told: Vec<Told>) -> Compared {
        let left_off = told.len().saturating_sub(TOLD_MAX);
        told.truncate(TOLD_MAX);
        Compared {
            dir: self.dir(),
            entry: self.digest.entry,
            digest: self.digest.whole(),
            told,
            left_off,
        }
    }

    /// Number of messages that cannot be read.
    fn unreadable(&self) -> u64 {
        self.digest.logs.values().map(|log| log.unreadable).sum()
    }

    /// What cannot be read, whatever others have.
    fn damage(&self) -> Vec<Told> {
        let logs = self.digest.logs.iter();
        let damaged = logs.filter(|(_, of_log)| of_log.unreadable > 0);
        damaged
            .map(|(log, of_log)| {
                let name = log_text(&self.names, *log);
                let count = of_log.unreadable;
                Told {
                    text: format!("{name}: {count} messages cannot be read"),
                    json: json!({"kind": "damage", "name": name, "log": log.0, "messages_damaged": count}),
                }
            })
            .collect()
    }

    /// In what another store differs from this one.
    fn compare(&self, other: &ReadStore) -> Result<Compared, StoreError> {
        let mut told = other.damage();
        for difference in self.digest.differences(&other.digest) {
            // The leader notes the time every few seconds, which one that was stopped earlier lacks.
            if matches!(&difference, Difference::Definition(key, _) if *key == CLOCK_KEY) {
                continue;
            }
            // The search for the first message that differs takes its time.
            let offset = match &difference {
                Difference::Log(log, of_log) if told.len() < TOLD_MAX && of_log.is_of_bodies() => {
                    self.store.first_difference(&other.store, *log)?
                }
                Difference::Log(..) | Difference::Definition(..) | Difference::Members => None,
            };
            told.push(self.tell(other, &difference, offset));
        }
        Ok(other.compared(told))
    }

    fn tell(&self, other: &ReadStore, difference: &Difference, offset: Option<u64>) -> Told {
        match difference {
            Difference::Members => Told {
                text: "the record of the cluster's members is another".to_owned(),
                json: json!({"kind": "members"}),
            },
            Difference::Definition(key, presence) => {
                let name = key_text(key);
                let (text, has) = match presence {
                    Presence::First => (format!("{name} is missing"), "missing"),
                    Presence::Second => (format!("{name} is only here"), "added"),
                    Presence::Both => (format!("{name} is another"), "changed"),
                };
                Told {
                    text,
                    json: json!({"kind": "definition", "name": name, "is": has}),
                }
            }
            Difference::Log(log, of_log) => {
                let names = match self.names.of(*log) {
                    Some(_) => &self.names,
                    None => &other.names,
                };
                tell_log(names, *log, of_log, offset)
            }
        }
    }
}

fn tell_log(names: &QueueNames, log: LogId, differ: &LogDifference, offset: Option<u64>) -> Told {
    let name = log_text(names, log);
    let (vhost, queue) = names.of(log).unzip();
    let messages = |it: Option<LogDigest>| it.map(|it| it.messages);
    let (before, here) = (messages(differ.first), messages(differ.second));
    let what = match (differ.first, differ.second) {
        (Some(_), None) => "its messages are missing".to_owned(),
        (None, _) => "its messages are only here".to_owned(),
        (Some(first), Some(second)) if first.messages != second.messages => {
            format!("{} messages, and not {}", second.messages, first.messages)
        }
        (Some(first), Some(second)) if first.bodies != second.bodies => "other messages".to_owned(),
        (Some(_), Some(_)) => "the same messages in other states".to_owned(),
    };
    let from = offset.map(|offset| format!(", from offset {offset} on"));
    Told {
        text: format!("{name}: {what}{}", from.unwrap_or_default()),
        json: json!({
            "kind": "log", "vhost": vhost, "queue": queue, "log": log.0, "messages": [before, here], "from_offset": offset,
        }),
    }
}

impl Compared {
    /// Whether it holds the same as the reference, and all of it can be read.
    fn is_equal(&self) -> bool {
        self.told.is_empty()
    }

    /// Whether its log does not lead to the entry at which the others are.
    fn is_behind(&self, upto: Option<EntryId>) -> bool {
        self.entry.is_some() && self.entry != upto
    }

    fn lines(&self, text: &mut String, upto: Option<EntryId>) {
        let dir = &self.dir;
        // Writing to a string does not fail.
        let mut line = |line: String| writeln!(text, "- {dir}: {line}").unwrap_or_default();
        if let (Some(entry), false) = (self.entry, self.is_equal())
            && self.is_behind(upto)
        {
            let entry = entry_text(entry);
            line(format!(
                "it is behind: it has everything up to {entry} only"
            ));
        }
        for told in &self.told {
            line(told.text.clone());
        }
        if self.left_off > 0 {
            line(format!("{} more differences", self.left_off));
        }
    }

    fn json(&self, upto: Option<EntryId>) -> Value {
        let told: Vec<&Value> = self.told.iter().map(|told| &told.json).collect();
        json!({
            "data_dir": self.dir, "entry": self.entry.map(entry_json),
            "digest": self.digest.to_string(), "is_behind": self.is_behind(upto),
            "differences": told, "differences_left_off": self.left_off,
        })
    }
}

impl Comparison {
    /// Whether all hold the same, and all of it can be read.
    pub(super) fn are_equal(&self) -> bool {
        self.reference.is_equal() && self.others.iter().all(Compared::is_equal)
    }

    /// Lines for people.
    pub(super) fn text(&self) -> String {
        let at = self.upto.map(|upto| format!(" at {}", entry_text(upto)));
        let at = at.unwrap_or_default();
        if self.are_equal() {
            let (count, digest) = (self.others.len() + 1, self.reference.digest);
            return format!("{count} stores are equal{at}: {digest}");
        }
        let mut text = format!("stores differ{at} from {}:\n", self.reference.dir);
        for compared in std::iter::once(&self.reference).chain(&self.others) {
            compared.lines(&mut text, self.upto);
        }
        text.truncate(text.trim_end().len());
        text
    }

    /// The same for programs.
    pub(super) fn json(&self) -> Value {
        let stores = std::iter::once(&self.reference).chain(&self.others);
        let stores: Vec<Value> = stores.map(|it| it.json(self.upto)).collect();
        let result = match self.are_equal() {
            true => "equal",
            false => "different",
        };
        json!({"result": result, "entry": self.upto.map(entry_json), "stores": stores})
    }
}

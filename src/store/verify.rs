//! What a verification of a data directory finds. Plain data.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::path::PathBuf;

use crate::model::LogId;

/// Findings that are kept one by one; those after them are only counted.
const FINDINGS_MAX: usize = 10_000;

/// The outcome of a verification.
#[derive(Debug)]
pub enum Verified {
    Done(Verification),
    /// The caller has stopped it.
    Interrupted,
    /// The store has no files.
    NothingOnDisk,
}

/// How far a verification has come, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifyProgress {
    pub done: u64,
    /// An estimate until the chunks are counted.
    pub total: u64,
}

/// Hears of the progress after each read. It may take its time, and stop the verification.
pub type VerifyStep<'a> = dyn FnMut(VerifyProgress) -> ControlFlow<()> + 'a;

/// What was verified and what is damaged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// Bytes that were read, or that would have been there to read.
    pub bytes: u64,
    /// Files of the database.
    pub files: u64,
    /// Entries of the log.
    pub entries: u64,
    /// Definitions, and records of logs.
    pub records: u64,
    pub chunks: u64,
    /// The first 10,000 of missing messages, and of everything else.
    pub findings: Vec<Finding>,
    /// Number of findings after those.
    pub left_off: u64,
    /// Messages in all findings that cannot be read.
    pub messages: u64,
    /// Number of findings of missing messages.
    pub(crate) missing: usize,
    /// Those that were left off, with their messages, by log.
    pub(crate) missing_left_off: BTreeMap<LogId, (u64, u64)>,
}

/// Something that is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub kind: DamageKind,
    pub effect: Effect,
    /// What is wrong, with the file.
    pub what: String,
    /// `None` if no file holds what is missing.
    pub place: Option<Place>,
    pub messages: Option<DamagedMessages>,
}

/// What is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// A file of the database.
    Database,
    /// An entry of the log.
    Entry,
    /// The head of an entry, or its copy; the other one is whole.
    Head,
    /// Messages.
    Chunk,
    /// Messages that no chunk holds.
    Missing,
    /// A record of a log, or a definition.
    Record,
    /// A file that says which node this is, or whom it has voted for.
    Node,
}

impl DamageKind {
    /// The word for programs.
    pub fn word(self) -> &'static str {
        match self {
            DamageKind::Database => "database",
            DamageKind::Entry => "entry",
            DamageKind::Head => "head",
            DamageKind::Chunk => "chunk",
            DamageKind::Missing => "missing",
            DamageKind::Record => "record",
            DamageKind::Node => "node",
        }
    }
}

/// What damage means for the next start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Something else holds the same: nothing is lost.
    Mended,
    /// The store goes on without it.
    Lost,
    /// The store cannot go on.
    Refused,
}

impl Effect {
    /// The word for programs.
    pub fn word(self) -> &'static str {
        match self {
            Effect::Mended => "mended",
            Effect::Lost => "lost",
            Effect::Refused => "refused",
        }
    }
}

/// A file, or some bytes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub file: PathBuf,
    /// `None` for the whole file.
    pub bytes: Option<Range<u64>>,
}

/// Messages that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedMessages {
    pub log: LogId,
    pub offsets: Range<u64>,
    /// How many of these a queue still had.
    pub count: u64,
}

impl Verification {
    /// Whether nothing is damaged.
    pub fn is_whole(&self) -> bool {
        self.findings.is_empty() && self.left_off == 0
    }

    /// Drops findings of missing messages, but for logs of durable queues: only their records are kept up to date, since
    /// a start drops the others.
    pub fn keep_missing(&mut self, is_durable: impl Fn(LogId) -> bool) {
        self.findings.retain(|finding| match &finding.messages {
            Some(hurt) if finding.kind == DamageKind::Missing && !is_durable(hurt.log) => {
                self.messages -= hurt.count;
                false
            }
            Some(_) | None => true,
        });
        for (log, (findings, messages)) in std::mem::take(&mut self.missing_left_off) {
            if !is_durable(log) {
                self.left_off -= findings;
                self.messages -= messages;
            }
        }
    }

    /// Adds a finding. Neighbouring chunks of a log become one finding.
    pub(super) fn add(&mut self, finding: Finding) {
        let count = finding.messages.as_ref().map_or(0, |it| it.count);
        self.messages += count;
        if let Some(last) = self.findings.last_mut()
            && last.extend(&finding)
        {
            return;
        }
        let is_missing = finding.kind == DamageKind::Missing;
        let kept = match is_missing {
            true => self.missing,
            false => self.findings.len() - self.missing,
        };
        if kept < FINDINGS_MAX {
            self.missing += usize::from(is_missing);
            self.findings.push(finding);
            return;
        }
        self.left_off += 1;
        if let Some(hurt) = finding.messages.filter(|_| is_missing) {
            let left_off = self.missing_left_off.entry(hurt.log).or_default();
            left_off.0 += 1;
            left_off.1 += hurt.count;
        }
    }
}

impl Finding {
    /// Takes in what follows directly. False if it does not.
    fn extend(&mut self, next: &Finding) -> bool {
        let (Some(messages), Some(more)) = (&mut self.messages, &next.messages) else {
            return false;
        };
        let (Some(place), Some(beside)) = (&mut self.place, &next.place) else {
            return false;
        };
        let (Some(bytes), Some(further)) = (&mut place.bytes, &beside.bytes) else {
            return false;
        };
        let follows = self.kind == next.kind
            && self.what == next.what
            && place.file == beside.file
            && messages.log == more.log
            && messages.offsets.end == more.offsets.start;
        if follows {
            bytes.end = further.end;
            messages.offsets.end = more.offsets.end;
            messages.count += more.count;
        }
        follows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(log: u64, first: u64, at: u64) -> Finding {
        Finding {
            kind: DamageKind::Chunk,
            effect: Effect::Lost,
            what: "hurt".to_owned(),
            place: Some(Place {
                file: PathBuf::from("3.log"),
                bytes: Some(at..at + 10),
            }),
            messages: Some(DamagedMessages {
                log: LogId(log),
                offsets: first..first + 2,
                count: 1,
            }),
        }
    }

    #[test]
    fn neighbouring_chunks_of_a_log_are_one_finding() {
        let mut found = Verification::default();
        for finding in [
            chunk(1, 0, 0),
            chunk(1, 2, 10),
            chunk(2, 4, 20),
            chunk(2, 8, 30),
        ] {
            found.add(finding);
        }
        let offsets: Vec<_> = found
            .findings
            .iter()
            .filter_map(|it| {
                Some((
                    it.messages.as_ref()?.offsets.clone(),
                    it.place.clone()?.bytes?,
                ))
            })
            .collect();
        assert_eq!(offsets, [(0..4, 0..20), (4..6, 20..30), (8..10, 30..40)]);
        assert_eq!(found.messages, 4);
    }

    #[test]
    fn only_durable_queues_miss_messages() {
        let mut found = Verification::default();
        for log in 1..4 {
            let mut finding = chunk(log, 0, 0);
            if log < 3 {
                finding.kind = DamageKind::Missing;
                finding.place = None;
            }
            found.add(finding);
        }
        found.keep_missing(|log| log == LogId(1));
        let logs: Vec<u64> = found
            .findings
            .iter()
            .map(|it| it.messages.as_ref().unwrap().log.0)
            .collect();
        assert_eq!((logs, found.messages), (vec![1, 3], 2));
    }

    #[test]
    fn missing_messages_of_transient_queues_hide_no_damage() {
        let missing = |log, n| Finding {
            kind: DamageKind::Missing,
            place: None,
            ..chunk(log, 10 * n, 0)
        };
        let mut found = Verification::default();
        for n in 0..FINDINGS_MAX as u64 + 7 {
            found.add(missing(5, n));
        }
        found.add(missing(6, 0));
        found.add(chunk(7, 0, 0));
        let mut all = found.clone();
        all.keep_missing(|log| log != LogId(5));
        assert_eq!(all.findings, [chunk(7, 0, 0)]);
        assert_eq!((all.left_off, all.messages), (1, 2));
        assert!(!all.is_whole());
        found.findings.pop();
        found.keep_missing(|log| log != LogId(5));
        assert!(found.findings.is_empty() && !found.is_whole());
    }

    #[test]
    fn findings_have_a_limit() {
        let mut found = Verification::default();
        for n in 0..FINDINGS_MAX as u64 + 3 {
            found.add(chunk(n, 0, n));
        }
        assert_eq!((found.findings.len(), found.left_off), (FINDINGS_MAX, 3));
        assert_eq!(found.messages, FINDINGS_MAX as u64 + 3);
    }
}

//! The file `vote`: whom this node has voted for. It is durable before the vote is told. It has two slots on pages of
//! their own with the same contents, written and synced one after the other: while one is written the other is whole.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::store::dir::sync_dir;
use crate::store::error::{Advice, StoreError, io_error};
use crate::store::extents::PAGE;

/// Name of the file in the log's directory.
const NAME: &str = "vote";
const MAGIC: [u8; 4] = *b"LVV\x01";
/// Magic, number, term, node, whether there is a node, whether a majority granted it.
const FIELDS_LEN: usize = 4 + 8 + 8 + 8 + 1 + 1;
const SLOT_LEN: usize = FIELDS_LEN + 8;

/// A vote of this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vote {
    pub term: u64,
    /// Whom it is for.
    pub node: Option<u64>,
    /// Whether a majority has granted it, so that the node leads.
    pub committed: bool,
}

/// What is wrong with the file.
#[derive(Debug)]
pub(in crate::store) enum VoteFlaw {
    /// One of the slots is damaged. The other one stands in.
    OneSlot(PathBuf),
    /// The vote is lost.
    Lost(PathBuf),
}

/// The open file.
#[derive(Debug)]
pub(in crate::store) struct VoteFile {
    path: PathBuf,
    seed: u64,
    file: File,
    number: u64,
    vote: Option<Vote>,
}

impl VoteFile {
    /// Creates the file, with a first vote.
    pub(in crate::store) fn create(dir: &Path, seed: u64, vote: Vote) -> Result<(), StoreError> {
        let path = dir.join(NAME);
        let new = dir.join("vote.new");
        let write = || {
            let mut bytes = vec![0; 2 * PAGE];
            for slot in bytes.chunks_mut(PAGE) {
                let encoded = encode(seed, 1, vote);
                slot.iter_mut()
                    .zip(encoded)
                    .for_each(|(to, from)| *to = from);
            }
            std::fs::write(&new, &bytes)?;
            File::open(&new)?.sync_all()?;
            std::fs::rename(&new, &path)
        };
        write().map_err(|e| io_error("writing", &path, e))?;
        sync_dir(dir)
    }

    /// Opens the file. An error if it is missing, or no slot of it is whole: then this node must not vote, since it
    /// may have voted for another one.
    pub(in crate::store) fn open(dir: &Path, seed: u64) -> Result<VoteFile, StoreError> {
        let path = dir.join(NAME);
        let opened = OpenOptions::new().read(true).write(true).open(&path);
        let file = opened.map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => damaged(&path),
            _ => io_error("opening", &path, e),
        })?;
        let slots = read_slots(&file, seed);
        let newest = slots.iter().flatten().max_by_key(|(number, _)| *number);
        let (number, vote) = newest.copied().ok_or_else(|| damaged(&path))?;
        let opened = VoteFile {
            path,
            seed,
            file,
            number,
            vote: Some(vote),
        };
        // The other slot may be an older vote, and must not be all that damage leaves.
        for (slot, found) in (0..).zip(slots) {
            if found != newest.copied() {
                opened.write_slot(slot, vote)?;
            }
        }
        Ok(opened)
    }

    /// Says what is wrong with the file; `None` if it is whole. Changes nothing.
    pub(in crate::store) fn flaw(dir: &Path, seed: u64) -> Option<VoteFlaw> {
        let path = dir.join(NAME);
        let slots = File::open(&path).map_or([None; 2], |file| read_slots(&file, seed));
        match slots {
            [Some(_), Some(_)] => None,
            [None, None] => Some(VoteFlaw::Lost(path)),
            [Some(_), None] | [None, Some(_)] => Some(VoteFlaw::OneSlot(path)),
        }
    }

    /// The vote. `None` after a failed write, since either vote may be on disk.
    pub(in crate::store) fn vote(&self) -> Option<Vote> {
        self.vote
    }

    /// Replaces the vote. It is durable when this returns.
    pub(in crate::store) fn save(&mut self, vote: Vote) -> Result<(), StoreError> {
        self.vote = None;
        self.number += 1;
        for slot in 0..2 {
            self.write_slot(slot, vote)?;
        }
        self.vote = Some(vote);
        Ok(())
    }

    fn write_slot(&self, slot: u64, vote: Vote) -> Result<(), StoreError> {
        let bytes = encode(self.seed, self.number, vote);
        let written = self.file.write_all_at(&bytes, slot * PAGE as u64);
        written
            .and_then(|()| self.file.sync_data())
            .map_err(|e| io_error("writing", &self.path, e))
    }
}

/// The whole slots, with their numbers.
fn read_slots(file: &File, seed: u64) -> [Option<(u64, Vote)>; 2] {
    [0, 1].map(|slot: u64| {
        let mut bytes = [0; SLOT_LEN];
        let read = file.read_exact_at(&mut bytes, slot * PAGE as u64);
        read.ok().and_then(|()| decode(seed, &bytes))
    })
}

fn damaged(path: &Path) -> StoreError {
    StoreError::Damaged {
        what: format!(
            "{}: it is not known whom this node has voted for, so it must not vote",
            path.display()
        ),
        advice: Advice::Rejoin,
    }
}

fn encode(seed: u64, number: u64, vote: Vote) -> [u8; SLOT_LEN] {
    let fields = MAGIC
        .into_iter()
        .chain(number.to_le_bytes())
        .chain(vote.term.to_le_bytes())
        .chain(vote.node.unwrap_or(0).to_le_bytes())
        .chain([u8::from(vote.node.is_some()), u8::from(vote.committed)]);
    let fields: Vec<u8> = fields.collect();
    let sum = xxh3_64_with_seed(&fields, seed).to_le_bytes();
    let mut bytes = fields.into_iter().chain(sum);
    std::array::from_fn(|_| bytes.next().unwrap_or(0))
}

fn decode(seed: u64, bytes: &[u8; SLOT_LEN]) -> Option<(u64, Vote)> {
    let number = |at: usize| {
        let bytes = bytes.get(at..at + 8)?.try_into().ok()?;
        Some(u64::from_le_bytes(bytes))
    };
    let flag = |at: usize| bytes.get(at).map(|byte| *byte == 1);
    let vote = Vote {
        term: number(12)?,
        node: flag(28)?.then_some(number(20)?),
        committed: flag(29)?,
    };
    let found = (number(4)?, vote);
    (encode(seed, found.0, vote) == *bytes).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: u64 = 5;

    fn vote(term: u64) -> Vote {
        Vote {
            term,
            node: (term > 1).then_some(9),
            committed: term == 3,
        }
    }

    #[test]
    fn the_last_vote_survives_one_damaged_slot() {
        let dir = tempfile::tempdir().unwrap();
        VoteFile::create(dir.path(), SEED, vote(1)).unwrap();
        let mut file = VoteFile::open(dir.path(), SEED).unwrap();
        assert_eq!(file.vote(), Some(vote(1)));
        file.save(vote(2)).unwrap();
        file.save(vote(3)).unwrap();
        let path = dir.path().join(NAME);
        let whole = std::fs::read(&path).unwrap();
        for at in [0, 7, 30, PAGE, PAGE + 20] {
            let mut hurt = whole.clone();
            hurt[at] ^= 1;
            std::fs::write(&path, &hurt).unwrap();
            let file = VoteFile::open(dir.path(), SEED).unwrap();
            assert_eq!(file.vote(), Some(vote(3)), "byte {at}");
        }
        let mut hurt = whole.clone();
        hurt[12] ^= 1;
        hurt[PAGE + 12] ^= 1;
        std::fs::write(&path, &hurt).unwrap();
        let refused = VoteFile::open(dir.path(), SEED).unwrap_err().to_string();
        assert!(refused.contains("it must not vote"), "{refused}");
        std::fs::remove_file(&path).unwrap();
        assert!(VoteFile::open(dir.path(), SEED).is_err());
        std::fs::write(&path, &whole).unwrap();
        assert!(
            VoteFile::open(dir.path(), SEED + 1).is_err(),
            "another node's"
        );
    }

    #[test]
    fn a_vote_that_was_being_written_is_the_old_or_the_new_one() {
        let dir = tempfile::tempdir().unwrap();
        VoteFile::create(dir.path(), SEED, vote(2)).unwrap();
        let path = dir.path().join(NAME);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[..SLOT_LEN].copy_from_slice(&encode(SEED, 2, vote(3)));
        std::fs::write(&path, &bytes).unwrap();
        let file = VoteFile::open(dir.path(), SEED).unwrap();
        assert_eq!(file.vote(), Some(vote(3)));
        // The start may have told the new vote, so damage to its slot must not bring back the old one.
        let mut mended = std::fs::read(&path).unwrap();
        mended[20] ^= 1;
        std::fs::write(&path, &mended).unwrap();
        let file = VoteFile::open(dir.path(), SEED).unwrap();
        assert_eq!(file.vote(), Some(vote(3)));
        bytes[20] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let file = VoteFile::open(dir.path(), SEED).unwrap();
        assert_eq!(file.vote(), Some(vote(2)));
    }
}

//! Which entry of the log: its term and its index; and which one was written later.

/// Which entry of the log. In a set the order is Raft's, in which a later one may have been written earlier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    pub term: u64,
    pub index: u64,
}

/// When an entry was written, compared with others of the same log.
///
/// In a set an entry may take the place of one with a higher term: a leader that was lost has written that one alone, and a
/// leader of a still higher term brings an older entry. So the *generation* comes first. It grows with each truncation and
/// with each opening of a member's log. It is 0 outside a set, and in entries of earlier releases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Written {
    pub(super) generation: u64,
    pub(super) id: EntryId,
}

//! What the database of a member tells of its log, and how the end of the log and the database are reconciled at a start.

use super::keyspaces::Keyspaces;
use crate::store::StoreError;
use crate::store::extents::ChunkAddress;
use crate::store::log::{Damage, Entry, EntryId, EntryWrite, Known, LogStart};

/// What the database tells of the log, to a start that needs the entries after `from`.
pub(super) fn known(spaces: &Keyspaces, base: EntryId, from: u64) -> Result<Known, StoreError> {
    let mut entries = vec![base];
    // Other keyspaces than that of the base may still need what is before it.
    entries.retain(|base| (1..=from).contains(&base.index));
    if let Some((term, first)) = spaces.term()?
        && first <= from
    {
        entries.push(EntryId { term, index: from });
    }
    Ok(Known {
        applied: from,
        purged: base.index,
        entries,
    })
}

/// Compares the end of the log with what the database holds, whose keyspaces have everything up to `least`, and some up
/// to `most`. Returns what is missing between the log and the database.
pub(super) fn reconcile(
    start: &mut LogStart,
    spaces: &Keyspaces,
    least: u64,
    most: u64,
) -> Result<Option<Damage>, StoreError> {
    if start.last() >= most {
        return Ok(None);
    }
    let term = spaces.term()?.filter(|(_, first)| *first <= most);
    if least == most
        && start.damages().is_empty()
        && let Some((term, _)) = term
    {
        start.begin_after(EntryId { term, index: most });
        return Ok(None);
    }
    Ok(Some(Damage {
        entries: start.last().max(least) + 1..most + 1,
        place: None,
    }))
}

/// The addresses of the chunks that an entry puts.
pub(super) fn chunks_of(entry: &Entry) -> Vec<ChunkAddress> {
    let puts = entry.writes.iter().filter_map(|write| match write {
        EntryWrite::PutChunk { address, .. } => Some(*address),
        EntryWrite::Put { .. }
        | EntryWrite::Remove { .. }
        | EntryWrite::RemoveChunk { .. }
        | EntryWrite::Sweep { .. } => None,
    });
    puts.collect()
}

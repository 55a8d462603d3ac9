//! The log as a start finds it beside the database: what the database knows of it, how the ends of both are reconciled in
//! a set, and how a start goes on behind damage.

use std::path::Path;
use std::sync::Arc;

use super::apply::Have;
use super::error::OpenFailure;
use super::kept;
use super::keyspaces::Keyspaces;
use crate::store::StoreError;
use crate::store::error::{Advice, OnDamage};
use crate::store::extents::{ChunkAddress, Extents};
use crate::store::log::{self, Damage, Entry, EntryId, EntryWrite, Known, LogStart};

/// What the database knows of the log, for a start that needs the entries after an index.
pub(super) enum Beside {
    Member(Known),
    Alone {
        from: u64,
        /// Everything up to here was on disk for certain.
        durable: u64,
    },
}

impl Beside {
    pub(super) fn read(spaces: &Keyspaces, from: u64) -> Result<Beside, StoreError> {
        Ok(match spaces.base()? {
            Some(base) => Beside::Member(known(spaces, base, from)?),
            None => Beside::Alone {
                from,
                durable: Have::read(spaces)?.most(),
            },
        })
    }

    /// The log as a start finds it, up to `limit`. Does not need the database any more.
    pub(super) fn find_log(
        &self,
        extents: &Arc<Extents>,
        seed: u64,
        limit: Option<u64>,
    ) -> Result<LogStart, StoreError> {
        match self {
            Beside::Member(known) => LogStart::find_kept(extents, seed, known),
            Beside::Alone { from, durable } => {
                LogStart::find(extents, seed, *from, *durable, limit)
            }
        }
    }
}

/// The log as a start finds it that needs the entries after `from`, up to `limit`.
pub(super) fn find_log(
    spaces: &Keyspaces,
    extents: &Arc<Extents>,
    seed: u64,
    from: u64,
    limit: Option<u64>,
) -> Result<LogStart, OpenFailure> {
    let found = Beside::read(spaces, from)?.find_log(extents, seed, limit);
    found.map_err(OpenFailure::Elsewhere)
}

/// Keeps the bytes of damaged entries aside and reports them, or refuses to start.
pub(super) fn go_on_behind(
    hurt: &[Damage],
    dir: &Path,
    is_member: bool,
    on_damage: OnDamage,
) -> Result<(), StoreError> {
    let refusal = match (is_member, on_damage) {
        (true, _) => Some(Advice::Rejoin),
        (false, OnDamage::Refuse) => Some(Advice::Recover),
        (false, OnDamage::Recover) => None,
    };
    if let Some((damage, advice)) = hurt.first().zip(refusal) {
        return Err(StoreError::Damaged {
            what: damage.to_string(),
            advice,
        });
    }
    log::keep_aside(hurt, &kept::directory(dir))?;
    hurt.iter()
        .try_for_each(|damage| kept::note(dir, &damage.to_string()))
}

/// What the database tells of the log, to a start that needs the entries after `from`.
fn known(spaces: &Keyspaces, base: EntryId, from: u64) -> Result<Known, StoreError> {
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
        places: Vec::new(),
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

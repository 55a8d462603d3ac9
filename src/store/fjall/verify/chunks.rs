//! Verifies the chunks in the order of their places.

use std::collections::BTreeMap;

use super::access::{Access, Ends, Piece, piece};
use super::records::{Needed, address_of};
use super::verifier::{Stop, Verifier};
use crate::model::LogId;
use crate::store::StoreError;
use crate::store::extents::{ChunkAddress, Extents, IO_BYTES};
use crate::store::fjall::chunks::{Loaded, load_moved};
use crate::store::fjall::keyspaces::Keyspaces;
use crate::store::keys::KeyspaceName;
use crate::store::verify::{DamageKind, DamagedMessages, Effect, Finding, Place};

/// Addresses that are gathered by one search through the database: some 50 MB. Tests need several searches.
const ADDRESSES_MAX: usize = if cfg!(test) { 50 } else { 400_000 };

/// Where a chunk is, and whose it is: extent, position, log, first offset.
type Spot = (u32, u64, LogId, u64);

/// A part of the chunks, by their places.
struct Part {
    chunks: Vec<(Spot, ChunkAddress)>,
    /// Where the next part begins; `None` after the last one.
    next: Option<Spot>,
}

/// Where the first part begins.
const BEGINNING: Spot = (0, 0, LogId(0), 0);

/// Gathers the addresses from `from` on, in extents below `below`.
fn part(
    verifier: &mut Verifier<'_, '_>,
    store: &impl Access,
    from: Spot,
    below: u32,
) -> Result<Part, Stop> {
    let mut part: BTreeMap<Spot, ChunkAddress> = BTreeMap::new();
    let mut next = None;
    let mut after = None;
    loop {
        let Piece { entries, ends } = piece(store, KeyspaceName::Msgs, after)?;
        for (key, value) in &entries {
            let (Some((log, first)), Some(address)) =
                (address_of(key), ChunkAddress::decode(value))
            else {
                continue;
            };
            let spot = (address.extent(), address.start(), log, first);
            if spot < from || address.extent() >= below || next.is_some_and(|next| spot >= next) {
                continue;
            }
            part.insert(spot, address);
            if part.len() > ADDRESSES_MAX
                && let Some((last, _)) = part.pop_last()
            {
                next = Some(last);
            }
        }
        verifier.passed(0)?;
        match ends {
            Ends::More => after = entries.into_iter().next_back().map(|(key, _)| key),
            // `records` has reported damage.
            Ends::Last | Ends::Damaged(_) => break,
        }
    }
    Ok(Part {
        chunks: part.into_iter().collect(),
        next,
    })
}

/// Verifies all chunks in extents below `below`.
pub(super) fn verify(
    verifier: &mut Verifier<'_, '_>,
    store: &impl Access,
    below: u32,
) -> Result<(), Stop> {
    let mut from = Some(BEGINNING);
    while let Some(begin) = from {
        let part = part(verifier, store, begin, below)?;
        verify_part(verifier, store, &part)?;
        from = part.next;
    }
    Ok(())
}

fn verify_part(
    verifier: &mut Verifier<'_, '_>,
    store: &impl Access,
    part: &Part,
) -> Result<(), Stop> {
    let mut rest = &part.chunks[..];
    while !rest.is_empty() {
        let (now, later) = rest.split_at(together(rest));
        rest = later;
        let findings = store.with(|spaces, extents| {
            let addresses: Vec<ChunkAddress> = now.iter().map(|(_, address)| *address).collect();
            let read = extents.read(&addresses)?;
            let unread = now.iter().zip(read).filter(|(_, data)| data.is_none());
            let findings =
                unread.map(|((spot, address), _)| damage(spaces, extents, *spot, *address));
            findings.collect::<Result<Vec<_>, _>>()
        })?;
        for finding in findings.into_iter().flatten() {
            verifier.found.add(finding);
        }
        verifier.found.chunks += now.len() as u64;
        verifier.passed(now.iter().map(|(_, address)| address.bytes()).sum())?;
    }
    Ok(())
}

/// How many chunks are read together. At least one.
fn together(chunks: &[(Spot, ChunkAddress)]) -> usize {
    let mut bytes = 0;
    let fits = chunks.iter().take_while(|(_, address)| {
        bytes += address.bytes();
        bytes <= IO_BYTES as u64
    });
    fits.count().max(1)
}

/// The finding about a chunk that is not at its place. `None` if it was moved or removed since, or if no queue needs it.
fn damage(
    spaces: &Keyspaces,
    extents: &Extents,
    (extent, at, log, first): Spot,
    address: ChunkAddress,
) -> Result<Option<Finding>, StoreError> {
    match load_moved(spaces, extents, log, first, address)? {
        Loaded::Data(_) | Loaded::Gone => return Ok(None),
        Loaded::Damaged => {}
    }
    let offsets = first..first.saturating_add(u64::from(address.count));
    let snapshot = spaces.db.snapshot();
    let needed = Needed::load(&snapshot, spaces, log)?;
    let count = needed.map_or(0, |needed| needed.count(offsets.clone()));
    let file = extents.path(extent);
    Ok((count > 0).then(|| Finding {
        kind: DamageKind::Chunk,
        effect: Effect::Lost,
        what: format!(
            "{} does not hold the messages that were written",
            file.display()
        ),
        place: Some(Place {
            file,
            bytes: Some(at..address.end()),
        }),
        messages: Some(DamagedMessages {
            log,
            offsets,
            count,
        }),
    }))
}

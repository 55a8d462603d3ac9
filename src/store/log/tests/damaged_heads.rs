//! Damage at the beginning of an extent: nothing of an earlier use of the extent stands in for what is there now, and the
//! damaged bytes are kept.

use super::*;

/// Appends an entry with a chunk of this length, and makes it durable.
fn put(log: &Log, number: u64, len: usize) -> ChunkAddress {
    let mut place = None;
    let taken = |entry: Entry| match entry.writes.first() {
        Some(EntryWrite::PutChunk { address, .. }) => place = Some(*address),
        other => panic!("{other:?}"),
    };
    log.append(batch(number, &[len]), taken).unwrap();
    log.sync().unwrap();
    place.unwrap()
}

/// Entry 1 fills the first extent and is no longer needed, entry 2 fills the second one, and the small entries 3 to 5 begin
/// the first one anew. The head of entry 1 still has its copy there.
fn reused() -> tempfile::TempDir {
    let dir = scratch();
    let found = open(dir.path());
    let first = put(&found.log, 1, 60_000);
    let second = put(&found.log, 2, 60_000);
    assert_eq!((first.extent(), second.extent()), (0, 1));
    found.extents.released(&[first]);
    let emptied = found.extents.before_checkpoint(1);
    found.extents.after_checkpoint(emptied, true).unwrap();
    for number in 3..=5 {
        assert_eq!(put(&found.log, number, 20).extent(), 0);
    }
    dir
}

#[test]
fn a_head_from_an_earlier_use_of_an_extent_hides_nothing() {
    for knows in [true, false] {
        let dir = reused();
        if !knows {
            fs::remove_file(dir.path().join("synced")).unwrap();
        }
        let path = dir.path().join("0.log");
        hurt(&path, 0, |content| content[..PAGE].fill(0xAB));
        let found = open_after(dir.path(), 1, None);
        assert_eq!(found.indexes(), [2, 4, 5]);
        assert!(found.are_chunks_whole());
        let [lost] = &found.damages[..] else {
            panic!("{:?}", found.damages);
        };
        assert_eq!(lost.entries, 3..4);
        assert!(lost.places.contains(&(path, 0..PAGE as u64)), "{lost}");
    }
}

/// The copy of the head has the right index, and follows on another entry.
#[test]
fn a_copy_of_a_head_stands_in_only_where_it_follows() {
    let dir = scratch();
    let found = open(dir.path());
    put(&found.log, 1, 20);
    drop(found);
    let first = image(dir.path());
    // Two ways to go on: both have an entry 2 at the same place.
    let mut ways = [20, 30].map(|len| {
        let dir = restore(&first);
        let found = open(dir.path());
        put(&found.log, 2, len);
        put(&found.log, 3, 20);
        put(&found.log, 4, 20);
        drop(found);
        image(dir.path())
    });
    let [here, other] = &mut ways;
    let (here, other) = (here.get_mut("0.log").unwrap(), &other["0.log"]);
    // Of entry 3 only the copy of the other way is whole.
    here[2 * PAGE..3 * PAGE].copy_from_slice(&other[2 * PAGE..3 * PAGE]);
    here[2 * PAGE] ^= 1;
    let dir = restore(&ways[0]);
    let found = open(dir.path());
    assert_eq!(found.indexes(), [1, 2, 4]);
    assert_eq!(found.damages[0].entries, 3..4);
}

#[test]
fn damaged_bytes_at_the_beginning_of_an_extent_are_kept() {
    let dir = scratch();
    let found = open(dir.path());
    put(&found.log, 1, 60_000);
    let mut number = 2;
    while put(&found.log, number, 20).extent() < 2 {
        number += 1;
    }
    put(&found.log, number + 1, 20);
    drop(found);
    let whole = image(dir.path());
    let kept = |dir: &Path, damages: &[Damage]| {
        keep_aside(damages, &dir.join("kept")).unwrap();
        image(&dir.join("kept"))
    };
    let junk = |len: usize| vec![0xAB; len];
    // The first page of the second extent.
    let mut now = whole.clone();
    now.get_mut("1.log").unwrap()[..PAGE].fill(0xAB);
    let dir = restore(&now);
    let damages = open(dir.path()).damages;
    let copies = kept(dir.path(), &damages);
    assert_eq!(copies, Image::from([("1.log-0".to_owned(), junk(PAGE))]));
    // All of it.
    let mut now = whole.clone();
    let content = now.get_mut("1.log").unwrap();
    content.fill(0xAB);
    let len = content.len();
    let dir = restore(&now);
    let damages = open(dir.path()).damages;
    let copies = kept(dir.path(), &damages);
    assert_eq!(copies, Image::from([("1.log-0".to_owned(), junk(len))]));
}

//! Snapshots on their way: whole ones arrive, others are refused, and little of them is in memory.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::cluster::raft::snapshot_stream;
use crate::store::{EntryId, IncomingSnapshot, OutgoingSnapshot, Proposal, StoreError};

const ID: EntryId = EntryId { term: 3, index: 9 };

/// A snapshot of so many large blocks.
struct Blocks {
    left: u8,
    read: Arc<AtomicUsize>,
}

fn block(number: u8) -> Proposal {
    Proposal::of_members(vec![number; 200_000])
}

impl Blocks {
    fn new(left: u8) -> Blocks {
        Blocks {
            left,
            read: Arc::default(),
        }
    }
}

impl OutgoingSnapshot for Blocks {
    fn id(&self) -> EntryId {
        ID
    }

    fn members(&self) -> Option<&[u8]> {
        None
    }

    fn leave_out_damaged(&mut self) {}

    fn next_block(&mut self) -> Result<Option<Proposal>, StoreError> {
        self.read.fetch_add(1, Ordering::SeqCst);
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        self.left = left;
        Ok(Some(block(left)))
    }
}

/// Keeps the blocks in memory, up to some number of them.
struct Taken(Vec<Proposal>, usize);

impl IncomingSnapshot for Taken {
    type Received = (Vec<Proposal>, EntryId);

    fn take(&mut self, block: &Proposal) -> Result<(), StoreError> {
        if self.0.len() == self.1 {
            return Err(StoreError::Closed);
        }
        self.0.push(block.clone());
        Ok(())
    }

    fn finish(self, id: EntryId) -> Result<Self::Received, StoreError> {
        Ok((self.0, id))
    }
}

async fn receive(mut stream: DuplexStream, max: usize) -> Result<Vec<Proposal>, String> {
    let received = snapshot_stream::receive(&mut stream, Taken(Vec::new(), max), ID).await;
    let (blocks, id) = received.map_err(|error| error.to_string())?;
    assert_eq!(id, ID);
    let answered = snapshot_stream::answer(&mut stream, &Bytes::from_static(b"done")).await;
    answered.map_err(|error| error.to_string())?;
    Ok(blocks)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_arrives_whole_and_is_answered() {
    for count in [0, 1, 20] {
        let (mut near, far) = duplex(1000);
        let receiver = tokio::spawn(receive(far, 100));
        let answer = snapshot_stream::send(&mut near, Blocks::new(count))
            .await
            .unwrap();
        assert_eq!(answer, "done");
        let expected: Vec<Proposal> = (0..count).rev().map(block).collect();
        assert_eq!(receiver.await.unwrap().unwrap(), expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_receiver_holds_up_the_reading() {
    let (mut near, mut far) = duplex(1000);
    let blocks = Blocks::new(20);
    let read = blocks.read.clone();
    let sender =
        tokio::spawn(async move { snapshot_stream::send(&mut near, blocks).await.is_ok() });
    far.read_u8().await.unwrap();
    let ahead = || read.load(Ordering::SeqCst) == 2;
    eventually("one block is read ahead", ahead).await;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!(read.load(Ordering::SeqCst), 2);
    }
    drop(far);
    assert!(!sender.await.unwrap());
}

/// The bytes of a snapshot of three blocks.
async fn bytes() -> Vec<u8> {
    let (mut near, mut far) = duplex(1 << 20);
    let sent = tokio::spawn(async move {
        snapshot_stream::send(&mut near, Blocks::new(3))
            .await
            .is_ok()
    });
    let mut bytes = vec![0; 3 * (4 + 8 + block(0).weight()) + 4 + 8 + 8];
    far.read_exact(&mut bytes).await.unwrap();
    drop(far);
    assert!(!sent.await.unwrap(), "there is no answer");
    bytes
}

async fn receive_bytes(bytes: Vec<u8>, max: usize) -> Result<Vec<Proposal>, String> {
    let (mut near, far) = duplex(1 << 20);
    let receiver = tokio::spawn(receive(far, max));
    // One that refuses what comes does not read the rest.
    drop(near.write_all(&bytes).await);
    drop(near.shutdown().await);
    receiver.await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_is_not_as_it_was_sent_is_refused() {
    let whole = bytes().await;
    assert_eq!(receive_bytes(whole.clone(), 3).await.unwrap().len(), 3);
    let len = whole.len();
    let one = 4 + 8 + block(0).weight();
    for at in [0, 5, 13, 100_000, one + 4, len - 18, len - 12, len - 1] {
        let mut hurt = whole.clone();
        hurt[at] ^= 1;
        assert!(receive_bytes(hurt, 3).await.is_err(), "byte {at}");
    }
    for end in [0, 3, 11, one, 2 * one + 77, len - 20, len - 1] {
        let cut = whole[..end].to_vec();
        assert!(
            receive_bytes(cut, 3).await.is_err(),
            "the first {end} bytes"
        );
    }
    let mut swapped = whole.clone();
    swapped[..2 * one].rotate_left(one);
    assert!(receive_bytes(swapped, 3).await.is_err(), "in another order");
    let large = [0xff; 12].to_vec();
    let refused = receive_bytes(large, 3).await.unwrap_err();
    assert!(refused.contains("too large"), "{refused}");
    assert!(receive_bytes(whole, 2).await.is_err(), "the disk is full");
}

//! A leader that cannot read what another member lacks, while the set needs its vote.

use std::os::unix::fs::FileExt;

use super::snapshots::{BODY, KEEP, append_all, has, purged};
use super::*;

/// Flips a bit of the body of a message wherever the node has it on disk. Returns how often it was found.
fn damage_body(dir: &Path, message: u8) -> usize {
    let mut found = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found += damage_body(&path, message);
            continue;
        }
        let octets = std::fs::read(&path).unwrap();
        let mut pieces = octets.chunk_by(|one, next| one == next);
        let mut at = 0;
        let body = loop {
            match pieces.next() {
                Some(piece) if piece[0] == message && piece.len() >= BODY => break Some(at),
                Some(piece) => at += piece.len() as u64,
                None => break None,
            }
        };
        if let Some(at) = body {
            let file = std::fs::OpenOptions::new().write(true).open(&path);
            file.unwrap().write_all_at(&[!message], at + 1).unwrap();
            found += 1;
        }
    }
    found
}

/// Two voters have this many messages and keep so much of the log. The leader cannot read one for a third node, which
/// lacks it: the other voter leads, and the third node gets everything.
async fn another_one_leads(keep_log_bytes: Option<u64>, messages: u64) {
    let (dir, network) = (scratch(), Arc::default());
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        let mut node = Node::stopped(dir.path(), name, &network);
        node.keep_log_bytes = keep_log_bytes;
        node.restart().await;
        nodes.push(node);
    }
    let (new, new_info) = (2, nodes[2].info());
    let voters = nodes[..new].iter().map(Node::info).collect();
    nodes[0].member().form(voters).await.unwrap();
    let hurt = leader(&nodes).await;
    let other = 1 - hurt;
    let store = nodes[hurt].member().lead().await.unwrap().store;
    append_all(store, 0..messages).await;
    eventually("both have all", || has(&nodes[other], messages)).await;
    if keep_log_bytes.is_some() {
        eventually("the log is purged", || purged(&nodes[hurt]) > 40).await;
    }
    assert!(damage_body(&nodes[hurt].dir, 3) > 0);
    let (member, id) = (nodes[hurt].member(), nodes[hurt].info().id);
    let addition = tokio::spawn({
        let member = member.clone();
        async move { member.add(new_info).await }
    });
    eventually("the other one leads", || nodes[other].leads()).await;
    // It does not end with this leader.
    drop(addition.await.unwrap());
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    let is_voter = |it: &MemberStatus| it.role == MemberRole::Voter;
    while nodes[other]
        .member()
        .status()
        .members
        .iter()
        .filter(|it| is_voter(it))
        .count()
        < 3
    {
        assert!(std::time::Instant::now() < deadline, "it gets no vote");
        // The leader may not know yet what it has.
        drop(nodes[other].member().complete_change().await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    eventually("it has everything", || has(&nodes[new], messages)).await;
    assert_eq!(*member.broken().borrow(), None, "its vote was needed");
    // The others are a majority without it now.
    hand_over(&nodes[other], id).await;
    let is_broken = || member.broken().borrow().is_some();
    eventually("it takes no part any more", is_broken).await;
    drop(member);
    for node in &mut nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_one_leads_when_a_leader_cannot_send_a_snapshot() {
    another_one_leads(Some(KEEP), 80).await;
}

/// More than is in memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_one_leads_when_a_leader_cannot_read_its_log() {
    another_one_leads(None, 600).await;
}

//! A node joins, and the call that adds it is cut short.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_addition_was_cut_short_gets_its_vote_when_it_has_everything() {
    let (dir, network) = (scratch(), Arc::default());
    let mut first = Node::start(dir.path(), "a", &network).await;
    let mut second = Node::start(dir.path(), "b", &network).await;
    first.member().form(vec![first.info()]).await.unwrap();
    eventually("it leads", || first.leads()).await;
    let store = first.member().lead().await.unwrap().store;
    assert!(write(store, 1..4).await);
    let id = second.info().id;
    network.cut.lock().insert(id);
    let member = first.member();
    let added = tokio::time::timeout(Duration::from_secs(1), member.add(second.info()));
    assert!(added.await.is_err(), "it waits for the new member");
    let role = || {
        let status = member.status();
        let new = status.members.iter().find(|it| it.member.id == id);
        new.map(|new| new.role)
    };
    assert_eq!(role(), Some(MemberRole::Learner));
    member.complete_change().await.unwrap();
    assert_eq!(role(), Some(MemberRole::Learner), "it is not heard");
    network.cut.lock().clear();
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while role() != Some(MemberRole::Voter) {
        assert!(std::time::Instant::now() < deadline, "it gets no vote");
        member.complete_change().await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    eventually("it has everything", || second.values() == [1, 2, 3]).await;
    drop(member);
    first.stop().await;
    second.stop().await;
}

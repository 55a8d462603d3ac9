//! Appends to one member: several are on their way together, in order. The member answers each when it is durable
//! there, in order too.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, FuturesOrdered};
use openraft::errors::RPCError;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, StreamAppendResult};

use super::log::weight;
use super::types::{Group, LogId};

/// Maximum number of appends to a member without an answer.
const UNDER_WAY_MAX: usize = 32;
/// With this many bytes of entries under way, no more are sent until an answer comes.
const UNDER_WAY_BYTES_MAX: usize = 4 * 1024 * 1024;

type Response = Result<AppendEntriesResponse<Group>, RPCError<Group>>;
/// What a member has after a request, or why it is not known.
pub(super) type Answer = Result<StreamAppendResult<Group>, RPCError<Group>>;

/// Sends the requests of `input` by `call`, which learns whether none is under way, and gives the answers in their order.
/// Ends after an answer that is no full success.
pub(super) fn answers<'s>(
    input: BoxStream<'s, AppendEntriesRequest<Group>>,
    call: impl Fn(AppendEntriesRequest<Group>, bool) -> BoxFuture<'s, Response> + Send + Sync + 's,
) -> BoxStream<'s, Answer> {
    let appends = Appends {
        input: Some(input),
        under_way: FuturesOrdered::new(),
        sent: VecDeque::new(),
        bytes: 0,
    };
    let answers = stream::unfold(Some((appends, call)), |state| async {
        let (mut appends, call) = state?;
        let (answer, goes_on) = appends.next_answer(&call).await?;
        Some((answer, goes_on.then_some((appends, call))))
    });
    Box::pin(answers)
}

/// What a request that has no answer yet appends.
struct Sent {
    previous: Option<LogId>,
    last: Option<LogId>,
    bytes: usize,
}

struct Appends<'s> {
    /// The requests to send; `None` when they have ended.
    input: Option<BoxStream<'s, AppendEntriesRequest<Group>>>,
    under_way: FuturesOrdered<BoxFuture<'s, Response>>,
    /// What is under way, in order.
    sent: VecDeque<Sent>,
    bytes: usize,
}

enum Step {
    Answered(Response),
    Send(AppendEntriesRequest<Group>),
    /// There is no more to send.
    Sent,
    Ended,
}

impl<'s> Appends<'s> {
    /// The next answer, and whether more may follow. Sends meanwhile what there is to send.
    async fn next_answer(
        &mut self,
        call: &impl Fn(AppendEntriesRequest<Group>, bool) -> BoxFuture<'s, Response>,
    ) -> Option<(Answer, bool)> {
        loop {
            let response = match std::future::poll_fn(|cx| self.step(cx)).await {
                Step::Send(request) => {
                    let is_alone = self.sent.is_empty();
                    let sent = sent(&request);
                    self.bytes += sent.bytes;
                    self.sent.push_back(sent);
                    // The next step polls it for the first time, before it looks for another request.
                    self.under_way.push_back(call(request, is_alone));
                    continue;
                }
                Step::Sent => {
                    self.input = None;
                    continue;
                }
                Step::Ended => return None,
                Step::Answered(response) => response,
            };
            let sent = self.sent.pop_front()?;
            self.bytes -= sent.bytes;
            let answer = match response {
                Ok(response) => Ok(response.into_stream_result(sent.previous, sent.last)),
                Err(error) => Err(error),
            };
            let is_whole = matches!(&answer, Ok(Ok(matched)) if *matched == sent.last);
            if is_whole && self.is_followed_by_none(&answer) {
                continue;
            }
            return Some((answer, is_whole));
        }
    }

    /// Whether the next request that is under way has no entries. Raft takes what the member has as the answer to both,
    /// and counts the lease from the second one, which the member may not have heard yet: so only its answer is given.
    fn is_followed_by_none(&self, answer: &Answer) -> bool {
        let next = self.sent.front();
        next.is_some_and(|next| matches!(answer, Ok(Ok(matched)) if *matched == next.last))
    }

    fn step(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        if let Poll::Ready(Some(response)) = self.under_way.poll_next_unpin(cx) {
            return Poll::Ready(Step::Answered(response));
        }
        let Some(input) = &mut self.input else {
            return match self.under_way.is_empty() {
                true => Poll::Ready(Step::Ended),
                false => Poll::Pending,
            };
        };
        if self.sent.len() >= UNDER_WAY_MAX || self.bytes >= UNDER_WAY_BYTES_MAX {
            return Poll::Pending;
        }
        input
            .poll_next_unpin(cx)
            .map(|request| request.map_or(Step::Sent, Step::Send))
    }
}

fn sent(request: &AppendEntriesRequest<Group>) -> Sent {
    let range = request.entries.last();
    Sent {
        previous: request.prev_log_id,
        last: range.map_or(request.prev_log_id, |entry| Some(entry.log_id)),
        bytes: request.entries.iter().map(weight).sum(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use openraft::EntryPayload;
    use openraft::entry::RaftEntry;
    use openraft::raft::StreamAppendError;
    use parking_lot::Mutex;
    use tokio::sync::{mpsc, oneshot};

    use super::*;
    use crate::cluster::raft::types::{Changes, Entry, log_id, raft_vote};
    use crate::store::{EntryId, Proposal, Vote};

    fn id(index: u64) -> Option<LogId> {
        log_id(EntryId { term: 1, index })
    }

    /// Appends the entries after `from` up to `upto`.
    fn request(from: u64, upto: u64, bytes: usize) -> AppendEntriesRequest<Group> {
        let entry = |index| {
            let payload = match bytes {
                0 => EntryPayload::Blank,
                _ => EntryPayload::Normal(Changes(Proposal::of_members(vec![7; bytes]))),
            };
            Entry::new(id(index).unwrap(), payload)
        };
        let vote = Vote {
            term: 1,
            node: Some(1),
            committed: true,
        };
        AppendEntriesRequest {
            vote: raft_vote(vote, 1).unwrap(),
            prev_log_id: id(from),
            entries: (from + 1..=upto).map(entry).collect(),
            leader_commit: None,
        }
    }

    /// Whether it was sent alone, and where its answer goes.
    type Call = (bool, oneshot::Sender<Response>);

    /// A member whose answers a test gives.
    #[derive(Default)]
    struct Calls(Mutex<VecDeque<Call>>);

    impl Calls {
        fn answer(&self, response: Response) -> bool {
            let (is_alone, sender) = self.0.lock().pop_front().unwrap();
            assert!(sender.send(response).is_ok());
            is_alone
        }

        fn under_way(&self) -> usize {
            self.0.lock().len()
        }
    }

    type Requests = mpsc::Sender<AppendEntriesRequest<Group>>;

    fn begin() -> (Requests, Arc<Calls>, BoxStream<'static, Answer>) {
        let (requests, mut queue) = mpsc::channel(100);
        let calls = Arc::new(Calls::default());
        let called = Arc::clone(&calls);
        let input = stream::poll_fn(move |cx| queue.poll_recv(cx));
        let answers = answers(input.boxed(), move |_, is_alone| {
            let (answer, answered) = oneshot::channel();
            called.0.lock().push_back((is_alone, answer));
            Box::pin(async { answered.await.unwrap() })
        });
        (requests, calls, answers)
    }

    /// What has been answered by now; `None` at the end.
    async fn now(answers: &mut BoxStream<'static, Answer>) -> Option<Option<Answer>> {
        tokio::select! {
            biased;
            answer = answers.next() => Some(answer),
            () = tokio::task::yield_now() => None,
        }
    }

    #[tokio::test]
    async fn appends_are_under_way_together_and_answered_in_order() {
        let (requests, calls, mut answers) = begin();
        for (from, upto) in [(0, 3), (3, 5), (5, 6)] {
            requests.try_send(request(from, upto, 0)).unwrap();
        }
        assert!(now(&mut answers).await.is_none());
        assert_eq!(calls.under_way(), 3);
        assert!(calls.answer(Ok(AppendEntriesResponse::Success)), "first");
        assert!(!calls.answer(Ok(AppendEntriesResponse::Success)), "second");
        assert!(matches!(now(&mut answers).await, Some(Some(Ok(Ok(matched)))) if matched == id(3)));
        assert!(matches!(now(&mut answers).await, Some(Some(Ok(Ok(matched)))) if matched == id(5)));
        drop(requests);
        calls.answer(Ok(AppendEntriesResponse::Success));
        assert!(matches!(now(&mut answers).await, Some(Some(Ok(Ok(matched)))) if matched == id(6)));
        assert!(matches!(now(&mut answers).await, Some(None)));
    }

    #[tokio::test]
    async fn no_append_is_answered_after_one_that_was_not_taken_whole() {
        let unreachable = || {
            let error = std::io::Error::other("cut");
            RPCError::Unreachable(openraft::errors::Unreachable::new(&error))
        };
        type Expected = fn(&Answer) -> bool;
        let not_whole: [(Response, Expected); 3] = [
            (
                Ok(AppendEntriesResponse::Conflict),
                |answer| matches!(answer, Ok(Err(StreamAppendError::Conflict(at))) if Some(*at) == id(4)),
            ),
            (
                Ok(AppendEntriesResponse::PartialSuccess(id(5))),
                |answer| matches!(answer, Ok(Ok(matched)) if *matched == id(5)),
            ),
            (Err(unreachable()), |answer| answer.is_err()),
        ];
        for (response, is_expected) in not_whole {
            let (requests, calls, mut answers) = begin();
            requests.try_send(request(4, 8, 0)).unwrap();
            requests.try_send(request(8, 9, 0)).unwrap();
            assert!(now(&mut answers).await.is_none());
            calls.answer(response);
            calls.answer(Ok(AppendEntriesResponse::Success));
            let answer = now(&mut answers).await.flatten().unwrap();
            assert!(is_expected(&answer), "{answer:?}");
            assert!(matches!(now(&mut answers).await, Some(None)));
        }
    }

    /// Raft would count the lease from the time of the second one.
    #[tokio::test]
    async fn an_append_is_answered_together_with_an_empty_one_that_follows() {
        let (requests, calls, mut answers) = begin();
        requests.try_send(request(0, 3, 0)).unwrap();
        requests.try_send(request(3, 3, 0)).unwrap();
        requests.try_send(request(3, 4, 0)).unwrap();
        assert!(now(&mut answers).await.is_none());
        calls.answer(Ok(AppendEntriesResponse::Success));
        assert!(now(&mut answers).await.is_none());
        calls.answer(Ok(AppendEntriesResponse::Success));
        assert!(matches!(now(&mut answers).await, Some(Some(Ok(Ok(matched)))) if matched == id(3)));
    }

    #[tokio::test]
    async fn appends_under_way_have_limits() {
        for (bytes, expected) in [(0, UNDER_WAY_MAX), (1024 * 1024, 4)] {
            let (requests, calls, mut answers) = begin();
            for from in 0..50 {
                requests.try_send(request(from, from + 1, bytes)).unwrap();
            }
            assert!(now(&mut answers).await.is_none());
            assert_eq!(calls.under_way(), expected);
            calls.answer(Ok(AppendEntriesResponse::Success));
            assert!(now(&mut answers).await.is_some());
            assert!(now(&mut answers).await.is_none());
            assert_eq!(calls.under_way(), expected);
        }
    }
}

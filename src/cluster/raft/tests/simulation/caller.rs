//! What one process calls over the simulated network: requests, and streams, which arrive whole or break.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};

use super::network::{Network, Outcome, Request, origin, unreachable};
use crate::cluster::raft::{Lane, MemberInfo, PeerError, PeerStream, Peers};

const STREAM_BYTES: usize = 64 * 1024;
const STREAM_DELAY: Duration = Duration::from_millis(1);
/// A stream whose link is cut for longer than this is reset.
const STREAM_CUT_MAX: Duration = Duration::from_secs(5);

/// The calls of one process.
pub(super) struct Caller {
    pub(super) me: u64,
    pub(super) network: Arc<Network>,
}

impl Peers for Caller {
    fn call(
        &self,
        to: &MemberInfo,
        lane: Lane,
        kind: u8,
        request: Vec<Bytes>,
        within: Duration,
    ) -> BoxFuture<'static, Outcome> {
        let request = Request {
            call: 0,
            from: self.me,
            to: to.id,
            lane,
            kind,
            body: request.concat().into(),
        };
        Arc::clone(&self.network).call(request, within).boxed()
    }

    fn is_gone(&self, member: &MemberInfo) -> BoxFuture<'static, bool> {
        let (network, me, to) = (&self.network, self.me, member.id);
        let answers = !network.is_cut(me, to) && !network.is_cut(to, me);
        let is_gone = answers && network.member(to).is_none();
        std::future::ready(is_gone).boxed()
    }

    fn open(
        &self,
        to: &MemberInfo,
        _: u8,
        header: Bytes,
    ) -> BoxFuture<'static, Result<Box<dyn PeerStream>, PeerError>> {
        let (network, me, to) = (Arc::clone(&self.network), self.me, to.id);
        async move {
            network.world.timer(STREAM_DELAY).await;
            let callee = network.member(to);
            let callee = callee.filter(|_| !network.is_cut(me, to) && !network.is_cut(to, me));
            let (process, member) = callee.ok_or_else(unreachable)?;
            let (near, near_end) = duplex(STREAM_BYTES);
            let (far, far_end) = duplex(STREAM_BYTES);
            let (near_read, near_write) = split(near_end);
            let (far_read, far_write) = split(far_end);
            let world = &network.world;
            let (there, back) = (Arc::clone(&network), Arc::clone(&network));
            world.spawn_outside(there.carry((me, to), near_read, far_write));
            world.spawn_outside(back.carry((to, me), far_read, near_write));
            world.spawn_on(process, async move {
                member.receive(&origin(me), header, Box::new(far)).await;
            });
            Ok(Box::new(near) as Box<dyn PeerStream>)
        }
        .boxed()
    }
}

impl Network {
    /// Carries one direction of a stream.
    async fn carry(
        self: Arc<Network>,
        (from, to): (u64, u64),
        mut source: ReadHalf<DuplexStream>,
        mut sink: WriteHalf<DuplexStream>,
    ) {
        let mut buffer = vec![0; 4096];
        loop {
            let Ok(len @ 1..) = source.read(&mut buffer).await else {
                // An end that cannot be told has been seen there.
                drop(sink.shutdown().await);
                return;
            };
            self.world.timer(STREAM_DELAY).await;
            let cut_at = self.world.now();
            while self.is_cut(from, to) {
                if self.world.now() > cut_at + STREAM_CUT_MAX {
                    return;
                }
                self.world.timer(Duration::from_millis(20)).await;
            }
            if sink.write_all(&buffer[..len]).await.is_err() {
                return;
            }
        }
    }
}

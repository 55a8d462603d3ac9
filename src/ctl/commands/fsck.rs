//! Verifies the data directory of the running broker.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::broker::definitions::QueueNames;
use crate::ctl::context::Context;
use crate::ctl::exit_code::EX_UNAVAILABLE;
use crate::ctl::input::Input;
use crate::ctl::outcome::{Failure, Outcome, Reply};
use crate::definitions_file::Progress;
use crate::fsck::{Report, verify_gently};
use crate::store::{Verification, Verified};

/// Ends the verification when its client has left.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub(super) async fn fsck(ctx: &Context, input: Input<'_>) -> Outcome {
    let refused = |text: String| Failure::error(EX_UNAVAILABLE, text);
    let turn = Arc::clone(&ctx.verifying).try_acquire_owned();
    let turn =
        turn.map_err(|_| refused("the data directory is being verified already".to_owned()))?;
    let stopped = Arc::new(AtomicBool::new(false));
    let _stop = StopOnDrop(Arc::clone(&stopped));
    let store = Arc::clone(ctx.broker.committer().store());
    let progress = input.progress.clone();
    let verifying = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        verify_gently(&*store, &stopped, |now| {
            let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
            progress.send_replace(Progress {
                done: size(now.done),
                total: size(now.total),
            });
        })
    });
    let verified = verifying
        .await
        .map_err(|error| refused(error.to_string()))?;
    match verified.map_err(|error| refused(error.to_string()))? {
        Verified::Done(mut verification) => {
            let store = ctx.broker.committer().store();
            let durable = QueueNames::read(|prefix| store.definitions(prefix))
                .map_err(|error| refused(error.to_string()))?;
            verification.keep_missing(|log| durable.of(log).is_some());
            reply(ctx, &verification)
        }
        Verified::Interrupted => Err(refused("the verification was interrupted".to_owned())),
        Verified::NothingOnDisk => Ok(Reply::Message("There is nothing on disk.".to_owned())),
    }
}

fn reply(ctx: &Context, verification: &Verification) -> Outcome {
    let names: QueueNames = ctx
        .broker
        .vhost_list()
        .iter()
        .flat_map(|vhost| {
            let queues = vhost.unordered_queues();
            let vhost = vhost.name().clone();
            queues
                .into_iter()
                .map(move |queue| (queue.id(), vhost.clone(), queue.name().clone()))
        })
        .collect();
    let report = Report {
        verification,
        names: &names,
    };
    let dir = ctx.views.node().data_dir.display().to_string();
    let (text, json) = (report.text(&dir), report.json(&dir));
    match verification.is_whole() {
        true => Ok(Reply::Report { text, json }),
        false => Err(Failure {
            json: Some(json),
            ..Failure::plain(EX_UNAVAILABLE, text)
        }),
    }
}

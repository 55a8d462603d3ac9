//! Imports exchanges, queues and bindings.

use std::collections::{BTreeMap, HashSet};

use super::error::{ImportError, refused};
use super::under_way::UnderWay;
use super::{Import, STAYS};
use crate::broker::exchange::{Binding, Exchange};
use crate::broker::queue::Queue;
use crate::broker::vhost::{Created, NewQueue};
use crate::definitions_file::own::OverridesEntry;
use crate::definitions_file::plan::In;
use crate::definitions_file::report::Category;
use crate::model::Name;
use crate::model::arguments::QUEUE_TYPE;
use crate::wire::table_to_json;

/// Bindings that one change makes together.
const BINDINGS_TOGETHER: usize = 512;

impl Import<'_> {
    /// Refuses more queues than a virtual host may have, before any is created.
    pub(super) fn check_queue_limits(&self, queues: &[In<NewQueue>]) -> Result<(), ImportError> {
        let mut added: BTreeMap<&Name, usize> = BTreeMap::new();
        for In { vhost, it } in queues {
            let known = self.broker.vhost(vhost);
            if known.is_none_or(|known| known.queue(&it.name).is_none()) {
                *added.entry(vhost).or_default() += 1;
            }
        }
        for (vhost, added) in added {
            let limit = self.broker.limits().of_vhost(vhost).max_queues;
            let limit = limit.and_then(|limit| usize::try_from(limit).ok());
            let Some(limit) = limit else { continue };
            let existing = self.broker.vhost(vhost);
            let existing = existing.map_or(0, |existing| existing.queues().len());
            if existing + added > limit {
                return Err(ImportError::Refused(format!(
                    "Adding {added} queue(s) to virtual host \"{vhost}\" would exceed the limit of {limit} queue(s).\n\n\
                     This virtual host currently has {existing} queue(s) defined.\n\nImport aborted!"
                )));
            }
        }
        Ok(())
    }

    pub(super) async fn exchanges(
        &mut self,
        exchanges: Vec<In<Exchange>>,
    ) -> Result<(), ImportError> {
        let mut others = Vec::new();
        let count = exchanges.len();
        let mut under_way = UnderWay::default();
        for In { vhost, it } in exchanges {
            let place = self.vhost(&vhost)?;
            others.extend(under_way.make_room().await?);
            under_way.start(async move {
                match place.create_exchange(it.clone()).await? {
                    Created::Existing(known) if !is_same_exchange(&known, &it) => {
                        Ok(Some((vhost, it.name)))
                    }
                    Created::New(_) | Created::Existing(_) => Ok(None),
                }
            });
            self.steps(1);
        }
        others.extend(under_way.finish().await?);
        self.report
            .imported(Category::Exchanges, count - others.len());
        for (vhost, name) in others {
            let report = &mut self.report;
            report.skip(Category::Exchanges, Some(&vhost), &*name, STAYS);
        }
        Ok(())
    }

    pub(super) async fn queues(&mut self, queues: Vec<In<NewQueue>>) -> Result<(), ImportError> {
        let mut others = Vec::new();
        let count = queues.len();
        let mut under_way = UnderWay::default();
        for In { vhost, mut it } in queues {
            let place = self.vhost(&vhost)?;
            let is_plain = it.durable && !it.auto_delete;
            place.fill_in_kind(&mut it.arguments, is_plain);
            others.extend(under_way.make_room().await?);
            under_way.start(async move {
                let wanted = NewQueue {
                    name: it.name.clone(),
                    arguments: it.arguments.clone(),
                    ..it
                };
                match place.create_queue(it).await? {
                    Created::Existing(known) if !is_same_queue(&known, &wanted) => {
                        Ok(Some((vhost, wanted.name)))
                    }
                    Created::New(_) | Created::Existing(_) => Ok(None),
                }
            });
            self.steps(1);
        }
        others.extend(under_way.finish().await?);
        self.report.imported(Category::Queues, count - others.len());
        for (vhost, name) in others {
            let report = &mut self.report;
            report.skip(Category::Queues, Some(&vhost), &*name, STAYS);
        }
        Ok(())
    }

    pub(super) async fn bindings(&mut self, bindings: Vec<In<Binding>>) -> Result<(), ImportError> {
        let mut by_vhost: BTreeMap<Name, HashSet<Binding>> = BTreeMap::new();
        let count = bindings.len();
        for In { vhost, it } in bindings {
            by_vhost.entry(vhost).or_default().insert(it);
        }
        for (vhost, bindings) in by_vhost {
            let place = self.vhost(&vhost)?;
            let mut bindings = bindings.into_iter().peekable();
            while bindings.peek().is_some() {
                let together: Vec<_> = bindings.by_ref().take(BINDINGS_TOGETHER).collect();
                let steps = together.len();
                let bound = place.rebind(together, Vec::new()).await;
                bound.map_err(refused)?;
                self.steps(steps);
            }
        }
        self.report.imported(Category::Bindings, count);
        Ok(())
    }

    pub(super) async fn overrides(
        &mut self,
        entries: Vec<In<OverridesEntry>>,
    ) -> Result<(), ImportError> {
        let count = entries.len();
        let mut under_way = UnderWay::default();
        for In { vhost, it } in entries {
            let place = self.vhost(&vhost)?;
            under_way.make_room().await?;
            under_way.start(async move {
                place.set_queue_overrides(&it.queue, it.overrides).await?;
                Ok(None)
            });
            self.steps(1);
        }
        under_way.finish().await?;
        self.report.imported(Category::QueueOverrides, count);
        Ok(())
    }
}

fn is_same_exchange(known: &Exchange, wanted: &Exchange) -> bool {
    // Compared as JSON, which has fewer types.
    known.kind == wanted.kind
        && known.durable == wanted.durable
        && known.auto_delete == wanted.auto_delete
        && table_to_json(&known.arguments) == table_to_json(&wanted.arguments)
}

fn is_same_queue(known: &Queue, wanted: &NewQueue) -> bool {
    let spec = known.spec();
    let mut arguments = table_to_json(&wanted.arguments);
    let kind = spec.arguments.kind.as_str();
    arguments.entry(QUEUE_TYPE).or_insert_with(|| kind.into());
    spec.durable == wanted.durable
        && spec.auto_delete == wanted.auto_delete
        && table_to_json(&spec.arguments.raw) == arguments
}

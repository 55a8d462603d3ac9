//! The families, subject by subject. Their names, types and labels are RabbitMQ's, where it has them.

mod channels; // channels
mod connections; // connections
mod exchanges; // exchanges
mod global; // messages by protocol and queue type
mod logins; // logins by protocol
mod node; // the process, churn, totals
mod own; // what only Leveret has
mod queues; // queues
mod set; // the set of nodes
mod shovels; // shovels

use super::exposition::Exposition;
use super::family::Prefix;
use super::pieces::Pieces;
use super::query::Query;
use crate::views::{NodeView, SetView, Views};
use node::Endpoint;

pub(super) use node::memory;

/// Sums and numbers of the whole broker.
pub(super) fn aggregated(views: &Views, out: &mut Exposition) {
    whole_broker(views, Endpoint::Aggregated, out);
    queues::aggregated(views, out);
    channels::aggregated(views, out);
    connections::aggregated(views, out);
    exchanges::aggregated(views, out);
}

/// The numbers of the whole broker.
fn whole_broker(views: &Views, endpoint: Endpoint, out: &mut Exposition) {
    let overview = views.overview(|_| true);
    node::identity(views, endpoint, out);
    node::churn(views, out, Prefix::Plain);
    node::coarse(views, out, Prefix::Plain);
    node::limits(views, out, Prefix::Plain);
    node::totals(views, &overview.objects, out);
    node::alarms(views, out);
    global::write(views, out);
    shovels::write(views, out);
    logins::write(views, out, Prefix::Plain);
    own::write(views, overview.queue_totals.unacked, out);
    if let Some(set) = views.set() {
        set::write(&set, out);
    }
}

/// What a node tells that does not run the broker.
pub(super) fn standby(node: &NodeView, set: &SetView, out: &mut Exposition) {
    node::standby(node, out);
    set::write(set, out);
}

/// The numbers of each object, after those of the whole broker.
pub(super) fn per_object(views: &Views, out: &mut Exposition) -> Vec<Box<dyn Pieces>> {
    whole_broker(views, Endpoint::PerObject, out);
    logins::by_source(views, out, Prefix::Plain);
    let every_vhost = Query::default();
    let all = [
        queues::parts(views, &every_vhost, Prefix::Plain, |_| true),
        channels::parts(views, &every_vhost, Prefix::Plain, |_| true),
        connections::parts(views, &every_vhost, Prefix::Plain, |_| true),
        exchanges::parts(views, &every_vhost, Prefix::Plain, |_| true),
    ];
    all.into_iter().flatten().collect()
}

/// The families that a detailed request names, of the virtual hosts that it names.
pub(super) fn detailed(views: &Views, query: &Query, out: &mut Exposition) -> Vec<Box<dyn Pieces>> {
    node::identity(views, Endpoint::Detailed, out);
    let named = |family: &str| query.families.contains(family);
    if named("connection_churn_metrics") {
        node::churn(views, out, Prefix::Detailed);
    }
    if named("node_coarse_metrics") {
        node::coarse(views, out, Prefix::Detailed);
    }
    if named("node_metrics") {
        node::limits(views, out, Prefix::Detailed);
    }
    if named("auth_attempt_metrics") {
        logins::write(views, out, Prefix::Detailed);
    }
    if named("auth_attempt_detailed_metrics") {
        logins::by_source(views, out, Prefix::Detailed);
    }
    if named("alarm_metrics") {
        node::alarms(views, out);
    }
    if named("vhost_status") {
        node::vhosts(views, query, out);
    }
    if named("exchange_names") || named("exchange_bindings") {
        exchanges::cluster(views, query, named("exchange_bindings"), out);
    }
    let all = [
        queues::parts(views, query, Prefix::Detailed, named),
        channels::parts(views, query, Prefix::Detailed, named),
        connections::parts(views, query, Prefix::Detailed, named),
        exchanges::parts(views, query, Prefix::Detailed, named),
    ];
    all.into_iter().flatten().collect()
}

//! Shovels by state.

use std::collections::BTreeMap;

use crate::metrics::exposition::{Exposition, Kind};
use crate::views::Views;

pub(super) fn write(views: &Views, out: &mut Exposition) {
    let shovels = views.shovels().list();
    let mut by_state: BTreeMap<&'static str, u64> = BTreeMap::new();
    let (mut forwarded, mut unconfirmed) = (0, 0);
    for shovel in &shovels {
        *by_state.entry(shovel.state_name()).or_default() += 1;
        forwarded += shovel.numbers.forwarded;
        unconfirmed += shovel.numbers.unconfirmed;
    }
    let name = "rabbitmq_shovel_dynamic";
    out.family(name, Kind::Gauge, "Number of dynamic shovels");
    for (state, count) in by_state {
        out.sample(name, &[("status", state)], count);
    }
    out.single(
        "leveret_shovel_messages_forwarded",
        Kind::Gauge,
        "Messages that the shovels that exist have published",
        forwarded,
    );
    out.single(
        "leveret_shovel_messages_unconfirmed",
        Kind::Gauge,
        "Messages of shovels that their destinations have not confirmed",
        unconfirmed,
    );
}

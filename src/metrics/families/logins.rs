//! Logins by protocol, and by address and user while an operator has them counted so.

use crate::broker::users::{LoginAttempts, LoginDoor};
use crate::metrics::exposition::Exposition;
use crate::metrics::family::{Family, Prefix, families};
use crate::views::Views;

families! {
    ATTEMPTS: LoginAttempts, RabbitMq;
    Counter "auth_attempts_total", "Logins", |n| n.total();
    Counter "auth_attempts_succeeded_total", "Logins that succeeded", |n| n.succeeded;
    Counter "auth_attempts_failed_total", "Logins that failed", |n| n.failed;
}

families! {
    BY_SOURCE: LoginAttempts, RabbitMq;
    Counter "auth_attempts_detailed_total", "Logins by address and user", |n| n.total();
    Counter "auth_attempts_detailed_succeeded_total", "Logins that succeeded, by address and user", |n| n.succeeded;
    Counter "auth_attempts_detailed_failed_total", "Logins that failed, by address and user", |n| n.failed;
}

/// The sums of each protocol.
pub(super) fn write(views: &Views, out: &mut Exposition, prefix: Prefix) {
    let users = views.broker().users();
    for family in ATTEMPTS {
        let name = begin(out, family, prefix);
        for door in LoginDoor::ALL {
            let value = (family.value)(&users.login_attempts(door));
            out.sample(&name, &[("protocol", door.protocol())], value);
        }
    }
}

/// Those of each source. There are few of them: they are bounded.
pub(super) fn by_source(views: &Views, out: &mut Exposition, prefix: Prefix) {
    let users = views.broker().users();
    let doors = LoginDoor::ALL.map(|door| (door.protocol(), users.login_sources(door)));
    for family in BY_SOURCE {
        let name = begin(out, family, prefix);
        for (protocol, sources) in &doors {
            for (source, attempts) in sources {
                let address = source.address.to_string();
                let labels = [
                    ("remote_address", &*address),
                    ("username", &*source.user),
                    ("protocol", *protocol),
                ];
                out.sample(&name, &labels, (family.value)(attempts));
            }
        }
    }
}

fn begin(out: &mut Exposition, family: &Family<LoginAttempts>, prefix: Prefix) -> String {
    let name = family.full_name(prefix);
    out.family(&name, family.kind, family.help);
    name
}

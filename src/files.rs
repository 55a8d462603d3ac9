//! File descriptors: raises the limit of the process and divides it between the store, which must never run
//! out of them, and the sockets of clients.
//!
//! Counts `/proc/self/fd` by hand, for a status command only. The count of the crate `procfs` includes
//! descriptors that it opens itself, and how many depends on the kernel.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::net::Capacity;

/// Descriptors of the store: tables and blobs open for reading, extents, journals, and files of compactions,
/// starts and backups. With a low limit the store has fewer, see [`share`].
pub const STORE_FILES: usize = 1_024;
/// The fraction of these that the database may keep open for reading.
const CACHED_PARTS: (usize, usize) = (3, 4);
/// Descriptors for everything else: listeners, the ctl socket and its clients, the runtime, standard streams.
const OTHER_FILES: usize = 96;
/// Connections to the metrics. Scrapers are few, so their number is no setting.
pub const METRICS: Capacity = Capacity {
    authenticated: 16,
    newcomers: 16,
};
/// Minimum number of places of a front door, however low the limit is.
const DOOR_MIN: usize = 16;
/// Maximum number of newcomers of a front door. Below it they are a quarter of the authenticated connections.
const NEWCOMERS_MAX: usize = 4_096;
const NEWCOMERS_PART: usize = 4;

/// Numbers of connections that the operator has configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Connections of AMQP clients.
    pub amqp: usize,
    /// Connections of CMQ clients; 0 without a CMQ listener.
    pub cmq: usize,
    /// Connections to the management API; 0 without a listener.
    pub management: usize,
    /// Connections to endpoints.
    pub pushes: usize,
    /// Descriptors that a client takes: two on a node that may pass it on.
    pub per_client: usize,
}

/// The division of file descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Files that the store may have open.
    pub store: usize,
    /// The part of `store` that the database may keep open for reading.
    pub cached: usize,
    /// Active connections to endpoints. The same number of idle ones may stay open.
    pub pushes: usize,
    /// Connections of AMQP clients.
    pub amqp: Capacity,
    /// Connections of CMQ clients.
    pub cmq: Capacity,
    /// Connections to the management API.
    pub management: Capacity,
}

/// Raises the limit of this process to its maximum and returns the new limit; `None` is unlimited.
pub fn raise_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit of file descriptors");
            limit.current
        }
    }
}

/// The limit of this process; `None` is unlimited.
pub fn limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// The number of open descriptors of this process; `None` if the system does not report it.
pub fn used() -> Option<u64> {
    let entries = std::fs::read_dir("/proc/self/fd").ok()?;
    // One belongs to this directory read.
    u64::try_from(entries.count()).ok()?.checked_sub(1)
}

/// Divides a limit: first the store, then connections to endpoints, then CMQ clients, which get a quarter of
/// the rest at most, then the management API with an eighth, then AMQP clients. No share exceeds the wanted number.
pub fn share(limit: Option<u64>, wanted: Wanted) -> Shares {
    let limit = limit.and_then(|limit| usize::try_from(limit).ok());
    let limit = limit.unwrap_or(usize::MAX);
    let store = STORE_FILES.min(limit / 3);
    let (part, of) = CACHED_PARTS;
    let pushes = wanted.pushes.min((limit / 16).max(1));
    let beside = store + 2 * pushes + OTHER_FILES + METRICS.authenticated + METRICS.newcomers;
    let left = limit.saturating_sub(beside) / wanted.per_client.max(1);
    let cmq = match wanted.cmq {
        0 => capacity(0, 0),
        cmq => capacity(cmq, left / 4),
    };
    let management = match wanted.management {
        0 => capacity(0, 0),
        management => capacity(management, left / 8),
    };
    let taken = [cmq, management].map(|door| door.authenticated + door.newcomers);
    let left = left.saturating_sub(taken.iter().sum());
    Shares {
        store,
        cached: store * part / of,
        pushes,
        amqp: capacity(wanted.amqp, left),
        cmq,
        management,
    }
}

/// Divides up to `places` between authenticated connections, as many as wanted, and newcomers.
pub fn capacity(wanted: usize, places: usize) -> Capacity {
    let places = places.max(DOOR_MIN);
    let newcomers = |known: usize| (known / NEWCOMERS_PART).clamp(DOOR_MIN / 2, NEWCOMERS_MAX);
    let all = wanted.saturating_add(newcomers(wanted));
    if all <= places {
        return Capacity {
            authenticated: wanted,
            newcomers: newcomers(wanted),
        };
    }
    let newcomers = newcomers(places - places / (NEWCOMERS_PART + 1));
    Capacity {
        authenticated: wanted.min(places.saturating_sub(newcomers)),
        newcomers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Wanted = Wanted {
        amqp: 100_000,
        cmq: 8_192,
        management: 1_024,
        pushes: 256,
        per_client: 1,
    };

    fn sockets(capacity: Capacity) -> usize {
        capacity.authenticated + capacity.newcomers
    }

    #[test]
    fn all_get_what_they_want_if_the_limit_allows() {
        for limit in [None, Some(1 << 20), Some(524_288)] {
            let shares = share(limit, WANTED);
            assert_eq!((shares.store, shares.cached), (1_024, 768));
            assert_eq!(
                (shares.amqp.authenticated, shares.amqp.newcomers),
                (100_000, 4_096)
            );
            assert_eq!(
                (shares.cmq.authenticated, shares.cmq.newcomers),
                (8_192, 2_048)
            );
            assert_eq!(
                (shares.management.authenticated, shares.management.newcomers),
                (1_024, 256)
            );
        }
    }

    #[test]
    fn the_store_is_never_short() {
        for limit in (300..70_000).step_by(97) {
            for wanted in [
                WANTED,
                Wanted { cmq: 0, ..WANTED },
                Wanted { amqp: 10, ..WANTED },
                Wanted {
                    per_client: 2,
                    ..WANTED
                },
            ] {
                let shares = share(Some(limit), wanted);
                let clients =
                    sockets(shares.amqp) + sockets(shares.cmq) + sockets(shares.management);
                let all =
                    shares.store + clients * wanted.per_client + 2 * shares.pushes + OTHER_FILES;
                assert!(
                    all as u64 <= limit + (3 * DOOR_MIN * wanted.per_client) as u64,
                    "{limit}: {shares:?}"
                );
                assert!(shares.amqp.authenticated > 0 && shares.amqp.authenticated <= wanted.amqp);
                assert!(shares.cmq.authenticated <= wanted.cmq);
            }
        }
        let small = share(Some(1_024), WANTED);
        assert_eq!((small.store, small.cached, small.pushes), (341, 255, 64));
        assert!(
            sockets(small.amqp) > 260 && sockets(small.cmq) > 100,
            "{small:?}"
        );
    }

    #[test]
    fn a_small_configured_number_is_respected() {
        let shares = share(
            None,
            Wanted {
                amqp: 1,
                cmq: 2,
                management: 3,
                pushes: 1,
                per_client: 1,
            },
        );
        assert_eq!((shares.amqp.authenticated, shares.amqp.newcomers), (1, 8));
        assert_eq!((shares.cmq.authenticated, shares.cmq.newcomers), (2, 8));
    }

    #[test]
    fn the_limit_is_raised_and_reported() {
        let raised = raise_limit();
        assert_eq!(limit(), raised);
        let before = used().expect("a system that tells");
        let file = std::fs::File::open("/dev/null").expect("a file");
        assert!(used() > Some(before.saturating_sub(50)));
        drop(file);
    }
}

//! Failed logins lately, and how long the next attempt waits for them. Who guesses passwords waits ever longer, from one
//! address as from many; a user whose name is guessed elsewhere does not. Pure.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::super::hashing::network;
use super::super::recent::Recent;
use crate::model::Name;

/// Failures that cost nothing: people mistype.
const FREE: u32 = 4;
/// The wait after the first failure that costs; each further one doubles it.
const WAIT: Duration = Duration::from_millis(100);
/// The longest wait because of an address, and because of a user's name alone.
const WAIT_MAX: Duration = Duration::from_secs(5);
const WAIT_OF_USER_MAX: Duration = Duration::from_secs(1);
/// After this time half of the failures are forgotten.
const HALVES_AFTER: Duration = Duration::from_secs(30);
/// After this time it is half forgotten that a user has logged in from an address.
const LOGIN_HALVES_AFTER: Duration = Duration::from_secs(60 * 60);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Address(IpAddr),
    User(Name),
    Both(Name, IpAddr),
}

#[derive(Debug)]
pub(super) struct Failures {
    failures: Recent<Key>,
    /// Users and the addresses that they have logged in from: guesses of others do not slow them.
    logins: Recent<(Name, IpAddr)>,
}

impl Default for Failures {
    fn default() -> Failures {
        Failures {
            failures: Recent::new(HALVES_AFTER),
            logins: Recent::new(LOGIN_HALVES_AFTER),
        }
    }
}

impl Failures {
    /// How long an attempt waits before it is looked at.
    pub(super) fn wait(&mut self, user: &str, address: IpAddr, now: Instant) -> Duration {
        self.failures.age(now);
        self.logins.age(now);
        let (user, address) = (Name::from(user), network(address));
        let wait = |key: &Key, longest| wait_after(self.failures.of(key)).min(longest);
        if self.logins.of(&(user.clone(), address)) > 0 {
            return wait(&Key::Both(user, address), WAIT_MAX);
        }
        // Behind one address of this machine may be a proxy with all clients.
        let of_address = match address.is_loopback() {
            true => Duration::ZERO,
            false => wait(&Key::Address(address), WAIT_MAX),
        };
        of_address.max(wait(&Key::User(user), WAIT_OF_USER_MAX))
    }

    /// A login has failed, through the client's fault.
    pub(super) fn failed(&mut self, user: &str, address: IpAddr, now: Instant) {
        let (user, address) = (Name::from(user), network(address));
        for key in [
            Key::Address(address),
            Key::User(user.clone()),
            Key::Both(user, address),
        ] {
            self.failures.add(&key, now);
        }
    }

    pub(super) fn succeeded(&mut self, user: &str, address: IpAddr, now: Instant) {
        let (user, address) = (Name::from(user), network(address));
        self.failures.remove(&Key::Both(user.clone(), address));
        self.logins.age(now);
        // Once, so that it is not remembered for days.
        if self.logins.of(&(user.clone(), address)) == 0 {
            self.logins.add(&(user, address), now);
        }
    }
}

fn wait_after(failures: u32) -> Duration {
    let doublings = match failures.checked_sub(FREE + 1) {
        None => return Duration::ZERO,
        Some(doublings) => doublings.min(16),
    };
    WAIT * (1 << doublings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const GUESSER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));
    const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn millis(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_wait_doubles_with_each_failure_and_ends() {
        let now = clock::monotonic();
        let mut failures = Failures::default();
        let waits: Vec<_> = (0..12)
            .map(|n| {
                let wait = failures.wait("ann", GUESSER, now);
                failures.failed(&format!("user {n}"), GUESSER, now);
                wait.as_millis()
            })
            .collect();
        assert_eq!(
            waits,
            [0, 0, 0, 0, 0, 100, 200, 400, 800, 1600, 3200, 5000],
            "one address tries many names"
        );
        assert_eq!(failures.wait("ann", OTHER, now), Duration::ZERO);
        let later = now + 4 * HALVES_AFTER;
        assert_eq!(failures.wait("ann", GUESSER, later), Duration::ZERO);
    }

    #[test]
    fn a_name_that_many_addresses_guess_waits_little_and_where_its_user_is_known_not_at_all() {
        let now = clock::monotonic();
        let mut failures = Failures::default();
        failures.succeeded("ann", OTHER, now);
        for n in 0..100 {
            failures.failed("ann", [10, 1, 0, n].into(), now);
        }
        assert_eq!(failures.wait("ann", GUESSER, now), WAIT_OF_USER_MAX);
        assert_eq!(failures.wait("ann", OTHER, now), Duration::ZERO);
        assert_eq!(failures.wait("bob", OTHER, now), Duration::ZERO);
    }

    #[test]
    fn a_known_user_is_not_slowed_by_others_of_its_address_but_by_its_own_failures() {
        let now = clock::monotonic();
        let mut failures = Failures::default();
        failures.succeeded("ann", GUESSER, now);
        for _ in 0..20 {
            failures.failed("bob", GUESSER, now);
        }
        assert_eq!(failures.wait("ann", GUESSER, now), Duration::ZERO);
        assert_eq!(failures.wait("bob", GUESSER, now), WAIT_MAX);
        for _ in 0..6 {
            failures.failed("ann", GUESSER, now);
        }
        assert_eq!(failures.wait("ann", GUESSER, now), millis(200));
        failures.succeeded("ann", GUESSER, now);
        assert_eq!(failures.wait("ann", GUESSER, now), Duration::ZERO);
    }

    #[test]
    fn clients_behind_a_local_proxy_wait_for_their_names_only() {
        let now = clock::monotonic();
        let mut failures = Failures::default();
        for _ in 0..20 {
            failures.failed("bob", LOCAL, now);
        }
        assert_eq!(failures.wait("ann", LOCAL, now), Duration::ZERO);
        assert_eq!(failures.wait("bob", LOCAL, now), WAIT_OF_USER_MAX);
    }
}

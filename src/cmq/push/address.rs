//! Which addresses messages may be pushed to. Without this check, a subscriber could have the broker connect to what only
//! the broker can reach: its own machine, its neighbours, the metadata service of a cloud. Pure.
//!
//! The ranges are listed by hand, since `IpAddr::is_global` is not stable.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::IpRange;

/// Whether messages may be pushed to an address: one of the public network, or in a range that the operator allows.
pub(crate) fn is_allowed(address: IpAddr, allowed: &[IpRange]) -> bool {
    let address = address.to_canonical();
    is_public(address) || allowed.iter().any(|range| range.contains(address))
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// All but: this network, private, shared (RFC 6598), loopback, link local, protocol assignments, documentation, the 6to4
/// relay, benchmarks, multicast, reserved, broadcast.
fn is_public_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        [0 | 10 | 127 | 224..=255, ..]
            | [100, 64..=127, ..]
            | [169, 254, ..]
            | [172, 16..=31, ..]
            | [192, 0, 0 | 2, _]
            | [192, 88, 99, _]
            | [192, 168, ..]
            | [198, 18 | 19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
    )
}

/// Global unicast (2000::/3), and addresses that embed a public IPv4 address: 6to4, and the well-known prefix of NAT64. Not
/// Teredo and other protocol assignments (2001::/23), and not documentation.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x2002, high, low, ..] => embedded(high, low),
        [0x2001, 0..=0x1ff | 0xdb8, ..] => false,
        [0x3fff, 0..=0xfff, ..] => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_allowed() {
        for (address, public) in [
            ("1.1.1.1", true),
            ("8.8.8.8", true),
            ("9.255.255.255", true),
            ("10.0.0.1", false),
            ("11.0.0.0", true),
            ("0.0.0.0", false),
            ("100.63.255.255", true),
            ("100.64.0.1", false),
            ("100.127.255.255", false),
            ("100.128.0.0", true),
            ("127.0.0.1", false),
            ("127.255.255.254", false),
            ("169.254.169.254", false),
            ("172.15.0.1", true),
            ("172.16.0.1", false),
            ("172.31.255.255", false),
            ("172.32.0.1", true),
            ("192.0.0.8", false),
            ("192.0.1.1", true),
            ("192.0.2.1", false),
            ("192.88.99.1", false),
            ("192.168.1.1", false),
            ("198.18.0.1", false),
            ("198.20.0.1", true),
            ("198.51.100.7", false),
            ("203.0.113.7", false),
            ("223.255.255.255", true),
            ("224.0.0.1", false),
            ("239.255.255.255", false),
            ("240.0.0.1", false),
            ("255.255.255.255", false),
            ("::", false),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:8.8.8.8", true),
            ("::127.0.0.1", false),
            ("64:ff9b::7f00:1", false),
            ("64:ff9b::808:808", true),
            ("64:ff9b:1::808:808", false),
            ("100::1", false),
            ("2001::1", false),
            ("2001:db8::1", false),
            ("2001:4860:4860::8888", true),
            ("2002:7f00:1::1", false),
            ("2002:808:808::1", true),
            ("2606:4700::1111", true),
            ("3fff::1", false),
            ("fc00::1", false),
            ("fd12:3456::1", false),
            ("fe80::1", false),
            ("fec0::1", false),
            ("ff02::1", false),
        ] {
            let parsed: IpAddr = address.parse().unwrap();
            assert_eq!(is_allowed(parsed, &[]), public, "{address}");
        }
    }

    #[test]
    fn an_operator_may_allow_more_ranges() {
        let allowed: Vec<IpRange> = ["127.0.0.0/8", "fd00::/8"]
            .map(|range| range.parse().unwrap())
            .to_vec();
        for (address, expected) in [
            ("127.0.0.1", true),
            ("::ffff:127.0.0.1", true),
            ("10.0.0.1", false),
            ("fd00::1", true),
            ("fc00::1", false),
            ("8.8.8.8", true),
        ] {
            assert_eq!(
                is_allowed(address.parse().unwrap(), &allowed),
                expected,
                "{address}"
            );
        }
    }
}

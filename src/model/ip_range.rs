//! Ranges of IP addresses in the usual notation: `10.0.0.0/8`, `fd00::/8`, or one address.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// All addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IpRange {
    first: IpAddr,
    /// Number of those bits.
    prefix: u8,
}

/// The text is not a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an address or a range such as 10.0.0.0/8 or fd00::/8")]
pub struct NoRange;

impl IpRange {
    pub fn contains(&self, address: IpAddr) -> bool {
        let (range, address, width) = match (self.first, address) {
            (IpAddr::V4(range), IpAddr::V4(address)) => (
                u128::from(range.to_bits()),
                u128::from(address.to_bits()),
                32,
            ),
            (IpAddr::V6(range), IpAddr::V6(address)) => (range.to_bits(), address.to_bits(), 128),
            _ => return false,
        };
        let rest: u32 = width - u32::from(self.prefix);
        // For prefix 0 the shift is the full width, so every address matches.
        (range ^ address).checked_shr(rest).unwrap_or(0) == 0
    }
}

impl FromStr for IpRange {
    type Err = NoRange;

    fn from_str(text: &str) -> Result<IpRange, NoRange> {
        let (first, prefix) = match text.split_once('/') {
            Some((first, prefix)) => (first, Some(prefix)),
            None => (text, None),
        };
        let first: IpAddr = first.parse().map_err(|_| NoRange)?;
        let width = if first.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => width,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().map_err(|_| NoRange)?
            }
            Some(_) => return Err(NoRange),
        };
        match prefix <= width {
            true => Ok(IpRange { first, prefix }),
            false => Err(NoRange),
        }
    }
}

impl fmt::Display for IpRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_in_their_ranges() {
        for (range, address, expected) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("172.16.0.0/12", "172.31.255.255", true),
            ("172.16.0.0/12", "172.32.0.0", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("0.0.0.0/0", "200.1.2.3", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "fd00::1", true),
            ("fc00::/7", "fdff::1", true),
            ("fc00::/7", "fe00::1", false),
            ("::1", "::1", true),
        ] {
            let range: IpRange = range.parse().unwrap();
            assert_eq!(
                range.contains(address.parse().unwrap()),
                expected,
                "{range} {address}"
            );
        }
    }

    #[test]
    fn malformed_ranges_are_refused() {
        for text in [
            "",
            "x",
            "10.0.0.0/33",
            "::/129",
            "10.0.0/8",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "localhost",
            "10.0.0.0/8/8",
        ] {
            assert!(text.parse::<IpRange>().is_err(), "{text:?}");
        }
    }
}

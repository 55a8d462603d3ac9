//! `x-modulus-hash` exchanges: every message goes to one destination. The hash of the routing keys, modulo the number of
//! bindings, is its index among the bindings sorted by name. Binding keys are ignored.
//!
//! The hash is Erlang's `phash2` of the list of keys, so that a message goes where it goes in RabbitMQ, and messages
//! that went to a queue there go to the same one here.

use super::binding::{Binding, Destination};
use super::content::Content;

/// The range that the exchange asks of the hash: its lowest 27 bits.
const RANGE_MASK: u32 = (1 << 27) - 1;

/// The destinations of a modulus hash exchange, one per binding, in the order of Erlang's terms: exchanges before
/// queues, then by name.
#[derive(Clone, Debug, Default)]
pub(super) struct ModulusHash {
    sorted: Vec<Destination>,
}

impl ModulusHash {
    pub(super) fn add(&mut self, binding: &Binding) {
        let place = self.place(&binding.destination);
        self.sorted.insert(place, binding.destination.clone());
    }

    pub(super) fn remove(&mut self, binding: &Binding) {
        let place = self.place(&binding.destination);
        if self.sorted.get(place) == Some(&binding.destination) {
            self.sorted.remove(place);
        }
    }

    pub(super) fn route(&self, content: &Content<'_>) -> Option<&Destination> {
        let hash = phash2(content.given_keys()) & RANGE_MASK;
        let index = usize::try_from(hash).ok()?.checked_rem(self.sorted.len())?;
        self.sorted.get(index)
    }

    fn place(&self, destination: &Destination) -> usize {
        let order = |of: &Destination| (of.is_queue(), of.name().clone());
        let wanted = order(destination);
        self.sorted.partition_point(|known| order(known) < wanted)
    }
}

/// The golden ratio: Erlang's hash begins with it, and distinguishes the kinds of term by multiples of it.
const HCONST: u32 = 0x9e37_79b9;
const HCONST_2: u32 = HCONST.wrapping_mul(2);
const HCONST_13: u32 = HCONST.wrapping_mul(13);
/// The number by which the end of a list enters the hash.
const NIL: u32 = 2;
/// The hash of an empty list.
const NOTHING: u32 = 3_468_870_702;

/// All 32 bits of Erlang's `phash2` of a list of binaries.
fn phash2<'a>(binaries: impl Iterator<Item = &'a str>) -> u32 {
    let hash = binaries.fold(0, |hash, binary| {
        let begin = HCONST_13.wrapping_add(hash);
        match binary {
            "" => begin,
            binary => block_hash(binary.as_bytes(), begin),
        }
    });
    match hash {
        0 => NOTHING,
        hash => mix(HCONST_2.wrapping_add(NIL), HCONST_2, hash).2,
    }
}

/// Bob Jenkins's hash of 1996 ("lookup2"), which reads twelve bytes at a time.
fn block_hash(bytes: &[u8], begin: u32) -> u32 {
    let (mut a, mut b, mut c) = (HCONST, HCONST, begin);
    let (blocks, rest) = bytes.as_chunks::<12>();
    for block in blocks {
        let [x, y, z] = words(block);
        (a, b, c) = mix(a.wrapping_add(x), b.wrapping_add(y), c.wrapping_add(z));
    }
    let mut last = [0; 12];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    let [x, y, z] = words(&last);
    // The lowest byte of the third word is the length's.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let c = c.wrapping_add(length).wrapping_add(z << 8);
    mix(a.wrapping_add(x), b.wrapping_add(y), c).2
}

fn words(block: &[u8; 12]) -> [u32; 3] {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *block;
    [[a, b, c, d], [e, f, g, h], [i, j, k, l]].map(u32::from_le_bytes)
}

fn mix(mut a: u32, mut b: u32, mut c: u32) -> (u32, u32, u32) {
    for [x, y, z] in [[13, 8, 13], [12, 16, 5], [3, 10, 15]] {
        a = a.wrapping_sub(b).wrapping_sub(c) ^ (c >> x);
        b = b.wrapping_sub(c).wrapping_sub(a) ^ (a << y);
        c = c.wrapping_sub(a).wrapping_sub(b) ^ (b >> z);
    }
    (a, b, c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::exchange::binding::tests::binding;
    use crate::broker::exchange::content::tests::content;

    /// Values from RabbitMQ's Erlang.
    #[test]
    fn the_hash_is_erlangs() {
        let long = "k".repeat(255);
        for (keys, expected) in [
            (&["a"][..], 53_691_870),
            (&["hello", ""], 85_749_767),
            (&[""], 38_220_213),
            (&["abcdefghijklmnopqrstuvw", "x"], 69_245_034),
            (&[&long], 33_764_415),
        ] {
            let hash = phash2(keys.iter().copied()) & RANGE_MASK;
            assert_eq!(hash, expected, "{keys:?}");
        }
    }

    #[test]
    fn every_binding_has_a_place() {
        let mut exchange = ModulusHash::default();
        assert_eq!(exchange.route(&content("a")), None);
        // 53,691,870 modulo 4 is 2: the third of four bindings by name, two of which lead to `a`.
        for (queue, key) in [("d", "1"), ("a", "1"), ("c", "1"), ("a", "2")] {
            exchange.add(&binding(queue, key));
        }
        let chosen = |exchange: &ModulusHash| {
            let to = exchange.route(&content("a"));
            to.map(|destination| destination.name().to_string())
        };
        assert_eq!(chosen(&exchange).as_deref(), Some("c"));
        // Modulo 3 it is 0, of a, c and d.
        exchange.remove(&binding("a", "1"));
        assert_eq!(chosen(&exchange).as_deref(), Some("a"));
        for queue in ["a", "c", "d", "d"] {
            exchange.remove(&binding(queue, "any"));
        }
        assert_eq!(chosen(&exchange), None);
    }
}

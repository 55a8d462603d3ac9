//! A response, piece by piece: families per object are written while the client reads, so that a response for many
//! objects takes little memory, however slowly it is read.

use std::sync::Arc;

use super::exposition::{Exposition, Labels};
use super::family::{Family, Prefix};

/// Bytes from which a piece is sent.
const PIECE_BYTES: usize = 64 * 1024;

/// A part of a response.
pub(super) trait Pieces: Send {
    /// Writes more, up to about [`PIECE_BYTES`]. False when everything is written.
    fn write_more(&mut self, out: &mut Exposition) -> bool;
}

/// An object with numbers and labels.
pub(super) trait Object: Send + Sync {
    type Numbers;

    fn numbers(&self) -> Self::Numbers;

    fn with_labels<R>(&self, use_labels: impl FnOnce(Labels<'_>) -> R) -> R;
}

/// Some families of some objects, family by family.
pub(super) struct PerObject<O: Object + 'static> {
    objects: Arc<[O]>,
    families: Vec<&'static Family<O::Numbers>>,
    prefix: Prefix,
    /// The place of the next sample.
    family: usize,
    object: usize,
}

impl<O: Object + 'static> PerObject<O> {
    pub(super) fn new(
        objects: Arc<[O]>,
        families: impl IntoIterator<Item = &'static Family<O::Numbers>>,
        prefix: Prefix,
    ) -> PerObject<O> {
        PerObject {
            objects,
            families: families.into_iter().collect(),
            prefix,
            family: 0,
            object: 0,
        }
    }
}

impl<O: Object + 'static> Pieces for PerObject<O> {
    fn write_more(&mut self, out: &mut Exposition) -> bool {
        // Without objects there is nothing to tell, as in RabbitMQ.
        if self.objects.is_empty() {
            return false;
        }
        while let Some(family) = self.families.get(self.family) {
            let name = family.full_name(self.prefix);
            if self.object == 0 {
                out.family(&name, family.kind, family.help);
            }
            while let Some(object) = self.objects.get(self.object) {
                let value = (family.value)(&object.numbers());
                object.with_labels(|labels| out.sample(&name, labels, value));
                self.object += 1;
                if out.len() >= PIECE_BYTES {
                    return true;
                }
            }
            self.family += 1;
            self.object = 0;
        }
        false
    }
}

/// All parts of a response.
pub(super) struct Scrape {
    out: Exposition,
    parts: std::vec::IntoIter<Box<dyn Pieces>>,
    current: Option<Box<dyn Pieces>>,
    is_ended: bool,
}

impl Scrape {
    /// A response that begins with what `out` has.
    pub(super) fn new(out: Exposition, parts: Vec<Box<dyn Pieces>>) -> Scrape {
        Scrape {
            out,
            parts: parts.into_iter(),
            current: None,
            is_ended: false,
        }
    }
}

impl Iterator for Scrape {
    type Item = String;

    /// The next piece, not longer than a bound.
    fn next(&mut self) -> Option<String> {
        while !self.is_ended && self.out.len() < PIECE_BYTES {
            match &mut self.current {
                Some(part) => {
                    if !part.write_more(&mut self.out) {
                        self.current = None;
                    }
                }
                None => {
                    self.current = self.parts.next();
                    if self.current.is_none() {
                        self.out.end();
                        self.is_ended = true;
                    }
                }
            }
        }
        Some(self.out.take()).filter(|piece| !piece.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::exposition::Format;
    use crate::metrics::family::families;

    struct Numbered(u64);

    impl Object for Numbered {
        type Numbers = u64;

        fn numbers(&self) -> u64 {
            self.0
        }

        fn with_labels<R>(&self, use_labels: impl FnOnce(Labels<'_>) -> R) -> R {
            use_labels(&[("number", &self.0.to_string())])
        }
    }

    families! {
        FAMILIES: u64, RabbitMq;
        Gauge "a", "A number.", |number| *number;
        Gauge "b", "Another.", |number| number * 2;
    }

    #[test]
    fn many_objects_are_written_in_small_pieces_and_none_is_left_out() {
        let objects: Arc<[Numbered]> = (0..10_000).map(Numbered).collect();
        let part = PerObject::new(objects, FAMILIES, Prefix::Detailed);
        let scrape = Scrape::new(Exposition::new(Format::OpenMetrics), vec![Box::new(part)]);
        let pieces: Vec<String> = scrape.collect();
        assert!(pieces.len() > 10);
        assert!(pieces.iter().all(|piece| piece.len() < 2 * PIECE_BYTES));
        let text = pieces.concat();
        assert_eq!(text.lines().count(), 2 * (10_000 + 2) + 1);
        assert!(text.ends_with("rabbitmq_detailed_b{number=\"9999\"} 19998\n# EOF\n"));
        assert_eq!(text.matches("# TYPE").count(), 2);
    }

    #[test]
    fn families_without_objects_are_left_out() {
        let part = PerObject::<Numbered>::new(Arc::new([]), FAMILIES, Prefix::Plain);
        let mut scrape = Scrape::new(Exposition::new(Format::Text), vec![Box::new(part)]);
        assert_eq!(scrape.next(), None);
    }
}

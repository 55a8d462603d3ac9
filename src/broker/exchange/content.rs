//! The parts of a message that decide where it goes.

use std::collections::HashSet;
use std::sync::OnceLock;

use super::delayed;
use crate::wire::{FieldTable, PropertiesView};

/// The keys and properties of a message.
#[derive(Clone, Copy, Debug)]
pub struct RouteKeys<'a> {
    pub routing_key: &'a str,
    /// Further keys: the `CC` and `BCC` headers.
    pub cc: &'a [&'a str],
    /// The encoded properties. Decoded only if an exchange on the way needs them.
    pub properties: &'a [u8],
}

/// A message's keys, and its properties, decoded when they are needed and at most once.
#[derive(Debug)]
pub(in crate::broker) struct Content<'a> {
    given: RouteKeys<'a>,
    keys: OnceLock<Vec<&'a str>>,
    view: OnceLock<Option<PropertiesView<'a>>>,
    headers: OnceLock<FieldTable>,
}

impl<'a> Content<'a> {
    pub(in crate::broker) fn new(keys: RouteKeys<'a>) -> Content<'a> {
        Content {
            given: keys,
            keys: OnceLock::new(),
            view: OnceLock::new(),
            headers: OnceLock::new(),
        }
    }

    pub(super) fn routing_key(&self) -> &'a str {
        self.given.routing_key
    }

    /// All keys, with duplicates.
    pub(super) fn given_keys(&self) -> impl Iterator<Item = &'a str> {
        let further = self.given.cc.iter().copied();
        std::iter::once(self.given.routing_key).chain(further)
    }

    /// All keys, each once.
    pub(in crate::broker) fn keys(&self) -> &[&'a str] {
        if self.given.cc.is_empty() {
            return std::slice::from_ref(&self.given.routing_key);
        }
        self.keys.get_or_init(|| {
            let mut seen = HashSet::new();
            self.given_keys().filter(|key| seen.insert(*key)).collect()
        })
    }

    /// The delay in milliseconds that a delayed exchange gives the message.
    pub(in crate::broker) fn delay_ms(&self) -> Option<u64> {
        delayed::delay_ms_in(self.headers())
    }

    /// The properties; `None` if they are malformed.
    pub(super) fn view(&self) -> Option<&PropertiesView<'a>> {
        self.view
            .get_or_init(|| PropertiesView::parse(self.given.properties).ok())
            .as_ref()
    }

    /// The headers; empty if they are malformed.
    pub(super) fn headers(&self) -> &FieldTable {
        self.headers.get_or_init(|| {
            self.view()
                .and_then(|view| view.headers().ok())
                .unwrap_or_default()
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A message with this key and no properties.
    pub(in crate::broker::exchange) fn content(routing_key: &str) -> Content<'_> {
        Content::new(RouteKeys {
            routing_key,
            cc: &[],
            properties: &[],
        })
    }
}

//! Topic exchanges: a trie over the words of binding keys. Words are separated by dots and may be empty; only the empty
//! key has no word. `*` matches one word, `#` any number of words, also none.
//!
//! A search follows all branches together, word by word, as a set of nodes. It visits no node twice for a word, so that
//! keys and bindings full of `#` cost at most their words times the nodes that they reach. A node gives its destinations
//! once for all keys of a message. Adding and removing a binding costs its words, and a copy of the nodes on its way
//! while a search goes on in a clone of the trie.

use std::collections::{HashMap, HashSet};
use std::iter::Flatten;
use std::sync::Arc;
use std::{option, slice, str};

use super::binding::Destination;
use super::search::SearchStep;
use super::targets::{self, Targets};

/// The bindings of a topic exchange.
#[derive(Clone, Debug, Default)]
pub(super) struct Topic {
    root: Arc<Node>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    words: HashMap<Box<str>, Arc<Node>>,
    /// Below `*`.
    star: Option<Arc<Node>>,
    /// Below `#`.
    hash: Option<Arc<Node>>,
    /// Bindings whose key ends here.
    targets: Targets,
}

/// A position in the trie while a key is matched. One that was reached by `#` stays for every further word.
#[derive(Clone, Copy, Debug)]
struct Position<'a> {
    node: &'a Node,
    stays: bool,
}

impl Topic {
    pub(super) fn add(&mut self, binding_key: &str, destination: &Destination) {
        let mut node = Arc::make_mut(&mut self.root);
        for word in words(binding_key) {
            let below = match word {
                "*" => node.star.get_or_insert_default(),
                "#" => node.hash.get_or_insert_default(),
                word => node.words.entry(word.into()).or_default(),
            };
            node = Arc::make_mut(below);
        }
        node.targets.add(destination);
    }

    pub(super) fn remove(&mut self, binding_key: &str, destination: &Destination) {
        let words: Vec<&str> = words(binding_key).collect();
        Arc::make_mut(&mut self.root).remove(&words, destination);
    }

    /// Finds the destinations of a message with these keys.
    pub(super) fn matches<'a, 'k>(&'a self, keys: &'a [&'k str]) -> Matches<'a, 'k> {
        Matches {
            topic: self,
            taken: (keys.len() > 1).then(HashSet::new),
            keys: keys.iter(),
            words: None,
            here: Vec::with_capacity(8),
            next: Vec::with_capacity(8),
            found: targets::Iter::default(),
        }
    }
}

/// A search in a topic exchange: a step per word of each key, and one per position where a key ends.
#[derive(Debug)]
pub(super) struct Matches<'a, 'k> {
    topic: &'a Topic,
    keys: slice::Iter<'a, &'k str>,
    /// The remaining words of the current key; `None` after the last one.
    words: Option<Words<'k>>,
    /// The positions after the words so far.
    here: Vec<Position<'a>>,
    next: Vec<Position<'a>>,
    /// Addresses of the nodes that have given their destinations; `None` for a single key.
    taken: Option<HashSet<usize>>,
    /// The destinations of the last node.
    found: targets::Iter<'a>,
}

impl<'a> Matches<'a, '_> {
    /// Goes on by one word.
    fn follow(&mut self, word: &str) {
        for position in &self.here {
            if position.stays {
                enter(position.node, true, &mut self.next);
            }
            if let Some(node) = position.node.words.get(word) {
                enter(node, false, &mut self.next);
            }
            if let Some(node) = &position.node.star {
                enter(node, false, &mut self.next);
            }
        }
        forget_doubles(&mut self.next);
        std::mem::swap(&mut self.here, &mut self.next);
        self.next.clear();
    }

    /// Takes the destinations of a position where a key ends.
    fn take(&mut self, node: &'a Node) {
        let is_new = |taken: &mut HashSet<usize>| taken.insert(address(node));
        if self.taken.as_mut().is_none_or(is_new) {
            self.found = node.targets.iter();
        }
    }
}

impl<'a> Iterator for Matches<'a, '_> {
    type Item = SearchStep<'a>;

    fn next(&mut self) -> Option<SearchStep<'a>> {
        if let Some(destination) = self.found.next() {
            return Some(SearchStep::found(destination));
        }
        if let Some(words) = &mut self.words {
            match words.next() {
                Some(word) if !self.here.is_empty() => self.follow(word),
                Some(_) | None => self.words = None,
            }
            return Some(SearchStep::looked(1 + self.here.len()));
        }
        if let Some(position) = self.here.pop() {
            self.take(position.node);
            return Some(SearchStep::looked(1));
        }
        self.words = Some(words(self.keys.next()?));
        enter(&self.topic.root, false, &mut self.here);
        Some(SearchStep::looked(1))
    }
}

type Words<'k> = Flatten<option::IntoIter<str::Split<'k, char>>>;

fn words(key: &str) -> Words<'_> {
    let some = (!key.is_empty()).then(|| key.split('.'));
    some.into_iter().flatten()
}

/// Reaches a node, and the nodes below its `#`, which may match no word.
fn enter<'a>(node: &'a Node, stays: bool, positions: &mut Vec<Position<'a>>) {
    let mut position = Position { node, stays };
    positions.push(position);
    while let Some(hash) = &position.node.hash {
        position = Position {
            node: hash,
            stays: true,
        };
        positions.push(position);
    }
}

/// Removes duplicates. The same node always stays, or never does: it lies below `#` or not.
fn forget_doubles(positions: &mut Vec<Position<'_>>) {
    if positions.len() > 1 {
        positions.sort_unstable_by_key(|position| address(position.node));
        positions.dedup_by(|a, b| std::ptr::eq(a.node, b.node));
    }
}

fn address(node: &Node) -> usize {
    std::ptr::from_ref(node).addr()
}

impl Node {
    /// Removes a binding, and nodes that are empty then.
    fn remove(&mut self, words: &[&str], destination: &Destination) {
        let Some((word, rest)) = words.split_first() else {
            self.targets.remove(destination);
            return;
        };
        match *word {
            "*" => remove_below(&mut self.star, rest, destination),
            "#" => remove_below(&mut self.hash, rest, destination),
            word => {
                if let Some(node) = self.words.get_mut(word) {
                    let node = Arc::make_mut(node);
                    node.remove(rest, destination);
                    if node.is_empty() {
                        self.words.remove(word);
                    }
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.words.is_empty()
            && self.star.is_none()
            && self.hash.is_none()
            && self.targets.is_empty()
    }
}

fn remove_below(below: &mut Option<Arc<Node>>, rest: &[&str], destination: &Destination) {
    if let Some(node) = below {
        let node = Arc::make_mut(node);
        node.remove(rest, destination);
        if node.is_empty() {
            *below = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn queue(name: &str) -> Destination {
        Destination::Queue(name.into())
    }

    fn routed(topic: &Topic, routing_key: &str) -> BTreeSet<String> {
        let keys = [routing_key];
        let found = topic.matches(&keys).filter_map(|step| step.found);
        found
            .map(|destination| destination.name().to_string())
            .collect()
    }

    /// The specification as a slow and plain function.
    fn matches(pattern: &[&str], words: &[&str]) -> bool {
        match pattern.split_first() {
            None => words.is_empty(),
            Some((&"#", rest)) => (0..=words.len()).any(|n| matches(rest, &words[n..])),
            Some((&"*", rest)) => !words.is_empty() && matches(rest, &words[1..]),
            Some((word, rest)) => words.first() == Some(word) && matches(rest, &words[1..]),
        }
    }

    #[test]
    fn binding_keys_match() {
        let check = |pattern: &str, key: &str, expected: bool| {
            let mut topic = Topic::default();
            topic.add(pattern, &queue("q"));
            assert_eq!(
                !routed(&topic, key).is_empty(),
                expected,
                "{pattern:?} and {key:?}"
            );
        };
        for (pattern, yes, no) in [
            (
                "a.b.c",
                &["a.b.c"][..],
                &["a.b", "a.b.c.d", "a.b.d", ""][..],
            ),
            ("", &[""], &["a", "."]),
            ("*", &["a", "*", "#"], &["", "a.b", "."]),
            ("#", &["", "a", "a.b", ".", "..."], &[]),
            ("a.*", &["a.b", "a."], &["a", "a.b.c"]),
            ("a.#", &["a", "a.b", "a.b.c", "a."], &["b", "", ".a"]),
            ("#.a", &["a", "b.a", ".a", "a.a"], &["a.b", ""]),
            (
                "a.#.b",
                &["a.b", "a.#.b", "a.x.b", "a.x.y.b", "a.b.b"],
                &["a", "b", "a.b.c"],
            ),
            ("*.#", &["a", "a.b"], &[""]),
            ("#.*", &["a", "a.b"], &[""]),
            ("*.*", &["a.b", "."], &["a", "a.b.c"]),
            ("#.#", &["", "a", "a.b"], &[]),
            ("*.a.*", &["b.a.c", ".a."], &["a", "a.a"]),
            (".", &["."], &["", "a.", "..."]),
            ("a..b", &["a..b"], &["a.b", "a.x.b"]),
            ("a.*.b", &["a..b", "a.x.b"], &["a.b"]),
            ("a*", &["a*"], &["ab", "a"]),
            ("#a", &["#a"], &["a", "x.a"]),
        ] {
            yes.iter().for_each(|key| check(pattern, key, true));
            no.iter().for_each(|key| check(pattern, key, false));
        }
    }

    #[test]
    fn many_hashes_cost_no_more_than_nodes_times_words() {
        let mut topic = Topic::default();
        topic.add(&"#.a.".repeat(60), &queue("q"));
        topic.add(&["#"; 120].join("."), &queue("all"));
        let key = ["a"; 120].join(".");
        assert_eq!(routed(&topic, &key), BTreeSet::from(["all".to_owned()]));
    }

    #[test]
    fn many_keys_find_a_destination_once() {
        let mut topic = Topic::default();
        for queue in 0..100 {
            topic.add("#", &self::queue(&queue.to_string()));
        }
        let keys: Vec<String> = (0..1000).map(|key| key.to_string()).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let (found, steps): (Vec<_>, Vec<_>) =
            topic.matches(&keys).partition(|step| step.found.is_some());
        assert_eq!(found.len(), 100);
        assert!(steps.len() < 10 * keys.len(), "{}", steps.len());
    }

    #[test]
    fn a_search_goes_on_in_a_clone_while_bindings_change() {
        let mut topic = Topic::default();
        let patterns = ["a.b", "a.*", "#", "a.#.b"];
        for (pattern, name) in patterns.iter().zip(["1", "2", "3", "4"]) {
            topic.add(pattern, &queue(name));
        }
        let before = topic.clone();
        for (pattern, name) in patterns.iter().zip(["1", "2", "3", "4"]) {
            topic.remove(pattern, &queue(name));
        }
        topic.add("a.b", &queue("new"));
        assert_eq!(routed(&before, "a.b").len(), 4);
        assert_eq!(routed(&topic, "a.b"), BTreeSet::from(["new".to_owned()]));
    }

    #[test]
    fn removing_leaves_nothing_behind() {
        let mut topic = Topic::default();
        let keys = ["a.b.c", "a.*.c", "#", "a.#", "", "*.*"];
        for key in keys {
            topic.add(key, &queue("q"));
            topic.add(key, &queue("q"));
        }
        for key in keys {
            topic.remove(key, &queue("other"));
            topic.remove(key, &queue("q"));
        }
        assert_eq!(
            routed(&topic, "a.b.c").len(),
            1,
            "one binding of each is left"
        );
        keys.iter().for_each(|key| topic.remove(key, &queue("q")));
        assert!(topic.root.is_empty());
    }

    fn key(words: &'static [&'static str]) -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(words), 0..6).prop_map(|words| words.join("."))
    }

    proptest! {
        #[test]
        fn matches_as_the_definition(
            bindings in prop::collection::vec((key(&["a", "b", "", "*", "#"]), 0..4_u8), 0..20),
            removed in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
            keys in prop::collection::vec(key(&["a", "b", "c", ""]), 1..20),
        ) {
            let mut bindings = bindings;
            let mut topic = Topic::default();
            for (pattern, q) in &bindings {
                topic.add(pattern, &queue(&q.to_string()));
            }
            for index in removed {
                if !bindings.is_empty() {
                    let (pattern, q) = bindings.swap_remove(index.index(bindings.len()));
                    topic.remove(&pattern, &queue(&q.to_string()));
                }
            }
            for key in keys {
                let words: Vec<&str> = words(&key).collect();
                let expected: BTreeSet<String> = bindings
                    .iter()
                    .filter(|(pattern, _)| matches(&super::words(pattern).collect::<Vec<_>>(), &words))
                    .map(|(_, q)| q.to_string())
                    .collect();
                prop_assert_eq!(routed(&topic, &key), expected, "key {:?}", key);
            }
        }
    }
}

//! Topic exchanges: a trie over the words of binding keys. Words are what stands between dots, empty ones included;
//! only the empty key has no word. `*` stands for one word, `#` for any number of them, none included.
//!
//! A routing key is matched by following all branches at once, word by word, as a set of nodes: no node is looked
//! at twice for a word, so that keys and bindings full of `#` cost no more than their words times the nodes they
//! reach. Adding and removing a binding costs its words.

use std::collections::HashMap;

use super::Destination;
use super::targets::Targets;

/// The bindings of a topic exchange.
#[derive(Debug, Default)]
pub(super) struct Topic {
    root: Node,
}

#[derive(Debug, Default)]
struct Node {
    words: HashMap<Box<str>, Node>,
    /// Below `*`.
    star: Option<Box<Node>>,
    /// Below `#`.
    hash: Option<Box<Node>>,
    /// Bindings whose key ends here.
    targets: Targets,
}

/// A place in the trie while a key is matched. One that was reached by `#` stays for every further word.
#[derive(Clone, Copy)]
struct Place<'a> {
    node: &'a Node,
    stays: bool,
}

impl Topic {
    pub(super) fn add(&mut self, binding_key: &str, destination: &Destination) {
        let mut node = &mut self.root;
        for word in words(binding_key) {
            node = match word {
                "*" => node.star.get_or_insert_default(),
                "#" => node.hash.get_or_insert_default(),
                word => node.words.entry(word.into()).or_default(),
            };
        }
        node.targets.add(destination);
    }

    pub(super) fn remove(&mut self, binding_key: &str, destination: &Destination) {
        let words: Vec<&str> = words(binding_key).collect();
        self.root.remove(&words, destination);
    }

    pub(super) fn route<'a>(&'a self, routing_key: &str, visit: &mut dyn FnMut(&'a Destination)) {
        let mut here = Vec::with_capacity(8);
        enter(&self.root, false, &mut here);
        let mut next = Vec::with_capacity(8);
        for word in words(routing_key) {
            for place in &here {
                if place.stays {
                    enter(place.node, true, &mut next);
                }
                if let Some(node) = place.node.words.get(word) {
                    enter(node, false, &mut next);
                }
                if let Some(node) = &place.node.star {
                    enter(node, false, &mut next);
                }
            }
            forget_doubles(&mut next);
            std::mem::swap(&mut here, &mut next);
            next.clear();
            if here.is_empty() {
                return;
            }
        }
        for place in here {
            place.node.targets.iter().for_each(&mut *visit);
        }
    }
}

fn words(key: &str) -> impl Iterator<Item = &str> {
    let some = (!key.is_empty()).then(|| key.split('.'));
    some.into_iter().flatten()
}

/// Comes to a node, and through `#`, which may stand for no word at all, to what lies below it.
fn enter<'a>(node: &'a Node, stays: bool, places: &mut Vec<Place<'a>>) {
    let mut place = Place { node, stays };
    places.push(place);
    while let Some(hash) = &place.node.hash {
        place = Place {
            node: hash,
            stays: true,
        };
        places.push(place);
    }
}

/// Leaves each node once. The same node always stays, or never does: it lies below `#` or not.
fn forget_doubles(places: &mut Vec<Place<'_>>) {
    if places.len() > 1 {
        places.sort_unstable_by_key(|place| std::ptr::from_ref(place.node).addr());
        places.dedup_by(|a, b| std::ptr::eq(a.node, b.node));
    }
}

impl Node {
    /// Removes a binding, and the nodes that nothing needs then.
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

fn remove_below(below: &mut Option<Box<Node>>, rest: &[&str], destination: &Destination) {
    if let Some(node) = below {
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
        let mut names = BTreeSet::new();
        topic.route(routing_key, &mut |destination| {
            names.insert(destination.name().to_string());
        });
        names
    }

    /// The definition, as slow as it is plain.
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

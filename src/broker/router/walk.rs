//! The walk from an exchange to the queues that a message goes to, in steps: it may stop after any of them and go on
//! later. It goes through the exchanges as they are, or through a snapshot of them that nobody has to wait for.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::broker::exchange::{Content, Destination, Exchange, ExchangeKind, Matches, Table};
use crate::model::Name;

/// An exchange as a walk sees it. A clone shares the bindings; they are copied if they change while it is there.
#[derive(Clone, Debug)]
pub(in crate::broker) struct Node {
    pub(super) exchange: Arc<Exchange>,
    pub(super) table: Arc<Table>,
    pub(super) alternate: Option<Name>,
}

/// Where exchanges are found by name.
pub(in crate::broker) trait Graph {
    /// The exchange of this name.
    fn node(&self, name: &str) -> Option<&Node>;
}

/// The exchanges that can be reached from one, as they were at a moment.
#[derive(Debug, Default)]
pub(in crate::broker) struct Snapshot {
    pub(super) nodes: HashMap<Name, Node>,
}

impl Graph for Snapshot {
    fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.get(name)
    }
}

/// How far a walk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::broker) enum Progress {
    /// There is more to look at.
    More,
    /// It is over.
    Done,
}

/// What a walk has found: names, each once, of queues that may be there.
#[derive(Debug, Default)]
pub(in crate::broker) struct Found<'a> {
    /// Queues that get the message now.
    pub(in crate::broker) now: Vec<&'a str>,
    /// Queues that get it later, from a delayed exchange.
    pub(in crate::broker) later: Vec<&'a str>,
    /// After how many milliseconds.
    pub(in crate::broker) delay_ms: Option<u64>,
    /// Nothing but the keys has decided.
    pub(in crate::broker) by_key: bool,
}

/// The exchange that is being asked.
#[derive(Debug)]
struct Asked<'a, 'k> {
    node: &'a Node,
    matches: Matches<'a, 'k>,
    /// Something is bound there for the message.
    matched: bool,
}

/// Which queues are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Those that get the message now: delayed exchanges hold it.
    Now,
    /// Those behind the exchanges that held it.
    Later,
}

/// A walk that has begun. Each exchange on the way is asked once; its alternate exchange is asked if nothing is bound
/// there for the message.
#[derive(Debug)]
pub(in crate::broker) struct Walk<'a, 'k, G> {
    graph: &'a G,
    content: &'a Content<'k>,
    stage: Stage,
    /// Where it began, which it does not come back to.
    start: &'a str,
    /// Exchanges still to be asked.
    work: Vec<&'a Node>,
    /// The names of those that were asked or will be, besides the first.
    seen: HashSet<&'a str>,
    asked: Option<Asked<'a, 'k>>,
    /// Delayed exchanges that hold the message.
    holders: Vec<&'a Node>,
    found: Found<'a>,
}

impl<'a, 'k, G: Graph> Walk<'a, 'k, G> {
    /// A walk that begins at `exchange`.
    pub(in crate::broker) fn new(graph: &'a G, exchange: &str, content: &'a Content<'k>) -> Self {
        let mut walk = Walk {
            graph,
            content,
            stage: Stage::Now,
            start: "",
            work: Vec::new(),
            seen: HashSet::new(),
            asked: None,
            holders: Vec::new(),
            found: Found {
                by_key: true,
                ..Found::default()
            },
        };
        match graph.node(exchange) {
            // Every queue is bound to it by its name.
            Some(node) if node.exchange.is_default() => walk.found.now.extend(content.keys()),
            Some(node) => {
                walk.start = &node.exchange.name;
                walk.work.push(node);
            }
            None => {}
        }
        walk
    }

    /// Goes on for about so many steps.
    pub(in crate::broker) fn advance(&mut self, steps: usize) -> Progress {
        let mut left = steps;
        loop {
            let looked = if let Some(asked) = &mut self.asked {
                match asked.matches.next() {
                    None => {
                        self.leave();
                        1
                    }
                    Some(step) => {
                        if let Some(destination) = step.found {
                            asked.matched = true;
                            self.note(destination);
                        }
                        step.looked
                    }
                }
            } else if let Some(node) = self.work.pop() {
                self.ask(node);
                1
            } else if self.stage == Stage::Now && !self.holders.is_empty() {
                self.begin_later();
                1
            } else {
                return Progress::Done;
            };
            match left.checked_sub(looked) {
                Some(rest) => left = rest,
                None => return Progress::More,
            }
        }
    }

    /// What was found.
    pub(in crate::broker) fn finish(self) -> Found<'a> {
        let mut found = self.found;
        for names in [&mut found.now, &mut found.later] {
            if names.len() > 1 {
                names.sort_unstable();
                names.dedup();
            }
        }
        if !found.later.is_empty() {
            found.delay_ms = self.content.delay_ms();
        }
        found
    }

    /// Begins to ask an exchange, unless that holds the message.
    fn ask(&mut self, node: &'a Node) {
        if node.exchange.kind == ExchangeKind::Delayed && self.stage == Stage::Now {
            self.found.by_key = false;
            if self.content.delay_ms().is_some() {
                self.holders.push(node);
                return;
            }
        }
        self.found.by_key &= !node.table.needs_content();
        self.asked = Some(Asked {
            node,
            matches: node.table.matches(self.content),
            matched: false,
        });
    }

    fn note(&mut self, destination: &'a Destination) {
        match (destination, self.stage) {
            (Destination::Queue(name), Stage::Now) => self.found.now.push(name),
            (Destination::Queue(name), Stage::Later) => self.found.later.push(name),
            (Destination::Exchange(name), _) => self.go_to(name),
        }
    }

    /// Has asked an exchange.
    fn leave(&mut self) {
        if let Some(asked) = self.asked.take()
            && let (false, Some(alternate)) = (asked.matched, &asked.node.alternate)
        {
            self.go_to(alternate);
        }
    }

    /// Puts an exchange on the list. The default exchange, to which queues are bound for those who publish to it, leads
    /// nowhere as an alternate one.
    fn go_to(&mut self, name: &'a str) {
        if !name.is_empty() && name != self.start && self.seen.insert(name) {
            self.work.extend(self.graph.node(name));
        }
    }

    /// Goes on behind the exchanges that hold the message.
    fn begin_later(&mut self) {
        self.stage = Stage::Later;
        self.start = "";
        self.work = std::mem::take(&mut self.holders);
        self.seen = self.work.iter().map(|node| &*node.exchange.name).collect();
    }
}

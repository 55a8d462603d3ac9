//! The walk from an exchange to the queues of a message, in steps: it may stop after any of them and go on later. It goes
//! through the exchanges as they are, or through a snapshot, which needs no lock.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::broker::exchange::{Content, Destination, Exchange, ExchangeKind, Matches, Table};
use crate::model::Name;

/// An exchange as a walk sees it. A clone shares the bindings: a change while it exists copies them.
#[derive(Clone, Debug)]
pub(in crate::broker) struct Node {
    pub(super) exchange: Arc<Exchange>,
    pub(super) table: Arc<Table>,
    pub(super) alternate: Option<Name>,
}

/// Finds exchanges by name.
pub(in crate::broker) trait Graph {
    fn node(&self, name: &str) -> Option<&Node>;
}

/// The exchanges that can be reached from one, at a moment.
#[derive(Debug, Default)]
pub(in crate::broker) struct Snapshot {
    pub(super) nodes: HashMap<Name, Node>,
}

impl Graph for Snapshot {
    fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.get(name)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::broker) enum Progress {
    More,
    Done,
}

/// The result of a walk: names of queues, each once. Some may not exist.
#[derive(Debug, Default)]
pub(in crate::broker) struct WalkResult<'a> {
    pub(in crate::broker) now: Vec<&'a str>,
    /// Queues that get the message from a delayed exchange, after its delay.
    pub(in crate::broker) later: Vec<&'a str>,
    pub(in crate::broker) delay_ms: Option<u64>,
    /// The keys alone decided.
    pub(in crate::broker) by_key: bool,
}

/// An exchange whose bindings are being searched.
#[derive(Debug)]
struct Visit<'a, 'k> {
    node: &'a Node,
    matches: Matches<'a, 'k>,
    /// Some binding matched.
    matched: bool,
}

/// The queues that a walk looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Those that get the message now. Delayed exchanges are put off.
    Now,
    /// Those behind the delayed exchanges.
    Later,
}

/// A walk that has begun. It visits each exchange once, and the alternate exchange of one where no binding matches.
#[derive(Debug)]
pub(in crate::broker) struct Walk<'a, 'k, G> {
    graph: &'a G,
    content: &'a Content<'k>,
    stage: Stage,
    /// The exchange where it began, which it visits once.
    start: &'a str,
    /// Exchanges still to visit.
    work: Vec<&'a Node>,
    /// The names of all exchanges that it visited or will visit, but for the first.
    seen: HashSet<&'a str>,
    visit: Option<Visit<'a, 'k>>,
    /// Delayed exchanges that delay the message.
    delaying: Vec<&'a Node>,
    found: WalkResult<'a>,
}

impl<'a, 'k, G: Graph> Walk<'a, 'k, G> {
    pub(in crate::broker) fn new(graph: &'a G, exchange: &str, content: &'a Content<'k>) -> Self {
        let mut walk = Walk {
            graph,
            content,
            stage: Stage::Now,
            start: "",
            work: Vec::new(),
            seen: HashSet::new(),
            visit: None,
            delaying: Vec::new(),
            found: WalkResult {
                by_key: true,
                ..WalkResult::default()
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

    /// Goes on for about `steps` steps.
    pub(in crate::broker) fn advance(&mut self, steps: usize) -> Progress {
        let mut left = steps;
        loop {
            let looked = if let Some(visit) = &mut self.visit {
                match visit.matches.next() {
                    None => {
                        self.end_visit();
                        1
                    }
                    Some(step) => {
                        if let Some(destination) = step.found {
                            visit.matched = true;
                            self.note(destination);
                        }
                        step.looked
                    }
                }
            } else if let Some(node) = self.work.pop() {
                self.begin_visit(node);
                1
            } else if self.stage == Stage::Now && !self.delaying.is_empty() {
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

    pub(in crate::broker) fn finish(self) -> WalkResult<'a> {
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

    /// Begins to visit an exchange, unless that delays the message.
    fn begin_visit(&mut self, node: &'a Node) {
        if node.exchange.kind == ExchangeKind::Delayed && self.stage == Stage::Now {
            self.found.by_key = false;
            if self.content.delay_ms().is_some() {
                self.delaying.push(node);
                return;
            }
        }
        self.found.by_key &= !node.table.needs_content();
        self.visit = Some(Visit {
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

    /// Ends a visit.
    fn end_visit(&mut self) {
        if let Some(visit) = self.visit.take()
            && let (false, Some(alternate)) = (visit.matched, &visit.node.alternate)
        {
            self.go_to(alternate);
        }
    }

    /// Puts an exchange on the list. The default exchange leads nowhere as an alternate exchange.
    fn go_to(&mut self, name: &'a str) {
        if !name.is_empty() && name != self.start && self.seen.insert(name) {
            self.work.extend(self.graph.node(name));
        }
    }

    /// Goes on behind the exchanges that delay the message.
    fn begin_later(&mut self) {
        self.stage = Stage::Later;
        self.start = "";
        self.work = std::mem::take(&mut self.delaying);
        self.seen = self.work.iter().map(|node| &*node.exchange.name).collect();
    }
}

//! Sets of nodes, each a process of its own.

mod members; // how a set is formed and changed
mod nodes;
mod passing; // processes

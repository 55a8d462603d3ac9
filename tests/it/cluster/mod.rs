//! Sets of nodes, each a process of its own.

mod comparing; // what stopped members hold
mod damage; // damaged bodies in the log
mod members; // how a set is formed and changed
mod nodes; // processes
mod own_data; // nodes that have run alone
mod passing; // clients of followers
mod paused; // a leader that stands still for a while

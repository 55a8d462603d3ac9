//! The broker from outside: its processes, and shell commands that restart it or act on it.

mod hook;
mod process;
mod processes;

pub(crate) use hook::{restart, run_hook};
pub(crate) use process::{
    machine_cpu_seconds, rss_bytes, sleep_precisely, thread_cpu_seconds, thread_id,
};
pub(crate) use processes::{Processes, megabytes};

//! `leveret ctl`: rabbitmqctl's verbs over a Unix socket in the data directory. The client parses words and prints; the
//! broker's side carries verbs out. Knows nothing of AMQP frames.

mod absent; // commands of RabbitMQ that are not here
mod args; // from words to a verb with its options
mod banner; // what is printed before and after a verb
mod banner_templates; // banners without choices
mod clap_command; // the verbs as clap's commands, for completions and man pages
pub mod client; // the command
mod columns; // columns of listings
mod commands; // carries verbs out
mod confirmation; // asks before something is given up
mod content; // files that verbs read and write
pub(crate) mod context; // what verbs act on
mod exit_code; // exit codes
mod input; // what a few verbs need besides their request
mod invocation; // a parsed command line
mod options; // the table of options
mod outcome; // what verbs come to
mod pretty_table; // tables with borders
mod printer; // output formats
mod progress_bar; // how far a long verb has come
pub(crate) mod protocol; // what goes over the socket
mod remote; // verbs over the management API
mod secret_prompt; // passwords from standard input
pub(crate) mod server; // the broker's side of the socket
#[cfg(test)]
mod test_support;
mod thresholds; // checks of thresholds
mod verbs; // the table of verbs
mod words; // options among words

pub use clap_command::{command, man_sections};
pub use exit_code::EXIT_CODES;

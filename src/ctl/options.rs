//! The table of options: one row each. Which of them a verb takes is in the table of verbs.

/// One row of the table.
#[derive(Debug)]
pub(super) struct VerbOption {
    pub(super) long: &'static str,
    pub(super) short: Option<char>,
    /// What usage shows for the value; `None` for a switch.
    pub(super) value: Option<&'static str>,
    pub(super) scope: Scope,
    pub(super) help: &'static str,
}

/// Which verbs take an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// All verbs.
    Global,
    /// Those that name it.
    Verb,
}

const fn global(
    long: &'static str,
    short: Option<char>,
    value: Option<&'static str>,
    help: &'static str,
) -> VerbOption {
    VerbOption {
        long,
        short,
        value,
        scope: Scope::Global,
        help,
    }
}

const fn switch(long: &'static str, short: Option<char>, help: &'static str) -> VerbOption {
    VerbOption {
        long,
        short,
        value: None,
        scope: Scope::Verb,
        help,
    }
}

const fn value(
    long: &'static str,
    short: Option<char>,
    value: &'static str,
    help: &'static str,
) -> VerbOption {
    VerbOption {
        long,
        short,
        value: Some(value),
        scope: Scope::Verb,
        help,
    }
}

pub(super) const OPTIONS: &[VerbOption] = &[
    global(
        "node",
        Some('n'),
        Some("node"),
        "Name of the node in messages; there is one node",
    ),
    global(
        "timeout",
        Some('t'),
        Some("seconds"),
        "How long to wait for the reply",
    ),
    global(
        "formatter",
        None,
        Some("format"),
        "table, pretty_table, json or csv",
    ),
    global(
        "data-dir",
        None,
        Some("dir"),
        "Data directory of the broker, which has the socket",
    ),
    global(
        "config",
        None,
        Some("file"),
        "TOML file that names the data directory",
    ),
    global(
        "quiet",
        Some('q'),
        None,
        "Print no line that says what is done",
    ),
    global(
        "silent",
        Some('s'),
        None,
        "Print neither that line nor headers",
    ),
    global(
        "longnames",
        Some('l'),
        None,
        "Accepted for scripts; names of nodes are only shown",
    ),
    global(
        "no-table-headers",
        None,
        None,
        "Print no line with the columns' names",
    ),
    global("help", Some('h'), None, "Show the help of the command"),
    global(
        "url",
        None,
        Some("url"),
        "Management API to use instead of the socket, such as https://host:15671",
    ),
    global(
        "username",
        None,
        Some("username"),
        "User at the management API, guest by default",
    ),
    global(
        "password",
        None,
        Some("password"),
        "Password at the management API, guest by default",
    ),
    global(
        "password-stdin",
        None,
        None,
        "Read that password from standard input",
    ),
    global(
        "ca-file",
        None,
        Some("file"),
        "Certificates (PEM) to trust instead of the system's",
    ),
    switch("if-empty", Some('e'), "Only if the queue has no messages"),
    switch("if-unused", Some('u'), "Only if the queue has no consumers"),
    switch("force", None, "Also if a tool protects it"),
    switch("global", None, "In all virtual hosts or of all users"),
    switch("online", None, "Only queues that are up"),
    switch("offline", None, "Only queues that are down"),
    switch("local", None, "Only queues of this node"),
    switch("pre-hashed-password", None, "The password is a hash"),
    switch(
        "skip-if-unchanged",
        None,
        "Import nothing if the file was imported last",
    ),
    value("vhost", Some('p'), "vhost", "Virtual host, / by default"),
    value(
        "description",
        None,
        "description",
        "What the virtual host is for",
    ),
    value(
        "format",
        None,
        "format",
        "Format of the file or of the names",
    ),
    value("tags", None, "tag1,tag2", "Tags of the virtual host"),
    value(
        "default-queue-type",
        None,
        "type",
        "classic, quorum or stream",
    ),
    value(
        "protected-from-deletion",
        None,
        "true|false",
        "Whether the virtual host can be deleted",
    ),
    value("user", None, "username", "User"),
    value("limit", None, "count", "Most connections to close"),
    value("to", None, "time|offset", "Where to rewind to"),
    value(
        "priority",
        None,
        "priority",
        "The policy with the highest priority applies",
    ),
    value(
        "partitions",
        None,
        "count",
        "How many partitions, 3 by default",
    ),
    value(
        "binding-keys",
        None,
        "key1,key2",
        "A partition for each key",
    ),
    value(
        "routing-keys",
        None,
        "key1,key2",
        "The same as --binding-keys",
    ),
    value(
        "max-length-bytes",
        None,
        "bytes",
        "Size at which old messages go, such as 20gb",
    ),
    value(
        "max-age",
        None,
        "duration",
        "Age at which messages go, such as PT10M30S or P5DT8H",
    ),
    value(
        "stream-max-segment-size-bytes",
        None,
        "bytes",
        "Size of segments, such as 500mb",
    ),
    value(
        "leader-locator",
        None,
        "strategy",
        "client-local or balanced; there is one node",
    ),
    value(
        "initial-cluster-size",
        None,
        "count",
        "Number of replicas; there is one node",
    ),
    switch("across-all-vhosts", None, "In all virtual hosts"),
    switch("all", None, "Show all of them"),
    switch("by-source", None, "One row per user and address"),
    switch("enabled", Some('E'), "Only what is enabled"),
    switch("errors-only", None, "Show errors only"),
    switch(
        "implicitly-enabled",
        None,
        "Only what is enabled, also for others",
    ),
    switch("minimal", Some('m'), "Only names"),
    switch("opt-in", None, "Also experimental flags"),
    switch("tracking", None, "Show offsets that consumers store"),
    switch("used", None, "Only what is in use"),
    switch("verbose", Some('v'), "Also what a plugin is for"),
    switch("yes", None, "Do it without asking"),
    value(
        "address",
        Some('A'),
        "address",
        "Connect to this host instead of each listener's address",
    ),
    value("address-family", None, "family", "ipv4 or ipv6"),
    value(
        "duration",
        Some('d'),
        "seconds",
        "How long to go on; for ever by default",
    ),
    value("membership", None, "membership", "promotable or voter"),
    value(
        "number",
        Some('N'),
        "count",
        "How many lines, 50 by default",
    ),
    value("object-type", None, "type", "queue or exchange"),
    value(
        "queue-pattern",
        None,
        "pattern",
        "Only queues whose name matches",
    ),
    value(
        "queue-timeout",
        None,
        "milliseconds",
        "How long a queue may take to answer",
    ),
    value(
        "unit",
        None,
        "unit",
        "bytes, mb or gb; days, weeks, months or years",
    ),
    value(
        "vhost-pattern",
        None,
        "pattern",
        "Only virtual hosts whose name matches",
    ),
    value(
        "within",
        None,
        "count",
        "How many of the unit, 4 by default",
    ),
    value(
        "apply-to",
        None,
        "kind",
        "queues, exchanges, all, classic_queues, quorum_queues or streams",
    ),
];

/// The option of this long name.
pub(super) fn long(name: &str) -> Option<&'static VerbOption> {
    OPTIONS.iter().find(|option| option.long == name)
}

/// The option of this letter.
pub(super) fn short(letter: char) -> Option<&'static VerbOption> {
    OPTIONS.iter().find(|option| option.short == Some(letter))
}

/// Whether every verb takes the option.
pub(super) fn is_global(name: &str) -> bool {
    long(name).is_some_and(|option| option.scope == Scope::Global)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_letters_are_unique() {
        for (index, option) in OPTIONS.iter().enumerate() {
            for other in OPTIONS.iter().skip(index + 1) {
                assert_ne!(option.long, other.long);
                assert!(
                    option.short.is_none() || option.short != other.short,
                    "{} {}",
                    option.long,
                    other.long
                );
            }
        }
    }
}

//! Parses the words after `leveret ctl` into an [`Invocation`], or into the error that rabbitmqctl would print. Pure.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::absent;
use super::columns::{self, Columns};
use super::exit_code::EX_USAGE;
use super::invocation::{CommandError, Format, Invocation, Password, RemoteTarget, Style, Target};
use super::options;
use super::remote;
use super::verbs::{self, LOCAL, VERBS, Verb, VerbSpec};
use super::words::{self, Words};

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    Run(Box<Invocation>),
    /// The text of `help`.
    Help(String),
    Version,
    /// Many verbs, one after the other.
    Report(Vec<Invocation>),
}

/// Parses the words after `leveret ctl`.
pub(super) fn parse(words: &[String]) -> Result<Parsed, CommandError> {
    let Words {
        mut options,
        plain,
        unknown,
    } = words::split(words);
    let Some((name, args)) = plain.split_first() else {
        let text = verbs::usage_all();
        return if options.contains_key("help") {
            Ok(Parsed::Help(text))
        } else {
            Err(usage_error(text))
        };
    };
    if name == "version" {
        return Ok(Parsed::Version);
    }
    if name == "help" {
        let text = args
            .first()
            .and_then(|verb| verbs::find(verb))
            .map_or_else(verbs::usage_all, about);
        return Ok(Parsed::Help(text));
    }
    if name == "autocomplete" {
        return Ok(Parsed::Help(beginning_with(
            args.first().map_or("", String::as_str),
        )));
    }
    if name == "report" {
        return report(words);
    }
    if let Some(absent) = absent::find(name) {
        return absent.outcome().map(Parsed::Help);
    }
    let Some(spec) = verbs::find(name) else {
        let hint = verbs::similar(name).map_or_else(
            || "See 'leveret ctl help'".to_owned(),
            |similar| format!("Did you mean '{similar}'?"),
        );
        return Err(usage_error(format!(
            "Error: command '{name}' not found. {hint}"
        )));
    };
    if options.remove("help").is_some() {
        return Ok(Parsed::Help(about(spec)));
    }
    check_options(spec, &options, &unknown, words)?;
    let style =
        style(spec.verb, &mut options).map_err(|reason| invalid(spec, words, EX_USAGE, &reason))?;
    let target = target(&mut options).map_err(|reason| invalid(spec, words, EX_USAGE, &reason))?;
    if args.len() < spec.min {
        return Err(invalid(spec, words, EX_USAGE, "not enough arguments."));
    }
    if args.len() > spec.max {
        return Err(invalid(spec, words, EX_USAGE, "too many arguments."));
    }
    let mut args = args.to_vec();
    if let Some(columns) = columns::of(spec.verb) {
        args = column_names(&args, columns)
            .map_err(|reason| invalid(spec, words, EX_USAGE, &reason))?;
    }
    Ok(Parsed::Run(Box::new(Invocation {
        verb: spec.name,
        args,
        options,
        style,
        target,
    })))
}

/// The names of all commands that begin so, one a line.
fn beginning_with(start: &str) -> String {
    let own = VERBS.iter().map(|spec| spec.name);
    let names = own.chain(LOCAL.iter().map(|(name, _)| *name));
    let mut names: Vec<&str> = names.filter(|name| name.starts_with(start)).collect();
    names.sort_unstable();
    names.join("\n")
}

/// What `report` prints.
const REPORTED: &[&str] = &[
    "status",
    "cluster_status",
    "environment",
    "listeners",
    "alarms",
    "memory_breakdown",
    "list_feature_flags",
    "list_deprecated_features",
    "list_users",
    "list_vhosts name description tags default_queue_type",
    "list_global_parameters",
    "list_connections name user vhost state channels protocol ssl recv_oct send_oct client_properties",
    "list_channels name user vhost number consumer_count messages_unacknowledged prefetch_count",
    "list_vhost_limits --global",
    "list_permissions",
    "list_queues name type state durable policy arguments messages_ready messages_unacknowledged consumers memory",
    "list_exchanges name type durable auto_delete internal policy arguments",
    "list_bindings",
    "list_consumers",
    "list_policies",
    "list_operator_policies",
    "list_parameters",
    "log_tail",
];

/// The verbs of a report, each with the options given for the whole.
fn report(words: &[String]) -> Result<Parsed, CommandError> {
    let options = || words.iter().filter(|word| *word != "report").cloned();
    let mut invocations = Vec::new();
    for line in REPORTED {
        let verb = line.split(' ').map(str::to_owned);
        let words: Vec<String> = verb.chain(options()).collect();
        match parse(&words)? {
            Parsed::Run(invocation) => invocations.push(*invocation),
            other @ (Parsed::Help(_) | Parsed::Version | Parsed::Report(_)) => return Ok(other),
        }
    }
    Ok(Parsed::Report(invocations))
}

/// The columns that arguments name, which may also be separated by commas.
fn column_names(args: &[String], columns: &Columns) -> Result<Vec<String>, String> {
    let names: Vec<String> = args
        .iter()
        .flat_map(|arg| arg.split(','))
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    let unsupported: Vec<&str> = names
        .iter()
        .map(String::as_str)
        .filter(|name| !columns.all.contains(name))
        .collect();
    match unsupported.is_empty() {
        true => Ok(names),
        false => Err(format!(
            "Info key(s) {} are not supported",
            unsupported.join(",")
        )),
    }
}

/// Refuses options that the verb does not take.
fn check_options(
    spec: &VerbSpec,
    given: &BTreeMap<String, String>,
    unknown: &[(String, String)],
    words: &[String],
) -> Result<(), CommandError> {
    let foreign = given.iter().filter(|(long, _)| {
        let long = long.as_str();
        !options::is_global(long) && !spec.options.contains(&long)
    });
    let mut bad: Vec<String> = unknown
        .iter()
        .map(|(name, value)| format!("{name} : {value}"))
        .collect();
    bad.extend(foreign.map(|(long, value)| format!("--{long} : {value}")));
    if bad.is_empty() {
        return Ok(());
    }
    Err(invalid(
        spec,
        words,
        EX_USAGE,
        &format!("Invalid options for this command:\n{}", bad.join("\n")),
    ))
}

fn style(verb: Verb, options: &mut BTreeMap<String, String>) -> Result<Style, String> {
    let format = match options.remove("formatter").as_deref() {
        None if verb.is_pretty() => Format::PrettyTable,
        None | Some("table") => Format::Table,
        Some("json") => Format::Json,
        Some("csv") => Format::Csv,
        Some("pretty_table") => Format::PrettyTable,
        Some(other) => return Err(format!("Formatter '{other}' does not exist")),
    };
    options.remove("longnames");
    Ok(Style {
        quiet: options.remove("quiet").is_some(),
        silent: options.remove("silent").is_some(),
        no_table_headers: options.remove("no-table-headers").is_some(),
        format,
    })
}

fn target(options: &mut BTreeMap<String, String>) -> Result<Target, String> {
    let timeout = match options.remove("timeout").as_deref() {
        None | Some("infinity") => None,
        Some(text) => match text
            .parse::<f64>()
            .ok()
            .and_then(|s| Duration::try_from_secs_f64(s).ok())
        {
            Some(timeout) => Some(timeout),
            None => return Err(format!("Invalid timeout '{text}'")),
        },
    };
    Ok(Target {
        data_dir: options.remove("data-dir").map(PathBuf::from),
        config: options.remove("config").map(PathBuf::from),
        node: options.remove("node"),
        timeout,
        remote: remote(options)?,
    })
}

/// The management API that the options name.
fn remote(options: &mut BTreeMap<String, String>) -> Result<Option<RemoteTarget>, String> {
    let url = options.remove("url");
    let username = options.remove("username");
    let password = options.remove("password");
    let from_stdin = options.remove("password-stdin").is_some();
    let ca_file = options.remove("ca-file").map(PathBuf::from);
    let Some(url) = url else {
        let is_alone = username.is_none() && password.is_none() && !from_stdin && ca_file.is_none();
        return match is_alone {
            true => Ok(None),
            false => Err("--username, --password and --ca-file need --url".to_owned()),
        };
    };
    let password = match (password, from_stdin) {
        (Some(_), true) => return Err("there are two passwords".to_owned()),
        (Some(password), false) => Password::Given(password),
        (None, true) => Password::FromStdin,
        (None, false) => Password::Given("guest".to_owned()),
    };
    Ok(Some(RemoteTarget {
        url,
        username: username.unwrap_or_else(|| "guest".to_owned()),
        password,
        ca_file,
    }))
}

/// The help of one verb.
fn about(spec: &VerbSpec) -> String {
    let mut text = format!("{}\n\n{}", verbs::usage(spec), spec.about);
    if remote::has(spec.verb) {
        text.push_str("\n\nAlso by --url, over the management API.");
    }
    if let Some(columns) = columns::of(spec.verb) {
        let mut all = columns.all.to_vec();
        all.sort_unstable();
        text += &format!(
            "\n\n<column>\n\tmust be one of {}\n\twithout any: {}",
            all.join(", "),
            columns.default.join(", ")
        );
    }
    text
}

fn usage_error(text: String) -> CommandError {
    CommandError {
        exit: EX_USAGE,
        text,
    }
}

/// rabbitmqctl's error for invalid words after a verb.
pub(super) fn invalid(spec: &VerbSpec, words: &[String], exit: u8, reason: &str) -> CommandError {
    let text = format!(
        "Error (argument validation): {reason}\nArguments given:\n\t{}\n\n{}",
        words.join(" "),
        verbs::usage(spec)
    );
    CommandError { exit, text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    fn run(line: &str) -> Invocation {
        match parse(&words(line)) {
            Ok(Parsed::Run(invocation)) => *invocation,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn options_stand_anywhere() {
        let invocation =
            run("-q -p v1 set_permissions -n rabbit@here bob .* ^a --formatter json -t 5 c");
        assert_eq!(invocation.verb, "set_permissions");
        assert_eq!(invocation.args, ["bob", ".*", "^a", "c"]);
        assert_eq!(
            invocation.options.get("vhost").map(String::as_str),
            Some("v1")
        );
        assert!(invocation.style.quiet && !invocation.style.silent);
        assert_eq!(invocation.style.format, Format::Json);
        assert_eq!(invocation.target.timeout, Some(Duration::from_secs(5)));
        assert_eq!(invocation.target.node.as_deref(), Some("rabbit@here"));
        assert_eq!(
            run("list_queues --vhost=v name,messages state").args,
            ["name", "messages", "state"]
        );
        assert_eq!(run("add_user -- -p -q").args, ["-p", "-q"]);
        assert_eq!(run("set_vm_memory_high_watermark -1").args, ["-1"]);
    }

    #[test]
    fn errors_read_as_rabbitmqctls() {
        let check = |line: &str, start: &str| {
            let error = parse(&words(line)).unwrap_err();
            assert_eq!(error.exit, EX_USAGE, "{line}");
            assert!(error.text.starts_with(start), "{line}: {}", error.text);
        };
        check("", "Usage\n");
        check(
            "bogus_verb a",
            "Error: command 'bogus_verb' not found. See 'leveret ctl help'",
        );
        check(
            "add_usr a b",
            "Error: command 'add_usr' not found. Did you mean 'add_user'?",
        );
        check(
            "list_users extra",
            "Error (argument validation): too many arguments.\nArguments given:\n\tlist_users extra\n\nUsage\n\n",
        );
        check(
            "delete_user",
            "Error (argument validation): not enough arguments.\n",
        );
        check(
            "list_users --bogus",
            "Error (argument validation): Invalid options for this command:\n--bogus : \n",
        );
        check(
            "list_users -p v",
            "Error (argument validation): Invalid options for this command:\n--vhost : v\n",
        );
        check(
            "list_queues bogus",
            "Error (argument validation): Info key(s) bogus are not supported\n",
        );
        check(
            "list_users --formatter erlang",
            "Error (argument validation): Formatter 'erlang' does not exist\n",
        );
    }
}

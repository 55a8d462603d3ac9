//! From the words after `leveret ctl` to an [`Invocation`], or to the complaint that rabbitmqctl would print. Pure.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::columns;
use super::verbs::{self, VerbSpec};

/// `EX_USAGE`: the words make no sense.
pub const EX_USAGE: u8 = 64;
/// `EX_DATAERR`: an argument makes no sense, or names nothing.
pub const EX_DATAERR: u8 = 65;
/// `EX_NOUSER`: no such user.
pub const EX_NOUSER: u8 = 67;
/// `EX_UNAVAILABLE`: no broker, or it refused.
pub const EX_UNAVAILABLE: u8 = 69;
/// `EX_SOFTWARE`: what rabbitmqctl gives when a thing exists already.
pub const EX_SOFTWARE: u8 = 70;
/// `EX_TEMPFAIL`: it took too long.
pub const EX_TEMPFAIL: u8 = 75;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Columns separated by tabs.
    #[default]
    Table,
    /// A JSON array of objects.
    Json,
    /// Comma-separated values.
    Csv,
    /// A table with borders, drawn by a terminal.
    PrettyTable,
}

/// What to do, and how to say it.
#[derive(Debug, PartialEq, Eq)]
pub struct Invocation {
    /// The verb's name.
    pub verb: &'static str,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its own options by long name; switches have an empty value.
    pub options: BTreeMap<String, String>,
    /// How to print.
    pub style: Style,
    /// Where the broker is and how long to wait for it.
    pub target: Target,
}

/// How results are printed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// No banner.
    pub quiet: bool,
    /// No banner and no headers.
    pub silent: bool,
    /// No headers.
    pub no_table_headers: bool,
    /// In which form.
    pub format: Format,
}

/// Which broker.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// `--data-dir`, if said.
    pub data_dir: Option<PathBuf>,
    /// `--config`, if said.
    pub config: Option<PathBuf>,
    /// `--node`: accepted and shown; there is one node.
    pub node: Option<String>,
    /// `--timeout`, if said.
    pub timeout: Option<Duration>,
}

/// The words made no sense: what to print to standard error, and the exit code.
#[derive(Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Exit code.
    pub exit: u8,
    /// What to print.
    pub text: String,
}

/// Words that ask for something other than a verb, or a verb.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A verb to run.
    Run(Invocation),
    /// `help`: what to print.
    Help(String),
    /// `version`.
    Version,
}

/// Short options and the long ones that they stand for.
const SHORT: &[(&str, &str)] = &[
    ("-n", "node"),
    ("-q", "quiet"),
    ("-s", "silent"),
    ("-t", "timeout"),
    ("-l", "longnames"),
    ("-p", "vhost"),
    ("-e", "if-empty"),
    ("-u", "if-unused"),
    ("-h", "help"),
];
/// Options that every verb takes and that have a value.
const GLOBAL_VALUES: &[&str] = &["node", "timeout", "formatter", "data-dir", "config"];
/// Options that every verb takes and that have none.
const GLOBAL_SWITCHES: &[&str] = &["quiet", "silent", "longnames", "no-table-headers", "help"];
/// Options of some verbs that have no value.
const SWITCHES: &[&str] = &[
    "if-empty",
    "if-unused",
    "global",
    "online",
    "offline",
    "local",
    "pre-hashed-password",
];
/// Options of some verbs that have a value.
const VALUES: &[&str] = &[
    "vhost",
    "description",
    "tags",
    "default-queue-type",
    "user",
    "limit",
    "to",
];

/// Splits words into options and the rest.
#[derive(Default)]
struct Split {
    options: BTreeMap<String, String>,
    plain: Vec<String>,
    unknown: Vec<(String, String)>,
}

fn split(words: &[String]) -> Split {
    let mut split = Split::default();
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        if word == "--" {
            split.plain.extend(words.cloned());
            break;
        }
        let (name, inline) = match word.split_once('=') {
            Some((name, value)) if word.starts_with("--") => (name, Some(value.to_owned())),
            _ => (word.as_str(), None),
        };
        let long = match name.strip_prefix("--") {
            Some(long) => long.replace('_', "-"),
            None => match SHORT.iter().find(|(short, _)| *short == name) {
                Some((_, long)) => (*long).to_owned(),
                // A number below zero, a lone dash, or plain text.
                None if !name.starts_with('-')
                    || name.len() == 1
                    || name.parse::<f64>().is_ok() =>
                {
                    split.plain.push(word.clone());
                    continue;
                }
                None => name.to_owned(),
            },
        };
        if GLOBAL_SWITCHES.contains(&&*long) || SWITCHES.contains(&&*long) {
            split.options.insert(long, String::new());
        } else if GLOBAL_VALUES.contains(&&*long) || VALUES.contains(&&*long) {
            match inline.or_else(|| words.next().cloned()) {
                Some(value) => {
                    split.options.insert(long, value);
                }
                None => split.unknown.push((name.to_owned(), String::new())),
            }
        } else {
            split
                .unknown
                .push((name.to_owned(), inline.unwrap_or_default()));
        }
    }
    split
}

/// Understands the words after `leveret ctl`.
pub fn parse(words: &[String]) -> Result<Parsed, Complaint> {
    let Split {
        mut options,
        plain,
        unknown,
    } = split(words);
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
    let style = style(&mut options).map_err(|reason| invalid(spec, words, EX_USAGE, &reason))?;
    let target = target(&mut options).map_err(|reason| invalid(spec, words, EX_USAGE, &reason))?;
    if args.len() < spec.min {
        return Err(invalid(spec, words, EX_USAGE, "not enough arguments."));
    }
    if args.len() > spec.max {
        return Err(invalid(spec, words, EX_USAGE, "too many arguments."));
    }
    let mut args = args.to_vec();
    if let Some(columns) = columns::of(spec.verb) {
        // Columns may be separated by commas as well.
        args = args
            .iter()
            .flat_map(|arg| arg.split(','))
            .filter(|c| !c.is_empty())
            .map(str::to_owned)
            .collect();
        let unsupported: Vec<&str> = args
            .iter()
            .map(String::as_str)
            .filter(|column| !columns.all.contains(column))
            .collect();
        if !unsupported.is_empty() {
            let reason = format!("Info key(s) {} are not supported", unsupported.join(","));
            return Err(invalid(spec, words, EX_USAGE, &reason));
        }
    }
    Ok(Parsed::Run(Invocation {
        verb: spec.name,
        args,
        options,
        style,
        target,
    }))
}

fn check_options(
    spec: &VerbSpec,
    options: &BTreeMap<String, String>,
    unknown: &[(String, String)],
    words: &[String],
) -> Result<(), Complaint> {
    let foreign = options.iter().filter(|(long, _)| {
        let long = long.as_str();
        !GLOBAL_VALUES.contains(&long)
            && !GLOBAL_SWITCHES.contains(&long)
            && !spec.options.contains(&long)
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

fn style(options: &mut BTreeMap<String, String>) -> Result<Style, String> {
    let format = match options.remove("formatter").as_deref() {
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
    })
}

fn about(spec: &VerbSpec) -> String {
    let mut text = format!("{}\n\n{}", verbs::usage(spec), spec.about);
    if let Some(columns) = columns::of(spec.verb) {
        let mut all = columns.all.to_vec();
        all.sort_unstable();
        text += &format!(
            "\n\n<column>\n\tmust be one of {}\n\twithout any: {}",
            all.join(", "),
            columns.usual.join(", ")
        );
    }
    text
}

fn usage_error(text: String) -> Complaint {
    Complaint {
        exit: EX_USAGE,
        text,
    }
}

/// rabbitmqctl's way to say that the words after a verb make no sense.
pub fn invalid(spec: &VerbSpec, words: &[String], exit: u8, reason: &str) -> Complaint {
    let text = format!(
        "Error (argument validation): {reason}\nArguments given:\n\t{}\n\n{}",
        words.join(" "),
        verbs::usage(spec)
    );
    Complaint { exit, text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    fn run(line: &str) -> Invocation {
        match parse(&words(line)) {
            Ok(Parsed::Run(invocation)) => invocation,
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
    fn complaints_read_as_rabbitmqctls() {
        let check = |line: &str, exit: u8, start: &str| {
            let complaint = parse(&words(line)).unwrap_err();
            assert_eq!(complaint.exit, exit, "{line}");
            assert!(
                complaint.text.starts_with(start),
                "{line}: {}",
                complaint.text
            );
        };
        check("", 64, "Usage\n");
        check(
            "bogus_verb a",
            64,
            "Error: command 'bogus_verb' not found. See 'leveret ctl help'",
        );
        check(
            "add_usr a b",
            64,
            "Error: command 'add_usr' not found. Did you mean 'add_user'?",
        );
        check(
            "list_users extra",
            64,
            "Error (argument validation): too many arguments.\nArguments given:\n\tlist_users extra\n\nUsage\n\n",
        );
        check(
            "delete_user",
            64,
            "Error (argument validation): not enough arguments.\n",
        );
        check(
            "list_users --bogus",
            64,
            "Error (argument validation): Invalid options for this command:\n--bogus : \n",
        );
        check(
            "list_users -p v",
            64,
            "Error (argument validation): Invalid options for this command:\n--vhost : v\n",
        );
        check(
            "list_queues bogus",
            64,
            "Error (argument validation): Info key(s) bogus are not supported\n",
        );
        check(
            "list_users --formatter erlang",
            64,
            "Error (argument validation): Formatter 'erlang' does not exist\n",
        );
    }
}

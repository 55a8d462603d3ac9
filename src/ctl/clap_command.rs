//! The verbs as clap's commands, for completions and man pages. Parsing is in `args`: rabbitmqctl's rules are not clap's.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, Command, ValueHint};
use clap_mangen::roff::{Roff, bold, roman};

use super::columns;
use super::options::{self, OPTIONS, Scope, VerbOption};
use super::verbs::{LOCAL, VERBS, Verb, VerbSpec};

/// What `ctl` is for.
const ABOUT: &str = "Manage a running broker with rabbitmqctl's commands: see 'leveret ctl help'";

/// `ctl` with all verbs.
pub fn command() -> Command {
    let globals = OPTIONS
        .iter()
        .filter(|option| option.scope == Scope::Global);
    Command::new("ctl")
        .about(ABOUT)
        .disable_help_flag(true)
        .disable_help_subcommand(true)
        .args(globals.map(|option| argument(option).global(true)))
        .subcommands(VERBS.iter().map(verb))
        .subcommands(LOCAL.iter().map(local))
}

/// A command that needs no broker: help takes the name of another one.
fn local((name, about): &(&'static str, &'static str)) -> Command {
    let command = Command::new(*name).about(*about).disable_help_flag(true);
    match *name {
        "help" => command.arg(Arg::new("command").value_parser(PossibleValuesParser::new(names()))),
        _ => command,
    }
}

fn names() -> impl Iterator<Item = &'static str> {
    VERBS.iter().map(|spec| spec.name)
}

fn verb(spec: &VerbSpec) -> Command {
    let own = spec.options.iter().filter_map(|name| options::long(name));
    let command = Command::new(spec.name)
        .about(spec.about)
        .disable_help_flag(true)
        .args(own.map(argument));
    if spec.max == 0 {
        return command;
    }
    let mut arguments = Arg::new("arguments").num_args(0..=spec.max);
    if let Some(columns) = columns::of(spec.verb) {
        arguments = arguments.value_parser(PossibleValuesParser::new(columns.all.iter().copied()));
    }
    if matches!(spec.verb, Verb::ExportDefinitions | Verb::ImportDefinitions) {
        arguments = arguments.value_hint(ValueHint::FilePath);
    }
    command.arg(arguments)
}

fn argument(option: &VerbOption) -> Arg {
    let mut arg = Arg::new(option.long).long(option.long).help(option.help);
    if let Some(letter) = option.short {
        arg = arg.short(letter);
    }
    let hint = match option.long {
        "data-dir" => ValueHint::DirPath,
        "config" => ValueHint::FilePath,
        _ => ValueHint::Unknown,
    };
    match option.value {
        None => arg.action(ArgAction::SetTrue),
        Some(value) if option.long == "formatter" => {
            arg.value_name(value)
                .value_parser(PossibleValuesParser::new([
                    "table",
                    "pretty_table",
                    "json",
                    "csv",
                ]))
        }
        Some(value) => arg.value_name(value).value_hint(hint),
    }
}

/// The sections of leveret-ctl(1) that list the verbs, one per group.
pub fn man_sections() -> Roff {
    let mut page = Roff::new();
    let mut group = "";
    for spec in VERBS {
        if spec.group != group {
            group = spec.group;
            page.control("SH", [&*group.to_uppercase()]);
        }
        page.control("TP", []);
        let mut usage = vec![bold(spec.name)];
        if !spec.usage.is_empty() {
            usage.push(roman(format!(" {}", spec.usage)));
        }
        page.text(usage);
        page.text([roman(spec.about)]);
        if let Some(columns) = columns::of(spec.verb) {
            page.text([roman(format!("Columns: {}.", columns.all.join(", ")))]);
        }
    }
    page
}

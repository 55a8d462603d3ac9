//! Man pages and completions of shells, made from the same tables as the help.

use std::io::{self, Write};
use std::path::Path;

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use crate::{cli, ctl};

/// The subcommand whose page lists its verbs.
const CTL: &str = "ctl";

/// Writes the completions of a shell.
pub fn write_completions(shell: Shell, out: &mut dyn Write) -> io::Result<()> {
    // The generator panics when its writer fails, as a closed pipe does.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut cli::command(), "leveret", &mut script);
    out.write_all(&script)
}

/// Writes each page to a file in `dir`, which is created if need be. Returns the names of the files.
pub fn write_pages(dir: &Path) -> io::Result<Vec<String>> {
    std::fs::create_dir_all(dir)?;
    names()
        .map(|name| {
            let mut page = Vec::new();
            write_page(&name, &mut page)?;
            let file = format!("{name}.1");
            std::fs::write(dir.join(&file), page)?;
            Ok(file)
        })
        .collect()
}

/// The names of all pages, such as `leveret-ctl`.
pub fn names() -> impl Iterator<Item = String> {
    let commands = cli::command();
    let subcommands = commands
        .get_subcommands()
        .map(|c| format!("leveret-{}", c.get_name()));
    let subcommands: Vec<String> = subcommands.collect();
    std::iter::once("leveret".to_owned()).chain(subcommands)
}

/// Writes one page.
pub fn write_page(name: &str, out: &mut dyn Write) -> io::Result<()> {
    let mut commands = cli::command();
    commands.build();
    let subcommand = name.strip_prefix("leveret-");
    let found = match subcommand {
        None => (name == "leveret").then_some(&commands),
        Some(subcommand) => commands.find_subcommand(subcommand),
    };
    let Some(command) = found else {
        let text = format!("there is no page '{name}'");
        return Err(io::Error::new(io::ErrorKind::NotFound, text));
    };
    let command = command
        .clone()
        .name(name.to_owned())
        .display_name(name.to_owned());
    match subcommand {
        Some(CTL) => write_ctl(command, out),
        Some(_) | None => man(command).render(out),
    }
}

fn man(command: Command) -> Man {
    Man::new(command)
        .manual("Leveret")
        .source(concat!("leveret ", env!("CARGO_PKG_VERSION")))
}

/// Writes leveret-ctl(1): the verbs stand in it, instead of a page for each.
fn write_ctl(command: Command, out: &mut dyn Write) -> io::Result<()> {
    let page = man(command);
    page.render_title(out)?;
    page.render_name_section(out)?;
    let mut own = Roff::new();
    own.control("SH", ["SYNOPSIS"]);
    own.text([roman("leveret ctl [options] <command> [arguments]")]);
    own.control("SH", ["DESCRIPTION"]);
    own.text([roman(
        "Carries out a command on a running broker. Commands, options, output and exit codes are those of rabbitmqctl, \
         rabbitmq-diagnostics, rabbitmq-queues and rabbitmq-streams. Options may stand anywhere.",
    )]);
    own.to_writer(out)?;
    page.render_options_section(out)?;
    ctl::man_sections().to_writer(out)?;
    let mut own = Roff::new();
    own.control("SH", ["EXIT STATUS"]);
    for (code, meaning) in ctl::EXIT_CODES {
        own.control("TP", []);
        own.text([roman(code.to_string())]);
        own.text([roman(*meaning)]);
    }
    own.to_writer(out)
}

//! Asks before a verb that gives something up for good.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use super::exit_code::EX_USAGE;
use super::invocation::{CommandError, Invocation};
use super::protocol::LINE_BYTES_MAX;
use super::verbs::Verb;

const YES: &str = "yes";

/// What a verb may lose, if it may lose anything.
fn warning(verb: Verb) -> Option<&'static str> {
    match verb {
        Verb::ForceBoot => Some(
            "This gives up all other nodes of the set, and this node goes on alone, with everything that it has. Do it only \
             if a majority is lost for good.\nWhat the lost nodes have and this node has not is lost, even if it was \
             confirmed: at most what was written after this node was last in touch with the leader.\nIf the other nodes \
             still run, there are two sets afterwards that know nothing of each other.",
        ),
        _ => None,
    }
}

/// Asks on a terminal, unless `--yes` answers already. Without a terminal it refuses, since no operator can answer.
pub(super) fn ask(verb: Verb, invocation: &Invocation) -> Result<(), CommandError> {
    let Some(warning) = warning(verb).filter(|_| !invocation.options.contains_key(YES)) else {
        return Ok(());
    };
    let refused = |text: String| {
        let exit = EX_USAGE;
        Err(CommandError { exit, text })
    };
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return refused(format!("{warning}\nError: to do it, add --yes"));
    }
    match answer(warning) {
        Ok(answer) if answer.trim() == YES => Ok(()),
        Ok(_) => refused("Error: nothing was changed".to_owned()),
        Err(error) => refused(format!("Error: cannot read the answer: {error}")),
    }
}

fn answer(warning: &str) -> io::Result<String> {
    // Prompts go to standard error, so that output stays clean.
    io::stderr().write_all(format!("{warning}\nGo on? Type yes: ").as_bytes())?;
    let bound = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
    let mut line = String::new();
    io::stdin().lock().take(bound).read_line(&mut line)?;
    Ok(line)
}

//! Reads secrets from standard input, so that they need not stand on the command line.
//!
//! By hand, with two calls to the terminal, because `rpassword` takes no bound for a line.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use super::exit_code::EX_USAGE;
use super::invocation::{CommandError, Invocation};
use super::protocol::LINE_BYTES_MAX;
use super::verbs::{Verb, secret_argument};

/// Adds the secret that a verb needs as its last argument and that was left out.
pub(super) fn ask_secret(verb: Verb, invocation: &mut Invocation) -> Result<(), CommandError> {
    let given = invocation.args.len();
    if secret_argument(verb) != Some(given) {
        return Ok(());
    }
    let what = match verb {
        Verb::AddSecretKey => "secret key",
        _ => "password",
    };
    let secret = ask(what)?;
    invocation.args.push(secret);
    Ok(())
}

/// Reads a secret, which must not be empty.
pub(super) fn ask(what: &str) -> Result<String, CommandError> {
    let secret = read_secret(what).map_err(|error| {
        CommandError::unavailable(format!("Error: cannot read the {what}: {error}"))
    })?;
    if secret.is_empty() {
        let text =
            format!("Error: {what} is not provided via command line argument or standard input");
        return Err(CommandError {
            exit: EX_USAGE,
            text,
        });
    }
    Ok(secret)
}

/// Reads the first line of standard input. A terminal shows a prompt, and hides what is typed.
fn read_secret(what: &str) -> io::Result<String> {
    let stdin = io::stdin();
    let mut line = String::new();
    let bound = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
    if !stdin.is_terminal() {
        stdin.lock().take(bound).read_line(&mut line)?;
    } else {
        // Prompts go to standard error, so that output stays clean.
        io::stderr().write_all(format!("{what}: ").as_bytes())?;
        let shown = tcgetattr(&stdin)?;
        let mut hidden = shown.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&stdin, OptionalActions::Flush, &hidden)?;
        let read = stdin.lock().take(bound).read_line(&mut line);
        tcsetattr(&stdin, OptionalActions::Flush, &shown)?;
        io::stderr().write_all(b"\n")?;
        read?;
    }
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

//! Files of the client's side: reads what a verb sends to the broker, and writes what the broker sends. Errors are in
//! rabbitmqctl's words.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::exit_code::{EX_DATAERR, EX_USAGE};
use super::invocation::{CommandError, Invocation};
use super::verbs::Verb;
use crate::definitions_file::DOCUMENT_BYTES_MAX;

/// The mode of a new file: definitions hold hashes of passwords.
const FILE_MODE: u32 = 0o600;
/// The name of standard input or output.
const STANDARD: &str = "-";

/// Why the files of a verb are invalid, with the exit code; `None` if they are valid.
pub(super) fn check(verb: Verb, invocation: &Invocation) -> Option<(u8, String)> {
    if !matches!(verb, Verb::ExportDefinitions | Verb::ImportDefinitions) {
        return None;
    }
    let format = invocation
        .options
        .get("format")
        .map(|format| format.to_lowercase());
    if format.is_some_and(|format| format != "json") {
        return Some((EX_DATAERR, "Bad argument: Format should be json".to_owned()));
    }
    let path = invocation.args.first().filter(|path| *path != STANDARD)?;
    let path = Path::new(path);
    match verb {
        Verb::ExportDefinitions => {
            let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty())?;
            let text = format!("Bad argument: Directory {} does not exist", dir.display());
            (!dir.exists()).then_some((EX_DATAERR, text))
        }
        _ => {
            let text = format!("Bad argument: File {} does not exist", path.display());
            (!path.exists()).then_some((EX_DATAERR, text))
        }
    }
}

/// The content that a verb sends to the broker.
pub(super) fn read(verb: Verb, invocation: &Invocation) -> Result<Vec<u8>, CommandError> {
    if verb != Verb::ImportDefinitions {
        return Ok(Vec::new());
    }
    let path = invocation.args.first().filter(|path| *path != STANDARD);
    let content = match path {
        Some(path) => fs::File::open(path).and_then(bounded),
        None => bounded(io::stdin()),
    };
    let content = content.map_err(|error| {
        let path = path.map_or("standard input", String::as_str);
        refused(match error.kind() {
            ErrorKind::PermissionDenied => {
                format!("No permissions to read from file {path} or its parent directory")
            }
            ErrorKind::IsADirectory => format!("Path {path} is a directory"),
            _ => format!("Could not read from file {path}: {error}"),
        })
    })?;
    match (content.is_empty(), path) {
        (false, _) => Ok(content),
        (true, Some(path)) => Err(refused(format!("File {path} is zero-sized"))),
        (true, None) => Err(CommandError {
            exit: EX_USAGE,
            text: "Error: there is nothing on standard input".to_owned(),
        }),
    }
}

/// Reads a document of bounded length.
fn bounded(from: impl Read) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let bound = u64::try_from(DOCUMENT_BYTES_MAX).unwrap_or(u64::MAX);
    from.take(bound + 1).read_to_end(&mut content)?;
    match content.len() > DOCUMENT_BYTES_MAX {
        true => Err(io::Error::other(format!(
            "it has more than {DOCUMENT_BYTES_MAX} bytes"
        ))),
        false => Ok(content),
    }
}

/// Where the texts that the broker sends go: to a file if the verb names one.
pub(super) fn sink(
    verb: Verb,
    invocation: &Invocation,
) -> Result<Option<Box<dyn Write>>, CommandError> {
    let path = match (verb, invocation.args.first()) {
        (Verb::ExportDefinitions, Some(path)) if path != STANDARD => path,
        _ => return Ok(None),
    };
    let mut options = OpenOptions::new();
    let options = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(FILE_MODE);
    match options.open(path) {
        Ok(file) => Ok(Some(Box::new(file))),
        Err(error) => Err(refused(match error.kind() {
            ErrorKind::PermissionDenied => {
                format!("No permissions to write to file {path} or its parent directory")
            }
            ErrorKind::IsADirectory => format!("Path {path} is a directory"),
            ErrorKind::StorageFull => format!("No space left on device hosting {path}"),
            _ => format!("Could not write to file {path}: {error}"),
        })),
    }
}

fn refused(text: String) -> CommandError {
    CommandError {
        exit: EX_DATAERR,
        text: format!("Error:\n{text}"),
    }
}

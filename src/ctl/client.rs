//! The command's side: finds the socket, sends the request, prints what comes. Banners are said before the broker is
//! asked, as rabbitmqctl does.

use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use super::args::{self, Complaint, EX_TEMPFAIL, EX_UNAVAILABLE, Format, Invocation, Parsed};
use super::banner::{self, Banner};
use super::format::Printer;
use super::protocol::{Event, LINE_BYTES_MAX, Request, SOCKET};
use super::verbs::{self, Verb, secret_argument};
use crate::config::{Config, RawConfig};

/// How long to wait for an answer when no timeout is said.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// How often `await_startup` looks for a broker that is not there yet.
const RETRY_EVERY: Duration = Duration::from_millis(100);

/// Runs `leveret ctl` with the words after it; returns the exit code.
pub fn run(words: &[String], environment: impl Fn(&str) -> Option<String>) -> u8 {
    let mut out = io::stdout().lock();
    let mut err = io::stderr().lock();
    let result = args::parse(words).and_then(|parsed| match parsed {
        Parsed::Help(text) => print(&mut out, &format!("{text}\n")),
        Parsed::Version => print(&mut out, concat!(env!("CARGO_PKG_VERSION"), "\n")),
        Parsed::Run(invocation) => Session {
            words,
            environment: &environment,
            out: &mut out,
        }
        .run(invocation),
    });
    match result {
        Ok(()) => 0,
        // Who reads has had enough: what was asked for is done.
        Err(complaint) if complaint.exit == 0 => 0,
        Err(complaint) => {
            // Nobody is left to hear that standard error is gone.
            writeln!(err, "{}", complaint.text).unwrap_or_default();
            complaint.exit
        }
    }
}

fn print(out: &mut dyn Write, text: &str) -> Result<(), Complaint> {
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Complaint {
            exit: 0,
            text: String::new(),
        },
        _ => unavailable(format!("Error: cannot write: {error}")),
    })
}

fn unavailable(text: String) -> Complaint {
    Complaint {
        exit: EX_UNAVAILABLE,
        text,
    }
}

struct Session<'a> {
    words: &'a [String],
    environment: &'a dyn Fn(&str) -> Option<String>,
    out: &'a mut dyn Write,
}

impl Session<'_> {
    fn run(&mut self, mut invocation: Invocation) -> Result<(), Complaint> {
        let Some(spec) = verbs::find(invocation.verb) else {
            return Err(unavailable(format!("Error: no verb '{}'", invocation.verb)));
        };
        if let Some((exit, reason)) = banner::check(spec.verb, &invocation) {
            return Err(args::invalid(spec, self.words, exit, &reason));
        }
        ask_secret(spec.verb, &mut invocation)?;
        let node = invocation
            .target
            .node
            .clone()
            .unwrap_or_else(crate::node::name);
        self.say_banner(spec.verb, &invocation, &node)?;
        let timeout = invocation.target.timeout.unwrap_or(ANSWER_TIMEOUT);
        let socket = self.socket(&invocation)?;
        let stream = connect(spec.verb, &socket, timeout)
            .map_err(|error| no_broker(&node, &socket, &error))?;
        let request = Request {
            verb: spec.verb,
            args: invocation.args.clone(),
            options: invocation.options.clone(),
        };
        self.converse(stream, &request, &invocation, timeout)?;
        if !invocation.style.quiet && !invocation.style.silent {
            print(self.out, banner::epilogue(spec.verb))?;
        }
        Ok(())
    }

    fn say_banner(
        &mut self,
        verb: Verb,
        invocation: &Invocation,
        node: &str,
    ) -> Result<(), Complaint> {
        let style = &invocation.style;
        let for_programs = matches!(style.format, Format::Json | Format::Csv);
        if style.quiet || style.silent || for_programs {
            return Ok(());
        }
        match banner::banner(verb, invocation, node) {
            Banner::Silent => Ok(()),
            Banner::Say(text) => print(self.out, &format!("{text}\n")),
        }
    }

    /// The socket of the data directory: that of `--data-dir`, else of the configuration.
    fn socket(&self, invocation: &Invocation) -> Result<PathBuf, Complaint> {
        let said = |key: &str| match key {
            "data-dir" => invocation
                .target
                .data_dir
                .as_ref()
                .map(|dir| vec![dir.to_string_lossy().into_owned()]),
            _ => None,
        };
        let mut raw = RawConfig::default();
        raw.add_flags(said);
        raw.add_environment(self.environment);
        let file = invocation.target.config.clone();
        let file =
            file.or_else(|| (self.environment)(crate::config::CONFIG_ENV).map(PathBuf::from));
        let config = match file {
            Some(file) => raw.add_file(&file).and_then(|()| Config::from_raw(&raw)),
            None => Config::from_raw(&raw),
        };
        let config = config.map_err(|error| Complaint {
            exit: args::EX_USAGE,
            text: format!("Error: {error}"),
        })?;
        Ok(config.data_dir.join(SOCKET))
    }

    fn converse(
        &mut self,
        mut stream: UnixStream,
        request: &Request,
        invocation: &Invocation,
        timeout: Duration,
    ) -> Result<(), Complaint> {
        let lost = |error: io::Error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Complaint {
                exit: EX_TEMPFAIL,
                text: format!(
                    "Error:\noperation timed out after {} ms",
                    timeout.as_millis()
                ),
            },
            _ => unavailable(format!("Error: lost the broker: {error}")),
        };
        let line = serde_json::to_string(request).map_err(|error| lost(error.into()))?;
        if line.len() >= LINE_BYTES_MAX {
            return Err(Complaint {
                exit: args::EX_DATAERR,
                text: "Error: the arguments are too long".to_owned(),
            });
        }
        stream
            .write_all(format!("{line}\n").as_bytes())
            .map_err(lost)?;
        let mut lines = BufReader::new(stream);
        let mut printer = Printer::new(&invocation.style);
        loop {
            match next_event(&mut lines).map_err(lost)? {
                Event::Columns(columns) => print(self.out, &printer.start(columns))?,
                Event::Row(cells) => print(self.out, &printer.row(&cells))?,
                Event::Message(text) => print(self.out, &printer.message(&text))?,
                Event::Report { text, json } => print(self.out, &printer.report(&text, &json))?,
                Event::Done if request.verb == Verb::Stop => {
                    // The socket closes when the process has ended.
                    return match next_event(&mut lines) {
                        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Ok(()),
                        Err(error) => Err(lost(error)),
                        Ok(_) => Ok(()),
                    };
                }
                Event::Done => return print(self.out, &printer.end()),
                Event::Failed(exit, text) => return Err(Complaint { exit, text }),
            }
        }
    }
}

fn next_event(lines: &mut impl BufRead) -> io::Result<Event> {
    let mut line = String::new();
    let bound = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
    if lines.take(bound).read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    serde_json::from_str(&line).map_err(Into::into)
}

/// Connects; `await_startup` waits for a broker that is still starting.
fn connect(verb: Verb, socket: &Path, timeout: Duration) -> io::Result<UnixStream> {
    let give_up = crate::clock::monotonic() + timeout;
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => {
                stream.set_read_timeout(Some(timeout.max(RETRY_EVERY)))?;
                stream.set_write_timeout(Some(timeout.max(RETRY_EVERY)))?;
                return Ok(stream);
            }
            Err(_) if verb == Verb::AwaitStartup && crate::clock::monotonic() < give_up => {
                std::thread::sleep(RETRY_EVERY);
            }
            Err(error) => return Err(error),
        }
    }
}

fn no_broker(node: &str, socket: &Path, error: &io::Error) -> Complaint {
    unavailable(format!(
        "Error: unable to perform an operation on node '{node}'. Please see diagnostics information and suggestions \
         below.\n\n * no broker answers at {}: {error}\n * is it running, and is this its data directory \
         (--data-dir or LEVERET_DATA_DIR)?",
        socket.display()
    ))
}

/// Verbs that take a secret as their last argument read it from standard input when it is left out.
fn ask_secret(verb: Verb, invocation: &mut Invocation) -> Result<(), Complaint> {
    let given = invocation.args.len();
    if secret_argument(verb) != Some(given) {
        return Ok(());
    }
    let what = match verb {
        Verb::AddSecretKey => "secret key",
        _ => "password",
    };
    let secret = read_secret(what)
        .map_err(|error| unavailable(format!("Error: cannot read the {what}: {error}")))?;
    if secret.is_empty() {
        let text =
            format!("Error: {what} is not provided via command line argument or standard input");
        return Err(Complaint {
            exit: args::EX_USAGE,
            text,
        });
    }
    invocation.args.push(secret);
    Ok(())
}

/// The first line of standard input. A person is asked for it, and does not see it.
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

//! The command: finds the socket, sends the request, prints the events. Prints banners before it connects, as rabbitmqctl
//! does.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::args::{self, Parsed};
use super::banner::{banner, epilogue};
use super::confirmation;
use super::content;
use super::exit_code::{EX_DATAERR, EX_TEMPFAIL, EX_USAGE};
use super::invocation::{CommandError, Format, Invocation, Password};
use super::outcome::{Failure, Reply};
use super::printer::Printer;
use super::progress_bar::ProgressBar;
use super::protocol::{Event, LINE_BYTES_MAX, Request, SOCKET};
use super::remote::{self, Http};
use super::secret_prompt::{self, ask_secret};
use super::thresholds;
use super::verbs::{self, Verb};
use crate::config::Sources;

/// How long to wait for a reply without `--timeout`.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);
/// How often `await_startup` tries to connect.
const RETRY_EVERY: Duration = Duration::from_millis(100);

/// Runs `leveret ctl` with the words after it; returns the exit code.
pub fn run(words: &[String], environment: impl Fn(&str) -> Option<String>) -> u8 {
    run_to(
        words,
        environment,
        &mut io::stdout().lock(),
        &mut io::stderr().lock(),
    )
}

/// As [`run`], with its output written elsewhere.
pub fn run_to(
    words: &[String],
    environment: impl Fn(&str) -> Option<String>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let result = args::parse(words).and_then(|parsed| match parsed {
        Parsed::Help(text) => print(out, &format!("{text}\n")),
        Parsed::Version => print(out, concat!(env!("CARGO_PKG_VERSION"), "\n")),
        Parsed::Run(invocation) => Session {
            words,
            environment: &environment,
            out,
        }
        .run(*invocation),
        Parsed::Report(invocations) => {
            let mut session = Session {
                words,
                environment: &environment,
                out,
            };
            invocations.into_iter().try_for_each(|invocation| {
                session.run(invocation)?;
                print(session.out, "\n")
            })
        }
    });
    match result {
        Ok(()) => 0,
        // The reader closed the pipe early: the verb was carried out.
        Err(error) if error.exit == 0 => 0,
        Err(error) => {
            // A closed standard error cannot be reported.
            writeln!(err, "{}", error.text).unwrap_or_default();
            error.exit
        }
    }
}

fn print(out: &mut dyn Write, text: &str) -> Result<(), CommandError> {
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => CommandError {
            exit: 0,
            text: String::new(),
        },
        _ => cannot_write(error),
    })
}

fn cannot_write(error: io::Error) -> CommandError {
    CommandError::unavailable(format!("Error: cannot write: {error}"))
}

struct Session<'a> {
    words: &'a [String],
    environment: &'a dyn Fn(&str) -> Option<String>,
    out: &'a mut dyn Write,
}

impl Session<'_> {
    fn run(&mut self, mut invocation: Invocation) -> Result<(), CommandError> {
        let Some(spec) = verbs::find(invocation.verb) else {
            return Err(CommandError::unavailable(format!(
                "Error: no verb '{}'",
                invocation.verb
            )));
        };
        if let Some((exit, reason)) = thresholds::check(spec.verb, &invocation) {
            return Err(args::invalid(spec, self.words, exit, &reason));
        }
        if let Some((exit, reason)) = content::check(spec.verb, &invocation) {
            return Err(args::invalid(spec, self.words, exit, &reason));
        }
        if invocation.target.remote.is_some() && !remote::has(spec.verb) {
            return Err(needs_the_socket(spec.name));
        }
        confirmation::ask(spec.verb, &invocation)?;
        // The login's password comes before the verb's secret.
        let login = invocation.target.remote.clone();
        let login = login.map(|target| {
            let password = match &target.password {
                Password::Given(password) => password.clone(),
                Password::FromStdin => secret_prompt::ask("password")?,
            };
            Ok::<_, CommandError>((target, password))
        });
        let login = login.transpose()?;
        ask_secret(spec.verb, &mut invocation)?;
        let node = invocation.target.node.clone();
        let node = node.unwrap_or_else(|| match &login {
            Some((target, _)) => target.url.clone(),
            None => crate::node::name(),
        });
        self.print_banner(spec.verb, &invocation, &node)?;
        let content = content::read(spec.verb, &invocation)?;
        let timeout = match (invocation.target.timeout, spec.verb) {
            (Some(timeout), _) => timeout,
            // It waits for lines that may never come.
            (None, Verb::LogTailStream) => Duration::MAX,
            // It takes as long as reading the disk, and tells nothing while it counts what is there.
            (None, Verb::Fsck) => Duration::MAX,
            // They wait for nodes, and a new node first gets what the set has.
            (None, Verb::AwaitOnlineNodes | Verb::JoinCluster) => Duration::MAX,
            (None, _) => REPLY_TIMEOUT,
        };
        let request = Request {
            verb: spec.verb,
            args: invocation.args.clone(),
            options: invocation.options.clone(),
            content: content.len(),
        };
        match login {
            Some((target, password)) => {
                let http = Http::new(&target, password, timeout)?;
                self.ask_api(&http, &request, &content, &invocation)?;
            }
            None => {
                let socket = self.socket(&invocation)?;
                let stream = connect(spec.verb, &socket, timeout)
                    .map_err(|error| no_broker(&node, &socket, &error))?;
                self.converse(stream, &request, &content, &invocation, timeout)?;
            }
        }
        if !invocation.style.quiet && !invocation.style.silent {
            print(self.out, epilogue(spec.verb))?;
        }
        Ok(())
    }

    fn print_banner(
        &mut self,
        verb: Verb,
        invocation: &Invocation,
        node: &str,
    ) -> Result<(), CommandError> {
        let style = &invocation.style;
        let for_programs = matches!(style.format, Format::Json | Format::Csv);
        if style.quiet || style.silent || for_programs {
            return Ok(());
        }
        match banner(verb, invocation, node) {
            Some(text) => print(self.out, &format!("{text}\n")),
            None => Ok(()),
        }
    }

    /// The socket in the data directory, which `--data-dir` or the configuration names.
    fn socket(&self, invocation: &Invocation) -> Result<PathBuf, CommandError> {
        let target = &invocation.target;
        let data_dir = target.data_dir.as_ref();
        let flags = data_dir.map(|dir| {
            (
                "data-dir".to_owned(),
                vec![dir.to_string_lossy().into_owned()],
            )
        });
        let sources = Sources {
            flags: flags.into_iter().collect(),
            file: target.config.clone(),
            ..Sources::default()
        };
        let data_dir = sources
            .data_dir(self.environment)
            .map_err(|error| CommandError {
                exit: EX_USAGE,
                text: format!("Error: {error}"),
            })?;
        Ok(data_dir.join(SOCKET))
    }

    /// Carries a verb out by the management API, and prints what it comes to.
    fn ask_api(
        &mut self,
        http: &Http,
        request: &Request,
        content: &[u8],
        invocation: &Invocation,
    ) -> Result<(), CommandError> {
        let bar = ProgressBar::new(invocation.style.quiet || invocation.style.silent);
        let outcome = remote::carry_out(http, request, content);
        drop(bar);
        let outcome = outcome.ok_or_else(|| needs_the_socket(invocation.verb))?;
        let reply = outcome.map_err(|failure| refusal(&failure, invocation))?;
        let mut printer = Printer::new(&invocation.style);
        match reply {
            Reply::Done => {}
            Reply::Message(text) => print(self.out, &printer.message(&text))?,
            Reply::Text(text) => match content::sink(request.verb, invocation)? {
                Some(mut file) => file.write_all(text.as_bytes()).map_err(cannot_write)?,
                None => print(self.out, &text)?,
            },
            Reply::Report { text, json } => print(self.out, &printer.report(&text, &json))?,
            Reply::Table { columns, rows } => {
                print(self.out, &printer.start(columns))?;
                for row in &rows {
                    print(self.out, &printer.row(row))?;
                }
            }
        }
        print(self.out, &printer.end())
    }

    fn converse(
        &mut self,
        mut stream: UnixStream,
        request: &Request,
        content: &[u8],
        invocation: &Invocation,
        timeout: Duration,
    ) -> Result<(), CommandError> {
        let mut sink = content::sink(request.verb, invocation)?;
        let mut bar = ProgressBar::new(invocation.style.quiet || invocation.style.silent);
        if request.verb.counts_bytes() {
            bar = bar.in_bytes();
        }
        let lost = |error: io::Error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => CommandError {
                exit: EX_TEMPFAIL,
                text: format!(
                    "Error:\noperation timed out after {} ms",
                    timeout.as_millis()
                ),
            },
            _ => CommandError::unavailable(format!("Error: lost the broker: {error}")),
        };
        let line = serde_json::to_string(request).map_err(|error| lost(error.into()))?;
        if line.len() >= LINE_BYTES_MAX {
            return Err(CommandError {
                exit: EX_DATAERR,
                text: "Error: the arguments are too long".to_owned(),
            });
        }
        stream
            .write_all(format!("{line}\n").as_bytes())
            .and_then(|()| stream.write_all(content))
            .map_err(lost)?;
        let mut lines = BufReader::new(stream);
        let mut printer = Printer::new(&invocation.style);
        loop {
            let event = next_event(&mut lines).map_err(lost)?;
            if !matches!(event, Event::Progress { .. }) {
                bar.clear();
            }
            match event {
                Event::Columns(columns) => print(self.out, &printer.start(columns))?,
                Event::Row(cells) => print(self.out, &printer.row(&cells))?,
                Event::Text(text) => match &mut sink {
                    Some(file) => file.write_all(text.as_bytes()).map_err(cannot_write)?,
                    None => print(self.out, &text)?,
                },
                Event::Progress { done, total } => bar.show(done, total),
                Event::Message(text) => print(self.out, &printer.message(&text))?,
                Event::Report { text, json } => print(self.out, &printer.report(&text, &json))?,
                Event::Done if request.verb.ends_the_process() => {
                    // The socket closes when the process has ended.
                    return match next_event(&mut lines) {
                        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Ok(()),
                        Err(error) => Err(lost(error)),
                        Ok(_) => Ok(()),
                    };
                }
                Event::Done => return print(self.out, &printer.end()),
                Event::Failed { exit, text, json } => {
                    return Err(refusal(&Failure { exit, text, json }, invocation));
                }
            }
        }
    }
}

fn needs_the_socket(verb: &str) -> CommandError {
    CommandError {
        exit: EX_USAGE,
        text: format!(
            "Error: '{verb}' is not available by --url, since the management API does not have it. Run it on the \
             broker's machine, without --url."
        ),
    }
}

/// A refusal as text, or for programs as JSON.
fn refusal(failure: &Failure, invocation: &Invocation) -> CommandError {
    let text = match (invocation.style.format, &failure.json) {
        (Format::Json, Some(json)) => json.to_string(),
        _ => failure.text.clone(),
    };
    CommandError {
        exit: failure.exit,
        text,
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

/// Connects. `await_startup` tries again until the broker has started.
fn connect(verb: Verb, socket: &Path, timeout: Duration) -> io::Result<UnixStream> {
    let started = crate::clock::monotonic();
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => {
                let timeout = (timeout < Duration::MAX).then(|| timeout.max(RETRY_EVERY));
                stream.set_read_timeout(timeout)?;
                stream.set_write_timeout(timeout)?;
                return Ok(stream);
            }
            Err(_) if verb == Verb::AwaitStartup && started.elapsed() < timeout => {
                std::thread::sleep(RETRY_EVERY);
            }
            Err(error) => return Err(error),
        }
    }
}

fn no_broker(node: &str, socket: &Path, error: &io::Error) -> CommandError {
    CommandError::unavailable(format!(
        "Error: unable to perform an operation on node '{node}'. Please see diagnostics information and suggestions \
         below.\n\n * no broker answers at {}: {error}\n * is it running, and is this its data directory \
         (--data-dir or LEVERET_DATA_DIR)?",
        socket.display()
    ))
}

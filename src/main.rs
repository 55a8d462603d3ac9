//! The `leveret` binary: command line, logging, runtime. `server` builds and runs the broker.

use std::fs::File;
use std::io::{self, Write, stderr, stdout};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use leveret::cli::{self, CliError, Command, Serve};
use leveret::config::{CONFIG_ENV, Reading, Setting, changes_to_shown, stray_variables};
use leveret::ctl;
use leveret::fsck;
use leveret::logging;
use leveret::manual;
use leveret::migrate;
use leveret::server::{Reloader, RunningServer, Server};
use leveret::service_manager;
use leveret::shutdown::{Asked, Signals};
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};
use tracing::{error, info, warn};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The configuration of the machine's broker.
const SYSTEM_FILE: &str = "/etc/leveret/leveret.toml";
/// `EX_CONFIG`: the configuration is invalid.
const EX_CONFIG: u8 = 78;
/// `EX_UNAVAILABLE`: no broker answers.
const EX_UNAVAILABLE: u8 = 69;
/// `EX_OSERR`: the system refused what every process needs.
const EX_OSERR: u8 = 71;
/// How long the end of the process waits for threads that are still busy with the disk.
const THREADS_WAIT: Duration = Duration::from_secs(5);
/// A second signal ended the process before it had closed everything in good order.
const EX_INTERRUPTED: u8 = 1;

fn main() -> ExitCode {
    match cli::parse(std::env::args_os(), environment) {
        Ok(Command::Serve(with)) => serve(*with),
        Ok(Command::CheckConfig(reading)) => show(&reading),
        Ok(Command::CompareConfig(reading)) => compare(&reading),
        Ok(Command::Migrate(options)) => {
            // The names of queues and users are in its files.
            umask(Mode::RWXG | Mode::RWXO);
            migrate::run(*options)
        }
        Ok(Command::Fsck(options)) => {
            umask(Mode::RWXG | Mode::RWXO);
            fsck::run(options)
        }
        Ok(Command::Ctl(words)) => ExitCode::from(ctl::client::run(&words, environment)),
        Ok(Command::Completions(shell)) => exit_code(
            manual::write_completions(shell, &mut stdout()),
            ExitCode::SUCCESS,
        ),
        Ok(Command::Man { page, dir }) => print_manual(&page, dir.as_deref()),
        Err(CliError::Usage(error)) => {
            // Help and version exit with 0.
            let code = u8::try_from(error.exit_code()).unwrap_or(EX_CONFIG);
            exit_code(error.print(), ExitCode::from(code))
        }
        Err(CliError::Migrate(error)) => print_error(
            &format!("leveret migrate: {error}"),
            ExitCode::from(EX_CONFIG),
        ),
        Err(CliError::Config(error)) => {
            print_error(&format!("leveret: {error}"), ExitCode::from(EX_CONFIG))
        }
    }
}

/// Prints a line to standard error; returns `code`.
fn print_error(line: &str, code: ExitCode) -> ExitCode {
    exit_code(writeln!(stderr(), "{line}"), code)
}

/// The exit code after printing. A reader that closes the pipe early, such as `head`, is no failure.
fn exit_code(printed: io::Result<()>, code: ExitCode) -> ExitCode {
    match printed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::from(EX_OSERR),
        Ok(()) | Err(_) => code,
    }
}

/// Prints the settings of a valid configuration, as a file with the source of each option.
fn show(reading: &Reading) -> ExitCode {
    print_warnings(reading);
    let settings = reading.raw.settings();
    let lines: String = settings.iter().map(Setting::to_string).collect();
    match stdout().write_all(lines.as_bytes()) {
        Ok(()) => print_error("the configuration is valid", ExitCode::SUCCESS),
        error => exit_code(error, ExitCode::SUCCESS),
    }
}

/// Prints what differs between a valid configuration and that of the broker on its data directory.
fn compare(reading: &Reading) -> ExitCode {
    print_warnings(reading);
    let changes = running_configuration(reading).and_then(|shown| {
        changes_to_shown(&shown, &reading.raw).map_err(|error| error.to_string())
    });
    let lines: Vec<String> = match &changes {
        Err(error) => return print_error(error, ExitCode::from(EX_UNAVAILABLE)),
        Ok(changes) if changes.is_empty() => vec!["a reload would change nothing".to_owned()],
        Ok(changes) => changes
            .iter()
            .map(|change| format!("a reload would change {change}"))
            .collect(),
    };
    match stdout().write_all((lines.join("\n") + "\n").as_bytes()) {
        Ok(()) => print_error("the configuration is valid", ExitCode::SUCCESS),
        error => exit_code(error, ExitCode::SUCCESS),
    }
}

/// The configuration of the running broker, as it shows it.
fn running_configuration(reading: &Reading) -> Result<String, String> {
    let config = reading.config().map_err(|error| error.to_string())?;
    let words = [
        "-q",
        "--data-dir",
        &config.data_dir.to_string_lossy(),
        "environment",
    ]
    .map(str::to_owned);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = ctl::client::run_to(&words, environment, &mut out, &mut err);
    let said = if code == 0 { out } else { err };
    let said = String::from_utf8_lossy(&said).into_owned();
    if code == 0 {
        Ok(said)
    } else {
        Err(said.trim_end().to_owned())
    }
}

fn print_warnings(reading: &Reading) {
    for line in stray_variables(variables()).iter().chain(&reading.warnings) {
        print_error(&format!("warning: {line}"), ExitCode::SUCCESS);
    }
}

/// Prints a man page, or writes all of them to `dir`.
fn print_manual(page: &str, dir: Option<&Path>) -> ExitCode {
    let written = match dir {
        Some(dir) => manual::write_pages(dir).map(drop),
        None => manual::write_page(page, &mut stdout()),
    };
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            print_error(&format!("leveret: {error}"), ExitCode::from(EX_OSERR))
        }
        Ok(()) | Err(_) => ExitCode::SUCCESS,
    }
}

fn variables() -> impl Iterator<Item = String> {
    std::env::vars_os().filter_map(|(name, _)| name.into_string().ok())
}

fn serve(with: Serve) -> ExitCode {
    logging::init(with.config.log_level, with.config.log_format);
    for line in stray_variables(variables()).iter().chain(&with.warnings) {
        warn!("{line}");
    }
    raise_open_files();
    // Only the broker's user may read its files: messages, hashes of passwords, keys.
    umask(Mode::RWXG | Mode::RWXO);
    match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => {
            let code = runtime.block_on(run(with));
            // A disk that does not answer must not keep the process from ending.
            runtime.shutdown_timeout(THREADS_WAIT);
            code
        }
        Err(error) => {
            error!(%error, "cannot start");
            ExitCode::from(EX_OSERR)
        }
    }
}

/// Serves until a signal or `leveret ctl stop`. A second signal ends the process immediately.
async fn run(with: Serve) -> ExitCode {
    let grace = with.config.shutdown_grace;
    let mut signals = match Signals::install() {
        Ok(signals) => signals,
        Err(error) => {
            error!(%error, "cannot listen for signals");
            return ExitCode::from(EX_OSERR);
        }
    };
    let mut reloader = Reloader::new(with.sources, with.raw);
    let mut server = match Server::start(with.config).await {
        Ok(server) => server,
        Err(error) => {
            error!("cannot start: {error}");
            return ExitCode::from(error.exit_code());
        }
    };
    let informed = service_manager::ready(server.committer(), server.alarms().subscribe());
    serve_until_asked(&mut server, &mut signals, &mut reloader).await;
    drop(informed);
    service_manager::stopping(grace);
    tokio::select! {
        () = server.shutdown() => {
            info!("shut down");
            ExitCode::SUCCESS
        }
        signal = signals.end() => {
            warn!(signal, "second signal: ending immediately");
            ExitCode::from(EX_INTERRUPTED)
        }
    }
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().or_else(|| system_file(name))
}

/// The value of `LEVERET_CONFIG` when nothing sets it: the system's file, if it is there and may be read. So `leveret ctl`
/// finds the broker of the machine, and an ordinary user's own broker does without that file.
fn system_file(name: &str) -> Option<String> {
    let is_meant = name == CONFIG_ENV && File::open(SYSTEM_FILE).is_ok();
    is_meant.then(|| SYSTEM_FILE.to_owned())
}

/// Reloads the configuration whenever a signal asks for it; returns when the broker is asked to end.
async fn serve_until_asked(
    server: &mut RunningServer,
    signals: &mut Signals,
    reloader: &mut Reloader,
) {
    loop {
        tokio::select! {
            asked = signals.next() => match asked {
                Asked::End(signal) => {
                    info!(signal, "shutting down");
                    return;
                }
                Asked::Reload => {
                    service_manager::reloading();
                    server.reload_certificates().await;
                    reloader.reload(server, environment);
                    service_manager::reloaded();
                }
            },
            () = server.stop_asked() => {
                info!("shutting down as asked by ctl");
                return;
            }
        }
    }
}

/// Raises the limit of open files as far as the system allows: every connection is one, and the usual limit is 1024.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        warn!(%error, limit = limit.current, "cannot raise the limit of open files");
    }
}

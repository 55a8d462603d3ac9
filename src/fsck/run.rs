//! Runs `leveret fsck`.

use std::io::{ErrorKind, Write, stderr, stdout};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};

use super::bar::Bar;
use super::comparison;
use super::digest_report::DigestReport;
use super::error::{FsckError, NotTheOwner};
use super::options::{Format, Options, Task};
use super::report::Report;
use crate::broker::definitions::{QueueNames, unreadable_definitions};
use crate::store::{
    DamageKind, Effect, Finding, FjallOptions, FjallStore, Identity, OnDamage, StoppedStore, Store,
    Verification, Verified,
};

const WHOLE: u8 = 0;
const DAMAGED: u8 = 1;
const NOT_VERIFIED: u8 = 2;

/// Runs `leveret fsck`; returns the exit code.
pub fn run(options: Options) -> ExitCode {
    let format = options.format;
    let outcome = match options.task {
        Task::Verify(dir) => verify(&dir, format, |_, _| None),
        Task::Repair(dir) => check_owner(&dir).and_then(|()| {
            let repair = |store, found: &Verification| Some(repair(&dir, store, found));
            verify(&dir, format, repair)
        }),
        Task::Digest(dir) => digest(&dir, format),
        Task::Compare(dirs) => compare(&dirs, format),
    };
    let code = match outcome {
        Ok(Outcome::Whole) => WHOLE,
        Ok(Outcome::Damaged) => DAMAGED,
        Err(error) => {
            // A closed standard error cannot be reported.
            writeln!(stderr(), "leveret fsck: {error}").unwrap_or_default();
            NOT_VERIFIED
        }
    };
    ExitCode::from(code)
}

/// What a run has found.
enum Outcome {
    /// Everything is as it was written, or the same.
    Whole,
    Damaged,
}

impl Outcome {
    fn of(is_whole: bool) -> Outcome {
        match is_whole {
            true => Outcome::Whole,
            false => Outcome::Damaged,
        }
    }
}

/// Prints digests of what a directory holds.
fn digest(dir: &Path, format: Format) -> Result<Outcome, FsckError> {
    let contents = StoppedStore::lock(dir)?.into_contents()?;
    let names = QueueNames::read(|prefix| contents.definitions(prefix))?;
    let bar = Bar::new();
    let digest = contents.digest(&mut |progress| bar.show(progress))?;
    drop(bar);
    let report = DigestReport {
        dir: &dir.display().to_string(),
        digest: &digest,
        names: &names,
    };
    print(format, &report.text(), &report.json())?;
    let is_whole = digest.logs.values().all(|log| log.unreadable == 0);
    Ok(Outcome::of(is_whole))
}

/// Compares what directories hold.
fn compare(dirs: &[PathBuf], format: Format) -> Result<Outcome, FsckError> {
    let comparison = comparison::compare(dirs)?;
    print(format, &comparison.text(), &comparison.json())?;
    Ok(Outcome::of(comparison.are_equal()))
}

/// Verifies a directory, and prints what was found. `repair` gets the store if something is damaged.
fn verify(
    dir: &Path,
    format: Format,
    repair: impl FnOnce(StoppedStore, &Verification) -> Option<Repair>,
) -> Result<Outcome, FsckError> {
    let mut store = StoppedStore::lock(dir)?;
    let bar = Bar::new();
    let verified = store.verify(&mut |progress| {
        bar.show(progress);
        ControlFlow::Continue(())
    })?;
    drop(bar);
    let mut verification = match verified {
        Verified::Done(verification) => verification,
        Verified::Interrupted | Verified::NothingOnDisk => Verification::default(),
    };
    for key in unreadable_definitions(&store.definitions(b"")?) {
        verification.findings.push(Finding {
            kind: DamageKind::Record,
            effect: Effect::Refused,
            what: format!("the definition under {key:?} makes no sense"),
            place: None,
            messages: None,
        });
    }
    let names = QueueNames::read(|prefix| store.definitions(prefix))?;
    verification.keep_missing(|log| names.of(log).is_some());
    let report = Report {
        verification: &verification,
        names: &names,
    };
    let shown = dir.display().to_string();
    let (mut text, mut json) = (report.text(&shown), report.json(&shown));
    let is_whole = verification.is_whole();
    if !is_whole && let Some(outcome) = repair(store, &verification) {
        text = format!("{text}\n{}", outcome.text());
        if let Some(json) = json.as_object_mut() {
            json.insert("repair".to_owned(), outcome.json());
        }
    }
    print(format, &text, &json)?;
    Ok(Outcome::of(is_whole))
}

/// What a repair came to.
struct Repair {
    kept: Vec<PathBuf>,
    /// Why the store does not open, if it does not.
    refusal: Option<String>,
}

impl Repair {
    fn text(&self) -> String {
        let kept: String = self
            .kept
            .iter()
            .map(|path| format!("kept a copy: {}\n", path.display()))
            .collect();
        match &self.refusal {
            None => format!(
                "{kept}Repaired: the next start goes on behind the damage and serves everything else."
            ),
            Some(refusal) => format!("{kept}Not repaired: {refusal}"),
        }
    }

    fn json(&self) -> Value {
        let kept: Vec<_> = self
            .kept
            .iter()
            .map(|path| path.to_string_lossy())
            .collect();
        json!({"kept": kept, "opens": self.refusal.is_none(), "refusal": self.refusal})
    }
}

/// Keeps damaged bytes aside, and opens and closes the store once, which goes on behind them.
fn repair(dir: &Path, store: StoppedStore, verification: &Verification) -> Repair {
    // A member takes part with everything that it had, or not at all.
    if !matches!(Identity::read(dir), Ok(None)) {
        let refusal = "this node belongs to a cluster, whose other nodes have what it lacks. Remove it on another one \
            (forget_cluster_node), then let it join again with an empty data directory";
        return Repair {
            kept: Vec::new(),
            refusal: Some(refusal.to_owned()),
        };
    }
    let kept = match store.keep_aside(&verification.findings) {
        Ok(kept) => kept,
        Err(error) => {
            return Repair {
                kept: Vec::new(),
                refusal: Some(error.to_string()),
            };
        }
    };
    drop(store); // with the lock
    let options = FjallOptions {
        on_damage: OnDamage::Recover,
        ..FjallOptions::default()
    };
    let opened = FjallStore::open(dir, options).and_then(|store| store.logs().map(drop));
    Repair {
        kept,
        refusal: opened.err().map(|error| error.to_string()),
    }
}

/// New files of another user would keep the broker from starting.
fn check_owner(dir: &Path) -> Result<(), FsckError> {
    let found = std::fs::metadata(dir)?;
    match found.uid() == rustix::process::geteuid().as_raw() {
        true => Ok(()),
        false => Err(NotTheOwner {
            dir: dir.display().to_string(),
            owner: found.uid(),
        }
        .into()),
    }
}

fn print(format: Format, text: &str, json: &Value) -> Result<(), FsckError> {
    let lines = match format {
        Format::Text => format!("{text}\n"),
        Format::Json => format!("{json:#}\n"),
    };
    match stdout().write_all(lines.as_bytes()) {
        // A reader such as `head` has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

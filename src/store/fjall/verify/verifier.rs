//! What the parts of a verification share: progress, the caller's wish to stop, and the findings.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::store::StoreError;
use crate::store::dir::exists;
use crate::store::fjall::keyspaces::Keyspaces;
use crate::store::fjall::{checkpoint_file, manifest};
use crate::store::log::{Damage, HeadFlaw};
use crate::store::verify::{
    DamageKind, Effect, Finding, Place, Verification, Verified, VerifyProgress, VerifyStep,
};

/// What damaged entries mean for the next start. A member needs all.
pub(super) fn effect_of_entries(spaces: &Keyspaces) -> Result<Effect, StoreError> {
    Ok(match spaces.base()? {
        Some(_) => Effect::Refused,
        None => Effect::Lost,
    })
}

/// Why a verification ends early.
pub(super) enum Stop {
    Interrupted,
    Failed(StoreError),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Stop {
        Stop::Failed(error)
    }
}

pub(super) struct Verifier<'a, 'b> {
    step: &'a mut VerifyStep<'b>,
    progress: VerifyProgress,
    pub(super) found: Verification,
}

impl<'a, 'b> Verifier<'a, 'b> {
    pub(super) fn new(step: &'a mut VerifyStep<'b>, total: u64) -> Verifier<'a, 'b> {
        Verifier {
            step,
            progress: VerifyProgress { done: 0, total },
            found: Verification::default(),
        }
    }

    /// Sets how much is left to read.
    pub(super) fn expect(&mut self, left: u64) {
        self.progress.total = self.progress.done + left;
    }

    /// Some bytes were read.
    pub(super) fn passed(&mut self, bytes: u64) -> Result<(), Stop> {
        self.found.bytes += bytes;
        let progress = &mut self.progress;
        progress.done += bytes;
        progress.total = progress.total.max(progress.done);
        match (self.step)(*progress) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Stop::Interrupted),
        }
    }

    /// The outcome, if the verification ended with `ended`.
    pub(super) fn outcome(self, ended: Result<(), Stop>) -> Result<Verified, StoreError> {
        match ended {
            Ok(()) => Ok(Verified::Done(self.found)),
            Err(Stop::Interrupted) => Ok(Verified::Interrupted),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    /// The files of the database.
    pub(super) fn database_files(
        &mut self,
        dir: &Path,
        db: &Path,
        effect: Effect,
    ) -> Result<(), Stop> {
        let flaws = manifest::verify(dir, db, |bytes| {
            self.found.files += 1;
            self.passed(bytes)
        })?;
        for flaw in flaws {
            self.found.add(Finding {
                kind: DamageKind::Database,
                effect,
                what: flaw.what,
                place: Some(Place {
                    file: flaw.file,
                    bytes: None,
                }),
                messages: None,
            });
        }
        Ok(())
    }

    /// The checkpoint file. Returns the last entry that it has.
    pub(super) fn checkpoint(&mut self, log_dir: &Path) -> Result<Option<u64>, Stop> {
        let found = checkpoint_file::find(log_dir)?;
        let file = checkpoint_file::path(log_dir);
        match found {
            Some(checkpoint) => {
                self.found.files += 1;
                self.passed(checkpoint.bytes)?;
            }
            None if exists(&file)? => self.found.add(Finding {
                kind: DamageKind::Database,
                effect: Effect::Mended,
                what: format!("{} is not as it was written", file.display()),
                place: Some(Place { file, bytes: None }),
                messages: None,
            }),
            None => {} // the store has not come to it yet
        }
        Ok(found.map(|checkpoint| checkpoint.index))
    }

    /// Damaged entries of the log. The tables have those up to `least`; the others have this effect.
    pub(super) fn entries(&mut self, damages: &[Damage], least: u64, otherwise: Effect) {
        for damage in damages {
            let effect = match damage.entries.end <= least + 1 {
                true => Effect::Mended,
                false => otherwise,
            };
            for damage in damage.by_place() {
                let what = damage.to_string();
                let place = damage.places.into_iter().next();
                let place = place.map(|(file, bytes)| Place {
                    file,
                    bytes: Some(bytes),
                });
                self.found.add(Finding {
                    kind: DamageKind::Entry,
                    effect,
                    what,
                    place,
                    messages: None,
                });
            }
        }
    }

    /// A damaged file of a member.
    pub(super) fn node_file(&mut self, file: PathBuf, effect: Effect) {
        self.found.add(Finding {
            kind: DamageKind::Node,
            effect,
            what: format!("{} is not as it was written", file.display()),
            place: Some(Place { file, bytes: None }),
            messages: None,
        });
    }

    /// A head of which one copy is damaged.
    pub(super) fn head(&mut self, flaw: HeadFlaw) {
        let what = format!(
            "one of the two heads of entry {} of the log ({}) is damaged",
            flaw.index,
            flaw.file.display()
        );
        self.found.add(Finding {
            kind: DamageKind::Head,
            effect: Effect::Mended,
            what,
            place: Some(Place {
                file: flaw.file,
                bytes: Some(flaw.bytes),
            }),
            messages: None,
        });
    }
}

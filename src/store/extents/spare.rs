//! Extents that are made ready for the log before it needs them.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::FallocateFlags;

use super::{Extents, IO_BYTES, LOG_SUFFIX, Pages, SPARE_MARK, open_direct};
use crate::store::StoreError;
use crate::store::dir::sync_dir;
use crate::store::error::io_error;

impl Extents {
    /// Makes an extent ready for the log: writes all of its space, since the first write to allocated space makes a sync
    /// wait for the file system's metadata too. `pause` is called between writes; true ends it.
    pub(in crate::store) fn prepare_spare(
        &self,
        pause: impl Fn() -> bool,
    ) -> Result<(), StoreError> {
        let number = self.usage.lock().new_number();
        let path = self.dir.join(format!("{number}.{LOG_SUFFIX}"));
        let options = &mut OpenOptions::new();
        let written = open_direct(options.write(true).create_new(true), &path)
            .and_then(|(file, _)| self.fill(&file, pause));
        match written {
            Ok(true) => {
                sync_dir(&self.dir)?;
                self.usage.lock().add_spare(number);
                return Ok(());
            }
            Ok(false) => {}
            Err(e) => {
                tracing::debug!(path = %path.display(), error = %e, "cannot prepare an extent")
            }
        }
        std::fs::remove_file(&path).map_err(|e| io_error("removing", &path, e))
    }

    /// Fills a file with zeros behind the mark of a spare extent. False if `pause` has ended it.
    fn fill(&self, file: &File, pause: impl Fn() -> bool) -> io::Result<bool> {
        rustix::fs::fallocate(file, FallocateFlags::empty(), 0, self.extent_bytes)?;
        let mut pages = Pages::default();
        let mut at = 0;
        while at < self.extent_bytes {
            let left = usize::try_from(self.extent_bytes - at).unwrap_or(IO_BYTES);
            let room = pages.room(left.min(IO_BYTES));
            room.fill(0);
            if at == 0
                && let Some(mark) = room.get_mut(..SPARE_MARK.len())
            {
                mark.copy_from_slice(SPARE_MARK);
            }
            file.write_all_at(pages.filled(), at)?;
            at += IO_BYTES as u64;
            if pause() {
                return Ok(false);
            }
        }
        file.sync_all()?;
        Ok(true)
    }
}

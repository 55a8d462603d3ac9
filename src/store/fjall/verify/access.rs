//! Access to a database that is verified: for a short time each, so that a store that is in use can be opened anew
//! between two reads.

use std::ops::Bound;

use ::fjall::{Guard, UserKey, UserValue};

use crate::store::StoreError;
use crate::store::extents::Extents;
use crate::store::fjall::error::{failed, is_damage};
use crate::store::fjall::keyspaces::Keyspaces;
use crate::store::keys::KeyspaceName;

/// Entries of the database that are read in one access. Tests need several.
pub(super) const TOGETHER: usize = if cfg!(test) { 7 } else { 4096 };

/// Gives access to a database and its extents.
pub(super) trait Access {
    fn with<T>(
        &self,
        look: impl FnOnce(&Keyspaces, &Extents) -> Result<T, StoreError>,
    ) -> Result<T, StoreError>;
}

/// Some entries of a keyspace, in order.
pub(super) struct Piece {
    pub(super) entries: Vec<(UserKey, UserValue)>,
    pub(super) ends: Ends,
}

/// Why a piece ends.
pub(super) enum Ends {
    /// More entries follow.
    More,
    Last,
    /// The database does not return what follows.
    Damaged(String),
}

/// Reads the entries of a keyspace behind the key `after`, all for `None`: [`TOGETHER`] at most.
pub(super) fn piece(
    store: &impl Access,
    space: KeyspaceName,
    after: Option<UserKey>,
) -> Result<Piece, StoreError> {
    store.with(|spaces, _| {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut piece = Piece {
            entries: Vec::new(),
            ends: Ends::Last,
        };
        for entry in spaces.of(space).range((from, Bound::Unbounded)) {
            if piece.entries.len() == TOGETHER {
                piece.ends = Ends::More;
                break;
            }
            match Guard::into_inner(entry) {
                Ok(entry) => piece.entries.push(entry),
                Err(error) if is_damage(&error) => {
                    piece.ends = Ends::Damaged(error.to_string());
                    break;
                }
                Err(error) => return Err(failed("reading")(error)),
            }
        }
        Ok(piece)
    })
}

//! Fence: lets the newest incarnation of each writer through, and each of its commits once. One process holds
//! the store (the lock of the state folder), so the table lives and begins anew with it.

use std::collections::HashMap;

use crate::ports::store::{Commit, Refused};

/// The newest incarnation of each writer, and the newest of its commits that stands.
#[derive(Debug, Default)]
pub(super) struct Fences(HashMap<&'static str, (u64, u64)>);

/// What is to be done with a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    Apply,
    /// It stands already: its writer never heard the answer and sent it once more.
    Stands,
}

impl Fences {
    /// # Errors
    /// When a newer incarnation was seen.
    pub(super) fn pass(&mut self, commit: &Commit) -> Result<Pass, Refused> {
        let known = self.0.entry(commit.writer).or_insert((commit.incarnation, 0));
        if commit.incarnation < known.0 {
            return Err(Refused::Fenced {
                writer: commit.writer,
                incarnation: commit.incarnation,
                newest: known.0,
            });
        }
        if known.0 < commit.incarnation {
            *known = (commit.incarnation, 0);
        }
        Ok(if commit.sequence <= known.1 { Pass::Stands } else { Pass::Apply })
    }

    /// The commit is durable.
    pub(super) fn stands(&mut self, commit: &Commit) {
        if let Some(known) = self.0.get_mut(commit.writer)
            && known.0 == commit.incarnation
        {
            known.1 = known.1.max(commit.sequence);
        }
    }
}

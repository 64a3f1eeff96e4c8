//! Stores made real: the only SQL and the only stored serde.

#[cfg(test)]
mod contract;
#[cfg(test)]
mod contract_deliveries;
#[cfg(test)]
mod contract_history;
#[cfg(test)]
mod contract_samples;

mod columns;
mod fence;
mod memory;
mod memory_rows;
mod rows;
mod sqlite;
mod sqlite_file;
mod sqlite_prune;
mod sqlite_read;
mod sqlite_write;

use jiff::SignedDuration;

pub use self::{
    memory::MemoryStore,
    sqlite::{SqliteStore, read_history},
    sqlite_file::{free_bytes, look},
};

/// Longest text of one row (a kept registry, an incident); a longer one is refused.
pub const ROW_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long what is over is kept. Open incidents, owed deliveries and present facts stay however old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Decisions, flips, kept beats and times in which we could not hear (30 days).
    pub history: SignedDuration,
    /// Kept beats, the newest so many (500,000: about 150 MB).
    pub beats_max: u64,
    /// Decisions, the newest so many (1,000,000: about 200 MB).
    pub decisions_max: u64,
    /// Flips, the newest so many (500,000: about 50 MB).
    pub flips_max: u64,
    /// Resolved incidents (365 days).
    pub incidents: SignedDuration,
    /// Deliveries that were sent, given up or superseded, closed groups, ended silences (30 days).
    pub deliveries: SignedDuration,
    /// Facts of watches that the registry dropped (24 h, docs/BEHAVIOUR.md 11).
    pub removed_facts: SignedDuration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            history: SignedDuration::from_hours(30 * 24),
            beats_max: 500_000,
            decisions_max: 1_000_000,
            flips_max: 500_000,
            incidents: SignedDuration::from_hours(365 * 24),
            deliveries: SignedDuration::from_hours(30 * 24),
            removed_facts: SignedDuration::from_hours(24),
        }
    }
}

/// References of so many groups, the newest, are given back at a start.
const REFERENCES_MAX: usize = 10_000;

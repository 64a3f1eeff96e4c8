//! The supervision tree: thin shells around the domain. What must outlive an actor lives outside it,
//! in the slot table, the board and the ears; addresses are looked up, never held over a restart.
//!
//! ```text
//! Root ─ one-for-one; does nothing else
//! ├─ Recorder          the store's one writer: group commit
//! ├─ Outbox            owes deliveries; one Notifier child per receiver
//! ├─ IncidentManager   incidents: deduplicates, commits, tells the outbox
//! ├─ Watches           reconciles the registry with what runs
//! │   ├─ Shard × n     only starts and restarts WatchActors
//! │   └─ Sweeper × n   only wakes
//! ├─ Sources           one child per source
//! ├─ Registry          follows the files
//! ├─ Edges             one child per face
//! └─ Pulse             asks for progress, sends the canary; only then feeds the watchdog and gives signs of life
//! ```

mod alarm;
pub mod board;
pub mod canary;
#[cfg(test)]
pub(crate) mod chaos;
pub mod context;
pub mod ears;
pub mod edges;
pub mod incident_manager;
pub mod logbook;
mod notifier;
mod nursery;
pub mod outbox;
pub mod panics;
pub mod pulse;
pub mod recorder;
pub mod registry;
pub mod root;
mod shard;
pub mod signs;
pub mod slot;
pub mod slots;
pub mod sources;
mod status_line;
mod sweeper;
pub mod tower;
pub mod watch;
pub mod watches;
mod worker;

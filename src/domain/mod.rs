//! The pure core: what a signal means, what an incident earns, what is told to whom. Standard
//! library and jiff only; time is an argument; a transition cannot fail.

pub mod alert;
pub mod calendar;
pub mod decision;
pub mod delivery;
pub mod dependency;
pub mod desk;
pub mod detector;
pub mod hearing;
pub mod history;
pub mod id;
pub mod incident;
pub mod maintenance;
pub mod outbox;
pub mod registry;
pub mod replay;
pub mod restart;
pub mod silence;
pub mod text;
pub mod watch;
pub mod write;

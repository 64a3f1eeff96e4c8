//! atalaya: the watch that never sleeps, over fleets of agents. The code map, in reading order; a
//! floor imports only the floors above it in this list (docs/ARCHITECTURE.md, tests/tidy.rs).

pub mod actors;
pub mod adapters;
pub mod app;
pub mod config;
pub mod control;
pub mod domain;
pub mod edges;
pub mod ports;
pub mod wire;

#[cfg(test)]
mod simulation;

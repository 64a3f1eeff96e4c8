//! Simulation: the whole tree on paused time, with adapters in memory that fail at will. Judged by what
//! the receivers saw, not by our own store.

mod asking;
mod canary;
mod chaos;
mod days;
mod explained;
mod full_disk;
mod house;
mod signs;
mod stories;
mod world;

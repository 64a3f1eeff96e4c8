//! The faces: how people and agents reach us. They translate to control and back.

pub mod cli;
pub mod heartbeat_map;
pub mod http;
pub mod telegram;

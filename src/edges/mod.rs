//! The faces: how people and agents reach us. They translate to control and back.

pub mod cli;
pub mod http;
pub mod telegram;

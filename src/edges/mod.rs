//! The faces: translations to control and back.

pub mod cli;
pub mod http;
pub mod telegram;

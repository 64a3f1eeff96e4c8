//! Edges: translations of `control` to what people and programs speak, and back.

pub mod cli;
pub mod http;

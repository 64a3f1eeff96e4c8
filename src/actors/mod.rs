//! The supervision tree: thin shells around the domain.

pub mod tower;

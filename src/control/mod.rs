//! control

pub use crate::ports::{
    beats,
    clock::Clock,
    source::{Ear, Took},
};

#[cfg(test)]
pub(crate) use crate::ports::recording;

//! control

pub use crate::ports::{
    beats,
    clock::Clock,
    source::{Ear, Took},
};

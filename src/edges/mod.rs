//! The faces: translations to control and back.

pub mod telegram;

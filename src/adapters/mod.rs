//! The ports made real.

pub mod clock;
pub mod lock;
pub mod notify;
pub mod source;
pub mod store;

//! The ports made real.

pub mod clock;
pub mod lock;
pub mod notify;
mod redis;
pub mod service_manager;
pub mod sign;
pub mod source;
pub mod store;

//! The ports made real.

pub mod clock;
pub mod lock;
pub mod notify;
pub mod service_manager;
pub mod source;
pub mod store;

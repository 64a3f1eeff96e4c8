//! What others write and read, ignorant of atalaya. Its parsers never panic and never grow beyond what
//! their input allows.

pub mod beats;
pub mod echo;
#[cfg(test)]
pub(crate) mod fake;
pub mod heartbeat_map;
pub mod http;
pub mod pings;
pub mod telegram;
pub mod timestamps;

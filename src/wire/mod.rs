//! What others write and we read, ignorant of atalaya: pure parsers that never panic and never grow
//! beyond what their input allows.

pub mod beats;
pub mod echo;
pub mod pings;
pub mod timestamps;

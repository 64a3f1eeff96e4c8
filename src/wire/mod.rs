//! What others write and read, ignorant of atalaya.

pub mod http;
pub mod telegram;

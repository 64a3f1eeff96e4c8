//! What others write and read, ignorant of atalaya.

#[cfg(test)]
pub(crate) mod fake;
pub mod http;
pub mod telegram;

//! HTTP.

pub mod api;

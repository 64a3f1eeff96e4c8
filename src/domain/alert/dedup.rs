//! Stage: dedup.

//! Stores made real: the only SQL and the only stored serde.

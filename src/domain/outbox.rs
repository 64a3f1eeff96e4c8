//! Outbox: when a row is sent, what it is merged with, and what becomes of it after an attempt.

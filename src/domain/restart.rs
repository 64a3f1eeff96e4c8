//! How often a child may fail before it is set aside, and how long to wait in between
//! (architecture.md, "Restarts").

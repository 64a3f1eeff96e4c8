//! The binary: parses the arguments and calls the composition root; nothing else.
fn main() {}

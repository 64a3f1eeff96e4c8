//! Clock: the machine's, the only file that looks at it.

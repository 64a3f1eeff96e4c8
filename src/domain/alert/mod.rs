//! What an incident's change tells to whom: the stages in the order in which they speak.

pub mod dedup;
pub mod group;
pub mod route;
pub mod wording;

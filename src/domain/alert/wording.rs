//! Stage: wording.

//! Where bytes live.

pub mod dir;

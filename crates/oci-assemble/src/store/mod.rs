//! Where bytes live.

pub mod dir;
pub mod layers;

//! Recipe → plan → image.

pub mod assemble;
pub mod files;
pub mod step;

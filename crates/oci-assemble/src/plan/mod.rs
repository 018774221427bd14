//! Recipe → plan → image.

pub mod assemble;
pub mod files;
pub mod recipe;
pub mod step;
pub mod value;

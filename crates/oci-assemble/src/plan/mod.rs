//! Recipe → plan → image.

pub mod assemble;
pub mod files;
pub mod generate;
pub mod recipe;
pub mod step;
pub mod value;

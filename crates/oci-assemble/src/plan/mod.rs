//! Recipe → plan → image.

pub mod assemble;
pub mod configure;
pub mod files;
pub mod generate;
mod nearest;
pub mod recipe;
pub mod step;
pub mod value;

pub use nearest::nearest;

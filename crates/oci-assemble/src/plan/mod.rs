//! Recipe → plan → image.

pub mod assemble;
pub mod configure;
pub mod files;
pub mod forecast;
pub mod generate;
pub mod kernel;
pub mod lock;
mod nearest;
pub mod outlook;
pub mod recipe;
pub mod sources;
pub mod step;
pub mod value;

pub use nearest::nearest;

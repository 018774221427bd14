//! Observers: an image goes in, a report comes out. Nothing is changed and nothing is executed.

pub mod lint;

//! Seeded random values and image fixtures, for the tests of this crate and of its embedders.

pub mod tree;

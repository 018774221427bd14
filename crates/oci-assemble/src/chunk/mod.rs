//! Cutting a tree into layers so that a client downloads what changed and little else.
//!
//! A client fetches a layer whole or not at all. So what changes together belongs into one layer, and what never changes
//! should not lie beside what often does. The way there, each step a value of its own:
//!
//! ```text
//! FileTree ─▶ neutral tree ─▶ Components ─▶ Chunking ─▶ LayerDrafts ─▶ layers
//!  (merged)    (no clock)     (what changes   (which        (parts of
//!                              together)       layer)        the tree)
//! ```
//!
//! - [`neutral()`]: the tree with what differs between two builds of the same content made equal: times of directories and
//!   of generated files. Nothing else of it changes, but for what images cut anew must drop.
//! - [`Components`]: a partition of all paths, by package source, module set, place or an explicit map. A component has a
//!   *fingerprint* of everything that clients see of it.
//! - [`Chunking`]: an ordered partition of the components into at most N layers. Without history the layers are found by
//!   expected cost and a consistent hash ([`packing`]); with the chunking of the image before ([`Recorded`]), layers
//!   without a changed component stay as they are.
//! - [`draft()`](draft::draft): each layer as a part of the neutral tree, with all parents. Since every layer tells the same of
//!   a directory, order does not matter, and the merge of all layers is the neutral tree again: rechunking is lossless.
//!
//! # Terms
//! *Rate* of a component: how likely the next build changes it, from 0 to 1. *Cost* of a layer: its bytes times the
//! likelihood that any of its components changes: what a client is expected to download of it. *Catch-all* component: one
//! of files that only have their place in common; a shared layer with one in it stays small.
//!
//! # Laws
//! Every path is in exactly one component and every component in exactly one layer; all names of what has several are in
//! one component. `max + 1` layers are `max` layers of which one is split, where the rules for catch-alls are the same for
//! both. With the chunking of the same tree as history nothing moves, unless fewer layers are wanted. Nothing here reads a
//! clock, and no floating-point function but the four operations is used, so a chunking is the same on every machine.

pub mod packing;

mod component;
mod delta;
mod draft;
mod files;
mod fingerprint;
mod map;
mod marks;
mod names;
mod neutral;
mod place;
mod recorded;
mod settled;
mod split;
mod stability;
mod told;
mod value;
mod work;

pub use component::{Component, Components, Origin};
pub use delta::{Change, ComponentDelta, ComponentSum, Delta, ImageSide, LayerDelta, LayerState, delta};
pub use draft::{ChunkError, draft};
pub use map::{ComponentMap, MapError};
pub use marks::MarkedPaths;
pub use neutral::{Refused, check, neutral};
pub use recorded::{COMPONENTS, LABEL, Record, Recorded, RecordedError, RecordedLayer, Seen};
pub use settled::{Settled, settle};
pub use split::{split, untagged};
pub use value::{Chunk, Chunking, ChunkingOptions, Fate, Member};
pub use work::largest_first;

#[cfg(test)]
mod tests;

//! One file each subcommand.

pub(crate) mod attach;
pub(crate) mod base;
pub(crate) mod boot;
pub(crate) mod build;
mod built;
pub(crate) mod cache;
pub(crate) mod care;
pub(crate) mod delta;
pub(crate) mod full;
pub(crate) mod help;
pub(crate) mod inspect;
mod intended;
pub(crate) mod lint;
pub(crate) mod lock;
pub(crate) mod mirror;
pub(crate) mod plan;
pub(crate) mod policy;
pub(crate) mod publish;
pub(crate) mod push;
pub(crate) mod rechunk;
pub(crate) mod sign;
pub(crate) mod stage;
pub(crate) mod verify;

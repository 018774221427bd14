//! What DKMS packages are about to build.
//!
//! A DKMS package unpacks its sources to `/usr/src/NAME-VERSION`; `dkms.conf` there says which modules come of them. The
//! result of a build is held against it: a module that is missing, or one that nobody announced, is an error.

pub mod conf;

pub use conf::{BuiltModule, ConfError, Distribution, DkmsConf, NotUnderstood, Setting};

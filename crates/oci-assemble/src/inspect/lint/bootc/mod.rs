//! The lints of `bootc container lint`, with its names and levels.

mod kargs;
mod places;
mod prepare_root;
mod sysusers;
mod tmpfiles;

pub(super) use kargs::{bootc_kargs, kargs};
pub(super) use places::{
    api_base_directories, baseimage_root, buildah_injected, etc_usretc, kernel, nonempty_boot, nonempty_run_tmp, utf8,
    var_log, var_run,
};
pub(super) use prepare_root::baseimage_composefs;
pub(super) use sysusers::sysusers;
pub(super) use tmpfiles::var_tmpfiles;

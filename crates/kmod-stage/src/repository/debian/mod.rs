//! Metadata of Debian repositories: `Release` or `InRelease`, and the `Packages` files they pin (apt-ftparchive(1),
//! <https://wiki.debian.org/DebianRepository/Format>).

mod packages;
mod release;

pub use packages::read_packages;
pub use release::Release;

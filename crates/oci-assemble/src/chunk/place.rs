//! What a path is by its place, where that says more than who owns it.

use crate::tree::TreePath;

/// The files that depmod writes (kmod, `tools/depmod.c`). The others called `modules.*` come with the kernel.
///
/// They are a component of their own, apart from the modules: a client merges all layers before it looks, so it is enough
/// that the files of one run of depmod lie in one layer, and a module set that is added then moves itself and 5 MB of
/// indexes instead of the kernel.
const INDEXES: [&[u8]; 12] = [
    b"modules.alias",
    b"modules.alias.bin",
    b"modules.builtin.alias.bin",
    b"modules.builtin.bin",
    b"modules.dep",
    b"modules.dep.bin",
    b"modules.devname",
    b"modules.softdep",
    b"modules.symbols",
    b"modules.symbols.bin",
    b"modules.weakdep",
    b"modules.weakdep.bin",
];

/// Files that programs compute from the files of many packages, by their whole path.
const CACHES: [&str; 9] = [
    "etc/ld.so.cache",
    "etc/udev/hwdb.bin",
    "usr/lib/udev/hwdb.bin",
    "usr/lib/systemd/catalog/database",
    "usr/lib/locale/locale-archive",
    "usr/share/info/dir",
    "usr/share/mime/mime.cache",
    "usr/share/applications/mimeinfo.cache",
    "usr/share/glib-2.0/schemas/gschemas.compiled",
];
/// The same, by the directory they lie below.
const CACHE_PLACES: [&str; 4] =
    ["var/cache", "usr/lib/fontconfig/cache", "etc/pki/ca-trust/extracted", "etc/ssl/certs"];
/// The same, by name.
const CACHE_NAMES: [&[u8]; 4] = [b"icon-theme.cache", b"loaders.cache", b"giomodule.cache", b"immodules.cache"];

/// A place that decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// The initial file system of a kernel.
    Initramfs,
    /// An index that depmod wrote, of this kernel release.
    Index(&'a [u8]),
    /// Something else of a kernel release: in this directory below the release's own (empty for that itself).
    Kernel { release: &'a [u8], folder: &'a [u8] },
    /// Computed from files of many packages.
    Cache,
    /// Configuration.
    Etc,
    /// None that decides.
    Other,
}

/// What `path` is by its place.
pub(super) fn place(path: &TreePath) -> Place<'_> {
    let bytes = path.as_bytes();
    let name = path.name();
    if let Some(rest) = bytes.strip_prefix(b"usr/lib/modules/")
        && let Some(slash) = rest.iter().position(|byte| *byte == b'/')
    {
        let (release, below) = (&rest[..slash], &rest[slash + 1..]);
        return match below {
            b"initramfs.img" | b"initramfs" => Place::Initramfs,
            _ if INDEXES.contains(&below) => Place::Index(release),
            _ => {
                let folder = below.iter().position(|byte| *byte == b'/').map_or(&below[..0], |end| &below[..end]);
                Place::Kernel { release, folder }
            }
        };
    }
    let in_boot = bytes.starts_with(b"boot/");
    if in_boot && (name.starts_with(b"initrd") || name.starts_with(b"initramfs")) {
        return Place::Initramfs;
    }
    let below = |place: &str| bytes.strip_prefix(place.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'/'));
    if CACHES.iter().any(|cache| cache.as_bytes() == bytes)
        || CACHE_NAMES.contains(&name)
        || CACHE_PLACES.iter().any(|place| below(place))
    {
        return Place::Cache;
    }
    if below("etc") { Place::Etc } else { Place::Other }
}

/// The Python source that a compiled file was made of: `d/__pycache__/m.cpython-311.pyc` is of `d/m.py`.
pub(super) fn source_of_compiled(path: &TreePath) -> Option<TreePath> {
    let folder = path.parent()?;
    if folder.name() != b"__pycache__" || !path.name().ends_with(b".pyc") {
        return None;
    }
    let stem = path.name().split(|byte| *byte == b'.').next()?;
    folder.parent()?.join([stem, b".py"].concat()).ok()
}

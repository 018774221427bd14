//! Whose modules are in an initramfs: archives of the newc form one behind the other, of which each may be compressed
//! (kernel documentation, `driver-api/early-userspace/buffer-format`).

use std::collections::BTreeSet;
use std::io::{self, BufRead};

use crate::archive::{ArchiveError, cpio};
use crate::kernel::MODULES;
use crate::repository::decompress;

/// How what is compressed in a way that is read begins: gzip, xz, zstd.
const READ: [&[u8]; 3] = [b"\x1f\x8b", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"];

/// The releases of the kernels that `bytes` has modules of.
///
/// # Errors
///
/// Where something is no archive, is damaged, or is compressed in another way than by gzip, xz or zstd.
pub(super) fn kernels(bytes: &[u8]) -> Result<BTreeSet<String>, ArchiveError> {
    let mut found = BTreeSet::new();
    let mut rest = bytes;
    loop {
        let padding = rest.iter().take_while(|byte| **byte == 0).count();
        rest = rest.get(padding..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(found);
        }
        if cpio::begins(rest) {
            archive(&mut rest, &mut found)?;
        } else if READ.iter().any(|magic| rest.starts_with(magic)) {
            // The last: nothing says how long it is.
            let mut plain = decompress(rest, "initramfs.img")?;
            while ahead(&mut plain)? {
                archive(&mut plain, &mut found)?;
            }
            return Ok(found);
        } else {
            return Err(ArchiveError::Form);
        }
    }
}

/// Skips padding; whether something is behind it.
fn ahead(plain: &mut dyn BufRead) -> io::Result<bool> {
    loop {
        let buffer = plain.fill_buf()?;
        if buffer.is_empty() {
            return Ok(false);
        }
        let zeros = buffer.iter().take_while(|byte| **byte == 0).count();
        let more = zeros < buffer.len();
        plain.consume(zeros);
        if more {
            return Ok(true);
        }
    }
}

/// Reads one archive to its end.
fn archive(archive: &mut dyn BufRead, found: &mut BTreeSet<String>) -> Result<(), ArchiveError> {
    while let Some(entry) = cpio::next(archive)? {
        found.extend(release(&entry.name));
        entry.skip(archive)?;
    }
    Ok(())
}

/// The kernel to which a path belongs that has modules; older systems have them in `lib`.
fn release(path: &[u8]) -> Option<String> {
    let path = String::from_utf8_lossy(path);
    let path = path.trim_start_matches("./").trim_start_matches('/');
    let path = if path.starts_with("lib/") { format!("usr/{path}") } else { path.to_owned() };
    let release = path.strip_prefix(MODULES)?.strip_prefix('/')?.split('/').next()?;
    (!release.is_empty()).then(|| release.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::boot::cpio::Cpio;
    use std::error::Error;
    use std::io::Write;

    fn cpio(files: &[&str]) -> Vec<u8> {
        let mut archive = Cpio::default();
        for (size, path) in files.iter().enumerate() {
            archive.file(path.as_bytes(), 0o644, &vec![7; size]);
        }
        archive.finish()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn kernels_are_found_wherever_their_modules_are() {
        let early = cpio(&["kernel/x86/microcode/AuthenticAMD.bin"]);
        let main = cpio(&["usr", "usr/lib/modules/6.1.0-9/kernel/a.ko.xz", "lib/modules/5.0/b.ko", "usr/lib/modules"]);
        let both = |compressed: Vec<u8>| [early.clone(), vec![0; 300], compressed].concat();
        let expected = BTreeSet::from(["6.1.0-9".to_owned(), "5.0".to_owned()]);
        for image in [
            main.clone(),
            both(main.clone()),
            both(gzip(&main)),
            both(zstd::encode_all(&main[..], 1).unwrap()),
            gzip(&[main.clone(), vec![0; 512], early.clone()].concat()),
        ] {
            assert_eq!(kernels(&image).unwrap(), expected);
        }
        assert_eq!(kernels(&early).unwrap(), BTreeSet::new());
        assert_eq!(kernels(&[]).unwrap(), BTreeSet::new());
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let whole = cpio(&["usr/lib/modules/1/a.ko"]);
        for (bytes, text) in [
            (b"initramfs\n".to_vec(), "neither a cpio archive nor"),
            (second_broken(&whole), "does not begin as entries do"),
            (whole[..whole.len() - 200].to_vec(), "failed to fill whole buffer"),
            (gzip(&whole)[..40].to_vec(), ""),
        ] {
            let error = kernels(&bytes).unwrap_err();
            let all = format!("{error}: {:?}", error.source().map(ToString::to_string));
            assert!(all.contains(text), "{all}");
        }
    }

    /// An archive whose second entry is none.
    fn second_broken(whole: &[u8]) -> Vec<u8> {
        let mut bytes = whole.to_vec();
        let second = bytes.windows(6).rposition(|window| window == b"070701").unwrap();
        bytes[second] = b'x';
        bytes
    }
}

//! Archives of the kind that kernels unpack as their first root (`newc` of cpio(5); kernel documentation,
//! `driver-api/early-userspace/buffer-format`).

/// Kinds of file, of `st_mode`.
const DIRECTORY: u32 = 0o04_0000;
const FILE: u32 = 0o10_0000;
const SYMLINK: u32 = 0o12_0000;
const CHARACTER: u32 = 0o02_0000;

/// An archive in memory; everything in it belongs to root and has no date.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cpio {
    bytes: Vec<u8>,
    entries: u32,
}

impl Cpio {
    pub(crate) fn directory(&mut self, path: &[u8]) {
        self.entry(path, DIRECTORY | 0o755, &[], (0, 0));
    }

    pub(crate) fn file(&mut self, path: &[u8], mode: u32, bytes: &[u8]) {
        self.entry(path, FILE | (mode & 0o777), bytes, (0, 0));
    }

    pub(crate) fn symlink(&mut self, path: &[u8], target: &[u8]) {
        self.entry(path, SYMLINK | 0o777, target, (0, 0));
    }

    pub(crate) fn character(&mut self, path: &[u8], major: u32, minor: u32) {
        self.entry(path, CHARACTER | 0o600, &[], (major, minor));
    }

    /// Closes the archive.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry(b"TRAILER!!!", 0, &[], (0, 0));
        self.bytes
    }

    fn entry(&mut self, path: &[u8], mode: u32, bytes: &[u8], device: (u32, u32)) {
        self.entries += 1;
        // Callers keep far below what eight hexadecimal digits hold.
        let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let name = u32::try_from(path.len() + 1).unwrap_or(u32::MAX);
        let fields = [self.entries, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, name, 0];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(path);
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(bytes);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_what_the_kernel_documents() {
        let mut cpio = Cpio::default();
        cpio.directory(b"etc");
        cpio.file(b"etc/a", 0o644, b"hello");
        let text = String::from_utf8_lossy(&cpio.finish()).replace('\0', ".");
        let zeros = |count: usize| "00000000".repeat(count);
        let expected = [
            format!("07070100000001000041ed{}00000001{}{}{}etc...", zeros(2), zeros(6), "00000004", zeros(1)),
            format!(
                "07070100000002000081a4{}00000001{}00000005{}{}{}",
                zeros(2),
                zeros(1),
                zeros(4),
                "00000006",
                zeros(1)
            ),
            "etc/a.hello...".into(),
            format!("0707010000000300000000{}00000001{}{}{}TRAILER!!!....", zeros(2), zeros(6), "0000000b", zeros(1)),
        ];
        assert_eq!(text, expected.concat());
    }
}

//! Small packages, made by hand.
#![allow(clippy::unwrap_used)]

/// A deb with files.
pub(crate) fn deb(files: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, format!("./{path}"), text.as_bytes()).unwrap();
    }
    let data = zstd::encode_all(&tar.into_inner().unwrap()[..], 1).unwrap();
    let mut ar = b"!<arch>\n".to_vec();
    for (name, bytes) in
        [("debian-binary", b"2.0\n".to_vec()), ("control.tar", b"odd".to_vec()), ("data.tar.zst", data)]
    {
        ar.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, "100644", bytes.len()).bytes());
        ar.extend(&bytes);
        ar.resize(ar.len().next_multiple_of(2), b'\n');
    }
    ar
}

/// An rpm with files, and headers without tags.
pub(crate) fn rpm(files: &[(&str, &str)]) -> Vec<u8> {
    let mut cpio = Vec::new();
    let mut entry = |path: &str, mode: u32, text: &str| {
        let fields = [1, mode, 0, 0, 1, 0, u32::try_from(text.len()).unwrap(), 0, 0, 0, 0];
        let length = u32::try_from(path.len() + 1).unwrap();
        cpio.extend(b"070701");
        fields.iter().chain(&[length, 0]).for_each(|number| cpio.extend(format!("{number:08x}").bytes()));
        cpio.extend(format!("{path}\0").bytes());
        cpio.resize(cpio.len().next_multiple_of(4), 0);
        cpio.extend(text.bytes());
        cpio.resize(cpio.len().next_multiple_of(4), 0);
    };
    entry("./usr/src", 0o040_755, "");
    for (path, text) in files {
        entry(&format!("./{path}"), 0o100_644, text);
    }
    entry("TRAILER!!!", 0, "");
    let header = |data: usize| {
        let size = u32::try_from(data).unwrap().to_be_bytes();
        [&[0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0, 0, 0, 0, 0][..], &size, &vec![0; data]].concat()
    };
    let mut package = [&[0xed, 0xab, 0xee, 0xdb][..], &[0; 92]].concat();
    package.extend(header(3));
    package.resize(package.len().next_multiple_of(8), 0);
    package.extend(header(5));
    package.extend(zstd::encode_all(&cpio[..], 1).unwrap());
    package
}

//! Crafted archives: each rule of the gate, with the rule's name and the offset of the entry.

use super::*;
use crate::image::Encoding;

/// Builds tar streams block by block, so that every field can be wrong.
#[derive(Clone)]
pub(in crate::layer) struct Archive(Vec<u8>);

impl Archive {
    pub(in crate::layer) fn new() -> Self {
        Self(Vec::new())
    }

    /// A header with the size field as given and the data as given; `edit` may spoil it before the checksum is made.
    fn raw(mut self, name: &[u8], kind: u8, link: &str, size: u64, data: &[u8], edit: impl Fn(&mut [u8])) -> Self {
        let mut block = [0; 512];
        block[..name.len()].copy_from_slice(name);
        block[100..107].copy_from_slice(b"0000644");
        block[108..115].copy_from_slice(b"0000000");
        block[116..123].copy_from_slice(b"0000000");
        block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        block[136..147].copy_from_slice(b"00000000001");
        block[156] = kind;
        block[157..157 + link.len()].copy_from_slice(link.as_bytes());
        block[257..265].copy_from_slice(b"ustar\x0000");
        edit(&mut block);
        let sum: u64 = block
            .iter()
            .enumerate()
            .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u64::from(*byte) })
            .sum();
        if block[148] == 0 {
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        self.0.extend_from_slice(&block);
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn entry(self, name: &str, kind: u8, link: &str, data: &[u8]) -> Self {
        self.raw(name.as_bytes(), kind, link, data.len() as u64, data, |_| {})
    }

    pub(in crate::layer) fn file(self, name: &str, data: &[u8]) -> Self {
        self.entry(name, b'0', "", data)
    }

    pub(in crate::layer) fn dir(self, name: &str) -> Self {
        self.entry(&format!("{name}/"), b'5', "", b"")
    }

    pub(in crate::layer) fn link(self, name: &str, to: &str) -> Self {
        self.entry(name, b'1', to, b"")
    }

    fn spoiled(self, edit: impl Fn(&mut [u8])) -> Self {
        self.raw(b"x", b'0', "", 0, b"", edit)
    }

    fn pax(self, records: &[(&str, &str)]) -> Self {
        let mut bytes = String::new();
        for (key, value) in records {
            let body = format!(" {key}={value}\n");
            let length = (body.len()..).find(|length| body.len() + length.to_string().len() == *length).unwrap();
            bytes += &format!("{length}{body}");
        }
        self.entry("pax", b'x', "", bytes.as_bytes())
    }

    fn long(self, kind: u8, name: &str) -> Self {
        self.entry("././@LongLink", kind, "", format!("{name}\0").as_bytes())
    }

    pub(in crate::layer) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(in crate::layer) fn end(self) -> Vec<u8> {
        self.bytes(&[0; 1024]).0
    }
}

fn read(bytes: &[u8], gate: Gate) -> Result<LayerIndex, IndexError> {
    index(bytes, IndexOptions { gate, ..IndexOptions::default() })
}

#[test]
fn refuses_streams_that_readers_disagree_about() {
    let a = Archive::new;
    let twice = a().entry("pax", b'x', "", b"10 path=a\n10 path=b\n").file("x", b"");
    let table: Vec<(Rule, u64, Vec<u8>)> = vec![
        (Rule::Checksum, 0, a().spoiled(|block| block[148..156].copy_from_slice(b"000000\0 ")).end()),
        (Rule::Checksum, 512, a().file("ok", b"").spoiled(|block| block[148] = b'7').end()),
        (Rule::Magic, 0, a().spoiled(|block| block[257..265].fill(0)).end()),
        (Rule::Number, 0, a().spoiled(|block| block[100..107].copy_from_slice(b"-000644")).end()),
        (Rule::Number, 0, a().spoiled(|block| block[124..136].fill(0xff)).end()),
        (Rule::Type, 0, a().entry("x", b'Z', "", b"").end()),
        (Rule::Sparse, 0, a().entry("x", b'S', "", b"").end()),
        (Rule::Sparse, 0, a().pax(&[("GNU.sparse.major", "1")]).file("x", b"").end()),
        (Rule::Payload, 0, a().entry("d/", b'5', "", b"hidden file").end()),
        (Rule::Payload, 0, a().entry("l", b'2', "to", b"payload").end()),
        (Rule::Payload, 1024, a().pax(&[("size", "512")]).raw(b"d/", b'5', "", 0, &[0; 512], |_| {}).end()),
        (Rule::TrailingSlash, 0, a().file("old-directory/", b"").end()),
        (
            Rule::PrefixInGnu,
            0,
            a().spoiled(|block| {
                block[257..265].copy_from_slice(b"ustar  \0");
                block[345..348].copy_from_slice(b"usr");
            })
            .end(),
        ),
        (Rule::PaxRecord, 0, a().entry("pax", b'x', "", b"99 path=a\n").file("x", b"").end()),
        (Rule::PaxRecord, 0, a().pax(&[("size", "1e3")]).file("x", b"").end()),
        (Rule::PaxTwice, 0, twice.end()),
        (Rule::PaxNul, 0, a().pax(&[("path", "a\0b")]).file("x", b"").end()),
        (Rule::PaxEmpty, 0, a().pax(&[("path", "")]).file("x", b"").end()),
        (Rule::PaxGlobal, 0, a().entry("g", b'g', "", b"10 path=a\n").file("x", b"").end()),
        (Rule::PaxSize, 1024, a().pax(&[("size", "3")]).file("x", b"12345").end()),
        (Rule::TwoNames, 2048, a().long(b'L', "gnu").pax(&[("path", "pax")]).file("x", b"").end()),
        (Rule::TwoNames, 2048, a().pax(&[("linkpath", "pax")]).long(b'K', "gnu").link("x", "y").end()),
        (Rule::Extension, 1024, a().pax(&[("uid", "1")]).pax(&[("uid", "2")]).file("x", b"").end()),
        (Rule::LongName, 0, a().entry("././@LongLink", b'L', "", b"").file("x", b"").end()),
        (Rule::EndMarker, 512, a().file("x", b"").bytes(&[0; 512]).file("hidden", b"").end()),
        (Rule::Trailing, 1536, a().file("x", b"").bytes(&[0; 1024]).bytes(b"trailing").0),
        (Rule::Truncated, 515, a().raw(b"x", b'0', "", 9, b"", |_| {}).bytes(b"abc").0),
        (Rule::Truncated, 100, vec![b'x'; 100]),
        (Rule::Name, 0, a().file("/etc/passwd", b"").end()),
        (Rule::Name, 0, a().file("usr/../../etc/passwd", b"").end()),
        (Rule::Name, 1024, a().long(b'L', &"n".repeat(256)).file("x", b"").end()),
        (Rule::Name, 5120, a().long(b'K', &"t".repeat(4097)).entry("x", b'2', "", b"").end()),
        (Rule::RootEntry, 0, a().entry("./", b'2', "/somewhere", b"").end()),
        (Rule::RootEntry, 0, a().file("", b"").end()),
        (Rule::WhiteoutName, 0, a().file("etc/.wh.", b"").end()),
        (Rule::WhiteoutName, 0, a().file("etc/.wh..wh.x", b"").end()),
        (Rule::LinkTarget, 512, a().dir("d").link("x", "d").end()),
        (Rule::LinkTarget, 0, a().link("x", "../out").end()),
        (Rule::LinkTarget, 0, a().link("x", "x").end()),
        (Rule::LinkFirst, 512, a().link("y", "z").file("z", b"new").end()),
        (Rule::LinkFirst, 512, a().link("y", "z").dir("z").end()),
        (Rule::LinkFirst, 1536, a().file("w", b"new").link("y", "z").link("z", "w").end()),
        (Rule::LinkFirst, 1024, a().link("y", "d/e/z").file("d-", b"").file("d", b"new").end()),
    ];
    for (rule, offset, bytes) in table {
        match read(&bytes, Gate::Refuse) {
            Err(IndexError::Ambiguous(found)) => assert_eq!((found.rule, found.offset), (rule, offset), "{found}"),
            other => panic!("{rule:?}: {other:?}"),
        }
        if rule != Rule::Truncated {
            let index = read(&bytes, Gate::Record).unwrap();
            assert!(index.violations.count(rule) > 0, "{rule:?} is not recorded");
        }
    }
}

/// umoci gives `y` the bytes of the lower `z`; a link behind the new `z` gets the new ones.
#[test]
fn links_before_the_entry_of_their_target_are_refused_by_name() {
    let error = read(&Archive::new().link("usr/bin/y", "usr/bin/z").file("usr/bin/z", b"new").end(), Gate::Refuse);
    let IndexError::Ambiguous(violation) = error.unwrap_err() else { panic!("another error") };
    assert_eq!(
        violation.to_string(),
        "an entry takes the place of what a hardlink before it points at (rule link-first) at byte 512, entry usr/bin/z"
    );
    // What stands beside the target, or above it as a directory, takes nothing.
    let beside = Archive::new().link("y", "d/z").dir("d").file("d/z0", b"").file("d-", b"").file("z", b"").end();
    let index = read(&beside, Gate::Refuse).unwrap();
    assert_eq!(index.violations.count(Rule::LinkLeaves), 1);
    let behind = Archive::new().file("z", b"new").link("y", "z").end();
    assert!(read(&behind, Gate::Refuse).unwrap().violations.is_empty());
}

#[test]
fn every_ambiguous_rule_has_a_case() {
    let source = include_str!("gate.rs");
    for rule in Rule::ALL.iter().filter(|rule| rule.is_ambiguous()) {
        assert!(source.contains(&format!("Rule::{rule:?},")), "{rule:?}");
    }
}

#[test]
fn records_what_is_unwise_for_bootc() {
    let a = Archive::new;
    let long = format!("etc/{}", "n".repeat(120));
    let table: Vec<(Rule, Vec<u8>)> = vec![
        (Rule::Duplicate, a().file("x", b"1").file("x", b"2").end()),
        (Rule::OwnWhiteout, a().file("x", b"1").file(".wh.x", b"").end()),
        (Rule::OwnWhiteout, a().file(".wh.x", b"").file("x", b"1").end()),
        (Rule::WhiteoutOrder, a().dir("d").file("d/x", b"").file("d/.wh..wh..opq", b"").end()),
        (Rule::ImplicitParent, a().file("usr/bin/x", b"").end()),
        (Rule::LinkLeaves, a().link("x", "below").end()),
        (Rule::LinkChain, a().file("x", b"").link("y", "x").link("z", "y").end()),
        (Rule::Device, a().entry("null", b'3', "", b"").end()),
        (Rule::Device, a().entry("pipe", b'6', "", b"").end()),
        (Rule::NotUtf8, a().raw(b"\xff", b'0', "", 0, b"", |_| {}).end()),
        (Rule::LongPaxPath, a().dir("etc").pax(&[("path", &long)]).file("etc/n", b"").end()),
        (Rule::SystemPlace, a().dir("run").file("run/x", b"").end()),
        (Rule::SelinuxLabel, a().pax(&[("SCHILY.xattr.security.selinux", "l")]).file("x", b"").end()),
        (Rule::OverlayAttribute, a().pax(&[("SCHILY.xattr.trusted.overlay.opaque", "y")]).file("x", b"").end()),
        (Rule::NoEndMarker, a().file("x", b"").0),
    ];
    for (rule, bytes) in table {
        let index = read(&bytes, Gate::Refuse).unwrap();
        let found: Vec<_> = index.violations.iter().map(|(rule, count, _)| (rule, count)).collect();
        assert_eq!(found, [(rule, 1)]);
        assert_eq!(LayerIndex::from_bytes(&index.to_bytes()), Some(index));
    }
}

#[test]
fn reads_what_common_writers_write() {
    // Extended attributes by PAX with a GNU long name, as tar-rs writers combine them; base-256 owners; v0 and 0 files.
    let long = format!("usr/{}", "x".repeat(200));
    let bytes = Archive::new()
        .dir("usr")
        .pax(&[("SCHILY.xattr.user.a", "1"), ("mtime", "12.5")])
        .long(b'L', &long)
        .file("cut", b"data")
        .entry("usr/old", 0, "", b"")
        .link("usr/zz", &format!("./{long}")[..100])
        .bytes(&[0; 9 * 512])
        .end();
    let error = read(&bytes, Gate::Refuse).unwrap();
    assert_eq!(error.violations.count(Rule::LinkLeaves), 1);
    let dump = error.delta.dump();
    assert!(dump.contains(&format!("/{long} file 0644 0:0 12 size=4 ")), "{dump}");
    assert!(dump.contains("user.a=1"), "{dump}");
}

#[test]
fn a_million_opaque_marks_take_linear_time() {
    let mut archive = Archive::new();
    for number in 0..100_000 {
        archive = archive.file(&format!("d{number}/.wh..wh..opq"), b"");
    }
    // Quadratic work over the marks would take minutes.
    assert_eq!(read(&archive.end(), Gate::Refuse).unwrap().delta.opaques().len(), 100_000);
}

#[test]
fn many_hardlinks_take_no_quadratic_time_in_any_order() {
    const LINKS: u32 = 20_000;
    let ascending: Vec<u32> = (1..=LINKS).collect();
    let descending: Vec<u32> = ascending.iter().rev().copied().collect();
    let mut both = Vec::new();
    for order in [ascending, descending] {
        let mut archive = Archive::new().file("x", b"1");
        for number in order {
            archive = archive.link(&format!("l{number:05}"), "x").file(&format!("z{number:05}"), b"");
        }
        both.push(read(&archive.end(), Gate::Refuse).unwrap().delta);
    }
    let target = TreeDelta::entries(&both[0]).get(b"x".as_slice()).map(|inode| inode.kind.clone());
    assert_eq!(target, Some(Kind::Hardlink(crate::tree::TreePath::new("l00001").unwrap())));
    assert_eq!(both[0], both[1]);
}

#[test]
fn stops_at_the_limits() {
    let bytes = Archive::new().file("a", &[0; 2000]).file("b", b"").end();
    let with = |limits| index(&bytes[..], IndexOptions { limits, gate: Gate::Refuse }).unwrap_err().to_string();
    let limits = Limits::default();
    assert_eq!(with(Limits { inflated: 1000, ..limits }), "more than 1000 bytes in one layer, at byte 2512");
    assert_eq!(with(Limits { entries: 1, ..limits }), "more than 1 entries in one layer, at byte 3072");
    let pax = Archive::new().pax(&[("comment", &"c".repeat(2000))]).file("x", b"").end();
    let name = "n".repeat(200);
    let twice = |archive: Archive| archive.pax(&[("SCHILY.xattr.user.a", "12345")]).long(b'L', &name).file("x", b"");
    let kept = twice(twice(Archive::new())).end(); // 200 for the name, 6 + 5 + 32 for the attribute
    let read_kept = |kept_bytes| {
        index(&kept[..], IndexOptions { limits: Limits { kept: kept_bytes, ..limits }, gate: Gate::Refuse })
    };
    assert_eq!(
        read_kept(485).unwrap_err().to_string(),
        "more than 485 bytes of long names and attributes in one layer, at byte 5120"
    );
    assert_eq!(read_kept(486).unwrap().violations.count(Rule::Duplicate), 1);
    let error = index(&pax[..], IndexOptions { limits: Limits { extension: 999, ..limits }, gate: Gate::Refuse });
    assert_eq!(error.unwrap_err().to_string(), "more than 999 bytes in an extension header in one layer, at byte 512");
}

#[test]
fn decodes_to_the_end_of_the_blob_or_says_why_not() {
    use std::io::Write;
    let gzip = |bytes: &[u8]| {
        let mut encoder = Compression::Gzip(3).encoder(Vec::new(), NonZero::new(1).unwrap()).unwrap();
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 3).unwrap();
    let all = |blob: &[u8], encoding| -> Result<(Vec<u8>, Option<Rule>), String> {
        let mut stream = decode(blob, encoding).map_err(|error| error.to_string())?;
        let mut out = Vec::new();
        stream.read_to_end(&mut out).map_err(|error| error.to_string())?;
        Ok((out, stream.broken()))
    };
    let two_members = [gzip(b"ab"), gzip(b"cd")].concat();
    assert_eq!(all(&two_members, Encoding::Gzip), Ok((b"abcd".to_vec(), Some(Rule::GzipMembers))));
    let two_frames = [zstd(b"ab"), zstd(b"cd")].concat();
    assert_eq!(all(&two_frames, Encoding::Zstd), Ok((b"abcd".to_vec(), Some(Rule::ZstdFrames))));
    assert_eq!(all(&gzip(b"ab"), Encoding::Gzip), Ok((b"ab".to_vec(), None)));

    let junk = [gzip(b"ab"), b"junk".to_vec()].concat();
    let at = gzip(b"ab").len();
    assert_eq!(
        all(&junk, Encoding::Gzip),
        Err(format!("something follows the compressed stream at byte {at} of the blob"))
    );
    assert_eq!(all(&zstd(b"ab"), Encoding::Gzip), Err("the media type says Gzip, but the bytes are Zstd".into()));
    assert_eq!(all(b"plain", Encoding::Zstd), Err("the media type says Zstd, but the bytes are Plain".into()));
    for (blob, encoding) in [(gzip(&[7; 9999]), Encoding::Gzip), (zstd(&[7; 9999]), Encoding::Zstd)] {
        assert!(all(&blob[..blob.len() - 3], encoding).is_err(), "truncated {encoding:?}");
    }
    let mut wide = zstd::Encoder::new(Vec::new(), 3).unwrap();
    wide.window_log(28).unwrap();
    wide.write_all(&vec![1; 1 << 20]).unwrap();
    assert!(all(&wide.finish().unwrap(), Encoding::Zstd).is_err(), "a window above the limit");
}

#[test]
fn a_hardlink_to_a_symlink_or_pipe_is_one_more_name_of_it() {
    let symlink = |archive: Archive| archive.entry("b", b'2', "target", b"");
    let bytes = symlink(Archive::new()).link("c", "b").entry("p", b'6', "", b"").link("a", "b").link("q", "p").end();
    let found = read(&bytes, Gate::Refuse).unwrap();
    assert_eq!(
        found.delta.dump(),
        "/a symlink 0644 0:0 1 to=target\n/b hardlink 0644 0:0 1 to=/a\n/c hardlink 0644 0:0 1 to=/a\n\
         /p fifo 0644 0:0 1\n/q hardlink 0644 0:0 1 to=/p\n"
    );
    assert_eq!(found.violations.iter().map(|(rule, ..)| rule).collect::<Vec<_>>(), [Rule::Device]);
    let chain = read(&symlink(Archive::new()).link("c", "b").link("d", "c").end(), Gate::Refuse).unwrap();
    assert_eq!(chain.violations.count(Rule::LinkChain), 1);
    // Of a lower layer: the link leaves, and is the same inode once the layers are merged. It is never followed.
    let upper = read(&Archive::new().link("c", "b").end(), Gate::Refuse).unwrap();
    assert_eq!(upper.violations.count(Rule::LinkLeaves), 1);
    let lower = read(&symlink(Archive::new()).file("target", b"x").end(), Gate::Refuse).unwrap();
    let merged = crate::tree::FileTree::new().apply(&lower.delta).and_then(|tree| tree.apply(&upper.delta)).unwrap();
    assert_eq!(merged.at("c").unwrap().kind, Kind::Hardlink(crate::tree::TreePath::new("b").unwrap()));
    let taken = symlink(Archive::new().link("c", "b")).end();
    let Err(IndexError::Ambiguous(found)) = read(&taken, Gate::Refuse) else { panic!("not refused") };
    assert_eq!(found.rule, Rule::LinkFirst);
}

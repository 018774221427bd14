//! Metadata that are wrong, cut, or made to fill the memory.

use std::io::Read;

use proptest::prelude::*;

use super::*;
use debian::{Release, read_packages};
use repodata::{Repomd, read_primary};

const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn package(inner: &str) -> String {
    format!("<?xml version=\"1.0\"?>\n<metadata packages=\"1\"><package type=\"rpm\">{inner}</package></metadata>")
}

fn complete() -> String {
    package(&format!(
        "<name>kernel-core</name><arch>x86_64</arch><version epoch=\"0\" ver=\"6.12.0\" rel=\"1.el10\"/>\
         <checksum type=\"sha256\" pkgid=\"YES\">{DIGEST}</checksum><size package=\"5\"/>\
         <location xml:base=\"https://example.com/x\" href=\"Packages/k.rpm\"/>"
    ))
}

#[test]
fn primary_that_is_wrong_is_refused_with_its_place() {
    let good = complete();
    let read = |text: &str| read_primary(text.as_bytes(), "primary.xml", all);
    let found = read(&good).unwrap();
    assert_eq!(found[0].location_base.as_deref(), Some("https://example.com/x"));
    for (from, to, expected) in [
        ("6.12.0", "6.12/0", "byte 360: a version is wrong: \"0:6.12/0-1.el10\" is no rpm version: it contains '/'"),
        ("epoch=\"0\"", "epoch=\"-1\"", "epoch is \"-1\", not a number"),
        ("ver=\"6.12.0\"", "", "the package \"kernel-core\" has no version"),
        ("sha256", "md5", &format!("\"md5:{DIGEST}\" is no SHA-256 or SHA-512 digest")),
        ("855<", "85<", "is no SHA-256 or SHA-512 digest"),
        ("package=\"5\"", "package=\"5 kB\"", "size is \"5 kB\", not a number"),
        ("Packages/k.rpm", "../../k.rpm", "\"../../k.rpm\" is no path inside the repository"),
        ("Packages/k.rpm", "/k.rpm", "is no path inside the repository"),
        ("Packages/k.rpm", "https://x/k.rpm", "is no path inside the repository"),
        ("<name>", "<name x='1' x='2'>", "it is no XML: "),
        ("</name>", "</nam>", "it is no XML: "),
        ("</metadata>", "", "it ends in the middle"),
        ("<metadata packages=\"1\">", "<repomd>", "it does not begin with a metadata element"),
        ("<name>", "<name>&x;", "expected no entity but those of XML"),
        ("<metadata", "<!DOCTYPE m [<!ENTITY a \"b\">]><metadata", "expected no document type"),
    ] {
        let text = good.replacen(from, to, 1);
        assert_ne!(text, good);
        let message = message(read(&text));
        assert!(message.starts_with("cannot read primary.xml, byte ") && message.contains(expected), "{message}");
    }
    assert_eq!(message(read("")), "cannot read primary.xml, byte 0: it ends in the middle");
    let others = read_primary(good.replace("6.12.0", "6/2").as_bytes(), "primary.xml", |name| name == "kernel-devel");
    assert_eq!(others.unwrap(), [], "what is not wanted need not be right");
    assert_eq!(read(&good.replace("kernel-core", "a&amp;&#98;<![CDATA[<c>]]>")).unwrap()[0].name, "a&b<c>");
}

#[test]
fn endless_metadata_end_at_a_limit() {
    let endless = |head: &'static str, body: u8| std::io::BufReader::new(head.as_bytes().chain(std::io::repeat(body)));
    let primary = |head, body| message(read_primary(endless(head, body), "p", all));
    assert!(primary("<metadata ", b'a').ends_with("it has more than 1048576 bytes in one tag or text"));
    assert!(primary("<metadata><!-- ", b'a').ends_with("it has more than 1048576 bytes in one tag or text"));
    assert!(primary("<metadata>", b'a').ends_with("it has more than 1048576 bytes in one tag or text"));
    let deep = "<metadata>".to_owned() + &"<a>".repeat(100);
    assert!(message(read_primary(deep.as_bytes(), "p", all)).ends_with("it has more than 16 levels of elements"));
    let packages = |head, body| message(read_packages(endless(head, body), "p", all));
    assert_eq!(packages("", b'a'), "cannot read p, line 1: it has more than 1048576 bytes in a line");
    let fields: String = (0..1000).map(|number| format!("F{number}: x\n")).collect();
    let expected = "cannot read p, line 501: it has more than 500 fields in a paragraph";
    assert_eq!(message(read_packages(fields.as_bytes(), "p", all)), expected);

    // Many empty lines in few bytes.
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::copy(&mut std::io::repeat(b'\n').take(2 << 20), &mut gzip).unwrap();
    let bomb = gzip.finish().unwrap();
    let plain = super::super::decompress::bounded(&bomb, "p", 1 << 20).unwrap();
    let error = message(read_packages(plain, "p", all));
    assert!(error.ends_with("its bytes cannot be read: more than 1048576 bytes when decompressed"), "{error}");
}

#[test]
fn repomd_that_is_wrong_is_refused() {
    let good = format!(
        "<repomd xmlns=\"http://linux.duke.edu/metadata/repo\"><revision>1</revision><data type=\"primary\">\
         <checksum type=\"sha256\">{DIGEST}</checksum><open-checksum type=\"sha256\">0</open-checksum>\
         <location href=\"repodata/p.xml.gz\"/><size>12</size><open-size>99</open-size></data></repomd>"
    );
    let read = |text: &str| Repomd::parse(text.as_bytes(), "repomd.xml");
    let primary = read(&good).unwrap().files.remove("primary").unwrap();
    assert_eq!((primary.location.as_str(), primary.size), ("repodata/p.xml.gz", Some(12)));
    let error = message(primary.verify(b""));
    assert_eq!(error, format!("cannot read repodata/p.xml.gz: it is sha256:{DIGEST}, not sha256:{DIGEST}"));
    let twice = good.replace("</repomd>", &good[good.find("<data").unwrap()..]);
    for (text, expected) in [
        (good.replace("type=\"primary\"", ""), "a file has no type"),
        (good.replace("repodata/p", "../p"), "is no path inside the repository"),
        (good.replace("<size>12", "<size>-"), "size is \"-\", not a number"),
        (good.replace(DIGEST, ""), "the file of type \"primary\" has no checksum"),
        (twice, "primary is given twice"),
    ] {
        let message = message(read(&text));
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn packages_that_are_wrong_are_refused_with_their_line() {
    let good = format!(
        "Package: a\nVersion: 1\nArchitecture: all\nSize: 1\nFilename: ./a.deb\nSHA256: {DIGEST}\nDescription: x\n y\n"
    );
    let second = format!("\n\n# comment\n{good}");
    let read = |text: &str| read_packages(text.as_bytes(), "Packages", all);
    assert_eq!(read(&second).unwrap()[0].location, "./a.deb");
    for (from, to, expected) in [
        ("Version: 1", "Version: 1_2", "line 5: a version is wrong: \"1_2\" is no Debian version: it contains '_'"),
        ("Version: 1\n", "", "line 4: the package \"a\" has no Version"),
        ("Package: a", "Packages: a", "line 4: a package has no Package"),
        ("Size: 1", "Size: -1", "line 7: Size is \"-1\", not a number"),
        ("Size: 1", "size: 1\nSize: 1", "line 8: Size is given twice"),
        ("./a.deb", "pool/../../a", "line 8: \"pool/../../a\" is no path inside the repository"),
        ("SHA256: e", "SHA256: x", "is no SHA-256 or SHA-512 digest"),
        ("Version: 1", "Version 1", "line 5: expected \"Field: value\""),
        ("Package: a", " Package: a", "line 4: expected a field name before a continued line"),
        ("Version: 1", "Version: \0", "line 5: expected UTF-8 text"),
    ] {
        let text = second.replacen(from, to, 1);
        assert_ne!(text, second);
        let message = message(read(&text));
        assert!(message.starts_with("cannot read Packages, line ") && message.contains(expected), "{message}");
    }
}

#[test]
fn only_signed_text_is_believed() {
    let text = format!("Suite: s\nSHA256:\n {DIGEST} 12 main/Packages\n");
    let signature = "-----BEGIN PGP SIGNATURE-----\n\nx\n-----END PGP SIGNATURE-----\n";
    let signed = format!("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n- {text}{signature}");
    let read = |text: &str| Release::parse_signed(text.as_bytes(), "InRelease");
    assert_eq!(read(&signed).unwrap(), Release::parse(text.as_bytes(), "Release").unwrap());
    for (text, expected) in [
        (format!("Suite: x\n{signed}"), "line 1: expected -----BEGIN PGP SIGNED MESSAGE-----"),
        (format!("{signed}\nSuite: x\n"), "line 12: expected nothing after the signature"),
        (format!("{signed}{signed}"), "line 11: expected nothing after the signature"),
        (signed.replace("\n\n- ", "\nSuite: x\n\n- "), "line 3: expected an empty line after the headers"),
        (signed.replace(signature, ""), ": it ends in the middle"),
        (signed.replace(" 12 ", " "), "line 3: expected \"DIGEST SIZE PATH\""),
        (signed.replace("SHA256:\n", "MD5Sum:\n"), "line 1: the suite has no SHA256"),
        (signed.replace("main/", "../"), "line 3: \"../Packages\" is no path inside the repository"),
        (signed.replace("SHA256:\n", "\nSHA256:\n"), "line 3: expected one paragraph"),
    ] {
        let message = message(read(&text));
        assert!(message.contains(expected), "{message}");
    }
    assert_eq!(message(Release::parse(b"", "Release")), "cannot read Release: it ends in the middle");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn no_bytes_make_a_reader_panic(
        place in any::<prop::sample::Index>(),
        noise in prop::collection::vec(any::<u8>(), 0..6),
        text in "[ \\[\\]<>&;=:#$a/\n-]{0,60}",
    ) {
        let mut bytes = complete().into_bytes();
        let at = place.index(bytes.len());
        bytes.splice(at..(at + noise.len()).min(bytes.len()), noise);
        let _ = read_primary(&bytes[..], "p", all);
        let _ = Repomd::parse(text.as_bytes(), "p");
        let _ = read_packages(text.as_bytes(), "p", all);
        let _ = Release::parse_signed(text.as_bytes(), "p");
        let _ = repo_file::parse(text.as_bytes(), "p", &Variables::new());
        let _ = sources_file::parse(text.as_bytes(), "p", &Variables::new());
        if let Ok(reader) = decompress(&bytes, "p") {
            let _ = super::read(reader);
        }
    }
}

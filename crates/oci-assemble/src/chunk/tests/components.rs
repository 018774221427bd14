//! What is a component, beyond Debian's packages.

use super::*;

fn components(tree: &FileTree, map: &ComponentMap) -> Components {
    let packages = pkgdb::read(tree, &Memory::default()).unwrap();
    let plain = neutral(tree, packages.as_ref());
    Components::new(&plain, tree, packages.as_ref(), map)
}

fn named(tree: &FileTree, map: &ComponentMap) -> Vec<String> {
    let components = components(tree, map);
    components.paths().map(|(path, index)| format!("{path} {}", components.list()[index].name)).collect()
}

fn tagged(tree: &mut FileTree, at: &str, tag: &[u8]) {
    let mut inode = tree.at(at).unwrap().clone();
    inode.meta.xattrs.insert(b"user.component".as_slice().into(), tag.into());
    tree.insert(path(at), inode);
}

#[test]
fn what_pacman_keeps_of_a_package_is_of_it_but_for_the_date() {
    let mut tree = FileTree::new();
    add_file(&mut tree, "usr/lib/libz.so", 0o644, "z");
    let folder = "var/lib/pacman/local/lib32-zlib-1:1.3.1-2";
    add_file(&mut tree, "var/lib/pacman/local/ALPM_DB_VERSION", 0o644, "9\n");
    let desc = "%NAME%\nlib32-zlib\n\n%VERSION%\n1:1.3.1-2\n\n%BASE%\nzlib\n\n%INSTALLDATE%\n1700000009\n";
    add_file(&mut tree, &format!("{folder}/desc"), 0o644, desc);
    add_file(&mut tree, &format!("{folder}/files"), 0o644, "%FILES%\nusr/\nusr/lib/\nusr/lib/libz.so\n");
    add_file(&mut tree, &format!("{folder}/mtree"), 0o644, "packed");
    assert_eq!(
        named(&tree, &ComponentMap::default()),
        [
            "/usr/lib/libz.so zlib".to_owned(),
            "/var/lib/pacman/local/ALPM_DB_VERSION package-database".into(),
            format!("/{folder}/desc package-database"),
            format!("/{folder}/files zlib"),
            format!("/{folder}/mtree zlib"),
        ]
    );
}

#[test]
fn packages_of_apk_are_told_apart_by_origin() {
    let mut tree = FileTree::new();
    add_file(&mut tree, "lib/libc.musl-x86_64.so.1", 0o755, "libc");
    add_file(&mut tree, "sbin/ldconfig", 0o755, "ldconfig");
    add_file(&mut tree, "sbin/own", 0o755, "own");
    let installed = "P:musl\nV:1.2.5-r0\no:musl\nF:lib\nR:libc.musl-x86_64.so.1\n\n\
        P:musl-utils\nV:1.2.5-r0\no:musl\nF:sbin\nR:ldconfig\n\n";
    add_file(&mut tree, "lib/apk/db/installed", 0o644, installed);
    assert_eq!(
        named(&tree, &ComponentMap::default()),
        [
            "/lib/apk/db/installed package-database",
            "/lib/libc.musl-x86_64.so.1 musl",
            "/sbin/ldconfig musl",
            "/sbin/own files:/",
        ]
    );
}

#[test]
fn large_catch_alls_are_cut() {
    let mut tree = FileTree::new();
    for number in 0..60 {
        add_file(&mut tree, &format!("etc/big/{number:02}"), 0o644, vec![0; 60_000]);
        add_file(&mut tree, &format!("var/cache/fonts/{number:02}"), 0o644, vec![0; 40_000]);
    }
    add_file(&mut tree, "etc/motd", 0o644, "x");
    let components = components(&tree, &ComponentMap::default());
    let named: Vec<(&str, Origin)> = components.list().iter().map(|of| (of.name.as_str(), of.origin)).collect();
    assert_eq!(
        named,
        [
            ("caches:/var/cache/fonts#0", Origin::Cache),
            ("caches:/var/cache/fonts#1", Origin::Cache),
            ("etc:/etc", Origin::Configuration),
            ("etc:/etc/big#00", Origin::Configuration),
            ("etc:/etc/big#01", Origin::Configuration),
            ("etc:/etc/big#1", Origin::Configuration),
        ]
    );
    assert!(components.list().iter().all(|of| of.bytes < 8_000_000 / 2));
}

#[test]
fn module_sets_are_told_apart_by_stage_and_by_directory() {
    let mut tree = FileTree::new();
    for file in
        ["extra/zfs/zfs.ko", "extra/nvidia/nvidia.ko", "updates/dkms/zfs.ko", "updates/dkms/nvidia.ko", "extra/x.ko"]
    {
        add_file(&mut tree, &format!("usr/lib/modules/6.1/{file}"), 0o644, file.as_bytes());
    }
    let modules = "/usr/lib/modules/6.1";
    assert_eq!(
        named(&tree, &ComponentMap::default()),
        [
            format!("{modules}/extra/nvidia/nvidia.ko modules/extra/nvidia"),
            format!("{modules}/extra/x.ko modules/extra"),
            format!("{modules}/extra/zfs/zfs.ko modules/extra/zfs"),
            format!("{modules}/updates/dkms/nvidia.ko modules/updates/dkms"),
            format!("{modules}/updates/dkms/zfs.ko modules/updates/dkms"),
        ]
    );
    let brought = |map: ComponentMap, name: &str| {
        map.with_brought(name, [path(&format!("usr/lib/modules/6.1/updates/dkms/{name}.ko"))])
    };
    let map = brought(brought(ComponentMap::default(), "zfs"), "nvidia");
    let named = named(&tree, &map);
    assert_eq!(
        named[3..],
        [
            format!("{modules}/updates/dkms/nvidia.ko modules/nvidia"),
            format!("{modules}/updates/dkms/zfs.ko modules/zfs")
        ]
    );
}

#[test]
fn tags_of_directories_hold_for_what_is_below() {
    let mut tree = FileTree::new();
    for file in ["opt/a/one", "opt/a/deep/two", "opt/a/own", "opt/a/other/three", "opt/b"] {
        add_file(&mut tree, file, 0o644, file.as_bytes());
    }
    tagged(&mut tree, "opt/a", b"app\0");
    tagged(&mut tree, "opt/a/own", b"own");
    tagged(&mut tree, "opt/a/other", b"other");
    assert_eq!(
        named(&tree, &ComponentMap::default()),
        ["/opt/a/deep/two app", "/opt/a/one app", "/opt/a/other/three other", "/opt/a/own own", "/opt/b files:/"]
    );
    assert!(neutral(&tree, None).iter().all(|(_, inode)| inode.meta.xattrs.is_empty()));
}

#[test]
fn signatures_of_contents_stay() {
    let mut tree = FileTree::new();
    add_file(&mut tree, "a", 0o644, "x");
    let mut inode = tree.at("a").unwrap().clone();
    for name in [&b"security.ima"[..], b"security.evm", b"security.selinux", b"security.capability"] {
        inode.meta.xattrs.insert(name.into(), b"v".as_slice().into());
    }
    tree.insert(path("a"), inode);
    let plain = neutral(&tree, None);
    let left: Vec<&[u8]> = plain.at("a").unwrap().meta.xattrs.keys().map(|name| &**name).collect();
    assert_eq!(left, [&b"security.capability"[..], b"security.ima"]);
}

#[test]
fn only_the_sysroot_of_ostree_is_emptied() {
    let mut tree = FileTree::new();
    add_file(&mut tree, "sysroot/usr/libc.h", 0o644, "x");
    let left = |tree: &FileTree| neutral(tree, None).at("sysroot/usr/libc.h").is_some();
    assert!(left(&tree));
    for (target, stays) in [("data/ostree", true), ("sysroot/ostree", false), ("/sysroot/ostree", false)] {
        let mut linked = tree.clone();
        add(&mut linked, "ostree", Inode::symlink(target, 0));
        assert_eq!(left(&linked), stays, "{target}");
        assert!(neutral(&linked, None).at("sysroot").unwrap().is_directory());
    }
    add_file(&mut tree, "sysroot/ostree/repo/config", 0o644, "x");
    let plain = neutral(&tree, None);
    assert_eq!((plain.at("sysroot/usr"), plain.at("sysroot/ostree")), (None, None));
    assert_eq!(neutral(&plain, None), plain);
}

#[test]
fn directories_and_encodings_decide_about_a_layer_too() {
    let mut tree = debian();
    let first = chunked(&tree, 6, None);
    let mut recorded = first.recorded();
    let blob = crate::image::Descriptor::of(crate::image::MediaType::layer(crate::image::Encoding::Zstd), b"blob");
    for layer in &mut recorded.layers {
        layer.layer = Some((blob.clone(), Digest::of(b"stream")));
    }
    let with = |tree: &FileTree, encoding| {
        let packages = pkgdb::read(tree, &Memory::default()).unwrap();
        let plain = neutral(tree, packages.as_ref());
        let components = Components::new(&plain, tree, packages.as_ref(), &map());
        let previous = Some(&recorded);
        Chunking::new(&components, ChunkingOptions { packages: packages.as_ref(), previous, encoding, ..options(6) })
    };
    let kept = |chunking: &Chunking| chunking.layers.iter().filter(|chunk| chunk.fate == Fate::Kept).count();
    for encoding in [None, Some(crate::image::Encoding::Zstd)] {
        assert_eq!(kept(&with(&tree, encoding)), first.layers.len());
    }
    let other = with(&tree, Some(crate::image::Encoding::Gzip));
    assert_eq!((kept(&other), other.fresh_bytes()), (0, other.bytes()));
    // A directory that has another mode is in each layer with something below it, and in no other.
    let mut inode = tree.at("usr/local").unwrap().clone();
    inode.meta.mode = 0o700;
    tree.insert(path("usr/local"), inode);
    let next = with(&tree, None);
    let below = |chunk: &Chunk| chunk.components.iter().any(|member| member.name == "files:/");
    for chunk in &next.layers {
        assert_eq!(chunk.fate == Fate::Kept, !below(chunk), "{}", chunk.name);
    }
    assert_eq!(Recorded::parse(&next.recorded().to_json(), "x").unwrap(), next.recorded());
}

#[test]
fn no_name_has_a_control_character() {
    let mut tree = debian();
    let status =
        format!("{STATUS}\nPackage: evil\nStatus: install ok installed\nVersion: 1\nSource: so\u{1b}[2Jurce\n");
    add_file(&mut tree, "var/lib/dpkg/status", 0o644, status);
    add_file(&mut tree, "var/lib/dpkg/info/evil.list", 0o644, "/usr/bin/evil\n");
    add_file(&mut tree, "usr/bin/evil", 0o644, "x");
    add_file(&mut tree, "usr/lib/modules/6\u{1b}/modules.dep", 0o644, "x");
    add_file(&mut tree, "usr/lib/modules/6.1/extra/a\nb/c.ko", 0o644, "x");
    add_file(&mut tree, "usr/lib/mo\rdule", 0o644, vec![7; 1 << 20]);
    tagged(&mut tree, "usr/lib/tagged", b"my app\x1b[2J\nlayer   1  kept\x7f\xc2\x9b\0");
    let map = ComponentMap::default().with_brought("st\tage", [path("usr/lib/modules/6.1/extra/zfs/zfs.ko")]);
    let components = components(&tree, &map);
    let names: Vec<&str> = components.list().iter().map(|component| component.name.as_str()).collect();
    for name in &names {
        assert!(!name.contains(char::is_control), "{name:?}");
    }
    for expected in [
        "file:/usr/lib/mo\\x0ddule",
        "module-indexes@6\\x1b",
        "modules/extra/a\\x0ab@6.1",
        "modules/st\\x09age@6.1",
        "my app\\x1b[2J\\x0alayer   1  kept\\x7f\\xc2\\x9b",
        "so\\x1b[2Jurce",
    ] {
        assert!(names.contains(&expected), "{expected}: {names:#?}");
    }
    let record = "[{\"a\\u001b\\n\": [\"0000000000000001\", 0, 0]}]";
    let recorded = Recorded::parse(record, "x").unwrap();
    assert!(recorded.get("a\\x1b\\x0a").is_some(), "{recorded:?}");
}

#[test]
fn a_catch_all_stays_one_when_a_tag_or_the_map_has_its_name() {
    let mut tree = debian();
    for (file, tag) in [("usr/lib/libssl.so", "etc"), ("usr/bin/bash", "files:/"), ("usr/lib/touched", "openssl")] {
        tagged(&mut tree, file, tag.as_bytes());
    }
    let map = "[[component]]\nname = \"package-database\"\npaths = [\"/usr/lib/mapped\"]\n";
    let components = components(&tree, &ComponentMap::parse(map).unwrap());
    let of = |at: &str| {
        let component = components.of(&path(at)).unwrap();
        (component.name.as_str(), component.origin)
    };
    assert_eq!(of("usr/lib/libssl.so"), ("etc", Origin::Configuration));
    assert_eq!(of("etc/bash.bashrc"), of("usr/lib/libssl.so"));
    assert_eq!(of("usr/bin/rbash"), ("files:/", Origin::Files));
    assert_eq!(of("usr/lib/mapped"), ("package-database", Origin::PackageDatabase));
    assert_eq!(of("usr/lib/touched"), ("openssl", Origin::Attribute));
}

#![allow(clippy::unwrap_used)]
use std::num::NonZero;

use oci_assemble::layer::{Compression, IndexOptions, LayerDraft, SealOptions, seal};
use oci_assemble::testing::memory::{Memory, add_file};
use oci_assemble::tree::TreeDelta;

use super::*;
use crate::archive::testing::{deb, rpm};

/// What a container has set aside, as the runtime gives it.
fn fetched(files: &[(&str, Vec<u8>)]) -> Export {
    let mut tree = FileTree::new();
    for (name, bytes) in files {
        add_file(&mut tree, &format!("fetched/{name}"), 0o644, bytes.clone());
    }
    let delta = TreeDelta::between(&FileTree::new(), &tree);
    let draft = LayerDraft::new("fetched", &delta, &FileTree::new(), 0).unwrap();
    let options = SealOptions { compression: Compression::None, threads: NonZero::<usize>::MIN };
    let (_, tar) = seal(&draft, &Memory::default(), Vec::new(), options).unwrap();
    Export::save(&tar[..], tempfile::tempfile().unwrap(), IndexOptions::default()).unwrap()
}

fn meta(maximum: &str) -> String {
    format!("Meta: 1\nName: zfs\nVersion: 2.2.9\nLinux-Maximum: {maximum}\nLinux-Minimum: 4.18\n")
}

fn check(files: &[(&str, Vec<u8>)], kernel: &str) -> Result<Vec<String>, String> {
    let result = supported(&fetched(files), &KernelRelease::new(kernel).unwrap());
    result.map_err(|error| match &error {
        SupportError::Kernel(unsupported) => format!("{error}; {}", unsupported.hint()),
        SupportError::Package { source, .. } => format!("{error}: {source}"),
        SupportError::Read(_) => error.to_string(),
    })
}

#[test]
fn a_kernel_above_the_maximum_is_refused_before_anything_is_compiled() {
    let path = "usr/src/zfs-2.2.9/META";
    for (name, package) in [
        ("zfs-dkms_2.2.9-1_all.deb", deb(&[("usr/src/zfs-2.2.9/README", "x"), (path, &meta("6.17"))])),
        ("zfs-dkms-2.2.9-1.el10.noarch.rpm", rpm(&[("usr/src/zfs-2.2.9/README", "x"), (path, &meta("6.17"))])),
    ] {
        let list = ("packages", b"zfs-dkms 2.2.9-1 all\n".to_vec());
        let files = [list, (name, package)];
        assert_eq!(check(&files, "6.17.13-300.fc43.x86_64"), Ok(vec![]), "{name}");
        assert_eq!(
            check(&files, "6.18.0-1.fc44.x86_64").unwrap_err(),
            "zfs 2.2.9 supports kernels 4.18 to 6.17, not 6.18.0-1.fc44.x86_64; \
             pin the kernel to 6.17 or older, or raise zfs"
        );
        assert_eq!(
            check(&files, "6.18.0-1.el11.x86_64").unwrap(),
            ["zfs 2.2.9 supports kernels 4.18 to 6.17, not 6.18.0-1.el11.x86_64; kernels of enterprise distributions \
              have code of newer ones, so it is worth a try"]
        );
    }
}

#[test]
fn what_is_not_known_is_said() {
    let name = "zfs-dkms_2.2.9-1_all.deb";
    assert_eq!(check(&[("packages", b"x".to_vec())], "6.18.0"), Ok(vec![]));
    assert_eq!(
        check(&[(name, deb(&[("usr/src/other/META", "x")]))], "6.18.0").unwrap(),
        ["zfs-dkms_2.2.9-1_all.deb does not say which kernels it supports: it has no META"]
    );
    assert_eq!(
        check(&[(name, deb(&[("usr/src/zfs-2/META", "Version: 2\n")]))], "6.18.0").unwrap(),
        [
            "zfs-dkms_2.2.9-1_all.deb does not say which kernels it supports: META has no Linux-Minimum, or none that can be read"
        ]
    );
    let broken = check(&[(name, b"no package".to_vec())], "6.18.0").unwrap_err();
    assert_eq!(broken, "cannot look into /fetched/zfs-dkms_2.2.9-1_all.deb: it is neither a deb nor an rpm package");
}

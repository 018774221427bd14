#![allow(clippy::unwrap_used)]
use std::num::NonZero;

use oci_assemble::image::Epoch;
use oci_assemble::layer::{Compression, IndexOptions, LayerDraft, SealOptions, seal};
use oci_assemble::testing::elf::{Dynamic, dynamic};
use oci_assemble::testing::memory::{Memory, add_file};
use oci_assemble::testing::module::TestModule;

use super::*;

const MODULES_OF_X: &str = "var/lib/dkms/x/1/6.1/x86_64/module";

fn work(modules: &[&str], userspace: &[&str]) -> DkmsWork {
    let names = |names: &[&str]| ByFamily::same(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    DkmsWork {
        stage: "own".into(),
        kind: "dkms",
        packages: names(&["x-dkms"]),
        modules: names(modules),
        userspace: names(userspace),
        overrides: Vec::new(),
        accounts: Accounts::default(),
        record: false,
        inputs: Inputs::default(),
    }
}

/// A builder in which dkms made `modules`, with an installed package `tool`.
fn builder(modules: &[&str]) -> FileTree {
    let mut tree = FileTree::new();
    add_file(&mut tree, super::super::script::MARKER, 0o644, "");
    for name in modules {
        let module = TestModule { name, ..TestModule::default() };
        add_file(&mut tree, &format!("{MODULES_OF_X}/{name}.ko"), 0o644, module.build());
    }
    let status = "Package: tool\nStatus: install ok installed\nVersion: 1-1\nArchitecture: all\n";
    for (path, text) in [
        ("etc/passwd", "root:x:0:0::/root:/bin/sh\n"),
        ("etc/group", "root:x:0:\n"),
        ("var/lib/dpkg/status", status),
        ("var/lib/dpkg/info/tool.list", "/.\n/usr\n/usr/bin\n/usr/bin/tool\n"),
        ("etc/debian_version", "13\n"),
    ] {
        add_file(&mut tree, path, 0o644, text);
    }
    let program = dynamic(&Dynamic { needed: &["libnowhere.so.1"], ..Dynamic::default() });
    add_file(&mut tree, "usr/bin/tool", 0o755, program);
    tree
}

/// What comes of a builder with the tree `builder`.
fn harvest(work: &DkmsWork, builder: &FileTree) -> Result<Harvest, String> {
    let delta = TreeDelta::between(&FileTree::new(), builder);
    let draft = LayerDraft::new("builder", &delta, &FileTree::new(), 0).unwrap();
    let options = SealOptions { compression: Compression::None, threads: NonZero::<usize>::MIN };
    let (_, tar) = seal(&draft, &Memory::default(), Vec::new(), options).unwrap();
    let export = Export::save(&tar[..], tempfile::tempfile().unwrap(), IndexOptions::default()).unwrap();
    let mut base = FileTree::new();
    add_file(&mut base, "etc/passwd", 0o644, "root:x:0:0::/root:/bin/sh\n");
    add_file(&mut base, "etc/group", 0o644, "root:x:0:\n");
    let (contents, epoch) = (Memory::default(), Epoch::new(0).unwrap());
    let view = View { base: &base, tree: &base, contents: &contents, epoch, architecture: "amd64" };
    let kernel = Some(KernelRelease::new("6.1").unwrap());
    let target = Target { family: Family::Debian, kernel, kernel_version: None, architecture: "amd64".into(), epoch };
    work.harvest(&export, &target, view).map_err(|error| error.to_string())
}

#[test]
fn what_dkms_did_not_build_is_named() {
    let harvested = harvest(&work(&["one"], &[]), &builder(&["one", "two"])).unwrap();
    let paths: Vec<_> = harvested.delta.entries().keys().map(ToString::to_string).collect();
    assert_eq!(paths, ["one", "two"].map(|name| format!("/usr/lib/modules/6.1/updates/dkms/{name}.ko")));
    // Packages whose scripts hide that they failed leave nothing.
    let error = harvest(&work(&["one"], &[]), &builder(&[])).unwrap_err();
    assert_eq!(error, "dkms built no module for kernel 6.1");
    let mut other = builder(&[]);
    let module = TestModule { release: "6.0", ..TestModule::default() }.build();
    add_file(&mut other, &MODULES_OF_X.replace("6.1", "6.0").replace("module", "module/one.ko"), 0o644, module);
    let error = harvest(&work(&["one"], &[]), &other).unwrap_err();
    assert_eq!(error, "dkms built no module for kernel 6.1", "one for the kernel of the machine is none");
    let error = harvest(&work(&["one", "half-done"], &[]), &builder(&["one"])).unwrap_err();
    assert_eq!(error, "dkms did not build half_done, which the recipe asks for; it built one");
    let mut announced = builder(&["one"]);
    let conf = "PACKAGE_NAME=x\nPACKAGE_VERSION=1\nBUILT_MODULE_NAME[0]=one\nDEST_MODULE_LOCATION[0]=/extra\n\
                BUILT_MODULE_NAME[1]=three\nDEST_MODULE_LOCATION[1]=/extra\n";
    add_file(&mut announced, "usr/src/x-1/dkms.conf", 0o644, conf);
    let error = harvest(&work(&[], &[]), &announced).unwrap_err();
    assert_eq!(error, "dkms did not build three, which /usr/src/x-1/dkms.conf asks for; it built one");
}

#[test]
fn a_library_that_nobody_has_is_named() {
    let error = harvest(&work(&["one"], &["tool"]), &builder(&["one"])).unwrap_err();
    assert_eq!(
        error,
        "/usr/bin/tool needs the library libnowhere.so.1, which neither the base nor any fetched package has"
    );
}

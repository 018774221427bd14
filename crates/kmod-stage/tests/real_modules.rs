//! Modules of a distribution's kernel, with binutils, kmod and the kernel's own list of exports as judges.
//!
//! The base image, the probe modules and the list are made by `tests/base/make-base.sh DIR` and
//! `tests/base/make-module.sh DIR`; `ASSEMBLE_TEST_BASE` names DIR, `.work` of the workspace is looked at without it.
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::disallowed_methods)]

mod host;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use host::disk::Layout;
use kmod_stage::kernel::{KernelRelease, MODULES};
use kmod_stage::module::{Candidate, Exports, Fault, Modules, Symvers, Target, Verdict, builtins, normalise, validate};
use oci_assemble::elf::{ElfError, is_module_name};
use oci_assemble::layer::Contents;
use oci_assemble::tree::{Content, TreePath};

/// Each module whose place in the list of all is a multiple of this is taken: some 200 of 4,000.
const SAMPLE: usize = 20;

/// The kernel and its modules.
struct Kernel {
    release: KernelRelease,
    /// A sample, by path relative to the modules directory.
    modules: BTreeMap<TreePath, Vec<u8>>,
    builtins: BTreeSet<String>,
    probes: BTreeMap<TreePath, Vec<u8>>,
    symvers: Symvers,
}

fn skip(reason: &str) {
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "skipped in CI: {reason}");
    eprintln!("skipped: {reason}");
}

/// The kernel, read once for all tests.
fn kernel() -> Option<&'static Kernel> {
    static KERNEL: OnceLock<Option<Kernel>> = OnceLock::new();
    KERNEL.get_or_init(read).as_ref()
}

fn read() -> Option<Kernel> {
    let directory = std::env::var_os("ASSEMBLE_TEST_BASE")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.work"), PathBuf::from);
    for needed in ["base/index.json", "kernel", "modules", "Module.symvers"] {
        if !directory.join(needed).exists() {
            skip(&format!("no {needed} in {}", directory.display()));
            return None;
        }
    }
    let release = KernelRelease::new(fs::read_to_string(directory.join("kernel")).unwrap().trim()).unwrap();
    let layout = Layout::read(directory.join("base"));
    let layers = layout.layers();
    let tree = layers.tree().unwrap();
    let prefix = format!("{MODULES}/{release}/");
    let below = |path: &TreePath| path.as_bytes().strip_prefix(prefix.as_bytes()).map(<[u8]>::to_vec);
    let wanted: Vec<(TreePath, Content)> = tree
        .iter()
        .filter(|(path, _)| is_module_name(path.name()))
        .filter_map(|(path, inode)| Some((TreePath::new(below(path)?).unwrap(), inode.content()?.clone())))
        .step_by(SAMPLE)
        .collect();
    let mut modules = BTreeMap::new();
    let contents: BTreeSet<Content> = wanted.iter().map(|(_, content)| content.clone()).collect();
    layers
        .visit(&contents, &mut |content, reader| {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes)?;
            let paths = wanted.iter().filter(|(_, wanted)| wanted == content);
            modules.extend(paths.map(|(path, _)| (path.clone(), bytes.clone())));
            Ok(())
        })
        .unwrap();
    let list = tree.content(&TreePath::new(format!("{prefix}modules.builtin")).unwrap()).unwrap();
    let mut builtin = Vec::new();
    layers.open(list).unwrap().read_to_end(&mut builtin).unwrap();
    let probes = ["probe.ko", "probe_core.ko"].map(|name| {
        let bytes = fs::read(directory.join("modules").join(release.as_str()).join(name)).unwrap();
        (TreePath::new(format!("extra/{name}")).unwrap(), bytes)
    });
    let symvers = Symvers::parse(&fs::read(directory.join("Module.symvers")).unwrap()).unwrap();
    assert!(modules.len() > 150);
    Some(Kernel { release, modules, builtins: builtins(&builtin), probes: probes.into(), symvers })
}

fn run(program: &str, arguments: &[&str], file: &Path) -> String {
    let output = Command::new(program).args(arguments).arg(file).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What readelf says of a file, without what depends on where parts lie in it.
fn shown(file: &Path) -> (Vec<String>, String) {
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let sections = run("readelf", &["--section-headers", "--wide"], file);
    let sections = sections.lines().filter(|line| line.trim_start().starts_with('[')).filter_map(|line| {
        // [Nr] Name Type Address Off Size ES Flg Lk Inf Al
        let (_, fields) = line.split_once(']')?;
        let mut fields = words(fields);
        let strings = fields.first().is_some_and(|name| name.ends_with("strtab"));
        for (number, field) in fields.iter_mut().enumerate() {
            if number == 3 || number == 4 && strings {
                field.clear();
            }
        }
        Some(fields.join(" "))
    });
    let sections = sections.collect();
    // Headings say at which offset relocations begin.
    let rest = run("readelf", &["--symbols", "--relocs", "--wide"], file);
    let rest = rest.lines().map(|line| line.split(" at offset ").next().unwrap()).collect::<Vec<_>>().join("\n");
    (sections, rest)
}

#[test]
fn normalised_modules_are_what_strip_leaves() {
    let Some(kernel) = kernel() else { return };
    if !Path::new("/usr/bin/objcopy").exists() {
        return skip("no objcopy");
    }
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    let (mut before, mut after) = (0, 0);
    for (path, bytes) in kernel.modules.iter().chain(&kernel.probes) {
        let normalised = normalise(bytes, path.name()).unwrap();
        before += normalised.facts.size_before;
        after += normalised.facts.size_after;
        assert_eq!(normalised.facts.signatures, usize::from(!kernel.probes.contains_key(path)), "{path}");
        assert!(
            normalise(&normalised.bytes, path.name()).unwrap().bytes == normalised.bytes,
            "{path}: twice is not once"
        );
        fs::write(file("given.ko"), bytes).unwrap();
        fs::write(file("normalised.ko"), &normalised.bytes).unwrap();
        fs::copy(file("given.ko"), file("stripped.ko")).unwrap();
        run("objcopy", &["--strip-debug"], &file("stripped.ko"));
        let stripped = fs::read(file("stripped.ko")).unwrap();
        assert!(normalise(&stripped, path.name()).unwrap().bytes == normalised.bytes, "{path}: objcopy leaves another");
        assert_eq!(shown(&file("normalised.ko")), shown(&file("stripped.ko")), "{path}");
        let info = |name: &str| {
            let text = run("modinfo", &[], &file(name));
            let signature = ["filename:", "sig_id:", "signer:", "sig_key:", "sig_hashalgo:", "signature:", "\t"];
            let lines = text.lines().filter(|line| !signature.iter().any(|start| line.starts_with(start)));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(info("normalised.ko"), info("given.ko"), "{path}");
    }
    eprintln!("{} modules: {before} bytes before, {after} after", kernel.modules.len() + kernel.probes.len());
}

fn judge(kernel: &Kernel, added: &BTreeMap<TreePath, Vec<u8>>, exports: &Exports) -> Verdict {
    let parsed: BTreeMap<TreePath, Result<Candidate, ElfError>> =
        added.iter().map(|(path, bytes)| (path.clone(), Candidate::parse(bytes))).collect();
    let target = Target { kernel: &kernel.release, modules: &Modules::new(), builtins: &kernel.builtins, exports };
    validate(&parsed, &target)
}

/// Faults of symbols: a sample lacks the modules that others depend on.
fn of_symbols(verdict: Verdict) -> Vec<Fault> {
    verdict.faults.into_iter().filter(|fault| !matches!(fault, Fault::MissingDependency { .. })).collect()
}

#[test]
fn modules_fit_their_kernel() {
    let Some(kernel) = kernel() else { return };
    let exports = Exports::of_symvers(&kernel.symvers);
    assert!(exports.knows_kernel());
    assert_eq!(judge(kernel, &kernel.probes, &exports), Verdict::default());
    assert_eq!(of_symbols(judge(kernel, &kernel.modules, &exports)), []);
    let normalised = |modules: &BTreeMap<TreePath, Vec<u8>>| -> BTreeMap<TreePath, Vec<u8>> {
        modules.iter().map(|(path, bytes)| (path.clone(), normalise(bytes, path.name()).unwrap().bytes)).collect()
    };
    assert_eq!(judge(kernel, &normalised(&kernel.probes), &exports), Verdict::default());

    // What modules export is what the list says of them.
    for (path, bytes) in kernel.modules.iter().chain(&normalised(&kernel.modules)) {
        let candidate = Candidate::parse(bytes).unwrap();
        for (symbol, export) in &candidate.symbols.exports {
            assert_eq!(*export, kernel.symvers.symbols[symbol].export, "{path}: {symbol}");
        }
        let stem = path.to_string().trim_start_matches('/').trim_start_matches("kernel/").replace(".ko", "");
        let listed = kernel.symvers.symbols.values().filter(|exported| exported.module == stem).count();
        assert_eq!(candidate.symbols.exports.len(), listed, "{path}");
    }

    // Without the list, what the kernel's own modules expect and offer is enough for most.
    let mut collected = Exports::default();
    let own: Vec<Candidate> = kernel.modules.values().map(|bytes| Candidate::parse(bytes).unwrap()).collect();
    for own in &own {
        collected.add_module(&own.module.name, &own.symbols);
    }
    for own in &own {
        collected.learn(&own.symbols);
    }
    let verdict = judge(kernel, &kernel.probes, &collected);
    assert_eq!(verdict, Verdict::default(), "the probes use what many modules use");
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    let places: Vec<usize> =
        bytes.windows(from.len()).enumerate().filter(|(_, w)| *w == from).map(|(at, _)| at).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + from.len()].copy_from_slice(to);
    }
    bytes
}

#[test]
fn each_damage_has_its_fault() {
    let Some(kernel) = kernel() else { return };
    let exports = Exports::of_symvers(&kernel.symvers);
    let path = TreePath::new("extra/probe.ko").unwrap();
    let probe = &kernel.probes[&path];
    let faults = |bytes: Vec<u8>| {
        let mut added = kernel.probes.clone();
        added.insert(path.clone(), bytes);
        judge(kernel, &added, &exports).faults
    };
    let crc = kernel.symvers.symbols["_printk"].export.crc.unwrap();
    let record = |crc: u32| [&u64::from(crc).to_le_bytes()[..], b"_printk\0"].concat();
    assert_eq!(
        faults(replaced(probe, &record(crc), &record(crc ^ 0x100))),
        [Fault::CrcMismatch { path: path.clone(), symbol: "_printk".into(), expected: crc ^ 0x100, found: crc }]
    );
    assert_eq!(
        faults(replaced(probe, b"_printk\0", b"_made_u\0")),
        [Fault::UnresolvedSymbol { path: path.clone(), symbol: "_made_u".into() }]
    );
    let release = kernel.release.as_str();
    let other = release.replace(|c: char| c.is_ascii_digit(), "5");
    let vermagic = |release: &str| format!("vermagic={release} ").into_bytes();
    assert_eq!(
        faults(replaced(probe, &vermagic(release), &vermagic(&other))),
        [Fault::OtherKernel { path: path.clone(), found: other, expected: kernel.release.clone() }]
    );
    assert_eq!(
        faults(replaced(probe, b"license=Dual MIT/GPL\0", b"license=Proprietary!\0")),
        [Fault::GplOnly {
            path: path.clone(),
            symbol: "probe_core_answer".into(),
            license: Some("Proprietary!".into())
        }]
    );
    let cut = faults(probe[..probe.len() / 2].to_vec());
    assert!(matches!(&cut[..], [Fault::Unreadable { path: found, .. }] if *found == path), "{cut:?}");
    let alone = BTreeMap::from([(path.clone(), probe.clone())]);
    assert_eq!(
        judge(kernel, &alone, &exports).faults,
        [
            Fault::MissingDependency { path: path.clone(), needs: "probe_core".into() },
            Fault::UnresolvedSymbol { path: path.clone(), symbol: "probe_core_answer".into() }
        ]
    );
}

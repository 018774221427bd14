//! Symbols of modules against those of a kernel.
use oci_assemble::elf::ElfError;
use oci_assemble::testing::module::TestModule;

use super::*;

const SYMVERS: &str = "0x00001234\tmodule_layout\tvmlinux\tEXPORT_SYMBOL\t\n\
                       0x00000001\tprintk\tvmlinux\tEXPORT_SYMBOL\t\n\
                       0x00000002\tkthread\tvmlinux\tEXPORT_SYMBOL_GPL\t\n\
                       0x00000003\tspl_one\textra/spl\tEXPORT_SYMBOL\t\n";

fn candidate(module: TestModule<'_>) -> Result<Candidate, ElfError> {
    Candidate::parse(&module.build())
}

/// The faults of modules by path, as text.
fn check(
    added: Vec<(&str, Result<Candidate, ElfError>)>,
    exports: &Exports,
) -> (Vec<String>, Vec<(String, Vec<String>)>) {
    let kernel = KernelRelease::new("6.1").unwrap();
    let present = Modules::from([(path("extra/spl.ko"), super::module("spl", "6.1", &[]))]);
    let target = Target { kernel: &kernel, modules: &present, builtins: &BTreeSet::new(), exports };
    let added = added.into_iter().map(|(name, candidate)| (path(name), candidate)).collect();
    let verdict = validate(&added, &target);
    let unchecked = verdict.unchecked.into_iter();
    (
        verdict.faults.iter().map(ToString::to_string).collect(),
        unchecked.map(|(path, names)| (relative(&path), names.into_iter().collect())).collect(),
    )
}

fn symvers() -> Exports {
    Exports::of_symvers(&Symvers::parse(SYMVERS.as_bytes()).unwrap())
}

#[test]
fn symbols_are_read() {
    let module = TestModule {
        license: "CDDL",
        imports: &[("printk", Some(1)), ("other", None)],
        exports: &[("one", 0xdead_beef, false), ("two", 3, true)],
        ..TestModule::default()
    };
    let export = |crc, gpl_only| Export { gpl_only, crc: Some(crc) };
    let expected = Symbols {
        needs: ["other", "printk"].map(str::to_owned).into(),
        wants: BTreeSet::new(),
        expects: [("module_layout", 0x1234), ("printk", 1)].map(|(name, crc)| (name.to_owned(), crc)).into(),
        exports: [("one", export(0xdead_beef, false)), ("two", export(3, true))]
            .map(|(name, export)| (name.to_owned(), export))
            .into(),
        license: Some("CDDL".into()),
    };
    for (machine, wide, little_endian) in [(62, true, true), (22, true, false), (40, false, true), (20, false, false)] {
        let module = TestModule { machine, wide, little_endian, ..module };
        assert_eq!(Candidate::parse(&module.build()).unwrap().symbols, expected, "{machine}");
    }
    let compatible = |license| {
        let symbols = Candidate::parse(&TestModule { license, ..module }.build()).unwrap().symbols;
        symbols.is_gpl_compatible()
    };
    assert_eq!(
        ["GPL", "GPL v2", "Dual MIT/GPL", "CDDL", "Proprietary", ""].map(compatible),
        [true, true, true, false, false, false]
    );
}

#[test]
fn each_fault_names_module_and_reason() {
    let imports = [("printk", Some(1)), ("kthread", Some(2)), ("spl_one", Some(3))];
    let good = TestModule { name: "good", imports: &imports, ..TestModule::default() };
    assert_eq!(check(vec![("extra/good.ko", candidate(good))], &symvers()), Default::default());
    let truncated = Candidate::parse(&good.build()[..700]);
    let added = vec![
        ("extra/cut.ko", truncated),
        ("extra/crc.ko", candidate(TestModule { imports: &[("printk", Some(9))], ..good })),
        ("extra/gone.ko", candidate(TestModule { imports: &[("made_up", Some(1))], depends: "lost", ..good })),
        ("extra/cddl.ko", candidate(TestModule { license: "CDDL", ..good })),
        ("extra/old.ko", candidate(TestModule { release: "6.0", imports: &[("made_up", None)], ..good })),
    ];
    assert_eq!(
        check(added, &symvers()).0,
        [
            "extra/cddl.ko uses \"kthread\", which its licence \"CDDL\" does not allow",
            "extra/crc.ko was built against another \"printk\": checksum 0x00000009, here it is 0x00000001",
            "extra/cut.ko is no usable kernel module: damaged ELF section headers: \
             Invalid ELF section header offset/size/alignment",
            "extra/gone.ko needs \"lost\", which is nowhere",
            "extra/gone.ko uses \"made_up\", which neither the kernel nor a module exports",
            "extra/old.ko is built for kernel \"6.0\"",
        ]
    );
}

#[test]
fn modules_that_come_together_offer_to_each_other() {
    // A new spl in place of the old one, and a zfs that was built against the old one.
    let spl = TestModule { name: "spl", exports: &[("spl_one", 4, false), ("spl_two", 5, true)], ..Default::default() };
    let zfs = TestModule { name: "zfs", imports: &[("spl_one", Some(3))], ..Default::default() };
    let two = TestModule { name: "two", imports: &[("spl_two", Some(5))], ..Default::default() };
    let added = vec![("a/spl.ko", candidate(spl)), ("a/zfs.ko", candidate(zfs)), ("a/two.ko", candidate(two))];
    assert_eq!(
        check(added, &symvers()),
        (
            vec!["a/zfs.ko was built against another \"spl_one\": checksum 0x00000003, here it is 0x00000004".into()],
            vec![]
        )
    );
}

#[test]
fn without_a_list_the_kernels_own_modules_tell_a_part() {
    let own = candidate(TestModule { name: "ext4", imports: &[("printk", Some(1))], ..Default::default() }).unwrap();
    let spl = candidate(TestModule { name: "spl", exports: &[("spl_one", 3, false)], ..Default::default() }).unwrap();
    let mut exports = Exports::default();
    exports.add_module("spl", &spl.symbols);
    exports.learn(&own.symbols);
    assert!(!exports.knows_kernel());
    let imports = [("printk", Some(2)), ("spl_one", Some(3)), ("unknown", Some(1))];
    let added = TestModule { name: "new", imports: &imports, ..Default::default() };
    assert_eq!(
        check(vec![("extra/new.ko", candidate(added))], &exports),
        (
            vec![
                "extra/new.ko was built against another \"printk\": checksum 0x00000002, here it is 0x00000001".into()
            ],
            vec![("extra/new.ko".into(), vec!["unknown".into()])]
        )
    );
}

#[test]
fn checksums_of_names_that_are_too_long_for_records_count() {
    let long = "a_rather_long_name_".repeat(5);
    let imports = [(long.as_str(), None), ("printk", Some(1))];
    let extended = [(long.as_str(), 7), ("printk", 1)];
    let module = TestModule { name: "new", imports: &imports, extended: &extended, ..TestModule::default() };
    for (machine, wide, little_endian) in [(62, true, true), (22, true, false), (40, false, true)] {
        let module = TestModule { machine, wide, little_endian, ..module };
        let expects = Candidate::parse(&module.build()).unwrap().symbols.expects;
        assert_eq!((expects[&long], expects["printk"]), (7, 1), "{machine}");
    }
    let exports = |crc: u32| {
        let list = format!("{crc:#010x}\t{long}\tvmlinux\tEXPORT_SYMBOL\t\n{SYMVERS}");
        Exports::of_symvers(&Symvers::parse(list.as_bytes()).unwrap())
    };
    assert_eq!(check(vec![("extra/new.ko", candidate(module))], &exports(7)), Default::default());
    assert_eq!(
        check(vec![("extra/new.ko", candidate(module))], &exports(8)).0,
        [format!("extra/new.ko was built against another {long:?}: checksum 0x00000007, here it is 0x00000008")]
    );
}

#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;
use crate::elf::ElfError;
use crate::testing::module::TestModule;

/// Word sizes and byte orders: x86-64, s390x, ARM, 32-bit PowerPC.
const MACHINES: [(u16, bool, bool); 4] = [(62, true, true), (22, true, false), (40, false, true), (20, false, false)];

fn module(debug: bool, (machine, wide, little_endian): (u16, bool, bool)) -> Vec<u8> {
    let (imports, exports) = ([("printk", Some(1)), ("other", None)], [("one", 2, false), ("two", 3, true)]);
    TestModule { imports: &imports, exports: &exports, debug, machine, wide, little_endian, ..TestModule::default() }
        .build()
}

fn names<'a>(file: &Relocatable<'a>) -> (Vec<&'a str>, Vec<&'a str>) {
    let text = |name: &'a [u8]| std::str::from_utf8(name).unwrap();
    (
        file.sections().iter().map(|section| text(section.name)).collect(),
        file.symbols().iter().map(|symbol| text(symbol.name)).collect(),
    )
}

#[test]
fn written_files_read_the_same() {
    for machine in MACHINES {
        for debug in [false, true] {
            let bytes = module(debug, machine);
            let file = Relocatable::parse(&bytes).unwrap();
            let written = file.to_bytes().unwrap();
            let again = Relocatable::parse(&written).unwrap();
            assert_eq!(again, file, "{machine:?}");
            assert_eq!(again.to_bytes().unwrap(), written, "{machine:?}");
        }
    }
}

#[test]
fn without_data_for_debuggers_nothing_else_is_missing() {
    for machine in MACHINES {
        let (with, without) = (module(true, machine), module(false, machine));
        let mut stripped = Relocatable::parse(&with).unwrap().without_debug().unwrap();
        let plain = Relocatable::parse(&without).unwrap();
        assert_eq!(stripped.clone().without_debug().unwrap(), stripped, "twice is once");
        assert_eq!(names(&stripped), names(&plain));
        // The fixture's build id tells the two apart, nothing else does.
        let note = plain.section(b".note.gnu.build-id").unwrap().data.clone();
        stripped.section_mut(b".note.gnu.build-id").unwrap().data = note;
        assert_eq!(stripped.to_bytes().unwrap(), plain.to_bytes().unwrap(), "{machine:?}");
    }
}

#[test]
fn groups_lose_members_and_vanish_when_empty() {
    let bytes = module(true, MACHINES[0]);
    let mut file = Relocatable::parse(&bytes).unwrap();
    let number =
        |name: &[u8]| u32::try_from(file.sections.iter().position(|section| section.name == name).unwrap()).unwrap();
    let group = |members: &[u32]| Section {
        name: b".group",
        kind: object::elf::SHT_GROUP,
        data: Cow::Owned([1].iter().chain(members).flat_map(|word: &u32| word.to_le_bytes()).collect()),
        link: number(b".symtab"),
        info: 1,
        align: 4,
        entry_size: 4,
        ..Section::default()
    };
    let mixed = group(&[number(b"__versions"), number(b".debug_info"), number(b".rela.debug_info")]);
    let empty = group(&[number(b".debug_info")]);
    file.sections.extend([mixed, empty]);
    let stripped = file.without_debug().unwrap();
    let groups: Vec<_> = stripped.sections.iter().filter(|section| section.name == b".group").collect();
    assert_eq!(groups.len(), 1);
    assert_eq!(groups[0].data[..], [1_u32, 8].map(u32::to_le_bytes).concat());
    let written = stripped.to_bytes().unwrap();
    assert_eq!(Relocatable::parse(&written).unwrap(), stripped);
}

#[test]
fn what_cannot_be_written_anew_is_refused() {
    let bytes = module(true, MACHINES[0]);
    let at = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.clone();
        edit(&mut bytes);
        Relocatable::parse(&bytes).and_then(Relocatable::without_debug).unwrap_err().to_string()
    };
    let headers = usize::try_from(u64::from_le_bytes(bytes[40..48].try_into().unwrap())).unwrap();
    let header = |number: usize| headers + 64 * number;
    assert_eq!(at(&|bytes| bytes[16] = 3), "not a relocatable file");
    assert_eq!(at(&|bytes| bytes[18] = 8), "relocations of 64-bit MIPS cannot be handled");
    assert_eq!(at(&|bytes| bytes[header(12) + 4] = 2), "a second symbol table cannot be handled");
    assert_eq!(at(&|bytes| bytes[header(1) + 4] = 18), "more sections than a symbol can name cannot be handled");
    assert_eq!(at(&|bytes| bytes[header(3) + 56] = 23), "damaged ELF relocations");
    assert_eq!(at(&|bytes| bytes[header(2) + 48] = 3), "damaged ELF section headers");
    // .debug_info called something else, so that it stays: its relocation needs a symbol that would go.
    let relocation = usize::try_from(u64::from_le_bytes(bytes[header(3) + 24..][..8].try_into().unwrap())).unwrap();
    assert_eq!(at(&|bytes| bytes[relocation + 12] = 3), "code that refers to data for debuggers cannot be handled");
    assert_eq!(at(&|bytes| bytes[relocation + 12] = 200), "damaged ELF relocations");
    assert!(matches!(Relocatable::parse(b"\x7fELF"), Err(ElfError::NotElf)));
}

#[test]
fn overlapping_sections_do_not_make_a_large_file() {
    let mut bytes = module(false, MACHINES[0]);
    let headers = usize::try_from(u64::from_le_bytes(bytes[40..48].try_into().unwrap())).unwrap();
    let size = bytes.len() as u64;
    for number in [1, 2] {
        bytes[headers + 64 * number + 24..][..8].copy_from_slice(&0_u64.to_le_bytes());
        bytes[headers + 64 * number + 32..][..8].copy_from_slice(&size.to_le_bytes());
    }
    assert_eq!(Relocatable::parse(&bytes).unwrap_err().to_string(), "damaged ELF section headers");
}

proptest! {
    #[test]
    fn damaged_files_are_errors_or_stay_what_they_are(
        machine in 0..4_usize,
        cut in 0..3000_usize,
        changes in prop::collection::vec((0..3000_usize, any::<u8>()), 0..6),
    ) {
        let mut bytes = module(true, MACHINES[machine]);
        for (at, byte) in changes {
            let length = bytes.len();
            bytes[at % length] = byte;
        }
        bytes.truncate(bytes.len().saturating_sub(cut.saturating_sub(2000)));
        let length = bytes.len();
        if let Ok(stripped) = Relocatable::parse(&bytes).and_then(Relocatable::without_debug) {
            let written = stripped.to_bytes().unwrap();
            // Padding between sections is all that can be added: 14 sections, aligned to at most 64 KiB.
            prop_assert!(written.len() <= 2 * length + 14 * (1 << 16));
            prop_assert_eq!(Relocatable::parse(&written).unwrap().to_bytes().unwrap(), written);
        }
    }
}

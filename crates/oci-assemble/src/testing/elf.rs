//! Small ELF files made on the spot: 64 bit, little endian, just what readers look at.
#![allow(missing_docs, clippy::cast_possible_truncation)]

/// Bytes of the file header, a program header and a section header.
const HEADER: usize = 64;
const SEGMENT: usize = 56;
const SECTION: usize = 64;
/// Where segments are mapped: not at zero, so that addresses and offsets differ.
const BASE: u64 = 0x40_0000;

/// A program or library to be.
#[derive(Clone, Debug, Default)]
pub struct Dynamic<'a> {
    pub machine: Option<u16>,
    pub interpreter: Option<&'a str>,
    pub soname: Option<&'a str>,
    pub needed: &'a [&'a str],
    pub rpath: Option<&'a str>,
    pub runpath: Option<&'a str>,
}

/// A program or shared library.
pub fn dynamic(of: &Dynamic) -> Vec<u8> {
    let mut strings = vec![0];
    let mut entries: Vec<(u64, u64)> = Vec::new();
    let mut add = |tag: u64, text: &str| {
        entries.push((tag, strings.len() as u64));
        strings.extend_from_slice(text.as_bytes());
        strings.push(0);
    };
    of.needed.iter().for_each(|name| add(1, name));
    of.soname.iter().for_each(|name| add(14, name));
    of.rpath.iter().for_each(|path| add(15, path));
    of.runpath.iter().for_each(|path| add(29, path));
    let interpreter = of.interpreter.map(|path| [path.as_bytes(), b"\0"].concat()).unwrap_or_default();
    let segments = 2 + u16::from(of.interpreter.is_some());
    let body = HEADER + SEGMENT * usize::from(segments);
    let strings_at = body + interpreter.len();
    let dynamic_at = (strings_at + strings.len()).next_multiple_of(8);
    entries.extend([(5, BASE + strings_at as u64), (10, strings.len() as u64), (0, 0)]);
    let end = dynamic_at + entries.len() * 16;

    let mut file = header(of.machine.unwrap_or(62), 3, segments, 0, 0, 0);
    segment(&mut file, 1, 0, end);
    segment(&mut file, 2, dynamic_at, entries.len() * 16);
    if of.interpreter.is_some() {
        segment(&mut file, 3, body, interpreter.len());
    }
    file.extend(interpreter);
    file.extend(strings);
    file.resize(dynamic_at, 0);
    for (tag, value) in entries {
        file.extend(tag.to_le_bytes());
        file.extend(value.to_le_bytes());
    }
    file
}

/// A kernel module whose `.modinfo` has `entries`.
pub fn module(entries: &[(&str, &str)]) -> Vec<u8> {
    let info: Vec<u8> = entries.iter().flat_map(|(key, value)| format!("{key}={value}\0").into_bytes()).collect();
    let names = b"\0.modinfo\0.shstrtab\0";
    let table = (HEADER + info.len() + names.len()).next_multiple_of(8);
    let mut file = header(62, 1, 0, table, 3, 2);
    file.extend(&info);
    file.extend(names);
    file.resize(table, 0);
    section(&mut file, 0, 0, 0, 0);
    section(&mut file, 1, 1, HEADER, info.len());
    section(&mut file, 10, 3, HEADER + info.len(), names.len());
    file
}

/// A kernel module with the entries that every module has.
pub fn module_for(name: &str, release: &str) -> Vec<u8> {
    let vermagic = format!("{release} SMP preempt mod_unload ");
    module(&[("license", "GPL"), ("depends", ""), ("name", name), ("vermagic", &vermagic)])
}

fn header(machine: u16, kind: u16, segments: u16, sections_at: usize, sections: u16, names: u16) -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    file.extend(kind.to_le_bytes());
    file.extend(machine.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    file.extend(0_u64.to_le_bytes());
    file.extend((if segments == 0 { 0 } else { HEADER as u64 }).to_le_bytes());
    file.extend((sections_at as u64).to_le_bytes());
    file.extend(0_u32.to_le_bytes());
    let fields = [HEADER as u16, SEGMENT as u16, segments, SECTION as u16, sections, names];
    file.extend(fields.into_iter().flat_map(u16::to_le_bytes));
    file
}

fn segment(file: &mut Vec<u8>, kind: u32, at: usize, size: usize) {
    file.extend(kind.to_le_bytes());
    file.extend(4_u32.to_le_bytes());
    let (at, size) = (at as u64, size as u64);
    for field in [at, BASE + at, BASE + at, size, size, 8] {
        file.extend(field.to_le_bytes());
    }
}

fn section(file: &mut Vec<u8>, name: u32, kind: u32, at: usize, size: usize) {
    file.extend(name.to_le_bytes());
    file.extend(kind.to_le_bytes());
    for field in [0, 0, at as u64, size as u64] {
        file.extend(field.to_le_bytes());
    }
    file.extend(0_u64.to_le_bytes());
    file.extend(1_u64.to_le_bytes());
    file.extend(0_u64.to_le_bytes());
}

//! Kernel modules made on the spot, with all that a module loader looks at, for any word size and byte order.
#![allow(missing_docs, clippy::cast_possible_truncation)]

/// A module to be.
#[derive(Clone, Copy, Debug)]
pub struct TestModule<'a> {
    pub name: &'a str,
    pub release: &'a str,
    pub license: &'a str,
    pub depends: &'a str,
    /// Symbol and checksum of each use; without a checksum there is none in `__versions`.
    pub imports: &'a [(&'a str, Option<u32>)],
    /// Symbol and checksum of uses that are in the two lists of newer kernels, where names can be long.
    pub extended: &'a [(&'a str, u32)],
    /// Symbol, checksum, and whether it is for compatible licences only.
    pub exports: &'a [(&'a str, u32, bool)],
    /// A text in its code.
    pub text: &'a str,
    /// Whether it has data for debuggers.
    pub debug: bool,
    pub machine: u16,
    pub wide: bool,
    pub little_endian: bool,
}

impl Default for TestModule<'_> {
    fn default() -> Self {
        Self {
            name: "test",
            release: "6.1",
            license: "GPL",
            depends: "",
            imports: &[],
            extended: &[],
            exports: &[],
            text: "",
            debug: false,
            machine: 62,
            wide: true,
            little_endian: true,
        }
    }
}

struct Section {
    name: &'static str,
    kind: u32,
    flags: u64,
    data: Vec<u8>,
    link: u32,
    info: u32,
    entry: u64,
}

const TEXT: u16 = 2;
const KSYMTAB: u16 = 5;
const KSYMTAB_GPL: u16 = 6;
const KCRCTAB: u16 = 7;
const DEBUG: u16 = 9;

impl TestModule<'_> {
    pub fn build(&self) -> Vec<u8> {
        let (mut symbols, mut strings) = (Vec::new(), vec![0]);
        let mut count = 0;
        let mut symbol = |name: &str, info: u8, section: u16, value: u64| {
            let at = if name.is_empty() { 0 } else { strings.len() as u32 };
            if !name.is_empty() {
                strings.extend([name.as_bytes(), b"\0"].concat());
            }
            symbols.extend(self.symbol(at, info, section, value));
            count += 1;
            count - 1
        };
        symbol("", 0, 0, 0);
        let text = symbol("", 3, TEXT, 0);
        if self.debug {
            symbol("test.c", 4, 0xfff1, 0);
            symbol("", 3, DEBUG, 0);
            symbol(".Ldebug", 0, DEBUG, 4);
        }
        let (mut ksymtab, mut ksymtab_gpl, mut kcrctab) = (Vec::new(), Vec::new(), Vec::new());
        for (name, crc, gpl_only) in self.exports {
            let (table, number) = if *gpl_only { (&mut ksymtab_gpl, KSYMTAB_GPL) } else { (&mut ksymtab, KSYMTAB) };
            symbol(&format!("__crc_{name}"), 0, KCRCTAB, kcrctab.len() as u64);
            symbol(&format!("__ksymtab_{name}"), 0, number, table.len() as u64);
            table.extend([0; 12]);
            kcrctab.extend(self.word(*crc));
        }
        let locals = symbol("init_module", 0x12, TEXT, 0);
        for (name, ..) in self.exports {
            symbol(name, 0x12, TEXT, 0);
        }
        let mut relocations = self.relocation(text);
        let mut versions = self.version("module_layout", 0x1234);
        for (name, crc) in self.imports {
            relocations.extend(self.relocation(symbol(name, 0x10, 0, 0)));
            versions.extend(crc.iter().flat_map(|crc| self.version(name, *crc)));
        }
        let info = [
            format!("license={}\0depends={}\0name={}\0", self.license, self.depends, self.name),
            format!("vermagic={} SMP preempt mod_unload modversions \0", self.release),
        ];
        let note = [self.word(4), self.word(20), self.word(3), *b"GNU\0"].concat();
        let id = if self.debug { [7; 20] } else { [8; 20] };

        let section = |name, kind, flags, data| Section { name, kind, flags, data, link: 0, info: 0, entry: 0 };
        let mut sections = vec![
            section("", 0, 0, Vec::new()),
            section(".note.gnu.build-id", 7, 2, [note, id.to_vec()].concat()),
            section(".text", 1, 6, [self.text.as_bytes(), &[0; 16]].concat()),
            section(".rela.text", 4, 0x40, relocations),
            section(".modinfo", 1, 2, info.concat().into_bytes()),
            section("__ksymtab", 1, 2, ksymtab),
            section("__ksymtab_gpl", 1, 2, ksymtab_gpl),
            section("__kcrctab", 1, 2, kcrctab),
            section("__versions", 1, 2, versions),
        ];
        if self.debug {
            sections.push(section(".debug_info", 1, 0, vec![1; 100]));
            sections.push(section(".rela.debug_info", 4, 0x40, self.relocation(3)));
        }
        if !self.extended.is_empty() {
            let crcs = self.extended.iter().flat_map(|(_, crc)| self.word(*crc)).collect();
            let names = self.extended.iter().flat_map(|(name, _)| [name.as_bytes(), b"\0"].concat()).collect();
            sections.push(section("__version_ext_crcs", 1, 2, crcs));
            sections.push(section("__version_ext_names", 1, 2, names));
        }
        let table = sections.len() as u32;
        sections.push(section(".symtab", 2, 0, symbols));
        sections.push(section(".strtab", 3, 0, strings));
        sections.push(section(".shstrtab", 3, 0, Vec::new()));
        for (number, section) in sections.iter_mut().enumerate() {
            (section.link, section.info, section.entry) = match section.kind {
                4 => (table, number as u32 - 1, if self.wide { 24 } else { 12 }),
                2 => (table + 1, locals, if self.wide { 24 } else { 16 }),
                _ => (0, 0, 0),
            };
        }
        self.file(sections)
    }

    fn file(&self, mut sections: Vec<Section>) -> Vec<u8> {
        let mut names = Vec::new();
        let places: Vec<u32> = sections
            .iter()
            .map(|section| {
                names.extend([section.name.as_bytes(), b"\0"].concat());
                (names.len() - section.name.len() - 1) as u32
            })
            .collect();
        let last = sections.len() - 1;
        sections[last].data = names;
        let (header, header_entry) = if self.wide { (64, 64) } else { (52, 40) };
        let mut body = vec![0; header];
        let mut table = Vec::new();
        for (section, name) in sections.iter().zip(places) {
            body.resize(body.len().next_multiple_of(8), 0);
            table.extend([self.word(name), self.word(section.kind)].concat());
            for field in [section.flags, 0, body.len() as u64, section.data.len() as u64] {
                table.extend(self.long(field));
            }
            table.extend([self.word(section.link), self.word(section.info)].concat());
            table.extend([self.long(u64::from(section.kind != 0)), self.long(section.entry)].concat());
            body.extend(&section.data);
        }
        body.resize(body.len().next_multiple_of(8), 0);
        let mut start = b"\x7fELF".to_vec();
        start.extend([1 + u8::from(self.wide), 2 - u8::from(self.little_endian), 1]);
        start.resize(16, 0);
        start.extend([self.half(1), self.half(self.machine)].concat());
        start.extend(self.word(1));
        start.extend([self.long(0), self.long(0), self.long(body.len() as u64)].concat());
        start.extend(self.word(0));
        for field in [header, 0, 0, header_entry, sections.len(), last] {
            start.extend(self.half(field as u16));
        }
        body[..header].copy_from_slice(&start);
        body.extend(table);
        body
    }

    fn half(&self, number: u16) -> [u8; 2] {
        if self.little_endian { number.to_le_bytes() } else { number.to_be_bytes() }
    }

    fn word(&self, number: u32) -> [u8; 4] {
        if self.little_endian { number.to_le_bytes() } else { number.to_be_bytes() }
    }

    fn long(&self, number: u64) -> Vec<u8> {
        match (self.wide, self.little_endian) {
            (true, true) => number.to_le_bytes().to_vec(),
            (true, false) => number.to_be_bytes().to_vec(),
            (false, _) => self.word(number as u32).to_vec(),
        }
    }

    fn symbol(&self, name: u32, info: u8, section: u16, value: u64) -> Vec<u8> {
        let rest = [vec![info, 0], self.half(section).to_vec()].concat();
        let numbers = [self.long(value), self.long(0)].concat();
        let (one, other) = if self.wide { (rest, numbers) } else { (numbers, rest) };
        [self.word(name).to_vec(), one, other].concat()
    }

    fn relocation(&self, symbol: u32) -> Vec<u8> {
        let info = if self.wide { u64::from(symbol) << 32 | 1 } else { u64::from(symbol << 8 | 1) };
        [self.long(4), self.long(info), self.long(2)].concat()
    }

    fn version(&self, name: &str, crc: u32) -> Vec<u8> {
        let mut record = self.long(crc.into());
        record.extend(name.as_bytes());
        record.resize(64, 0);
        record
    }
}

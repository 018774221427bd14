//! `Module.symvers`: what a kernel and its modules export, as a kernel build lists it.
//!
//! Enterprise distributions ship it compressed beside the modules (`symvers.xz`), all have it beside the kernel's
//! headers. One line a symbol, tab between fields: checksum, symbol, module, kind of export, and from Linux 5.4 on the
//! namespace, which was the third field until 5.7 (`Documentation/kbuild/modules.rst` of Linux).

use std::collections::BTreeMap;

use oci_assemble::elf::{ElfError, decompress_within};

use super::symbols::Export;

/// The largest list accepted after decompression: many times that of a distribution's kernel with 25,000 symbols.
const SYMVERS_MAX: u64 = 64 << 20;

/// The exports of a kernel and its modules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Symvers {
    /// By symbol.
    pub symbols: BTreeMap<String, Exported>,
}

/// One line of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// The symbol.
    pub export: Export,
    /// Who exports it: `vmlinux`, or the path of a module without suffix.
    pub module: String,
    /// Modules must say that they use this namespace; empty for most.
    pub namespace: String,
}

/// A list that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SymversError {
    /// It is too large, or its compression is damaged.
    #[error("unreadable")]
    Unreadable(#[source] ElfError),
    /// A line is not one of such a list.
    #[error("line {line} is no line of a Module.symvers")]
    Line {
        /// Its number, from 1.
        line: usize,
    },
}

impl Symvers {
    /// Reads a list, compressed or not. Of a symbol that is there twice the first counts.
    pub fn parse(file: &[u8]) -> Result<Self, SymversError> {
        let plain = decompress_within(file, SYMVERS_MAX).map_err(SymversError::Unreadable)?;
        let mut symbols = BTreeMap::new();
        let lines = plain.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty());
        for (index, line) in lines {
            let parsed = std::str::from_utf8(line).ok().and_then(parse_line);
            let (symbol, exported) = parsed.ok_or(SymversError::Line { line: index + 1 })?;
            symbols.entry(symbol).or_insert(exported);
        }
        Ok(Self { symbols })
    }
}

fn parse_line(line: &str) -> Option<(String, Exported)> {
    let fields: Vec<&str> = line.split('\t').collect();
    let (crc, symbol, module, kind, namespace) = match fields.as_slice() {
        [crc, symbol, module, kind] => (crc, symbol, module, kind, ""),
        [crc, symbol, namespace, module, kind] if kind.starts_with("EXPORT_") => {
            (crc, symbol, module, kind, *namespace)
        }
        [crc, symbol, module, kind, namespace] => (crc, symbol, module, kind, *namespace),
        _ => return None,
    };
    let crc = u32::from_str_radix(crc.strip_prefix("0x")?, 16).ok()?;
    if symbol.is_empty() || module.is_empty() || !kind.starts_with("EXPORT_") {
        return None;
    }
    // EXPORT_SYMBOL_GPL, EXPORT_UNUSED_SYMBOL_GPL, EXPORT_SYMBOL_GPL_FUTURE.
    let export = Export { gpl_only: kind.contains("_GPL"), crc: Some(crc) };
    let exported = Exported { export, module: (*module).to_owned(), namespace: namespace.to_owned() };
    Some(((*symbol).to_owned(), exported))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn exported(crc: u32, module: &str, gpl_only: bool, namespace: &str) -> Exported {
        let export = Export { gpl_only, crc: Some(crc) };
        Exported { export, module: module.to_owned(), namespace: namespace.to_owned() }
    }

    #[test]
    fn lines_of_all_kernels_are_understood() {
        let list = "0x4c9d28b0\tphys_base\tvmlinux\tEXPORT_SYMBOL\t\n\
                    0x00000001\tdma_buf_get\tdrivers/dma-buf/dma-buf\tEXPORT_SYMBOL_GPL\tDMA_BUF\n\
                    0x00000002\tfour\tvmlinux\tEXPORT_SYMBOL_GPL_FUTURE\n\
                    0x00000003\tmoved\tUSB\tdrivers/usb/x\tEXPORT_SYMBOL_GPL\n\
                    0x00000004\tplain\t\tvmlinux\tEXPORT_SYMBOL\n\
                    0x00000005\tplain\tvmlinux\tEXPORT_SYMBOL_GPL\t\n";
        let symbols = BTreeMap::from(
            [
                ("phys_base", exported(0x4c9d_28b0, "vmlinux", false, "")),
                ("dma_buf_get", exported(1, "drivers/dma-buf/dma-buf", true, "DMA_BUF")),
                ("four", exported(2, "vmlinux", true, "")),
                ("moved", exported(3, "drivers/usb/x", true, "USB")),
                ("plain", exported(4, "vmlinux", false, "")),
            ]
            .map(|(name, exported)| (name.to_owned(), exported)),
        );
        assert_eq!(Symvers::parse(list.as_bytes()).unwrap(), Symvers { symbols });
    }

    #[test]
    fn a_wrong_line_is_named() {
        let good = "0x00000001\ta\tvmlinux\tEXPORT_SYMBOL\t\n";
        for bad in [
            "0x00000001 a vmlinux EXPORT_SYMBOL",
            "1\ta\tvmlinux\tEXPORT_SYMBOL",
            "0x123456789\ta\tvmlinux\tEXPORT_SYMBOL",
            "0x1\ta\tvmlinux\tSYMBOL",
            "0x1\t\tvmlinux\tEXPORT_SYMBOL",
            "0x1\ta\tvmlinux\tEXPORT_SYMBOL\t\t",
        ] {
            let error = Symvers::parse(format!("{good}\n{bad}\n").as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), "line 3 is no line of a Module.symvers", "{bad}");
        }
    }
}

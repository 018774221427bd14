//! Signatures appended to module files.
//!
//! A signed file ends with the signature, `struct module_signature` (12 bytes, `include/uapi/linux/module_signature.h`)
//! and a line of text. What is signed is everything before, so a file can be signed several times over.

/// The line of text (`MODULE_SIG_STRING`).
const MAGIC: &[u8] = b"~Module signature appended~\n";
/// `PKEY_ID_PKCS7`, the one kind that kernels since 4.3 make and accept.
const PKCS7: u8 = 2;

/// The end of a signed file makes no sense. The kernel refuses such a file (`mod_check_sig`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The file is shorter than what the signature says of itself.
    #[error("the signature is longer than the file")]
    TooLong,
    /// It is of a kind that kernels since 4.3 do not accept.
    #[error("the signature has the unknown type {id_type}")]
    Type {
        /// `id_type`.
        id_type: u8,
    },
    /// Fields are set that PKCS#7 leaves empty.
    #[error("the signature's header is damaged")]
    Header,
}

/// The file without its signatures, and how many they were.
///
/// Law: what comes out has no signature.
pub fn unsigned(mut file: &[u8]) -> Result<(&[u8], usize), SignatureError> {
    let mut signatures = 0;
    while let Some(signed) = file.strip_suffix(MAGIC) {
        let (rest, header) = signed.split_last_chunk::<12>().ok_or(SignatureError::TooLong)?;
        let [algorithm, hash, id_type, signer, key_id, padding @ .., _, _, _, _] = header;
        if *id_type != PKCS7 {
            return Err(SignatureError::Type { id_type: *id_type });
        }
        if [*algorithm, *hash, *signer, *key_id].iter().chain(padding).any(|byte| *byte != 0) {
            return Err(SignatureError::Header);
        }
        let size = header.last_chunk().map_or(u32::MAX, |size| u32::from_be_bytes(*size));
        let at = rest.len().checked_sub(size as usize).filter(|at| *at > 0).ok_or(SignatureError::TooLong)?;
        file = &rest[..at];
        signatures += 1;
    }
    Ok((file, signatures))
}

/// `file` with the PKCS#7 message `signature` appended.
///
/// Law: [`unsigned`] takes it off again.
pub(super) fn appended(file: &[u8], signature: &[u8]) -> Result<Vec<u8>, SignatureError> {
    let size = u32::try_from(signature.len()).map_err(|_| SignatureError::TooLong)?.to_be_bytes();
    Ok([file, signature, &[0, 0, PKCS7, 0, 0, 0, 0, 0], &size, MAGIC].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign(file: &[u8], signature: &[u8], id_type: u8) -> Vec<u8> {
        let size = u32::try_from(signature.len()).unwrap_or_default().to_be_bytes();
        [file, signature, &[0, 0, id_type, 0, 0, 0, 0, 0], &size, MAGIC].concat()
    }

    #[test]
    fn what_is_appended_comes_off() {
        assert_eq!(appended(b"module", b"PKCS"), Ok(sign(b"module", b"PKCS", PKCS7)));
    }

    #[test]
    fn signatures_come_off_one_by_one() {
        assert_eq!(unsigned(b"module"), Ok((&b"module"[..], 0)));
        let once = sign(b"module", b"PKCS", PKCS7);
        assert_eq!(unsigned(&once), Ok((&b"module"[..], 1)));
        assert_eq!(unsigned(&sign(&once, &[7; 300], PKCS7)), Ok((&b"module"[..], 2)));
    }

    #[test]
    fn a_damaged_end_is_an_error() {
        for (file, error) in [
            (MAGIC.to_vec(), SignatureError::TooLong),
            (sign(b"", b"PKCS", PKCS7), SignatureError::TooLong),
            (sign(b"module", b"PKCS", 1), SignatureError::Type { id_type: 1 }),
            ([&b"module"[..], &[0, 0, PKCS7, 0, 0, 0, 0, 0, 1, 0, 0, 0], MAGIC].concat(), SignatureError::TooLong),
            ([&b"module"[..], &[0, 4, PKCS7, 0, 0, 0, 0, 0, 0, 0, 0, 0], MAGIC].concat(), SignatureError::Header),
            ([&b"module"[..], &[0, 0, PKCS7, 0, 0, 0, 0, 1, 0, 0, 0, 0], MAGIC].concat(), SignatureError::Header),
        ] {
            assert_eq!(unsigned(&file), Err(error), "{file:?}");
        }
    }
}

//! Keys that the recipe names: the only reader of private ones.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use cap_std::fs::Dir;
use kmod_stage::module::{ModuleCertificate, ModuleSigner};
use oci_assemble::plan::recipe::spec::{KeySource, ModuleKey};

use crate::env;
use crate::exit::{Class, Context, Failure};

/// The largest file with a key or certificate that is read, in bytes: many times a key of 4096 bits.
const LARGEST: u64 = 1 << 18;

/// What modules are signed with.
pub(crate) struct Signing {
    pub(crate) certificate: ModuleCertificate,
    /// What the certificate is called in the image.
    pub(crate) name: String,
    /// None where modules are not signed, as in a plan.
    pub(crate) signer: Option<Arc<ModuleSigner>>,
}

/// Reads the certificate, and when modules are to be signed, the key.
pub(crate) fn signing(root: &Dir, names: &ModuleKey, sign: bool) -> Result<Signing, Failure> {
    let path = names.certificate.as_path();
    let bytes = file(root, path, "certificate")?;
    let certificate = ModuleCertificate::parse(&bytes);
    let certificate =
        certificate.context(Class::Usage, format!("reading the certificate {} of modules.sign", path.display()))?;
    let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("modules").to_owned();
    let signer = if sign { Some(Arc::new(signer(root, &names.key, certificate.clone())?)) } else { None };
    Ok(Signing { certificate, name, signer })
}

fn signer(root: &Dir, source: &KeySource, certificate: ModuleCertificate) -> Result<ModuleSigner, Failure> {
    let (key, place) = match source {
        KeySource::File(path) => (file(root, Path::new(path), "private key")?, path.clone()),
        KeySource::Environment(name) => {
            let value = env::secret(name).ok_or_else(|| {
                let text = format!("modules.sign takes its private key from the variable {name}, which is not set");
                Failure::new(Class::Usage, text).hint("the variable's value is the key itself, PEM")
            })?;
            (value, format!("in the variable {name}"))
        }
    };
    ModuleSigner::new(certificate, &key)
        .context(Class::Usage, format!("reading the private key {place} of modules.sign"))
}

/// The private key in a file of the recipe, for signatures of images.
pub(crate) fn of_image(root: &Dir, path: &str) -> Result<Vec<u8>, Failure> {
    below(root, Path::new(path), &format!("the private key {path} of publish.sign"))
}

/// A file below the root; `what` it is, for an error.
fn file(root: &Dir, path: &Path, what: &str) -> Result<Vec<u8>, Failure> {
    below(root, path, &format!("the {what} {} of modules.sign", path.display()))
}

fn below(root: &Dir, path: &Path, what: &str) -> Result<Vec<u8>, Failure> {
    let context = || format!("reading {what}");
    let mut bytes = Vec::new();
    let file = root.open(path).context(Class::Usage, context())?;
    file.take(LARGEST + 1).read_to_end(&mut bytes).context(Class::Usage, context())?;
    if bytes.len() as u64 > LARGEST {
        return Err(Failure::new(Class::Usage, format!("{}: it is larger than {LARGEST} bytes", context())));
    }
    Ok(bytes)
}

//! Bringing images into podman's storage, held to their digests.

use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use oci_assemble::image::{
    Descriptor, Digest, Index, MAX_MANIFEST, Manifest, REF_NAME, RegistryReference, StorageImage,
};

use super::{Cancel, ImageSource, Podman, RuntimeError};
use crate::builder::{ImageId, LocalImage};
use crate::private::PrivateDir;

/// The start of the names of private directories.
const PREFIX: &str = ".podman-import-";
/// What every layout says of itself (image-spec, "image-layout.md").
const OCI_LAYOUT: &str = "{\"imageLayoutVersion\":\"1.0.0\"}";

impl Podman {
    pub(super) fn import_image(&self, source: &ImageSource, cancel: &Cancel) -> Result<ImageId, RuntimeError> {
        match source {
            ImageSource::Layout { directory, manifest } => self.import_layout(directory, *manifest, cancel),
            ImageSource::Registry { name, manifest, authfile, tls_verify } => {
                let pinned = pinned(name, *manifest);
                if self.image_id(&pinned)?.is_none() {
                    let mut words = vec!["pull".to_owned(), "--quiet".into()];
                    words.extend(authfile.iter().map(|file| format!("--authfile={}", file.display())));
                    if !tls_verify {
                        words.push("--tls-verify=false".into());
                    }
                    words.push(format!("docker://{pinned}"));
                    self.plain(self.settings.command(words)).until(cancel).output()?;
                }
                self.held_to(&pinned, *manifest)
            }
            ImageSource::Storage { image, manifest } => {
                let image = match image {
                    StorageImage::Name(name) => name.to_string(),
                    StorageImage::Id(id) => id.clone(),
                };
                self.held_to(&image, *manifest)
            }
        }
    }

    /// The ID of an image that podman has, if `manifest` is among the digests podman knows it by. They are what podman
    /// itself verified when the image came in.
    fn held_to(&self, image: &str, manifest: Digest) -> Result<ImageId, RuntimeError> {
        let Some(id) = self.image_id(image)? else {
            return Err(RuntimeError::NoImage { image: image.to_owned() });
        };
        let digests = "--format={{.Digest}}{{range .RepoDigests}} {{.}}{{end}}";
        let found = self.call(&["image", "inspect", digests, &id.to_string()]).output()?;
        let of_name = |word: &str| word.rsplit_once('@').map_or(word, |(_, digest)| digest).parse::<Digest>();
        if !found.split_whitespace().any(|word| of_name(word) == Ok(manifest)) {
            let found = found.trim().to_owned();
            return Err(RuntimeError::Mismatch { image: image.to_owned(), expected: manifest, found });
        }
        Ok(id)
    }

    fn import_layout(&self, directory: &Path, digest: Digest, cancel: &Cancel) -> Result<ImageId, RuntimeError> {
        let (manifest, size) = read_manifest(directory, digest)?;
        let name = LocalImage::builder(digest);
        let mismatch =
            |found: String| RuntimeError::Mismatch { image: name.to_string(), expected: manifest.config.digest, found };
        let expected = ImageId::of_config(manifest.config.digest).ok_or_else(|| mismatch("no ID".into()))?;
        if self.image_id(&expected.to_string())?.is_some() {
            return Ok(expected);
        }
        let scratch = |source| RuntimeError::Scratch { path: self.scratch.clone(), source };
        let private = PrivateDir::new(&self.scratch, PREFIX).map_err(scratch)?;
        // podman 4.3 names what it pulls after the path, newer ones after the tag; neither may be a name of the user's.
        let path = format!("{}/{}", name.repository(), name.tag());
        let mut descriptor = Descriptor::new(manifest.media_type.clone(), digest, size);
        descriptor.annotations.insert(REF_NAME.into(), name.to_string());
        write_layout(&private, &path, descriptor, directory).map_err(scratch)?;
        // Relative, because a path with a colon could not be named.
        let pull = self.call(&["pull", "--quiet", &format!("oci:{path}:{name}")]);
        let answer = pull.within(private.path()).until(cancel).output()?;
        let found = answer.lines().last().unwrap_or_default().trim().to_owned();
        if found.parse() != Ok(expected) {
            return Err(mismatch(found));
        }
        self.call(&["tag", &found, &name.to_string()]).output()?;
        // The name after the path; newer podmans did not make it.
        let _ = self.call(&["untag", &found, &format!("localhost/{path}:latest")]).output();
        Ok(expected)
    }
}

/// `HOST/NAME@DIGEST`.
fn pinned(name: &RegistryReference, manifest: Digest) -> String {
    RegistryReference { tag: None, digest: Some(manifest), ..name.clone() }.to_string()
}

/// The verified manifest of a layout, and its size in bytes.
fn read_manifest(directory: &Path, digest: Digest) -> Result<(Manifest, u64), RuntimeError> {
    let bytes = read_blob(directory, digest).map_err(|source| RuntimeError::Layout {
        directory: directory.to_owned(),
        manifest: digest,
        source,
    })?;
    let manifest = Manifest::parse(&bytes, None).map_err(|source| RuntimeError::Manifest {
        directory: directory.to_owned(),
        manifest: digest,
        source,
    })?;
    Ok((manifest, bytes.len() as u64))
}

fn read_blob(directory: &Path, digest: Digest) -> io::Result<Vec<u8>> {
    let layout = Dir::open_ambient_dir(directory, ambient_authority())?;
    let blob = layout.open(format!("blobs/{}/{}", digest.algorithm(), digest.hex()))?;
    let mut bytes = Vec::new();
    blob.take(MAX_MANIFEST as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_MANIFEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {MAX_MANIFEST} bytes")));
    }
    let mut hasher = digest.hasher();
    hasher.update(&bytes);
    let found = hasher.finish();
    if found != digest {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("its bytes have the digest {found}")));
    }
    Ok(bytes)
}

/// A layout at `path` that names one manifest and has the blobs of `directory`, by a link: nothing is copied.
///
/// podman needs a tag to find an image in a layout, and must not be led to another image by the index of `directory`.
fn write_layout(private: &PrivateDir, path: &str, manifest: Descriptor, directory: &Path) -> io::Result<()> {
    let blobs = directory.join("blobs").canonicalize()?;
    let root = private.open()?;
    root.create_dir_all(path)?;
    root.write(format!("{path}/oci-layout"), OCI_LAYOUT)?;
    root.write(format!("{path}/index.json"), Index { manifests: vec![manifest], ..Index::default() }.to_bytes())?;
    // The link leads out of the private directory, which `cap_std` refuses to make by its usual function.
    root.symlink_contents(std::ffi::OsStr::from_bytes(blobs.as_os_str().as_bytes()), format!("{path}/blobs"))
}

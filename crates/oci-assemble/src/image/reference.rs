//! Names of images, and where they are.
//!
//! The transports are those of containers-transports(5), read more strictly: a registry name carries its host, a
//! directory's name no colon, and nothing is completed by guessing. A digest may follow any of them after `@`.

use std::fmt;
use std::str::FromStr;

use super::digest::Digest;
use super::name;

/// Where an image is.
///
/// Law: `reference.to_string().parse() == Ok(reference)`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ImageReference {
    /// `oci:DIR[:TAG][@DIGEST]`: an OCI layout directory.
    OciDir(LayoutReference),
    /// `oci-archive:FILE[:TAG][@DIGEST]`: an OCI layout in a tar.
    OciArchive(LayoutReference),
    /// `docker://HOST[:PORT]/NAME[:TAG][@DIGEST]`: a registry.
    Registry(RegistryReference),
    /// `containers-storage:[STORE]NAME`: podman's storage on this machine.
    ContainersStorage(StorageReference),
}

/// An image in an OCI layout.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayoutReference {
    /// Path of the directory or file.
    pub path: String,
    /// The tag: annotation `org.opencontainers.image.ref.name` in the index. Without it the layout must hold exactly
    /// one image.
    pub tag: Option<String>,
    /// Digest of the manifest or index.
    pub digest: Option<Digest>,
}

/// An image in a registry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistryReference {
    /// Host and port: `quay.io`, `localhost:5000`, `[::1]:5000`.
    pub host: String,
    /// Repository: `centos-bootc/centos-bootc`.
    pub repository: String,
    /// Tag.
    pub tag: Option<String>,
    /// Digest of the manifest or index.
    pub digest: Option<Digest>,
}

/// An image in containers-storage.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StorageReference {
    /// `driver@graphroot+runroot:options`, where it is not the default store.
    pub store: Option<String>,
    /// What is in it.
    pub image: StorageImage,
}

/// How an image is named inside containers-storage.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StorageImage {
    /// By name.
    Name(RegistryReference),
    /// By ID: 64 hexadecimal digits.
    Id(String),
}

/// Why a text is not a reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid image reference {text:?}: {fault}")]
pub struct ReferenceError {
    /// The text, cut to 300 characters.
    pub text: String,
    /// What is wrong with it.
    pub fault: ReferenceFault,
}

/// What is wrong with a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceFault {
    /// None of the four transports in front.
    #[error("expected oci:, oci-archive:, docker:// or containers-storage: in front")]
    Transport,
    /// No path of a directory or file.
    #[error("the path is empty")]
    Path,
    /// Not a tag.
    #[error("the tag is not valid")]
    Tag,
    /// No `HOST/` in front of the name. Completing it by guessing would let a search list decide what is booted.
    #[error("the name has no registry host in front, like quay.io/ or localhost/")]
    Host,
    /// Not a repository name.
    #[error("the repository name is not valid (lower case letters, digits, and . _ - between them)")]
    Repository,
    /// Something after `@` that is not a digest.
    #[error("what follows @ is not a digest")]
    Digest,
    /// `[` without `]`.
    #[error("the store is not closed by a bracket")]
    Store,
}

impl ImageReference {
    /// The digest, when the reference names one.
    pub fn digest(&self) -> Option<Digest> {
        match self {
            Self::OciDir(layout) | Self::OciArchive(layout) => layout.digest,
            Self::Registry(registry) => registry.digest,
            Self::ContainersStorage(StorageReference { image: StorageImage::Name(name), .. }) => name.digest,
            Self::ContainersStorage(_) => None,
        }
    }

    /// The tag, when the reference names one.
    pub fn tag(&self) -> Option<&str> {
        match self {
            Self::OciDir(layout) | Self::OciArchive(layout) => layout.tag.as_deref(),
            Self::Registry(registry) => registry.tag.as_deref(),
            Self::ContainersStorage(StorageReference { image: StorageImage::Name(name), .. }) => name.tag.as_deref(),
            Self::ContainersStorage(_) => None,
        }
    }
}

/// A reference that means the same image for ever.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PinnedReference {
    reference: ImageReference,
    digest: Digest,
}

impl PinnedReference {
    /// `reference` held to `digest`; a digest it names itself is replaced.
    pub fn new(mut reference: ImageReference, digest: Digest) -> Self {
        match &mut reference {
            ImageReference::OciDir(layout) | ImageReference::OciArchive(layout) => layout.digest = None,
            ImageReference::Registry(name)
            | ImageReference::ContainersStorage(StorageReference { image: StorageImage::Name(name), .. }) => {
                name.digest = None;
            }
            ImageReference::ContainersStorage(_) => {}
        }
        Self { reference, digest }
    }

    /// Where the image is, without the digest.
    pub fn reference(&self) -> &ImageReference {
        &self.reference
    }

    /// The digest of its manifest or index.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Where the image is, with the digest. An ID of containers-storage has no room for one; it is a digest itself.
    pub fn to_reference(&self) -> ImageReference {
        let mut reference = self.reference.clone();
        match &mut reference {
            ImageReference::OciDir(layout) | ImageReference::OciArchive(layout) => layout.digest = Some(self.digest),
            ImageReference::Registry(name)
            | ImageReference::ContainersStorage(StorageReference { image: StorageImage::Name(name), .. }) => {
                name.digest = Some(self.digest);
            }
            ImageReference::ContainersStorage(_) => {}
        }
        reference
    }
}

impl fmt::Display for PinnedReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.reference, self.digest)
    }
}

impl FromStr for PinnedReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let (rest, digest) = split_digest(text).map_err(|fault| error(text, fault))?;
        let digest = digest.ok_or_else(|| error(text, ReferenceFault::Digest))?;
        Ok(Self { reference: parse(rest, None).map_err(|fault| error(text, fault))?, digest })
    }
}

impl FromStr for ImageReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        split_digest(text).and_then(|(rest, digest)| parse(rest, digest)).map_err(|fault| error(text, fault))
    }
}

fn error(text: &str, fault: ReferenceFault) -> ReferenceError {
    ReferenceError { text: text.chars().take(300).collect(), fault }
}

/// Splits at the last `@`. A store of containers-storage has one too, but inside brackets.
fn split_digest(text: &str) -> Result<(&str, Option<Digest>), ReferenceFault> {
    match text.rsplit_once('@') {
        Some((rest, digits)) if !digits.contains(']') => {
            let digest = digits.parse().map_err(|_| ReferenceFault::Digest)?;
            Ok((rest, Some(digest)))
        }
        _ => Ok((text, None)),
    }
}

fn parse(text: &str, digest: Option<Digest>) -> Result<ImageReference, ReferenceFault> {
    if let Some(rest) = text.strip_prefix("oci:") {
        return layout(rest, digest).map(ImageReference::OciDir);
    }
    if let Some(rest) = text.strip_prefix("oci-archive:") {
        return layout(rest, digest).map(ImageReference::OciArchive);
    }
    if let Some(rest) = text.strip_prefix("docker://") {
        return registry(rest, digest).map(ImageReference::Registry);
    }
    if let Some(rest) = text.strip_prefix("containers-storage:") {
        return storage(rest, digest).map(ImageReference::ContainersStorage);
    }
    Err(ReferenceFault::Transport)
}

fn layout(text: &str, digest: Option<Digest>) -> Result<LayoutReference, ReferenceFault> {
    let (path, tag) = text.split_once(':').map_or((text, None), |(path, tag)| (path, Some(tag)));
    if path.is_empty() || path.contains(['\0', '@']) {
        return Err(ReferenceFault::Path);
    }
    if tag.is_some_and(|tag| !name::is_layout_tag(tag)) {
        return Err(ReferenceFault::Tag);
    }
    Ok(LayoutReference { path: path.to_owned(), tag: tag.map(str::to_owned), digest })
}

fn registry(text: &str, digest: Option<Digest>) -> Result<RegistryReference, ReferenceFault> {
    let (host, rest) = text.split_once('/').ok_or(ReferenceFault::Host)?;
    if !name::is_host(host) {
        return Err(ReferenceFault::Host);
    }
    let (repository, tag) = rest.split_once(':').map_or((rest, None), |(repository, tag)| (repository, Some(tag)));
    if !name::is_repository(repository) {
        return Err(ReferenceFault::Repository);
    }
    if tag.is_some_and(|tag| !name::is_tag(tag)) {
        return Err(ReferenceFault::Tag);
    }
    Ok(RegistryReference {
        host: host.to_owned(),
        repository: repository.to_owned(),
        tag: tag.map(str::to_owned),
        digest,
    })
}

fn storage(text: &str, digest: Option<Digest>) -> Result<StorageReference, ReferenceFault> {
    let (store, rest) = match text.strip_prefix('[') {
        Some(inner) => inner.split_once(']').map(|(store, rest)| (Some(store), rest)).ok_or(ReferenceFault::Store)?,
        None => (None, text),
    };
    let is_id = rest.len() == 64 && rest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let image = match digest {
        None if is_id => StorageImage::Id(rest.to_owned()),
        _ => StorageImage::Name(registry(rest, digest)?),
    };
    Ok(StorageReference { store: store.map(str::to_owned), image })
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OciDir(layout) => write!(f, "oci:{layout}"),
            Self::OciArchive(layout) => write!(f, "oci-archive:{layout}"),
            Self::Registry(registry) => write!(f, "docker://{registry}"),
            Self::ContainersStorage(storage) => write!(f, "containers-storage:{storage}"),
        }
    }
}

fn suffix(f: &mut fmt::Formatter<'_>, tag: Option<&String>, digest: Option<Digest>) -> fmt::Result {
    if let Some(tag) = tag {
        write!(f, ":{tag}")?;
    }
    digest.map_or(Ok(()), |digest| write!(f, "@{digest}"))
}

impl fmt::Display for LayoutReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        suffix(f, self.tag.as_ref(), self.digest)
    }
}

impl fmt::Display for RegistryReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.repository)?;
        suffix(f, self.tag.as_ref(), self.digest)
    }
}

impl fmt::Display for StorageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(store) = &self.store {
            write!(f, "[{store}]")?;
        }
        match &self.image {
            StorageImage::Name(name) => write!(f, "{name}"),
            StorageImage::Id(id) => f.write_str(id),
        }
    }
}

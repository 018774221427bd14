//! Asking skopeo: for raw manifests, and through its image proxy for blobs.
//!
//! The proxy gives manifests only after choosing a platform and converting Docker's to OCI's, which changes digests; so
//! manifests come from `skopeo inspect --raw`, byte for byte, and blobs from the proxy. It serves one blob at a time:
//! who wants several at once opens several sessions. Everything is verified by the caller; nothing it says is trusted.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use containers_image_proxy::{ImageProxy, ImageProxyConfig, OpenedImage, oci_spec};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::runtime::{Builder, Runtime};

use crate::image::{Digest, ImageReference, MAX_MANIFEST, RegistryReference, StorageImage, StorageReference};

/// Bytes of an error message that are kept.
const MAX_MESSAGE: u64 = 16 << 10;

/// How skopeo is called.
#[derive(Clone, Debug)]
pub struct SkopeoOptions {
    /// The program.
    pub program: PathBuf,
    /// Whether plain http and unverified certificates are accepted.
    pub insecure: bool,
    /// Where passwords are; skopeo's own places if not given.
    pub authfile: Option<PathBuf>,
    /// A directory of certificates to trust.
    pub cert_dir: Option<PathBuf>,
}

impl Default for SkopeoOptions {
    fn default() -> Self {
        Self { program: "skopeo".into(), insecure: false, authfile: None, cert_dir: None }
    }
}

/// Why skopeo could not help.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// The program cannot be started.
    #[error("cannot run {}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It ended with an error.
    #[error("skopeo cannot read {reference}: {message}")]
    Refused {
        /// The image asked for.
        reference: String,
        /// What it said.
        message: String,
    },
    /// It gave more than any manifest has.
    #[error("the manifest of {reference} has more than {limit} bytes")]
    TooLarge {
        /// The image asked for.
        reference: String,
        /// Bytes accepted.
        limit: usize,
    },
    /// The image proxy failed.
    #[error("skopeo's image proxy failed")]
    Proxy(#[source] Box<containers_image_proxy::Error>),
    /// The image changed its manifest since it was pinned.
    #[error("{reference} is {found}, not {expected}")]
    Moved {
        /// The image asked for.
        reference: String,
        /// The digest it was pinned to.
        expected: Box<Digest>,
        /// What it is now.
        found: Box<Digest>,
    },
}

impl ProxyError {
    /// Whether asking again may help: skopeo says so, for errors of the network.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Proxy(error) if error.is_retryable())
    }
}

impl From<containers_image_proxy::Error> for ProxyError {
    fn from(error: containers_image_proxy::Error) -> Self {
        Self::Proxy(Box::new(error))
    }
}

/// The reference as skopeo reads it. It refuses a tag beside a digest.
pub(super) fn name(reference: &ImageReference) -> String {
    let one = |name: &RegistryReference| RegistryReference {
        tag: if name.digest.is_some() { None } else { name.tag.clone() },
        ..name.clone()
    };
    match reference {
        ImageReference::Registry(name) => ImageReference::Registry(one(name)).to_string(),
        ImageReference::ContainersStorage(StorageReference { store, image: StorageImage::Name(name) }) => {
            let image = StorageImage::Name(one(name));
            ImageReference::ContainersStorage(StorageReference { store: store.clone(), image }).to_string()
        }
        other => other.to_string(),
    }
}

/// The manifest or index that `reference` names, byte for byte.
pub(super) fn raw_manifest(reference: &str, options: &SkopeoOptions) -> Result<Vec<u8>, ProxyError> {
    let mut arguments: Vec<OsString> = vec!["inspect".into(), "--raw".into()];
    if options.insecure {
        arguments.push("--tls-verify=false".into());
    }
    for (flag, path) in [("--authfile", &options.authfile), ("--cert-dir", &options.cert_dir)] {
        if let Some(path) = path {
            arguments.extend([flag.into(), path.into()]);
        }
    }
    arguments.extend(["--".into(), reference.into()]);
    let failed = |source| ProxyError::Start { program: options.program.clone(), source };
    let mut command = command(options);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let too_large = |bytes: &io::Result<Vec<u8>>| matches!(bytes, Ok(bytes) if bytes.len() > MAX_MANIFEST);
    let (bytes, message) = std::thread::scope(|scope| {
        let message = scope.spawn(|| read(stderr, MAX_MESSAGE));
        let bytes = read(stdout, MAX_MANIFEST as u64 + 1);
        if too_large(&bytes) {
            // It would wait for ever for somebody to read the rest.
            let _ = child.kill();
        }
        (bytes, message.join().unwrap_or_else(|_| Ok(Vec::new())))
    });
    let status = child.wait().map_err(failed)?;
    if too_large(&bytes) {
        return Err(ProxyError::TooLarge { reference: reference.to_owned(), limit: MAX_MANIFEST });
    }
    if !status.success() {
        let message = String::from_utf8_lossy(&message.map_err(failed)?).trim().to_owned();
        return Err(ProxyError::Refused { reference: reference.to_owned(), message });
    }
    bytes.map_err(failed)
}

#[expect(clippy::disallowed_methods, reason = "skopeo is the one program this crate starts")]
fn command(options: &SkopeoOptions) -> Command {
    Command::new(&options.program)
}

/// Reads `limit` bytes and leaves the rest, which ends the stream for its writer.
fn read(stream: Option<impl Read>, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        stream.take(limit).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// A running image proxy with one image opened.
pub(super) struct Session {
    /// Goes first: skopeo ends when its socket is closed, and the runtime has a thread that waits for that.
    proxy: ImageProxy,
    image: OpenedImage,
    runtime: Background,
}

/// A runtime that is not waited for: a skopeo that hangs on the network must not make us hang.
struct Background(Option<Runtime>);

impl Background {
    fn new() -> io::Result<Self> {
        Ok(Self(Some(Builder::new_current_thread().build()?)))
    }

    fn block_on<T>(&self, future: impl Future<Output = T>) -> io::Result<T> {
        let runtime = self.0.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(runtime.block_on(future))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Session {
    /// Starts skopeo. Costs a process and a request for the manifest.
    pub(super) fn open(reference: &str, options: &SkopeoOptions) -> Result<Self, ProxyError> {
        let start = |source| ProxyError::Start { program: options.program.clone(), source };
        let runtime = Background::new().map_err(start)?;
        let mut config = ImageProxyConfig::default();
        config.authfile.clone_from(&options.authfile);
        config.certificate_directory.clone_from(&options.cert_dir);
        config.insecure_skip_tls_verification = Some(options.insecure);
        if options.program != SkopeoOptions::default().program {
            config.skopeo_cmd = Some(command(options));
        }
        let opened = runtime.block_on(async {
            let proxy = ImageProxy::new_with_config(config).await?;
            let image = proxy.open_image(reference).await?;
            Ok::<_, containers_image_proxy::Error>((proxy, image))
        });
        let (proxy, image) = opened.map_err(start)?.map_err(|error| match error {
            containers_image_proxy::Error::SkopeoSpawnError(source) => start(source),
            other => other.into(),
        })?;
        Ok(Self { proxy, image, runtime })
    }

    /// Copies a blob to `sink` until it ends or `sink` fails. Without a size, the proxy's verdict about the size is
    /// passed over; the caller verifies the digest either way.
    pub(super) fn blob(&self, digest: &Digest, size: Option<u64>, sink: &mut dyn Write) -> Result<(), BlobError> {
        let wanted: oci_spec::image::Digest =
            digest.to_string().parse().map_err(|error| BlobError::Write(io::Error::other(error)))?;
        let copied = self.runtime.block_on(async {
            let failed = |error| BlobError::Proxy(ProxyError::from(error));
            let request = self.proxy.get_blob(&self.image, &wanted, size.unwrap_or(0));
            let (reader, driver) = request.await.map_err(failed)?;
            // The pipe ends only when the driver has told the proxy to finish it, and that waits for the reader.
            let (copied, finished) = tokio::join!(copy(reader, sink), driver);
            copied.map_err(BlobError::Write)?;
            if size.is_some() {
                finished.map_err(failed)?;
            }
            Ok(())
        });
        copied.map_err(BlobError::Write)?
    }
}

/// Why a blob did not get from the proxy into the sink.
pub(super) enum BlobError {
    /// The proxy failed.
    Proxy(ProxyError),
    /// The sink did not take it, or found it wrong.
    Write(io::Error),
}

async fn copy(mut reader: impl AsyncRead + Unpin, sink: &mut dyn Write) -> io::Result<()> {
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = reader.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        sink.write_all(&buffer[..read])?;
    }
}

//! Who signs and who is believed: keys, tokens, trust roots, from files and the environment.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use oci_assemble::image::Epoch;
use oci_assemble::publish::sign::{Format, KeySigner, KeylessSigner, SignError, Signer};
use oci_assemble::publish::sigstore::{
    PublicKey, RekorVersion, Retry, ServiceError, Services, SigningKey, Token, TrustRoot, github_token,
};

use crate::args::{LogVersion, ServiceArgs, SignerArgs};
use crate::env;
use crate::exit::{Class, Context, Failure};
use crate::ui::Ui;
use crate::wire;

/// The largest file with a key, a trust root or a configuration that is read, in bytes: many times a real one.
const LARGEST: u64 = 1 << 20;
/// Where the password of an encrypted key is; cosign's name for it.
const PASSWORD: &str = "COSIGN_PASSWORD";

impl From<LogVersion> for RekorVersion {
    fn from(version: LogVersion) -> Self {
        match version {
            LogVersion::V1 => Self::V1,
            LogVersion::V2 => Self::V2,
        }
    }
}

/// The signers that the arguments name. Without any, the identity of the pipeline.
pub(crate) fn open(args: &SignerArgs, ui: Ui) -> Result<Vec<Box<dyn Signer>>, Failure> {
    let mut signers: Vec<Box<dyn Signer>> = Vec::new();
    if args.keyless || args.keys.is_empty() {
        signers.push(keyless(&args.services, ui)?);
    }
    for key in &args.keys {
        signers.push(by_key(private_key(key)?, &args.services, ui)?);
    }
    Ok(signers)
}

/// Whether the signers that the arguments name can be had: their keys are read, the token, the services and the trust root
/// looked at; no service is asked for anything, as a certificate is good for some minutes only.
pub(crate) fn ready(args: &SignerArgs, ui: Ui) -> Result<(), Failure> {
    if args.keyless || args.keys.is_empty() {
        ready_without_key(&args.services, args.format.into(), ui)?;
    }
    args.keys.iter().try_for_each(|key| by_key(private_key(key)?, &args.services, ui).map(drop))
}

/// Whether the identity of the pipeline can sign in this form.
pub(crate) fn ready_without_key(args: &ServiceArgs, format: Format, ui: Ui) -> Result<(), Failure> {
    token(args, ui)?;
    services(args, ui)?;
    root(args)?;
    if format != Format::Bundle && args.log_version == LogVersion::V2 {
        return Err(Failure::of(Class::Usage, "signing with a token", SignError::NoPromise));
    }
    Ok(())
}

/// The root that signatures are held against. `None` for services of one's own without the root that belongs to them.
fn root(args: &ServiceArgs) -> Result<Option<TrustRoot>, Failure> {
    match (&args.trust_root, &args.signing_config) {
        (None, Some(_)) => Ok(None),
        (root, _) => trust_root(root.as_deref()).map(Some),
    }
}

/// The identity of the pipeline, which has a certificate from now on, for some minutes.
pub(crate) fn keyless(args: &ServiceArgs, ui: Ui) -> Result<Box<dyn Signer>, Failure> {
    let token = token(args, ui)?;
    let services = services(args, ui)?;
    let root = root(args)?;
    if root.is_none() {
        ui.say("warning: without --trust-root, signatures are not verified before they are stored");
    }
    let signer = KeylessSigner::begin(services, &token, root).context(Class::Unavailable, "signing with a token")?;
    Ok(Box::new(signer))
}

/// A key, whose signatures are logged if that is asked for.
pub(crate) fn by_key(key: SigningKey, args: &ServiceArgs, ui: Ui) -> Result<Box<dyn Signer>, Failure> {
    Ok(Box::new(if args.log {
        KeySigner::logged(key, services(args, ui)?, root(args)?)
            .context(Class::Unavailable, "opening the transparency log")?
    } else {
        KeySigner::new(key)
    }))
}

fn services(args: &ServiceArgs, ui: Ui) -> Result<Services, Failure> {
    let version = args.log_version.into();
    let services = match &args.signing_config {
        None => Services::public_good(version).context(Class::Usage, "choosing services of sigstore"),
        Some(file) => {
            let text = text(file)?;
            Services::from_config(&text, version)
                .context(Class::Usage, format!("reading the signing configuration {}", file.display()))
        }
    };
    services.map(|services| Services { retry: retry(ui), ..services })
}

/// Services are asked again, and that is said.
fn retry(ui: Ui) -> Retry {
    let heard = move |error: &ServiceError, wait: Duration| {
        ui.say(&format!("{error}; trying again in {:.1} s", wait.as_secs_f32()));
    };
    Retry { heard: Some(Arc::new(heard)), ..Retry::default() }
}

/// The identity token: of the file that is named, of GitLab (`SIGSTORE_ID_TOKEN`), or of GitHub, which is asked for it.
pub(crate) fn token(args: &ServiceArgs, ui: Ui) -> Result<Token, Failure> {
    let now = now()?;
    let parse = |text: &str, from: &str| {
        Token::parse(text, now).context(Class::Permission, format!("reading the identity token {from}"))
    };
    if let Some(file) = &args.token {
        return parse(&text(file)?, &format!("in {}", file.display()));
    }
    if let Some(token) = env::text("SIGSTORE_ID_TOKEN") {
        return parse(&token, "in SIGSTORE_ID_TOKEN");
    }
    let github = (env::text("ACTIONS_ID_TOKEN_REQUEST_URL"), env::text("ACTIONS_ID_TOKEN_REQUEST_TOKEN"));
    if let (Some(url), Some(bearer)) = github {
        let token = github_token(&url, &bearer, &retry(ui))
            .context(Class::Unavailable, "asking GitHub for an identity token")?;
        return parse(&token, "of GitHub");
    }
    let text = "there is no identity token to sign with";
    Err(Failure::new(Class::Usage, text).hint(
        "give --key FILE; in GitLab, ask for a token with id_tokens: SIGSTORE_ID_TOKEN: aud: sigstore; in GitHub, give the \
         job the permission id-token: write",
    ))
}

/// A private key: `env:NAME`, or a file.
pub(crate) fn private_key(source: &str) -> Result<SigningKey, Failure> {
    let (bytes, place) = match source.strip_prefix("env:") {
        Some(name) => {
            let value = env::secret(name).ok_or_else(|| {
                Failure::new(Class::Usage, format!("the variable {name}, which has the key, is not set"))
                    .hint("the variable's value is the key itself, PEM")
            })?;
            (value, format!("in the variable {name}"))
        }
        None => (read(Path::new(source), LARGEST)?, source.to_owned()),
    };
    parse_key(&bytes, &place)
}

/// A private key that was read from `place`.
pub(crate) fn parse_key(bytes: &[u8], place: &str) -> Result<SigningKey, Failure> {
    let password = env::password(PASSWORD);
    let key = SigningKey::parse(bytes, password.as_deref());
    key.context(Class::Usage, format!("reading the private key {place}"))
}

/// A public key in a file.
pub(crate) fn public_key(file: &Path) -> Result<PublicKey, Failure> {
    let hint = "give the file that `cosign public-key` or `openssl pkey -pubout` writes";
    let bytes = read(file, LARGEST).map_err(|failure| failure.hint(hint))?;
    let key = PublicKey::parse(&bytes).context(Class::Usage, format!("reading the public key {}", file.display()));
    key.map_err(|failure| failure.hint(hint))
}

/// The trust root in a file, or that of sigstore's public instance.
pub(crate) fn trust_root(file: Option<&Path>) -> Result<TrustRoot, Failure> {
    match file {
        None => TrustRoot::public_good().context(Class::Usage, "reading the trust root of sigstore"),
        Some(file) => {
            TrustRoot::parse(&text(file)?).context(Class::Usage, format!("reading the trust root {}", file.display()))
        }
    }
}

/// The date of what is signed: `SOURCE_DATE_EPOCH`, else now.
pub(crate) fn created() -> Result<Epoch, Failure> {
    wire::explicit_epoch()?.map_or_else(now, Ok)
}

fn now() -> Result<Epoch, Failure> {
    let seconds = i64::try_from(env::now() / 1_000_000_000).unwrap_or(i64::MAX);
    Epoch::new(seconds).context(Class::Unavailable, "reading the clock")
}

fn text(file: &Path) -> Result<String, Failure> {
    let bytes = read(file, LARGEST)?;
    String::from_utf8(bytes).context(Class::Data, format!("reading {}", file.display()))
}

/// A file of at most `limit` bytes.
pub(crate) fn read(file: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    let what = || format!("reading {}", file.display());
    let opened = std::fs::File::open(file).context(Class::Usage, what())?;
    let mut bytes = Vec::new();
    opened.take(limit + 1).read_to_end(&mut bytes).context(Class::Io, what())?;
    if bytes.len() as u64 > limit {
        return Err(Failure::new(Class::Usage, format!("{}: it is larger than {limit} bytes", what())));
    }
    Ok(bytes)
}

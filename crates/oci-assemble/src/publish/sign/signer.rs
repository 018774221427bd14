//! Who signs.

use std::fmt;

use super::SignError;
use crate::image::Digest;
use crate::publish::attest::Statement;
use crate::publish::sigstore::{
    CertifiedIdentity, Evidence, Message, Proof, PublicKey, Refusal, RekorVersion, Services, Session, SigningKey,
    Token, TrustRoot,
};
use crate::publish::verify::Signatory;

/// Whom a signature will be by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignerIdentity {
    /// A key.
    Key(PublicKey),
    /// An identity with a certificate.
    Certified(CertifiedIdentity),
}

impl fmt::Display for SignerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, "key {}", key.hint()),
            Self::Certified(who) => write!(f, "{} ({})", who.identity, who.issuer),
        }
    }
}

/// Proves that it saw some bytes. It stores and pushes nothing.
///
/// Law: what `prove` gives for a message verifies for that message and for [`Signer::identity`].
pub trait Signer {
    /// Who it is.
    fn identity(&self) -> SignerIdentity;

    /// Signs. Costs nothing for a key; a request to each service for an identity, or for a key whose signatures are
    /// logged.
    fn prove(&self, message: Message<'_>) -> Result<Proof, SignError>;

    /// The largest statement that it can sign, in bytes; `None` when size does not matter.
    fn largest_statement(&self) -> Option<usize>;

    /// Whom a verifier would have to ask for to find its signatures, and with what root; `None` where nothing says which
    /// root that is.
    fn signatory(&self) -> Option<(Signatory, Option<&TrustRoot>)>;
}

/// Signs with a key that stays.
#[derive(Debug)]
pub struct KeySigner {
    key: SigningKey,
    session: Option<Session>,
    root: Option<TrustRoot>,
}

impl KeySigner {
    /// Signatures that are logged nowhere.
    pub fn new(key: SigningKey) -> Self {
        Self { key, session: None, root: None }
    }

    /// Signatures that a log has, too: one of `root`, where that is given.
    pub fn logged(key: SigningKey, services: Services, root: Option<TrustRoot>) -> Result<Self, SignError> {
        let session = Session::with_key(services, key.clone())?;
        Ok(Self { key, session: Some(session), root })
    }
}

impl Signer for KeySigner {
    fn identity(&self) -> SignerIdentity {
        SignerIdentity::Key(self.key.public().clone())
    }

    fn prove(&self, message: Message<'_>) -> Result<Proof, SignError> {
        match &self.session {
            None => Ok(Proof::by_key(&self.key, message)?),
            Some(session) => Ok(session.prove(message)?),
        }
    }

    fn largest_statement(&self) -> Option<usize> {
        self.session.as_ref()?.log_version().largest_statement()
    }

    fn signatory(&self) -> Option<(Signatory, Option<&TrustRoot>)> {
        let logged = self.session.is_some();
        let known = !logged || self.root.is_some();
        known.then(|| (Signatory::Key { key: self.key.public().clone(), logged }, self.root.as_ref()))
    }
}

/// Signs with an identity token.
#[derive(Debug)]
pub struct KeylessSigner {
    session: Session,
    certified: CertifiedIdentity,
    root: Option<TrustRoot>,
}

impl KeylessSigner {
    /// Has a key certified for the identity of `token`. With `root`, each signature is verified before it is given out:
    /// an authority or log that is not the believed one is noticed before anything is stored.
    pub fn begin(services: Services, token: &Token, root: Option<TrustRoot>) -> Result<Self, SignError> {
        let session = Session::begin(services, token)?;
        // An authority that certifies nobody is found out by the check.
        let nobody = || CertifiedIdentity { identity: String::new(), issuer: String::new() };
        let certified = session.certified().unwrap_or_else(nobody);
        Ok(Self { session, certified, root })
    }

    fn check(&self, message: Message<'_>, proof: &Proof, root: &TrustRoot) -> Result<(), Refusal> {
        let (evidence, subject) = match message {
            Message::Payload(payload) => {
                let annotations = proof.annotations().unwrap_or_default();
                (Evidence::legacy(payload.to_vec(), &annotations)?, Digest::of(payload))
            }
            Message::Statement(statement) => {
                let evidence = Evidence::bundle(&proof.bundle(statement))?;
                let statement = Statement::parse(statement)?;
                let subject = statement.subjects().first().copied();
                (evidence, subject.ok_or(Refusal::Missing { what: "the subject" })?)
            }
        };
        evidence.by_identity(&self.certified, root, &subject)?;
        Ok(())
    }
}

impl Signer for KeylessSigner {
    fn identity(&self) -> SignerIdentity {
        SignerIdentity::Certified(self.certified.clone())
    }

    fn prove(&self, message: Message<'_>) -> Result<Proof, SignError> {
        if matches!(message, Message::Payload(_)) && self.session.log_version() == RekorVersion::V2 {
            return Err(SignError::NoPromise);
        }
        let proof = self.session.prove(message)?;
        if let Some(root) = &self.root {
            self.check(message, &proof, root).map_err(|refusal| SignError::Check(Box::new(refusal)))?;
        }
        Ok(proof)
    }

    fn largest_statement(&self) -> Option<usize> {
        self.session.log_version().largest_statement()
    }

    fn signatory(&self) -> Option<(Signatory, Option<&TrustRoot>)> {
        self.root.as_ref().map(|root| (Signatory::Identity(self.certified.clone()), Some(root)))
    }
}

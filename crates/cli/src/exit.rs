//! Errors of the binary: a class that decides the exit code, the chain of causes, and a hint.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;

use oci_assemble::inspect::lint::LintError;
use oci_assemble::layer::DraftError;
use oci_assemble::plan::configure::ConfigurationError;
use oci_assemble::publish::PublishError;
use oci_assemble::publish::sign::SignError;
use oci_assemble::publish::sigstore::{KeyError, ServiceError};
use oci_assemble::publish::verify::VerifyError;
use oci_assemble::store::layers::LayerFault;
use oci_assemble::store::registry::{KeychainError, RegistryError};
use oci_assemble::store::{ProxyError, StoreError};

use kmod_stage::build::BuildError;
use kmod_stage::depmod::DepmodError;
use kmod_stage::podman::RuntimeError;

mod hint;

/// What went wrong, as far as scripts care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// A negative answer: lint found an error, a layout is damaged.
    Negative,
    /// A usage or recipe error.
    Usage,
    /// Corrupt or hostile input data (`EX_DATAERR` of sysexits.h).
    Data,
    /// A needed program or service is missing (`EX_UNAVAILABLE`).
    Unavailable,
    /// Reading or writing failed (`EX_IOERR`).
    Io,
    /// Try again (`EX_TEMPFAIL`).
    Transient,
    /// Not permitted (`EX_NOPERM`).
    Permission,
}

impl Class {
    /// The exit code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Negative => 1,
            Self::Usage => 2,
            Self::Data => 65,
            Self::Unavailable => 69,
            Self::Io => 74,
            Self::Transient => 75,
            Self::Permission => 77,
        }
    }
}

/// An error on its way to the user.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) class: Class,
    context: String,
    source: Option<Box<dyn Error + Send + Sync>>,
    hint: Option<String>,
    /// Details, a line each: the end of what a container printed, what does not fit.
    output: Vec<String>,
}

impl Failure {
    /// An error that has no cause of its own.
    pub(crate) fn new(class: Class, text: impl Into<String>) -> Self {
        Self { class, context: text.into(), source: None, hint: None, output: Vec::new() }
    }

    /// An error with its cause. `context` is a lowercase gerund: "reading the recipe".
    pub(crate) fn of(class: Class, context: impl Into<String>, error: impl Error + Send + Sync + 'static) -> Self {
        let class = refine(class, &error);
        let hint = hint::hint(class, &error);
        let of_container = chain(&error).find_map(|error| error.downcast_ref::<RuntimeError>());
        let output = of_container.map(|error| error.tail().to_vec()).unwrap_or_default();
        Self { class, context: context.into(), source: Some(Box::new(error)), hint, output }
    }

    /// Whether what was named is not there.
    pub(crate) fn is_absent(&self) -> bool {
        let Some(error) = self.source.as_deref().map(|source| source as &(dyn Error + 'static)) else { return false };
        let absent = |error: &StoreError| match error {
            StoreError::Io { source, .. } => source.kind() == ErrorKind::NotFound,
            StoreError::NoImage { .. } | StoreError::Select(_) | StoreError::Platform { .. } => true,
            StoreError::Registry(error) => error.is_missing(),
            _ => false,
        };
        chain(error).find_map(store_error).is_some_and(absent)
    }

    /// Whether a container would have had to run, and this is a plan.
    pub(crate) fn is_withheld(&self) -> bool {
        let Some(error) = self.source.as_deref().map(|source| source as &(dyn Error + 'static)) else { return false };
        chain(error).any(|error| {
            matches!(error.downcast_ref(), Some(RuntimeError::Withheld))
                || matches!(error.downcast_ref(), Some(BuildError::Runtime(RuntimeError::Withheld)))
        })
    }

    /// With lines that say more.
    pub(crate) fn lines(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.output.extend(lines);
        self
    }

    /// With something the user can do.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Adds what was being done to an error of the library.
pub(crate) trait Context<T> {
    /// `context` is a lowercase gerund: "reading the recipe".
    fn context(self, class: Class, context: impl Into<String>) -> Result<T, Failure>;
}

impl<T, E: Error + Send + Sync + 'static> Context<T> for Result<T, E> {
    fn context(self, class: Class, context: impl Into<String>) -> Result<T, Failure> {
        self.map_err(|error| Failure::of(class, context, error))
    }
}

/// An error and its causes.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (*error).source())
}

/// The operating system's errors in the chain.
fn io_errors<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a io::Error> {
    chain(error).filter_map(|error| error.downcast_ref())
}

/// What the operating system said decides over what the library said, and that over what was expected.
fn refine(class: Class, error: &(dyn Error + 'static)) -> Class {
    let system = io_errors(error).find_map(of_system);
    system.or_else(|| chain(error).find_map(of_library)).unwrap_or(class)
}

fn of_system(error: &io::Error) -> Option<Class> {
    match error.kind() {
        ErrorKind::PermissionDenied => Some(Class::Permission),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem => Some(Class::Io),
        // Also what the library says of files that change while they are read.
        ErrorKind::ResourceBusy => Some(Class::Transient),
        _ => None,
    }
}

fn of_library(error: &(dyn Error + 'static)) -> Option<Class> {
    if let Some(error) = store_error(error) {
        return of_store(error);
    }
    match error.downcast_ref::<PublishError>() {
        Some(PublishError::Tag { .. }) => return Some(Class::Usage),
        Some(PublishError::Changed { .. }) => return Some(Class::Transient),
        _ => {}
    }
    if let Some(error) = error.downcast_ref::<RegistryError>() {
        return of_registry(error);
    }
    if let Some(error) = error.downcast_ref::<RuntimeError>() {
        return Some(of_runtime(error));
    }
    if let Some(error) = service_error(error) {
        return Some(of_service(error));
    }
    if drifted(error) || error.is::<KeyError>() || needs_other_arguments(error) {
        return Some(Class::Usage);
    }
    if lacks_depmod(error) {
        return Some(Class::Unavailable);
    }
    if let Some(LayerFault::Spill { .. }) = error.downcast_ref() {
        return Some(Class::Io);
    }
    let of_recipe = match error.downcast_ref::<ConfigurationError>() {
        Some(ConfigurationError::Generate(_) | ConfigurationError::Source(_)) => true,
        _ => error.is::<DraftError>(),
    };
    let of_skips =
        matches!(error.downcast_ref::<LintError>(), Some(LintError::Unknown { .. } | LintError::NoReason { .. }));
    (of_recipe || of_skips).then_some(Class::Usage)
}

/// The error of a service of sigstore, which that of signing may be.
fn service_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a ServiceError> {
    match error.downcast_ref::<SignError>() {
        Some(SignError::Service(error)) => Some(error),
        _ => error.downcast_ref(),
    }
}

/// Services of sigstore: not there, not willing, or not what they should be.
fn of_service(error: &ServiceError) -> Class {
    match (error.is_denied(), error.is_transient()) {
        (true, _) => Class::Permission,
        (false, true) => Class::Transient,
        (false, false) => Class::Unavailable,
    }
}

/// What is asked for cannot be signed or verified like this.
fn needs_other_arguments(error: &(dyn Error + 'static)) -> bool {
    let signing =
        matches!(error.downcast_ref(), Some(SignError::NoPromise | SignError::Algorithm | SignError::TooLarge { .. }));
    signing || matches!(error.downcast_ref(), Some(VerifyError::NoTrustRoot | VerifyError::Algorithm { .. }))
}

/// Whether no sandbox, or no depmod for it, could be had: the machine's fault, not that of the modules.
fn lacks_depmod(error: &(dyn Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(DepmodError::NoSandbox { .. }))
}

/// Where no room was left for layers that do not fit into memory.
pub(crate) fn full_spill(fault: &LayerFault) -> Option<&Path> {
    match fault {
        LayerFault::Spill { dir, source } => {
            matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded).then_some(dir)
        }
        _ => None,
    }
}

/// Whether a lock does not fit what is built.
fn drifted(error: &(dyn Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(BuildError::Unlocked { .. }))
}

fn of_runtime(error: &RuntimeError) -> Class {
    match error {
        RuntimeError::Exit { .. }
        | RuntimeError::Mismatch { .. }
        | RuntimeError::Layout { .. }
        | RuntimeError::Manifest { .. } => Class::Data,
        RuntimeError::TimedOut { .. } | RuntimeError::NoAnswer { .. } | RuntimeError::Cancelled => Class::Transient,
        RuntimeError::Start { .. } | RuntimeError::Scratch { .. } | RuntimeError::Log(_) => Class::Io,
        _ => Class::Unavailable,
    }
}

/// The error of a store, which that of a push may be.
fn store_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a StoreError> {
    match error.downcast_ref::<PublishError>() {
        Some(PublishError::Store(error)) => Some(error),
        _ => error.downcast_ref(),
    }
}

/// The error of a registry, which that of a store may be.
fn registry_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a RegistryError> {
    match store_error(error) {
        Some(StoreError::Registry(error)) => Some(error),
        _ => error.downcast_ref(),
    }
}

fn of_registry(error: &RegistryError) -> Option<Class> {
    Some(match error {
        RegistryError::Local { .. } => return None,
        error if error.is_denied() => Class::Permission,
        error if error.is_transient() => Class::Transient,
        error if error.is_missing() => Class::Usage,
        RegistryError::Origin { .. } => Class::Permission,
        RegistryError::Keychain { source: KeychainError::File { .. } | KeychainError::Name { .. }, .. }
        | RegistryError::Client { .. } => Class::Usage,
        RegistryError::Keychain { .. } | RegistryError::Network { .. } | RegistryError::Status { .. } => {
            Class::Unavailable
        }
        _ => Class::Data,
    })
}

fn of_store(error: &StoreError) -> Option<Class> {
    Some(match error {
        // What was named is not there, or it is there and is no layout.
        StoreError::Io { path, source, .. } if source.kind() == ErrorKind::NotFound => match path.as_str() {
            "oci-layout" | "index.json" => Class::Data,
            _ => Class::Usage,
        },
        StoreError::Io { .. } => return None,
        StoreError::NoImage { .. }
        | StoreError::SeveralImages { .. }
        | StoreError::Platform { .. }
        | StoreError::Select(_)
        | StoreError::Tag { .. } => Class::Usage,
        StoreError::InUse => Class::Transient,
        StoreError::Registry(error) => return of_registry(error),
        StoreError::Proxy(ProxyError::Refused { message, .. }) => refused(message),
        StoreError::Proxy(proxy) if proxy.is_transient() => Class::Transient,
        StoreError::Elsewhere { .. } | StoreError::Proxy(_) => Class::Unavailable,
        _ => Class::Data,
    })
}

/// skopeo says in words only why a registry refused.
fn refused(message: &str) -> Class {
    let message = message.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if says(&["unauthorized", "denied", "authentication required", "forbidden"]) {
        Class::Permission
    } else if says(&[
        "manifest unknown",
        "name unknown",
        "not found",
        "no such",
        "does not resolve",
        "invalid reference",
    ]) {
        Class::Usage
    } else if says(&[
        "timeout",
        "timed out",
        "refused",
        "reset",
        "too many requests",
        "unavailable",
        "bad gateway",
        "no route",
        "lookup",
    ]) {
        Class::Transient
    } else {
        Class::Unavailable
    }
}

impl fmt::Display for Failure {
    /// One line what failed, the chain of causes, one hint.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.context)?;
        let mut cause = self.source.as_deref().map(|source| source as &(dyn Error + 'static));
        while let Some(error) = cause {
            write!(f, "\n  caused by: {error}")?;
            cause = error.source();
        }
        for line in &self.output {
            write!(f, "\n  | {line}")?;
        }
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use kmod_stage::sandbox::Rung;
    use oci_assemble::plan::step::StageError;

    use super::*;

    fn failure(error: DepmodError) -> Failure {
        let error = StageError { stage: "depmod".into(), kind: "depmod", source: error.into() };
        Failure::of(Class::Data, "assembling", error)
    }

    #[test]
    fn the_machine_is_at_fault_when_depmod_cannot_run() {
        let tried = vec![(Rung::Landlock, DepmodError::NoHostDepmod)];
        let failure = failure(DepmodError::NoSandbox { tried });
        assert_eq!(failure.class, Class::Unavailable);
        assert!(
            failure
                .to_string()
                .ends_with("\nhint: install depmod (package kmod), or allow unprivileged user namespaces")
        );
    }

    #[test]
    fn other_errors_of_depmod_are_about_the_data() {
        let failure = failure(DepmodError::NoImageDepmod);
        assert_eq!((failure.class, failure.hint), (Class::Data, None));
    }
}

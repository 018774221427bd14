//! Errors of the binary: a class that decides the exit code, the chain of causes, and a hint.

use std::error::Error;
use std::fmt;
use std::io::ErrorKind;

use kmod_stage::depmod::DepmodError;

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
}

impl Failure {
    /// An error that has no cause of its own.
    pub(crate) fn new(class: Class, text: impl Into<String>) -> Self {
        Self { class, context: text.into(), source: None, hint: None }
    }

    /// An error with its cause. `context` is a lowercase gerund: "reading the recipe".
    pub(crate) fn of(class: Class, context: impl Into<String>, error: impl Error + Send + Sync + 'static) -> Self {
        let class = refine(class, &error);
        let hint = hint(class, &error);
        Self { class, context: context.into(), source: Some(Box::new(error)), hint }
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

/// The kinds of the operating system's errors in the chain.
fn io_kinds(error: &(dyn Error + 'static)) -> Vec<ErrorKind> {
    let mut kinds = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        kinds.extend(error.downcast_ref::<std::io::Error>().map(std::io::Error::kind));
        next = error.source();
    }
    kinds
}

/// Whether no sandbox, or no depmod for it, could be had: the machine's fault, not that of the modules.
fn lacks_depmod(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if matches!(error.downcast_ref(), Some(DepmodError::NoSandbox { .. })) {
            return true;
        }
        next = error.source();
    }
    false
}

/// What the operating system said, or what the machine lacks, decides over what was expected.
fn refine(class: Class, error: &(dyn Error + 'static)) -> Class {
    if lacks_depmod(error) {
        return Class::Unavailable;
    }
    for kind in io_kinds(error) {
        match kind {
            ErrorKind::PermissionDenied => return Class::Permission,
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem => return Class::Io,
            _ => {}
        }
    }
    class
}

fn hint(class: Class, error: &(dyn Error + 'static)) -> Option<String> {
    if io_kinds(error).contains(&ErrorKind::StorageFull) {
        return Some("free some space and run the same command again; nothing half-written is left".into());
    }
    if lacks_depmod(error) {
        return Some("install depmod (package kmod), or allow unprivileged user namespaces".into());
    }
    match class {
        Class::Transient => Some("the same command may succeed later".into()),
        _ => None,
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

//! What a user can do about a failure.

use std::error::Error;
use std::io::ErrorKind;

use kmod_stage::build::{BuildError, SupportError};
use kmod_stage::podman::RuntimeError;
use oci_assemble::publish::sign::SignError;
use oci_assemble::publish::sigstore::KeyError;
use oci_assemble::store::registry::{OriginFault, RegistryError};
use oci_assemble::store::{ProxyError, StoreError};

use super::{Class, chain, drifted, full_spill, io_errors, lacks_depmod, registry_error, service_error, store_error};

/// One thing to do about a failure, where there is one.
pub(super) fn hint(class: Class, error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(dir) = chain(error).find_map(|error| full_spill(error.downcast_ref()?)) {
        return Some(format!("make room in {} for the uncompressed layers of the image", dir.display()));
    }
    if io_errors(error).any(|error| error.kind() == ErrorKind::StorageFull) {
        return Some("free some space and run the same command again; nothing half-written is left".into());
    }
    if chain(error).any(lacks_depmod) {
        return Some("install depmod (package kmod), or allow unprivileged user namespaces".into());
    }
    if chain(error).any(drifted) {
        let text =
            "another version of this program, or another date, makes another result; `assemble lock` takes it over";
        return Some(text.into());
    }
    if let Some(BuildError::Drift { .. }) = chain(error).find_map(|error| error.downcast_ref()) {
        return Some("`assemble lock --update` pins what the repositories have now".into());
    }
    if let Some(SupportError::Kernel(error)) = chain(error).find_map(|error| error.downcast_ref()) {
        return Some(error.hint());
    }
    if let Some(error) = chain(error).find_map(|error| error.downcast_ref::<RuntimeError>()) {
        return error.hint().map(str::to_owned);
    }
    if let Some(hint) = chain(error).find_map(of_signatures) {
        return Some(hint.into());
    }
    match chain(error).find_map(registry_error) {
        Some(RegistryError::Unauthorized { host, .. }) => {
            let text =
                format!("log in with `podman login {host}` or `skopeo login {host}`, or name a file with --authfile");
            return Some(text);
        }
        Some(RegistryError::Network { transient: false, host, .. }) => {
            let text = format!(
                "--insecure={host} talks without TLS; certificates to trust go into /etc/containers/certs.d/{host}"
            );
            return Some(text);
        }
        Some(RegistryError::Origin { what: "passwords", fault: OriginFault::Foreign, .. }) => {
            return Some("if that host may have the password, say so with --token-host HOST".into());
        }
        _ => {}
    }
    let of_store = chain(error).find_map(store_error);
    match of_store {
        Some(StoreError::Io { source, .. }) if source.kind() == ErrorKind::NotFound && class == Class::Usage => {
            return Some("images are oci:DIR:TAG, oci-archive:FILE, docker://REF or containers-storage:REF; paths begin at the current directory".into());
        }
        Some(StoreError::Proxy(ProxyError::Start { .. })) => {
            return Some("install skopeo; images on this machine's disk are read without it".into());
        }
        _ => {}
    }
    match class {
        Class::Transient => Some("the same command may succeed later".into()),
        _ => None,
    }
}

/// What can be done where something is not signed or not accepted.
fn of_signatures(error: &(dyn Error + 'static)) -> Option<&'static str> {
    match error.downcast_ref() {
        Some(SignError::NoPromise) => return Some("store --format bundle, or use a log with --log-version 1"),
        Some(SignError::Check(_)) => {
            return Some("give the --trust-root that belongs to the services of --signing-config");
        }
        _ => {}
    }
    match error.downcast_ref() {
        Some(KeyError::NoPassword) => return Some("the password is taken from the variable COSIGN_PASSWORD"),
        Some(KeyError::Form { .. }) => return Some("convert it with `openssl pkcs8 -topk8 -nocrypt`"),
        _ => {}
    }
    match service_error(error) {
        Some(error) if error.is_denied() => Some(
            "the certificate authority takes tokens of issuers that it knows, for the audience sigstore, while they are fresh",
        ),
        _ => None,
    }
}

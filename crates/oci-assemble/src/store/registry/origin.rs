//! Where registries may send us, and where credentials may go.
//!
//! Registries name three kinds of places: the token server (the *realm*), the next step of an upload (`Location`), and
//! where a download continues (a redirect). Believing them sends passwords to strangers (CVE-2020-15157, CVE-2026-48978
//! and their kin) and requests into networks that only we can reach. The rules:
//!
//! - A place without TLS only when the registry itself is spoken to without.
//! - Link-local addresses, where clouds keep credentials of machines, never; other addresses that only we can reach
//!   only when the registry is at such an address itself.
//! - Credentials go to the registry's own host; for tokens also to hosts that were allowed, and to those of two
//!   services that are known to have theirs elsewhere.

use std::collections::BTreeSet;
use std::net::IpAddr;

use reqwest::Url;

/// Registries with a token server on another host: Docker Hub's and GitLab.com's documentation name them.
const REALMS: [(&str, &str); 2] = [("registry-1.docker.io", "auth.docker.io"), ("registry.gitlab.com", "gitlab.com")];

/// Why a place that a registry names is not gone to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OriginFault {
    /// Neither https nor http.
    #[error("it is no address of the web")]
    Scheme,
    /// From TLS to no TLS.
    #[error("that is without TLS")]
    Plain,
    /// A name or password in the URL.
    #[error("the address has a user name in it")]
    User,
    /// An address of this machine or its network.
    #[error("that address is not a public one")]
    Private,
    /// A password would leave the registry's host.
    #[error("that is not the registry's own host, so passwords are not sent there")]
    Foreign,
}

/// Checks the realm of a token server. `allowed` are hosts that the user trusts with passwords.
pub(super) fn check_realm(
    registry: &Url,
    realm: &Url,
    allowed: &BTreeSet<String>,
    with_credentials: bool,
) -> Result<(), OriginFault> {
    check(registry, realm)?;
    let (ours, theirs) = (registry.host_str().unwrap_or_default(), realm.host_str().unwrap_or_default());
    // With TLS the certificate is the same for all ports; without, another port is anybody.
    let own = ours == theirs && (realm.scheme() == "https" || registry.port() == realm.port());
    let known = realm.scheme() == "https" && REALMS.contains(&(ours, theirs));
    if !with_credentials || own || known || allowed.contains(theirs) { Ok(()) } else { Err(OriginFault::Foreign) }
}

/// Checks where an upload or a download goes on, and says whether the registry's credentials go there.
pub(super) fn check_step(registry: &Url, step: &Url) -> Result<bool, OriginFault> {
    check(registry, step)?;
    Ok(registry.origin() == step.origin())
}

/// Checks that a host is one to connect to at all, wherever it was named.
fn check(registry: &Url, place: &Url) -> Result<(), OriginFault> {
    match (place.scheme(), registry.scheme()) {
        ("https", _) | ("http", "http") => {}
        ("http", _) => return Err(OriginFault::Plain),
        _ => return Err(OriginFault::Scheme),
    }
    if !place.username().is_empty() || place.password().is_some() {
        return Err(OriginFault::User);
    }
    match address(place) {
        Some(address) if is_link_local(address) || address.is_unspecified() => Err(OriginFault::Private),
        Some(address) if is_private(address) && !is_near(registry) => Err(OriginFault::Private),
        _ if place.host_str() == Some("localhost") && !is_near(registry) => Err(OriginFault::Private),
        _ => Ok(()),
    }
}

fn address(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    let bare = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host);
    let address: IpAddr = bare.parse().ok()?;
    Some(address.to_canonical())
}

/// Whether a registry is on this machine or in its network, as far as its name says.
fn is_near(registry: &Url) -> bool {
    registry.host_str() == Some("localhost") || address(registry).is_some_and(is_private)
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_private() || address.octets()[0] == 0,
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::OriginFault::{Foreign, Plain, Private, Scheme, User};
    use super::*;

    #[test]
    fn passwords_go_to_few_places() {
        let allowed = BTreeSet::from(["login.example.org".to_owned()]);
        for (registry, realm, with, without) in [
            ("https://r.example.org", "https://r.example.org/token", Ok(()), Ok(())),
            ("https://r.example.org:5050", "https://r.example.org/jwt/auth", Ok(()), Ok(())),
            ("https://r.example.org", "https://login.example.org/t", Ok(()), Ok(())),
            ("https://r.example.org", "https://evil.example.org/t", Err(Foreign), Ok(())),
            ("https://r.example.org", "https://r.example.org.evil.net/t", Err(Foreign), Ok(())),
            ("https://r.example.org", "http://r.example.org/t", Err(Plain), Err(Plain)),
            ("https://r.example.org", "https://me@r.example.org/t", Err(User), Err(User)),
            ("https://r.example.org", "ftp://r.example.org/t", Err(Scheme), Err(Scheme)),
            ("https://r.example.org", "https://169.254.169.254/t", Err(Private), Err(Private)),
            ("https://r.example.org", "https://10.0.0.1/t", Err(Private), Err(Private)),
            ("https://r.example.org", "https://[::1]/t", Err(Private), Err(Private)),
            ("https://r.example.org", "https://[::ffff:127.0.0.1]/t", Err(Private), Err(Private)),
            ("https://r.example.org", "https://localhost/t", Err(Private), Err(Private)),
            ("http://127.0.0.1:5000", "http://127.0.0.1:5000/t", Ok(()), Ok(())),
            ("http://127.0.0.1:5000", "http://127.0.0.1:5001/t", Err(Foreign), Ok(())),
            ("http://127.0.0.1:5000", "http://169.254.169.254/t", Err(Private), Err(Private)),
            ("https://registry-1.docker.io", "https://auth.docker.io/token", Ok(()), Ok(())),
            ("https://registry.gitlab.com", "https://gitlab.com/jwt/auth", Ok(()), Ok(())),
            ("https://registry.gitlab.com", "https://auth.docker.io/token", Err(Foreign), Ok(())),
        ] {
            let (registry, realm) = (registry.parse().unwrap(), realm.parse().unwrap());
            assert_eq!(check_realm(&registry, &realm, &allowed, true), with, "{realm} of {registry}");
            assert_eq!(check_realm(&registry, &realm, &allowed, false), without, "{realm} of {registry}, anonymous");
        }
    }

    #[test]
    fn a_step_elsewhere_is_taken_without_credentials() {
        for (registry, step, expected) in [
            ("https://r.example.org", "https://r.example.org/v2/x", Ok(true)),
            ("https://r.example.org", "https://r.example.org:8443/v2/x", Ok(false)),
            ("https://r.example.org", "https://bucket.example.net/x?signature=1", Ok(false)),
            ("https://r.example.org", "http://r.example.org/v2/x", Err(Plain)),
            ("https://r.example.org", "https://192.168.1.1/", Err(Private)),
            ("https://10.1.1.1", "https://192.168.1.1/", Ok(false)),
            ("http://localhost:5000", "http://127.0.0.1:5000/", Ok(false)),
            ("http://localhost:5000", "http://localhost:5000/x", Ok(true)),
            ("https://r.example.org", "file:///etc/passwd", Err(Scheme)),
        ] {
            let (registry, step) = (registry.parse().unwrap(), step.parse().unwrap());
            assert_eq!(check_step(&registry, &step), expected, "{step} of {registry}");
        }
    }
}

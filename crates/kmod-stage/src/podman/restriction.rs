//! What machines forbid containers, told from what podman says.

use std::fmt;

/// What a machine, or the container this program runs in, does not let podman do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restriction {
    /// The OCI runtime is not installed.
    Runtime,
    /// Limits on processes and files cannot be raised to podman's defaults.
    Limits,
    /// No user namespace, or no range of user IDs for one.
    Users,
    /// No network of its own for a container.
    Network,
    /// The OCI runtime cannot use the machine's cgroups.
    Cgroups,
    /// The storage driver does not work here.
    Storage,
}

/// Words of messages, in lower case, and what they are about. The first match counts: messages quote others.
///
/// Sources: podman (libpod, pkg/rootless, cmd/podman), runc and crun (error messages of their source), and what
/// restricted machines were seen to say.
const WORDS: &[(&str, Restriction)] = &[
    ("oci runtime \"", Restriction::Runtime),
    ("no valid executable found for oci runtime", Restriction::Runtime),
    ("rlimit", Restriction::Limits),
    ("newuidmap", Restriction::Users),
    ("newgidmap", Restriction::Users),
    ("subuid", Restriction::Users),
    ("subgid", Restriction::Users),
    ("insufficient uids or gids", Restriction::Users),
    ("potentially insufficient", Restriction::Users),
    ("user namespace", Restriction::Users),
    ("cannot clone", Restriction::Users),
    ("netavark", Restriction::Network),
    ("slirp4netns", Restriction::Network),
    ("pasta", Restriction::Network),
    ("iptables", Restriction::Network),
    ("nftables", Restriction::Network),
    ("cni ", Restriction::Network),
    ("network namespace", Restriction::Network),
    ("netns", Restriction::Network),
    ("cgroup", Restriction::Cgroups),
    ("overlay", Restriction::Storage),
    ("fuse-overlayfs", Restriction::Storage),
];

impl Restriction {
    /// What a message of podman is about.
    pub(super) fn of(message: &str) -> Option<Self> {
        let message = message.to_lowercase();
        WORDS.iter().find(|(words, _)| message.contains(words)).map(|(_, restriction)| *restriction)
    }

    /// What the user can do about it.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Runtime => "install crun or runc, or name the one that is there: [builder] runtime = \"runc\"",
            Self::Limits => {
                "give containers limits that this machine permits: [builder] arguments = \
                 [\"--ulimit=nofile=1024:1024\", \"--ulimit=nproc=1000:1000\"]"
            }
            Self::Users => {
                "give the user a range of IDs (usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER, \
                 then podman system migrate), or run as root"
            }
            Self::Network => "use the network of this machine: [builder] arguments = [\"--network=host\"]",
            Self::Cgroups => {
                "use another runtime, or no cgroups: [builder] runtime = \"runc\", or \
                 arguments = [\"--cgroups=disabled\"]"
            }
            Self::Storage => "choose a storage driver that works here (vfs always does) in storage.conf of podman",
        }
    }
}

impl fmt::Display for Restriction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Runtime => "no OCI runtime",
            Self::Limits => "limits cannot be raised",
            Self::Users => "no user namespace",
            Self::Network => "no network for containers",
            Self::Cgroups => "cgroups cannot be used",
            Self::Storage => "the storage driver does not work",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_is_forbidden() {
        for (message, expected) in [
            (
                "runc: runc create failed: unable to start container process: error during container init: error \
                 setting rlimits for ready process: error setting rlimit type 7: operation not permitted: \
                 OCI permission denied",
                Some(Restriction::Limits),
            ),
            (
                "crun: setrlimit `RLIMIT_NPROC`: Operation not permitted: OCI permission denied",
                Some(Restriction::Limits),
            ),
            ("default OCI runtime \"crun\" not found: invalid argument", Some(Restriction::Runtime)),
            ("crun: cgroups in hybrid mode not supported, drop all controllers", Some(Restriction::Cgroups)),
            ("cannot set up namespace using \"/usr/bin/newuidmap\": exit status 1", Some(Restriction::Users)),
            (
                "potentially insufficient UIDs or GIDs available in user namespace (requested 0:42 for /etc/gshadow)",
                Some(Restriction::Users),
            ),
            ("netavark: iptables: Permission denied", Some(Restriction::Network)),
            ("could not find slirp4netns, the network namespace can't be configured", Some(Restriction::Network)),
            (
                "kernel does not support overlay fs: 'overlay' is not supported over overlayfs",
                Some(Restriction::Storage),
            ),
            ("inspecting object: 111: image not known", None),
        ] {
            assert_eq!(Restriction::of(message), expected, "{message}");
        }
    }
}

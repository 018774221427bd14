//! Whom a host trusts: containers-policy.json(5), its registries.d files and keys, and a unit that verifies what they
//! cannot.
//!
//! skopeo, podman and bootc refuse what the policy does not allow, at every pull. The policy can name a key or an e-mail
//! address, not the URI that identifies a pipeline; for that there is `upgrade`: a unit that lets this program verify the
//! image behind a tag, and switches to exactly the digest that was verified.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value, json};

use super::{GenerateError, HEAD, generated, tree_path};
use crate::image::Epoch;
use crate::plan::recipe::{Match, Policy, PolicyDefault, RecipePath, Trust, TrustedSigner, Upgrade};
use crate::tree::{Content, FileTree, Inode, Meta, TreeDelta, TreePath};

/// The policy that skopeo, podman and bootc obey.
const POLICY: &str = "etc/containers/policy.json";
/// Where registries.d files are: which registries are asked for signatures.
const REGISTRIES: &str = "etc/containers/registries.d";
/// Where keys go.
const KEYS: &str = "etc/pki/containers";
/// What the unit runs.
const SCRIPT: &str = "usr/libexec/assemble-verify";
/// The unit.
const UNIT: &str = "usr/lib/systemd/system/assemble-verify";
/// What the unit believes.
const TRUST_ROOT: &str = "usr/share/assemble/trusted_root.json";
/// This program, as the unit calls it.
const PROGRAM: &str = "usr/bin/assemble";

/// Where bootc looks for the credentials of registries (bootc, "Accessing registries and offline updates").
const AUTH_FILES: &str = "/run/ostree/auth.json /etc/ostree/auth.json /usr/lib/ostree/auth.json";

/// Places of this machine, whose images were judged when they came here: podman's storage, layouts, archives, docker's
/// daemon. Without them a default of "reject" would forbid to run what was pulled, or to install from it.
const LOCAL: [&str; 6] = ["containers-storage", "dir", "docker-archive", "docker-daemon", "oci", "oci-archive"];

/// What a policy lets in without a signature.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PolicyWarning {
    /// Everything that no scope speaks of.
    Default,
    /// A whole scope.
    Accepted(String),
    /// Nothing has to be signed at all.
    NothingTrusted,
}

impl fmt::Display for PolicyWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str(
                "the policy accepts images of every registry without a signature (policy.default = \"accept\")",
            ),
            Self::Accepted(scope) => write!(f, "the policy accepts everything below {scope} without a signature"),
            Self::NothingTrusted => f.write_str("the policy demands a signature of no image (policy.trust is empty)"),
        }
    }
}

impl Policy {
    /// What it lets in without a signature.
    pub fn warnings(&self) -> BTreeSet<PolicyWarning> {
        let mut warnings: BTreeSet<_> = self.accept.iter().cloned().map(PolicyWarning::Accepted).collect();
        warnings.extend((self.default == PolicyDefault::Accept).then_some(PolicyWarning::Default));
        warnings.extend(self.trust.is_empty().then_some(PolicyWarning::NothingTrusted));
        warnings
    }

    /// Whether an image of `repository` is let in by its digest, signed or not, as far as scopes go
    /// (containers-policy.json(5)). A scope with a tag does not speak of digests.
    fn lets_in(&self, repository: &str) -> bool {
        let host = repository.split('/').next().unwrap_or(repository);
        let covers = |scope: &str| match scope.strip_prefix("*.") {
            Some(domain) => host.strip_suffix(domain).is_some_and(|name| name.ends_with('.')),
            None => repository.strip_prefix(scope).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        };
        let mut scopes = self.trust.iter().map(|trust| &trust.scope).chain(&self.accept);
        self.default == PolicyDefault::Accept || scopes.any(|scope| covers(scope))
    }

    /// The files of the recipe that it names.
    pub fn sources(&self) -> BTreeSet<&RecipePath> {
        let trusted = self.trust.iter().flat_map(|trust| match &trust.signer {
            TrustedSigner::Key { key } => vec![key],
            TrustedSigner::Email { authority, log, .. } => vec![authority, log],
        });
        let upgrade = self.upgrade.iter().flat_map(|upgrade| [upgrade.root.as_ref(), upgrade.program.as_ref()]);
        trusted.chain(upgrade.flatten()).collect()
    }

    /// The text of `policy.json`.
    pub fn to_json(&self) -> String {
        let accept = json!([{ "type": "insecureAcceptAnything" }]);
        let mut docker = Map::new();
        for scope in &self.accept {
            docker.insert(scope.clone(), accept.clone());
        }
        for trust in &self.trust {
            docker.insert(trust.scope.clone(), json!([requirement(trust)]));
        }
        let mut transports = Map::new();
        for transport in LOCAL {
            transports.insert(transport.to_owned(), json!({ "": accept }));
        }
        transports.insert("docker".to_owned(), docker.into());
        let default = match self.default {
            PolicyDefault::Reject => json!([{ "type": "reject" }]),
            PolicyDefault::Accept => accept.clone(),
        };
        format!("{:#}\n", json!({ "default": default, "transports": transports }))
    }

    /// The text of the registries.d file: without it, signatures are not looked for, and what must be signed counts as
    /// unsigned. Empty when nothing must be signed.
    pub fn to_registries(&self) -> String {
        let scopes: BTreeSet<&str> = self.trust.iter().map(|trust| trust.scope.as_str()).collect();
        if scopes.is_empty() {
            return String::new();
        }
        let entry = |scope: &&str| format!("  {scope:?}:\n    use-sigstore-attachments: true\n");
        format!("docker:\n{}", scopes.iter().map(entry).collect::<String>())
    }
}

/// Where a key or certificate of the recipe goes.
fn key_path(path: &RecipePath) -> String {
    format!("{KEYS}/{}", path.as_str().replace('/', "-"))
}

fn requirement(trust: &Trust) -> Value {
    let mut requirement = match &trust.signer {
        TrustedSigner::Key { key } => json!({ "keyPath": format!("/{}", key_path(key)) }),
        TrustedSigner::Email { email, issuer, authority, log } => json!({
            "fulcio": {
                "caPath": format!("/{}", key_path(authority)),
                "oidcIssuer": issuer,
                "subjectEmail": email,
            },
            "rekorPublicKeyPath": format!("/{}", key_path(log)),
        }),
    };
    let identity = match trust.matching {
        Match::Repository => json!({ "type": "matchRepository" }),
        Match::Tag => json!({ "type": "matchRepoDigestOrExact" }),
    };
    if let Some(fields) = requirement.as_object_mut() {
        fields.insert("type".into(), "sigstoreSigned".into());
        fields.insert("signedIdentity".into(), identity);
    }
    requirement
}

/// The files of a policy. `text` reads a file of the tree.
pub fn policy(
    image: &str,
    policy: &Policy,
    tree: &FileTree,
    text: impl Fn(&TreePath) -> Option<String>,
    sources: &BTreeMap<RecipePath, Content>,
    epoch: Epoch,
) -> Result<TreeDelta, GenerateError> {
    let registries = format!("{REGISTRIES}/50-assemble-{image}.yaml");
    clash(policy, &tree_path(&registries)?, tree, text)?;
    let mut delta = generated(&registries, &policy.to_registries(), epoch)?;
    let file = |content: Content, mode| Inode::file(Meta::root_owned(mode, epoch.seconds()), content);
    let source =
        |path: &RecipePath| sources.get(path).cloned().ok_or_else(|| GenerateError::NoContent { path: path.clone() });
    delta.insert(tree_path(POLICY)?, file(Content::of(policy.to_json()), 0o644));
    for trust in &policy.trust {
        let files = match &trust.signer {
            TrustedSigner::Key { key } => vec![key],
            TrustedSigner::Email { authority, log, .. } => vec![authority, log],
        };
        for path in files {
            delta.insert(tree_path(&key_path(path))?, file(source(path)?, 0o644));
        }
    }
    if let Some(upgrade) = &policy.upgrade {
        let repository = repository(&upgrade.image.to_string());
        if !policy.lets_in(&repository) {
            return Err(GenerateError::UpgradeRejected { repository });
        }
        delta.insert(tree_path(SCRIPT)?, file(Content::of(script(upgrade)), 0o755));
        delta.insert(tree_path(&format!("{UNIT}.service"))?, file(Content::of(format!("{HEAD}{SERVICE}")), 0o644));
        delta.insert(tree_path(&format!("{UNIT}.timer"))?, file(Content::of(format!("{HEAD}{TIMER}")), 0o644));
        if let Some(root) = &upgrade.root {
            delta.insert(tree_path(TRUST_ROOT)?, file(source(root)?, 0o644));
        }
        match &upgrade.program {
            Some(program) => delta.insert(tree_path(PROGRAM)?, file(source(program)?, 0o755)),
            None if tree.lookup(PROGRAM).is_none() => {
                return Err(GenerateError::NoVerifier { path: tree_path(PROGRAM)? });
            }
            None => {}
        }
    }
    Ok(delta)
}

/// The same scope in two files of registries.d is an error for every pull.
fn clash(
    policy: &Policy,
    own: &TreePath,
    tree: &FileTree,
    text: impl Fn(&TreePath) -> Option<String>,
) -> Result<(), GenerateError> {
    let Some((folder, _)) = tree.lookup(REGISTRIES) else { return Ok(()) };
    for (path, _) in tree.below(&folder).filter(|(path, _)| path.name().ends_with(b".yaml") && *path != own) {
        let Some(text) = text(path) else { continue };
        let keys = text.lines().filter_map(|line| line.trim().strip_suffix(':'));
        let keys: BTreeSet<&str> = keys.map(|key| key.trim_matches(['"', '\''])).collect();
        if let Some(trust) = policy.trust.iter().find(|trust| keys.contains(trust.scope.as_str())) {
            return Err(GenerateError::ScopeTaken { scope: trust.scope.clone(), path: path.clone() });
        }
    }
    Ok(())
}

/// What the unit runs. `bootc switch` to a digest is what `bootc upgrade` to a verified one is: upgrade itself would
/// resolve the tag anew, to whatever it names by then.
fn script(upgrade: &Upgrade) -> String {
    let image = upgrade.image.to_string();
    let root = match &upgrade.root {
        Some(_) => format!(" --trust-root /{TRUST_ROOT}"),
        None => String::new(),
    };
    format!(
        "#!/bin/sh\n{HEAD}set -eu\n\
         # The first of these is what bootc pulls with.\n\
         auth=\n\
         for file in {AUTH_FILES}; do\n  \
           if [ -e \"$file\" ]; then auth=$file; break; fi\n\
         done\n\
         # Nothing but the digest that this prints was verified.\n\
         digest=$(/{PROGRAM} --quiet verify ${{auth:+\"--authfile=$auth\"}} {} --identity {} --issuer {}{root})\n\
         exec bootc switch {}\"@$digest\"\n",
        quoted(&image),
        quoted(&upgrade.identity),
        quoted(&upgrade.issuer),
        quoted(&repository(&image)),
    )
}

/// The name of an image without transport and tag.
fn repository(image: &str) -> String {
    let name = image.strip_prefix("docker://").unwrap_or(image);
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository.to_owned(),
        _ => name.to_owned(),
    }
}

/// A word for the shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

const SERVICE: &str = "\
[Unit]
Description=Verify the image that the pipeline signed, and stage it for the next boot
Documentation=man:bootc-switch(8)
Wants=network-online.target
After=network-online.target
ConditionVirtualization=!container

[Service]
Type=oneshot
ExecStart=/usr/libexec/assemble-verify
";

/// As often as bootc's own timer.
const TIMER: &str = "\
[Unit]
Description=Look for a verified image regularly
ConditionVirtualization=!container

[Timer]
OnBootSec=1h
OnUnitInactiveSec=8h
RandomizedDelaySec=2h

[Install]
WantedBy=timers.target
";

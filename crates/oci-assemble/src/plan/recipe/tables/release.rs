//! How the image is packed, checked, signed and pushed.

use super::super::rule::Rule;
use super::super::schema::{Between, Form, Shape, Table, optional, required};

const LINE: Form = Form::Text(Rule::Line);
const FILE: Form = Form::Text(Rule::RecipePath);
const FILES: Form = Form::List(Rule::RecipePath);
const IMAGE: Form = Form::Text(Rule::Reference);
/// The names of the two algorithms that every client reads.
const COMPRESSIONS: &[&str] = &["zstd", "gzip"];
/// Speeds instead of numbers: the numbers of gzip and zstd mean different things.
const LEVELS: &[&str] = &["fast", "default", "small", "max"];
/// What becomes of bootc's own lints.
const BOOTC: &[&str] = &["auto", "require", "off"];

pub(super) const TABLES: &[Table] = &[
    Table {
        name: "layers",
        shape: Shape::Once,
        doc: "How the image is cut into layers.",
        keys: &[
            optional(
                "mode",
                Form::Text(Rule::Choice(&["append", "full"])),
                "`\"append\"`",
                "`\"append\"` keeps the base's blobs, `\"full\"` rechunks everything.",
            ),
            // containers-storage refuses more than 500 layers.
            optional("max", Form::Integer(1, 500), "`64`", "The most layers that `\"full\"` makes."),
            optional("components", FILE, "none", "A map from paths to components, for `\"full\"`.").also(&["map"]),
            optional(
                "previous",
                IMAGE,
                "the image being replaced",
                "The image whose layers `\"full\"` keeps where nothing changed.",
            ),
            optional(
                "normalize_rpmdb",
                Form::Boolean,
                "`false`",
                "`true`: with `\"full\"`, times of installation in rpm's database become those of building.",
            ),
            optional("compression", Form::Text(Rule::Choice(COMPRESSIONS)), "`\"zstd\"`", "Algorithm of new layers."),
            optional("level", Form::Text(Rule::Choice(LEVELS)), "`\"default\"`", "Effort of the compression."),
        ],
        between: &[],
    },
    Table {
        name: "compression",
        shape: Shape::Once,
        doc: "Another spelling of `layers.compression` and `layers.level`, which are what it becomes.",
        keys: &[
            optional("algorithm", Form::Text(Rule::Choice(COMPRESSIONS)), "`\"zstd\"`", "As `layers.compression`."),
            optional("level", Form::Text(Rule::Choice(LEVELS)), "`\"default\"`", "As `layers.level`."),
        ],
        between: &[],
    },
    Table {
        name: "lint",
        shape: Shape::Once,
        doc: "Checks of the finished image.",
        keys: &[
            optional("skip", Form::Tables("lint.skip"), "none", "Rules that do not apply, each with a reason."),
            optional(
                "bootc",
                Form::Text(Rule::Choice(BOOTC)),
                "`\"auto\"`",
                "Whether the image's own `bootc container lint` runs on the result, in podman: `\"auto\"` where it can, `\"require\"`, `\"off\"`.",
            ),
        ],
        between: &[],
    },
    Table {
        name: "lint.skip",
        shape: Shape::Inline,
        doc: "One rule that does not apply.",
        keys: &[
            required("name", Form::Text(Rule::LintName), "Name of the rule.").also(&["rule", "id"]),
            required("reason", LINE, "Why; printed with every report.").also(&["because", "why"]),
        ],
        between: &[],
    },
    Table {
        name: "output",
        shape: Shape::Once,
        doc: "Where the image is written unless the command line says otherwise.",
        keys: &[optional(
            "image",
            IMAGE,
            "the command line's",
            "The image, with its transport; relative to the current directory.",
        )],
        between: &[],
    },
    Table {
        name: "publish",
        shape: Shape::Once,
        doc: "Where the image is pushed, and what is attached to it.",
        keys: &[
            optional("to", Form::Text(Rule::Repository), "not pushed", "Repository, without tag."),
            optional(
                "tags",
                Form::List(Rule::Tag),
                "none",
                "Tags; `{kernel}`, `{date}` and `{version}` are filled in.",
            ),
            optional("sign", Form::Tables("publish.sign"), "none", "Signatures to make."),
            optional(
                "format",
                Form::Text(Rule::Choice(&["legacy", "bundle", "both"])),
                "`\"both\"`",
                "Form of signatures: what hosts enforce, what cosign 3 writes, or both.",
            ),
            optional("attest", Form::List(Rule::Choice(&["sbom", "provenance"])), "none", "Attestations to attach."),
        ],
        between: &[Between::Needs("tags", "to")],
    },
    Table {
        name: "publish.sign",
        shape: Shape::Inline,
        doc: "One signature.",
        keys: &[
            optional("keyless", Form::True, "none", "`true`: by the identity of the pipeline."),
            optional(
                "key",
                Form::Text(Rule::KeySource),
                "none",
                "By a key: a file, or `env:NAME` for the name of a variable.",
            ),
        ],
        between: &[Between::ExactlyOne(&["keyless", "key"])],
    },
    Table {
        name: "policy",
        shape: Shape::Once,
        doc: "The signature policy of the host (containers-policy.json(5)), with its registries.d files.",
        keys: &[
            optional(
                "default",
                Form::Text(Rule::Choice(&["reject", "accept"])),
                "`\"reject\"`",
                "What happens to images that no scope speaks of.",
            ),
            optional("accept", Form::List(Rule::Scope), "none", "Scopes accepted without signature."),
            optional("trust", Form::Tables("policy.trust"), "none", "Scopes whose images must be signed."),
            optional("upgrade", Form::Table("policy.upgrade"), "none", "Upgrades to what a pipeline signed."),
        ],
        between: &[],
    },
    Table {
        name: "policy.upgrade",
        shape: Shape::Inline,
        doc: "The unit `assemble-verify.service`, with a timer: it verifies an identity that the policy cannot name, and switches to the digest that it verified.",
        keys: &[
            required("image", IMAGE, "The image to follow, `docker://` with a tag."),
            required("identity", LINE, "Identity in the certificate: an e-mail address or a URI."),
            required("issuer", Form::Text(Rule::Url), "Issuer of the identity's token."),
            optional("root", FILE, "sigstore's public one", "Trust root, JSON; it goes into the image."),
            optional(
                "program",
                FILE,
                "the image's `/usr/bin/assemble`",
                "This program for the hosts' architecture; it goes into the image.",
            ),
        ],
        between: &[],
    },
    Table {
        name: "policy.trust",
        shape: Shape::Inline,
        doc: "One scope: by a key, or by an e-mail identity of a certificate authority.",
        keys: &[
            required("scope", Form::Text(Rule::Scope), "Registry, repository or image."),
            optional(
                "match",
                Form::Text(Rule::Choice(&["repository", "tag"])),
                "`\"repository\"`",
                "What of the signed name must be that of the image that is pulled.",
            ),
            optional("key", FILE, "none", "Public key, PEM; it goes into the image."),
            optional("email", LINE, "none", "Identity in the certificate."),
            optional("issuer", Form::Text(Rule::Url), "none", "Issuer of the identity's token."),
            optional("authority", FILE, "none", "Certificate of the authority (Fulcio), PEM."),
            optional("log", FILE, "none", "Public key of the transparency log (Rekor), PEM."),
        ],
        between: &[
            Between::ExactlyOne(&["key", "email"]),
            Between::Needs("email", "issuer"),
            Between::Needs("email", "authority"),
            Between::Needs("email", "log"),
            Between::Needs("issuer", "email"),
            Between::Needs("authority", "email"),
            Between::Needs("log", "email"),
        ],
    },
    Table {
        name: "vex",
        shape: Shape::Once,
        doc: "Statements on vulnerabilities, attached to the image.",
        keys: &[optional("statements", FILES, "none", "OpenVEX documents.").also(&["files", "documents"])],
        between: &[],
    },
    Table {
        name: "builder",
        shape: Shape::Once,
        doc: "The containers that compile modules and install packages.",
        keys: &[
            optional(
                "image",
                IMAGE,
                "the base image",
                "What builders that compile start from; packages are always installed on the base.",
            ),
            optional("runtime", Form::Text(Rule::Choice(&["crun", "runc"])), "podman's", "OCI runtime of podman."),
            optional(
                "arguments",
                Form::List(Rule::PodmanArgument),
                "none",
                "Limits and networks, as `--OPTION=VALUE` of podman-run(1).",
            )
            .also(&["args"]),
            optional(
                "bundles",
                Form::Text(Rule::Repository),
                "the cache alone",
                "Repository, without tag, that results of builders are taken from, too; `assemble stage --push` puts them there.",
            ),
        ],
        between: &[],
    },
];

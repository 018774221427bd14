//! What an image is called and what it is made from.

use super::super::rule::Rule;
use super::super::schema::{Between, Form, Shape, Table, optional, required};

const LINE: Form = Form::Text(Rule::Line);
const FILE: Form = Form::Text(Rule::RecipePath);
const FILES: Form = Form::List(Rule::RecipePath);
const PACKAGES: Form = Form::List(Rule::Package);
const IMAGE: Form = Form::Text(Rule::Reference);

pub(super) const TABLES: &[Table] = &[
    Table {
        name: "",
        shape: Shape::Top,
        doc: "",
        keys: &[
            required("schema", Form::Integer(1, 1), "Version of this format."),
            optional("extends", FILE, "nothing", "The recipe that this one adds to.")
                .also(&["inherits", "from", "include"]),
        ],
        between: &[],
    },
    Table {
        name: "image",
        shape: Shape::Once,
        doc: "What the image is called.",
        keys: &[
            required("name", Form::Text(Rule::ImageName), "Short name; names generated files as well."),
            optional("title", LINE, "the name", "One line for people (`org.opencontainers.image.title`)."),
            optional("description", LINE, "none", "A sentence (`org.opencontainers.image.description`)."),
            optional("version", LINE, "the base's, else the name", "Version (`org.opencontainers.image.version`)."),
            optional("labels", Form::Map(Rule::LabelKey, Rule::Line), "none", "Labels of the configuration."),
            optional("annotations", Form::Map(Rule::LabelKey, Rule::Line), "none", "Annotations of the manifest."),
            optional(
                "platforms",
                Form::List(Rule::Platform),
                "the base's",
                "What to build for: `os/architecture[/variant]`.",
            )
            .also(&["platform", "architectures"]),
        ],
        between: &[],
    },
    Table {
        name: "base",
        shape: Shape::Once,
        doc: "The image that layers are added to. References of `oci:` and `oci-archive:` are relative to the current \
              directory, as those of every OCI tool are; all other paths of a recipe are relative to the recipe.",
        keys: &[
            required("image", IMAGE, "The base image, with its transport.").also(&["from", "name", "reference"]),
            optional("mirror", IMAGE, "none", "A copy, used when it has the same digest."),
            optional("verify", Form::Table("base.verify"), "not verified", "Who must have signed the base image."),
        ],
        between: &[],
    },
    Table {
        name: "base.verify",
        shape: Shape::Inline,
        doc: "Either a key, or an identity with its issuer.",
        keys: &[
            optional("key", FILE, "none", "Public key, PEM."),
            optional("identity", LINE, "none", "Identity in the certificate: an e-mail address or a URI."),
            optional("issuer", Form::Text(Rule::Url), "none", "Issuer of the identity's token."),
            optional("root", FILE, "sigstore's public one", "Trust root, JSON."),
        ],
        between: &[
            Between::ExactlyOne(&["key", "identity"]),
            Between::Needs("root", "identity"),
            Between::Needs("identity", "issuer"),
            Between::Needs("issuer", "identity"),
        ],
    },
    Table {
        name: "kernel",
        shape: Shape::Once,
        doc: "The kernel that modules are built for.",
        keys: &[
            optional(
                "pin",
                Form::Text(Rule::KernelPin),
                "`\"base\"`",
                "`\"base\"`, `\"devel\"` (the newest with kernel-devel) or `\"=RELEASE\"`.",
            ),
            optional(
                "repositories",
                FILES,
                "none",
                "`.repo` or `.sources` files to look for kernel packages in, besides the base's.",
            )
            .also(&["repos"]),
        ],
        between: &[],
    },
    Table {
        name: "packages",
        shape: Shape::Once,
        doc: "Distribution packages.",
        keys: &[
            optional("repositories", FILES, "none", "`.repo` files, used in the builder only.").also(&["repos"]),
            optional("install", PACKAGES, "none", "Packages to install; `NAME=VERSION` for an exact version.")
                .also(&["add", "packages"]),
            optional("remove", PACKAGES, "none", "Packages to remove.").also(&["uninstall"]),
            optional("downgrade", PACKAGES, "none", "Packages to bring to an older version, as `NAME=VERSION`."),
        ],
        between: &[],
    },
];

//! What becomes a layer of its own.

use super::super::rule::Rule;
use super::super::schema::{Form, Key, Shape, Table, optional, required};

const FILE: Form = Form::Text(Rule::RecipePath);
const FILES: Form = Form::List(Rule::RecipePath);
const PACKAGES: Form = Form::List(Rule::Package);
const MODULES: Form = Form::List(Rule::Module);
/// Kinds of stages.
const KINDS: &[&str] = &["files", "modules", "dkms", "zfs", "nvidia-open"];
const REPOSITORIES: Key =
    optional("repositories", FILES, "none", "`.repo` files, used in the builder only.").also(&["repos"]);
const PATCHES: Key = optional("patches", FILES, "none", "Patches applied in this order before the modules are built.");
const USERSPACE: Key =
    optional("userspace", PACKAGES, "none", "Packages whose files go into the image beside the modules.");
const OVERRIDE: Key =
    optional("override", Form::List(Rule::ImagePath), "none", "Paths of the base that the stage may replace.");
const RECORD: Key = optional(
    "record",
    Form::Text(Rule::Choice(&["none", "justdb"])),
    "`\"none\"`",
    "`\"justdb\"` enters the userspace packages into the package database of the image.",
);

pub(super) const TABLES: &[Table] = &[
    Table {
        name: "stage",
        shape: Shape::Many("name"),
        doc: "Something that becomes a layer of its own, in the order of the recipe. Kernel modules, wherever they come from, follow in one layer with their indexes; the configuration is the last layer.",
        keys: &[
            required("name", Form::Text(Rule::ImageName), "Name, unique in the recipe."),
            required("kind", Form::Text(Rule::Choice(KINDS)), "What the stage does; decides on the other keys.")
                .also(&["type"]),
        ],
        between: &[],
    },
    Table {
        name: "stage",
        shape: Shape::Kind("files"),
        doc: "Files as they are, owned by root.",
        keys: &[
            required("source", FILE, "A directory, or a tar file that is not compressed."),
            optional("into", Form::Text(Rule::ContentPath), "`\"/\"`", "Where in the image it goes."),
        ],
        between: &[],
    },
    Table {
        name: "stage",
        shape: Shape::Kind("modules"),
        doc: "Kernel modules that are built already.",
        keys: &[
            required(
                "source",
                Form::OneOrMany(Rule::RecipePath),
                "A directory that is searched for `.ko` files, or such files.",
            )
            .also(&["files"]),
            optional("kernel", Form::Text(Rule::KernelRelease), "the base's", "Release the modules are built for."),
        ],
        between: &[],
    },
    Table {
        name: "stage",
        shape: Shape::Kind("dkms"),
        doc: "Modules compiled by DKMS in a builder.",
        keys: &[
            required("packages", PACKAGES, "DKMS packages to install in the builder.").also(&["install"]),
            optional("modules", MODULES, "those of dkms.conf", "The modules that must come out."),
            optional("version", Form::Text(Rule::Exact), "the newest", "Exact version of the packages."),
            REPOSITORIES,
            PATCHES,
            USERSPACE,
            OVERRIDE,
            RECORD,
        ],
        between: &[],
    },
    Table {
        name: "stage",
        shape: Shape::Kind("zfs"),
        doc: "OpenZFS: modules and tools.",
        keys: &[
            required("branch", Form::Text(Rule::Branch), "Release branch, such as `\"2.2\"`."),
            optional("version", Form::Text(Rule::Exact), "the newest of the branch", "Exact version."),
            REPOSITORIES,
            PATCHES,
            OVERRIDE,
            RECORD,
        ],
        between: &[],
    },
    Table {
        name: "stage",
        shape: Shape::Kind("nvidia-open"),
        doc: "NVIDIA's open modules, driver libraries, firmware and container toolkit.",
        keys: &[
            required("version", Form::Text(Rule::Exact), "One exact version for modules, driver and firmware."),
            optional("toolkit", Form::Text(Rule::Exact), "the newest", "Exact version of the container toolkit."),
            REPOSITORIES,
            PATCHES,
            OVERRIDE,
            RECORD,
        ],
        between: &[],
    },
];

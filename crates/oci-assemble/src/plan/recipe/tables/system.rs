//! What is in the image, and how it behaves.

use super::super::rule::Rule;
use super::super::schema::{Between, Form, ID_MAX, Shape, Table, optional, required};

const LINE: Form = Form::Text(Rule::Line);
const FILE: Form = Form::Text(Rule::RecipePath);
const PACKAGES: Form = Form::List(Rule::Package);
const UNITS: Form = Form::List(Rule::Unit);
const MODULES: Form = Form::List(Rule::Module);
const USER: Form = Form::Text(Rule::UserName);
const ID: Form = Form::Integer(0, ID_MAX);
/// Architectures by the names of Rust, which bootc compares with (bootc, `lib/src/bootc_kargs.rs`).
const ARCHITECTURES: &[&str] = &["x86_64", "x86", "aarch64", "arm", "loongarch64", "powerpc64", "riscv64", "s390x"];

pub(super) const TABLES: &[Table] = &[
    Table {
        name: "file",
        shape: Shape::Many("path"),
        doc: "One file of the image.",
        keys: &[
            required("path", Form::Text(Rule::ContentPath), "Absolute path in the image."),
            optional("content", Form::Text(Rule::Any), "none", "The text of the file.").also(&["text", "contents"]),
            optional("source", FILE, "none", "The file whose bytes to take, instead of `content`."),
            optional("mode", Form::Mode, "`0o644`", "Permission bits.").also(&["permissions"]),
            optional("owner", Form::Owner, "`\"root\"`", "User: a name known to the base, or a number.")
                .also(&["user", "uid"]),
            optional("group", Form::Owner, "`\"root\"`", "Group: a name known to the base, or a number.")
                .also(&["gid"]),
        ],
        between: &[Between::ExactlyOne(&["content", "source"])],
    },
    Table {
        name: "symlink",
        shape: Shape::Many("path"),
        doc: "One symbolic link of the image.",
        keys: &[
            required("path", Form::Text(Rule::ContentPath), "Absolute path in the image."),
            required("target", Form::Text(Rule::Target), "What it points at, as it is written.").also(&["to"]),
        ],
        between: &[],
    },
    Table {
        name: "remove",
        shape: Shape::Many("path"),
        doc: "Something of the base that the image shall not have.",
        keys: &[required("path", Form::Text(Rule::ImagePath), "Absolute path; a directory goes with all it holds.")],
        between: &[],
    },
    Table {
        name: "user",
        shape: Shape::Many("name"),
        doc: "A system user, made at boot by sysusers.d(5).",
        keys: &[
            required("name", USER, "Name of the user, and of its group unless `group` is given."),
            optional("uid", ID, "the next free one", "Number.").also(&["id"]),
            optional("group", USER, "one of its own", "Primary group; it must have a `[[group]]` or be in the base."),
            optional("description", LINE, "none", "Full name (GECOS).").also(&["gecos", "comment"]),
            optional("home", Form::Text(Rule::ImagePath), "`/`", "Home directory; make it with `[[tmpfile]]`."),
            optional("shell", Form::Text(Rule::ImagePath), "nologin", "Login shell."),
            optional("groups", Form::List(Rule::UserName), "none", "Groups it is a member of besides."),
        ],
        between: &[Between::Needs("group", "uid")],
    },
    Table {
        name: "group",
        shape: Shape::Many("name"),
        doc: "A system group, made at boot by sysusers.d(5).",
        keys: &[
            required("name", USER, "Name of the group."),
            optional("gid", ID, "the next free one", "Number.").also(&["id"]),
        ],
        between: &[],
    },
    Table {
        name: "tmpfile",
        shape: Shape::Many("line"),
        doc: "A line of tmpfiles.d(5): what to make in `/var` and other places that an image cannot fill.",
        keys: &[required("line", Form::Text(Rule::Tmpfile), "The line, as tmpfiles.d(5) has it.")],
        between: &[],
    },
    Table {
        name: "services",
        shape: Shape::Once,
        doc: "Units: presets, and the links that systemctl would make.",
        keys: &[
            optional("enable", UNITS, "none", "Units to start as their `[Install]` section says.").also(&["enabled"]),
            optional("disable", UNITS, "none", "Units not to start.").also(&["disabled"]),
            optional("mask", UNITS, "none", "Units that nothing may start.").also(&["masked"]),
        ],
        between: &[],
    },
    Table {
        name: "kargs",
        shape: Shape::Once,
        doc: "Kernel arguments, as a fragment of bootc's `kargs.d`.",
        keys: &[
            optional("append", Form::List(Rule::Karg), "none", "Arguments, one an element.").also(&["kargs", "add"]),
            optional(
                "match-architectures",
                Form::List(Rule::Choice(ARCHITECTURES)),
                "all",
                "Machines the arguments are for, by the names of Rust.",
            ),
        ],
        between: &[Between::Needs("match-architectures", "append")],
    },
    Table {
        name: "modules",
        shape: Shape::Once,
        doc: "Kernel modules at run time.",
        keys: &[
            optional("load", MODULES, "none", "Modules to load at boot."),
            optional("options", Form::Map(Rule::Module, Rule::Line), "none", "Options by module."),
            optional("blacklist", MODULES, "none", "Modules not to load by alias."),
            optional("sign", Form::Table("modules.sign"), "not signed", "Key that staged modules are signed with."),
        ],
        between: &[],
    },
    Table {
        name: "modules.sign",
        shape: Shape::Inline,
        doc: "A key that firmware or the kernel knows.",
        keys: &[
            required(
                "key",
                Form::Text(Rule::KeySource),
                "Private key: a file, or `env:NAME` for the name of a variable.",
            ),
            required("certificate", FILE, "Certificate, which goes into the image for enrolment."),
        ],
        between: &[],
    },
    Table {
        name: "forbid",
        shape: Shape::Once,
        doc: "What the finished image must not have, besides the built-in list.",
        keys: &[
            optional("packages", PACKAGES, "none", "Packages."),
            optional(
                "paths",
                Form::List(Rule::ImagePattern),
                "none",
                "Patterns: `*` and `?` within a name, a last `**` for all below.",
            ),
        ],
        between: &[],
    },
];

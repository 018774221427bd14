//! What the strings of a recipe must look like, each rule with its name in messages and in the documentation.

mod fault;
mod image;
mod package;
mod system;

pub use fault::ValueFault;

use super::path::RecipePath;
use crate::plan::nearest::nearest;

/// The form of a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Any text without NUL.
    Any,
    /// Text without control characters.
    Line,
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// A file or directory below the recipe root, relative to the recipe.
    RecipePath,
    /// An absolute path in the image.
    ImagePath,
    /// A pattern of absolute paths in the image.
    ImagePattern,
    /// An absolute path at which an image may have content.
    ContentPath,
    /// The target of a symlink.
    Target,
    /// The name of an image.
    ImageName,
    /// An image with its transport.
    Reference,
    /// A repository of a registry, without tag.
    Repository,
    /// A tag, with placeholders.
    Tag,
    /// `os/architecture[/variant]`.
    Platform,
    /// The key of a label or annotation.
    LabelKey,
    /// A place in a registry that a signature policy speaks of.
    Scope,
    /// The identity of an issuer of tokens.
    Url,
    /// A file or `env:NAME`.
    KeySource,
    /// A user or group.
    UserName,
    /// A systemd unit.
    Unit,
    /// A line of tmpfiles.d.
    Tmpfile,
    /// A word of the kernel command line.
    Karg,
    /// A kernel module.
    Module,
    /// What the kernel is pinned to.
    KernelPin,
    /// The release of a kernel, as `uname -r` has it.
    KernelRelease,
    /// A distribution package.
    Package,
    /// `=` and an exact version.
    Exact,
    /// A release branch.
    Branch,
    /// A rule of the lint.
    LintName,
    /// One `--option=value` for podman.
    PodmanArgument,
}

impl Rule {
    /// The name of the form, with which `expected a …` and `… is no …` read well.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Any => "text",
            Self::Line => "line of text",
            Self::Choice(_) => "known word",
            Self::RecipePath => "path relative to the recipe",
            Self::ImagePath => "absolute path in the image",
            Self::ImagePattern => "pattern of paths in the image",
            Self::ContentPath => "absolute path for content of the image",
            Self::Target => "symlink target",
            Self::ImageName => "image name",
            Self::Reference => "image reference",
            Self::Repository => "repository of a registry",
            Self::Tag => "tag",
            Self::Platform => "platform",
            Self::LabelKey => "label key",
            Self::Scope => "registry scope",
            Self::Url => "https URL",
            Self::KeySource => "key source",
            Self::UserName => "user or group name",
            Self::Unit => "systemd unit name",
            Self::Tmpfile => "line of tmpfiles.d",
            Self::Karg => "kernel argument",
            Self::Module => "kernel module name",
            Self::KernelPin => "kernel pin",
            Self::KernelRelease => "kernel release",
            Self::Package => "package name",
            Self::Exact => "exact version",
            Self::Branch => "release branch",
            Self::LintName => "lint name",
            Self::PodmanArgument => "podman argument",
        }
    }

    /// Checks `text` and gives its normal form; paths become relative to the recipe root, of which `directory` is
    /// the part that holds the recipe.
    pub(super) fn normal(self, text: &str, directory: &RecipePath) -> Result<String, ValueFault> {
        match self {
            Self::RecipePath => return directory.join(text).map(|path| path.as_str().to_owned()),
            Self::KeySource => return image::key_source(text, directory),
            Self::ImagePath => return image::path(text).map(|path| image::text(&path)),
            Self::ImagePattern => return image::path(text).map(|path| image::text(&path)),
            Self::ContentPath => return image::content_path(text).map(|path| image::text(&path)),
            Self::Any => fault::refuse(text.contains('\0'), ValueFault::Control)?,
            Self::Line => fault::line(text)?,
            Self::Choice(words) => {
                let unknown = ValueFault::Choice { words, nearest: nearest(text, words.iter().copied()) };
                fault::refuse(!words.contains(&text), unknown)?;
            }
            Self::Target => image::target(text)?,
            Self::ImageName => image::name(text)?,
            Self::Reference => image::reference(text).map(|_| ())?,
            Self::Repository => image::repository(text)?,
            Self::Tag => image::tag(text)?,
            Self::Platform => image::platform(text)?,
            Self::LabelKey => image::label_key(text)?,
            Self::Scope => image::scope(text)?,
            Self::Url => image::url(text)?,
            Self::UserName => system::user(text)?,
            Self::Unit => system::unit(text)?,
            Self::Tmpfile => system::tmpfile(text)?,
            Self::Karg => system::karg(text)?,
            Self::Module => fault::characters(
                text,
                "A-Z, a-z, 0-9, _ and -",
                |c| c.is_ascii_alphanumeric() || "_-".contains(c),
                64,
            )?,
            Self::KernelPin => package::kernel_pin(text)?,
            Self::KernelRelease => package::kernel_release(text)?,
            Self::Package => package::name(text)?,
            Self::Exact => package::exact(text)?,
            Self::Branch => fault::characters(text, "0-9 and .", |c| c.is_ascii_digit() || c == '.', 32)?,
            Self::LintName => {
                fault::characters(text, "a-z, 0-9 and -", |c| matches!(c, 'a'..='z' | '0'..='9' | '-'), 64)?;
            }
            Self::PodmanArgument => package::podman_argument(text)?,
        }
        Ok(text.to_owned())
    }
}

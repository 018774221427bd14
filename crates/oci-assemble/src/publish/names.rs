//! Tags with placeholders.

use crate::image::name;

/// What can stand in a tag.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagWords {
    /// `{kernel}`: the release of the image's kernel.
    pub kernel: Option<String>,
    /// `{date}`: the date of the image, as YYYYMMDD.
    pub date: Option<String>,
    /// `{version}`: its version label.
    pub version: Option<String>,
}

/// Why a tag cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TagError {
    /// A word that is none of these.
    #[error("{tag:?} has {{{word}}}, which is none of {{kernel}}, {{date}} and {{version}}")]
    Unknown {
        /// The tag.
        tag: String,
        /// The word.
        word: String,
    },
    /// The image has nothing for a word.
    #[error("{tag:?} needs {{{word}}}, and the image has none")]
    Absent {
        /// The tag.
        tag: String,
        /// The word.
        word: String,
    },
    /// What comes out is no tag.
    #[error("{tag:?} becomes {filled:?}, which is no tag")]
    Invalid {
        /// The tag.
        tag: String,
        /// With its words filled in.
        filled: String,
    },
}

/// Fills in the words of a tag. Characters of a word that no tag may have, such as the `+` of a kernel's or `~` of a
/// version, become `-`.
pub fn fill(tag: &str, words: &TagWords) -> Result<String, TagError> {
    let mut filled = String::new();
    let mut rest = tag;
    while let Some((before, behind)) = rest.split_once('{') {
        filled.push_str(before);
        let (word, behind) = behind.split_once('}').unwrap_or((behind, ""));
        let value = match word {
            "kernel" => &words.kernel,
            "date" => &words.date,
            "version" => &words.version,
            other => return Err(TagError::Unknown { tag: tag.to_owned(), word: other.to_owned() }),
        };
        let value = value.as_ref().ok_or_else(|| TagError::Absent { tag: tag.to_owned(), word: word.to_owned() })?;
        let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
        filled.extend(value.chars().map(plain));
        rest = behind;
    }
    filled.push_str(rest);
    if name::is_tag(&filled) { Ok(filled) } else { Err(TagError::Invalid { tag: tag.to_owned(), filled }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_filled_in() {
        let words = TagWords {
            kernel: Some("6.12.0-55.el10+rt.x86_64".into()),
            date: Some("20261120".into()),
            version: Some("10~beta".into()),
        };
        for (tag, expected) in
            [("latest", "latest"), ("{kernel}", "6.12.0-55.el10-rt.x86_64"), ("v{version}-{date}", "v10-beta-20261120")]
        {
            assert_eq!(fill(tag, &words), Ok(expected.to_owned()));
        }
        for tag in ["{host}", "{", "{kernel", "a b", "-x", ""] {
            let error = fill(tag, &words);
            assert_eq!(error.is_err(), tag != "{kernel", "{tag}: {error:?}");
        }
        let error = fill("{kernel}", &TagWords::default());
        assert_eq!(error, Err(TagError::Absent { tag: "{kernel}".into(), word: "kernel".into() }));
    }
}

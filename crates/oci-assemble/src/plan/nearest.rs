//! The word that was probably meant.

/// The word of `words` that `text` most likely means: at most a third of its characters differ, or one.
pub fn nearest<'w>(text: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    let limit = (text.chars().count() / 3).max(1);
    let distance = |word: &'w str| (strsim::damerau_levenshtein(text, word), word);
    words.map(distance).filter(|(far, _)| *far <= limit).min().map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_near() {
        for (text, words, expected) in [
            ("instal", &["install", "repositories"][..], Some("install")),
            ("a", &["b"], Some("b")),
            ("abc", &["xyz"], None),
            ("kernels", &["kernel", "kernelz"], Some("kernel")),
            ("", &["long"], None),
        ] {
            assert_eq!(nearest(text, words.iter().copied()), expected, "{text}");
        }
    }
}

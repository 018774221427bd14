//! One-line `.list` files: where Debian repositories are, in the older form (sources.list(5)).

use super::error::{RepositoryError, RepositoryFault};
use super::lines::Lines;
use super::sources_file::{DebianSource, SignedBy};
use super::variables::Variables;

/// Reads a `.list` file, called `file` in errors; one source a line.
pub fn parse(bytes: &[u8], file: &str, variables: &Variables) -> Result<Vec<DebianSource>, RepositoryError> {
    let mut lines = Lines::new(bytes, file);
    let mut sources = Vec::new();
    while let Some(line) = lines.next_line()? {
        let text = line.split('#').next().unwrap_or_default();
        if !text.trim().is_empty() {
            let source = source(text, lines.number(), variables);
            sources.push(source.map_err(|fault| lines.error(fault))?);
        }
    }
    Ok(sources)
}

fn source(text: &str, line: u64, variables: &Variables) -> Result<DebianSource, RepositoryFault> {
    let expected = "deb [OPTION=VALUE …] URI SUITE COMPONENT …";
    let refuse = || RepositoryFault::Syntax { expected };
    let text = variables.expand(text.trim())?;
    let (kind, rest) = text.split_once(char::is_whitespace).ok_or_else(refuse)?;
    if kind != "deb" && kind != "deb-src" {
        return Err(refuse());
    }
    let rest = rest.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or_else(refuse)?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace().map(str::to_owned);
    let (uri, suite) = words.next().zip(words.next()).ok_or_else(refuse)?;
    let components: Vec<String> = words.collect();
    if suite.ends_with('/') != components.is_empty() {
        return Err(refuse());
    }
    let option = |name: &str| {
        let value =
            |word: &str| word.split_once('=').filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned());
        options.split_whitespace().find_map(value)
    };
    let list = |text: String| text.split(',').map(str::to_owned).collect();
    Ok(DebianSource {
        line,
        types: vec![kind.to_owned()],
        uris: vec![uri],
        suites: vec![suite],
        components,
        architectures: option("arch").map(list).unwrap_or_default(),
        signed_by: option("signed-by").map(|text| SignedBy::Keyrings(list(text))),
        enabled: true,
        trusted: option("trusted").is_some_and(|value| value == "yes"),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_line_is_a_source() {
        let text = "# Debian\n\ndeb http://deb.debian.org/debian bookworm main contrib # more\n\
                    deb-src [ arch=amd64,arm64 signed-by=/k.gpg trusted=yes ] file:/srv/$(ARCH) ./\n";
        let variables = Variables::new().with("ARCH", "amd64");
        let sources = parse(text.as_bytes(), "a.list", &variables).unwrap();
        let strings = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let first = DebianSource {
            line: 3,
            types: strings(&["deb"]),
            uris: strings(&["http://deb.debian.org/debian"]),
            suites: strings(&["bookworm"]),
            components: strings(&["main", "contrib"]),
            architectures: Vec::new(),
            signed_by: None,
            enabled: true,
            trusted: false,
        };
        let second = DebianSource {
            line: 4,
            types: strings(&["deb-src"]),
            uris: strings(&["file:/srv/amd64"]),
            suites: strings(&["./"]),
            components: Vec::new(),
            architectures: strings(&["amd64", "arm64"]),
            signed_by: Some(SignedBy::Keyrings(strings(&["/k.gpg"]))),
            enabled: true,
            trusted: true,
        };
        assert_eq!(sources, [first, second]);
        for bad in ["deb", "rpm http://x y z", "deb [a http://x y z", "deb http://x y", "deb http://x ./ main", "deb x"]
        {
            let error = parse(format!("\n{bad}\n").as_bytes(), "a.list", &variables).unwrap_err();
            assert_eq!(error.to_string(), "cannot read a.list, line 2", "{bad}");
        }
    }
}

//! The grammars of tags, repositories and hosts.

/// Whether `text` is a tag of a registry: `[A-Za-z0-9_][A-Za-z0-9._-]{0,127}` (distribution-spec, "Pulling
/// manifests").
pub fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

/// Whether `text` can stand as a reference name in a layout (image-spec, "annotations.md", `ref.name`). Unlike there,
/// no `@`: it begins a digest.
pub fn is_layout_tag(text: &str) -> bool {
    text.len() <= 255 && text.split('/').all(|part| is_component(part, |byte| byte.is_ascii_alphanumeric(), b"-._:+"))
}

/// Whether `text` is a repository name (distribution-spec): lower case, at most 255 characters with the host.
pub fn is_repository(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= 255 && text.split('/').all(|part| is_component(part, word, b"-._"))
}

/// Words with separators between them: one of `separators`, `__`, or any number of `-`.
fn is_component(text: &str, word: impl Fn(u8) -> bool, separators: &[u8]) -> bool {
    let bytes = text.as_bytes();
    let ends = bytes.first().copied().is_some_and(&word) && bytes.last().copied().is_some_and(&word);
    let mut gaps = bytes.split(|byte| word(*byte)).filter(|gap| !gap.is_empty());
    ends && gaps.all(|gap| match gap {
        [one] => separators.contains(one),
        b"__" => separators.contains(&b'_'),
        more => separators.contains(&b'-') && more.iter().all(|byte| *byte == b'-'),
    })
}

/// Whether `text` is a registry host: it has a dot or a port or is `localhost`, which tells it from the first part of
/// a name.
pub fn is_host(text: &str) -> bool {
    if let Some((address, rest)) = text.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        let port = rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port);
        return port && address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let (name, port) = text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
    let distinct = name.contains('.') || port.is_some() || name == "localhost";
    distinct && name.len() <= 253 && name.split('.').all(is_label) && port.is_none_or(is_port)
}

fn is_label(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(inside) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port > 0)
}

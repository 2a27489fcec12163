//! Texts that must not be shown: secrets, and URLs that may hold a password.

use std::fmt;

/// What stands in place of a secret.
pub(crate) const HIDDEN: &str = "<secret>";

/// A password, token or key. It never prints itself; [`Secret::expose`] is the only way to its
/// text.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text itself, to be sent and not to be shown.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing to hide.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What may be shown: `<secret>`, or nothing where there is nothing.
    pub(crate) fn shown(&self) -> &'static str {
        if self.0.is_empty() { "" } else { HIDDEN }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// A URL whose password, if it has one, shows as `xxxxx`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct RedactedUrl(String);

impl RedactedUrl {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        RedactedUrl(text.into())
    }

    /// The URL as written, password and all.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether it is not set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for RedactedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact_url(&self.0))
    }
}

impl fmt::Debug for RedactedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `url` with the password of `//user:password@host` replaced. Works on text, so that a URL which
/// does not parse hides its password, too.
pub(crate) fn redact_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("//") else { return url.to_string() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    match authority.rsplit_once('@').and_then(|(user, host)| Some((user.split_once(':')?.0, host)))
    {
        Some((user, host)) => format!("{scheme}//{user}:xxxxx@{host}{path}"),
        None => url.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_prints_a_secret() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "<secret>");
        let cases = [
            ("http://u:p@h:1/x?y", "http://u:xxxxx@h:1/x?y"),
            ("http://u:p:q@r@h", "http://u:xxxxx@h"),
            ("http://u@h/a:b@c", "http://u@h/a:b@c"),
            ("h:1", "h:1"),
        ];
        for (url, shown) in cases {
            assert_eq!(RedactedUrl::new(url).to_string(), shown);
            assert_eq!(RedactedUrl::new(url).expose(), url);
        }
    }
}

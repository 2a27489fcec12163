//! `ScrapeFormat`: which grammar a scrape body is in, told from its `Content-Type`.

use crate::error::ContentTypeError;

/// The grammar of a scrape body.
///
/// The versions within a grammar differ only in what an exporter may send, so that one parser reads all of
/// them: text 0.0.4 and 1.0.0, OpenMetrics 0.0.1 and 1.0.0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ScrapeFormat {
    /// The Prometheus text format.
    Text,
    /// OpenMetrics text.
    OpenMetrics,
}

impl ScrapeFormat {
    /// The format that `content_type` names, else `fallback`, the target's `fallback_scrape_protocol`.
    pub fn from_content_type(
        content_type: &str,
        fallback: Option<ScrapeFormat>,
    ) -> Result<ScrapeFormat, ContentTypeError> {
        let otherwise = |error: fn(String) -> ContentTypeError| {
            fallback.ok_or_else(|| error(content_type.to_string()))
        };
        if content_type.trim().is_empty() {
            return fallback.ok_or(ContentTypeError::Blank);
        }
        let Some(media_type) = media_type(content_type) else {
            return otherwise(ContentTypeError::Malformed);
        };
        match media_type.as_str() {
            "text/plain" => Ok(ScrapeFormat::Text),
            "application/openmetrics-text" => Ok(ScrapeFormat::OpenMetrics),
            // Not a question of fallbacks: the body is certainly neither of the text formats.
            "application/vnd.google.protobuf" => {
                Err(ContentTypeError::Protobuf(content_type.to_string()))
            }
            _ => otherwise(ContentTypeError::Unsupported),
        }
    }
}

/// The lower-case media type before the parameters; `None` where the header is no media type or a
/// parameter is not `key=value`.
pub(crate) fn media_type(content_type: &str) -> Option<String> {
    let mut parts = content_type.split(';').map(str::trim);
    let media_type = parts.next()?;
    let (kind, subtype) = media_type.split_once('/')?;
    let is_token = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && !b"/;,=\"()".contains(&b))
    };
    let is_parameter = |part: &str| {
        part.split_once('=').is_some_and(|(key, value)| is_token(key) && !value.is_empty())
    };
    let whole = is_token(kind)
        && is_token(subtype)
        && parts.all(|part| part.is_empty() || is_parameter(part));
    whole.then(|| media_type.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_choose_the_grammar() {
        for (header, format) in [
            ("text/plain; version=0.0.4; charset=utf-8; escaping=allow-utf-8", ScrapeFormat::Text),
            ("Text/Plain", ScrapeFormat::Text),
            ("application/openmetrics-text; version=1.0.0;", ScrapeFormat::OpenMetrics),
        ] {
            assert_eq!(ScrapeFormat::from_content_type(header, None), Ok(format), "{header}");
        }
    }

    #[test]
    fn what_is_not_understood_needs_a_fallback() {
        let fallback = Some(ScrapeFormat::Text);
        for header in ["", " ", "text/html", "nonsense", "text/plain; version", "text/plain;=1"] {
            assert!(ScrapeFormat::from_content_type(header, None).is_err(), "{header}");
            let format = ScrapeFormat::from_content_type(header, fallback);
            assert_eq!(format, Ok(ScrapeFormat::Text), "{header}");
        }
        let protobuf = "application/vnd.google.protobuf;proto=x;encoding=delimited";
        assert!(ScrapeFormat::from_content_type(protobuf, fallback).is_err());
    }
}

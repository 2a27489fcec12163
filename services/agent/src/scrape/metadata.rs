//! `KnownMetadata`: what a target has said of its metric families, and what of it has to be shipped.

use std::collections::{BTreeMap, BTreeSet};

use pando_exposition::Event;
use pando_model::Metadata;

/// Families of one target; more are not remembered.
const FAMILIES_MAX: usize = 20_000;
/// Bytes of one text; the rest is cut off.
const TEXT_BYTES_MAX: usize = 4 << 10;
/// How often everything is shipped again, ms: a shard that succeeds another has not heard it.
const REPEAT_MS: i64 = 10 * 60 * 1_000;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct KnownMetadata {
    families: BTreeMap<String, Metadata>,
    /// Families whose metadata has changed since it was shipped.
    news: BTreeSet<String>,
    repeated_ms: Option<i64>,
}

impl KnownMetadata {
    /// Takes note of a line of metadata.
    pub(crate) fn note(&mut self, event: &Event<'_>) {
        let (family, change): (&str, &dyn Fn(&mut Metadata)) = match event {
            Event::Type { family, metric_type } => {
                let metric_type = *metric_type;
                (family, &move |known| known.metric_type = metric_type)
            }
            Event::Help { family, help } => (family, &|known| known.help = cut(help)),
            Event::Unit { family, unit } => (family, &|known| known.unit = cut(unit)),
            Event::Comment(_) | Event::Sample(_) => return,
        };
        if family.is_empty() || family.len() > TEXT_BYTES_MAX {
            return;
        }
        if !self.families.contains_key(family) {
            if self.families.len() >= FAMILIES_MAX {
                return;
            }
            self.families.insert(family.to_string(), Metadata::default());
            self.news.insert(family.to_string());
        }
        let Some(known) = self.families.get_mut(family) else { return };
        let before = known.clone();
        change(known);
        if *known != before {
            self.news.insert(family.to_string());
        }
    }

    /// What has to be shipped at `now_ms`: what is new, now and then everything.
    pub(crate) fn take_news(&mut self, now_ms: i64) -> Vec<(String, Metadata)> {
        let since = *self.repeated_ms.get_or_insert(now_ms);
        if now_ms.saturating_sub(since) >= REPEAT_MS {
            self.repeated_ms = Some(now_ms);
            self.news.clear();
            return self.families.iter().map(|(f, m)| (f.clone(), m.clone())).collect();
        }
        let news = std::mem::take(&mut self.news).into_iter();
        news.filter_map(|family| Some((family.clone(), self.families.get(&family)?.clone())))
            .collect()
    }
}

fn cut(text: &str) -> String {
    let end = (0..=text.len().min(TEXT_BYTES_MAX)).rev().find(|&at| text.is_char_boundary(at));
    text[..end.unwrap_or(0)].to_string()
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use pando_model::MetricType;

    use super::*;

    #[test]
    fn only_news_are_shipped_and_everything_now_and_then() {
        let mut known = KnownMetadata::default();
        let help = |text| Event::Help { family: Cow::Borrowed("m"), help: Cow::Borrowed(text) };
        known.note(&Event::Type { family: Cow::Borrowed("m"), metric_type: MetricType::Gauge });
        known.note(&help("one"));
        let first = known.take_news(0);
        assert_eq!(first.len(), 1);
        assert_eq!((first[0].1.metric_type, &*first[0].1.help), (MetricType::Gauge, "one"));
        known.note(&help("one"));
        assert!(known.take_news(1).is_empty());
        known.note(&help("two"));
        assert_eq!(known.take_news(2)[0].1.help, "two");
        assert!(known.take_news(REPEAT_MS - 1).is_empty());
        assert_eq!(known.take_news(REPEAT_MS).len(), 1);
        assert!(known.take_news(REPEAT_MS + 1).is_empty());
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut(&"ä".repeat(TEXT_BYTES_MAX)).len(), TEXT_BYTES_MAX);
        assert_eq!(cut(&format!("a{}", "ä".repeat(TEXT_BYTES_MAX))).len(), TEXT_BYTES_MAX - 1);
    }
}

//! `KnownMetadata`: what a target has said of its metric families, and what of it has to be shipped.

use std::collections::{BTreeMap, BTreeSet};

use pando_exposition::Event;
use pando_model::Metadata;

/// Families of one target; more are not remembered.
const FAMILIES_MAX: usize = 20_000;
/// Bytes of one text; the rest is cut off.
const TEXT_BYTES_MAX: usize = 4 << 10;
/// How often everything is read and shipped again, ms: a shard that succeeds another has not heard it, and what a
/// target does not say any more is forgotten.
const REPEAT_MS: i64 = 10 * 60 * 1_000;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct KnownMetadata {
    families: BTreeMap<String, Metadata>,
    /// Families whose metadata has changed since it was shipped.
    news: BTreeSet<String>,
    repeated_ms: Option<i64>,
    /// What the scrape under way has said so far, where it says everything.
    fresh: Option<BTreeMap<String, Metadata>>,
    left_out: u64,
}

impl KnownMetadata {
    /// Begins a scrape at `now_ms`; whether it has to hand out all metadata, not the news alone.
    pub(crate) fn begin(&mut self, now_ms: i64) -> bool {
        let since = *self.repeated_ms.get_or_insert(now_ms);
        let is_due = now_ms.saturating_sub(since) >= REPEAT_MS;
        self.fresh = is_due.then(BTreeMap::new);
        is_due
    }

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
        let families = self.fresh.as_mut().unwrap_or(&mut self.families);
        if !families.contains_key(family) {
            if families.len() >= FAMILIES_MAX {
                self.left_out += 1;
                return;
            }
            families.insert(family.to_string(), Metadata::default());
            self.news.insert(family.to_string());
        }
        let Some(known) = families.get_mut(family) else { return };
        let before = known.clone();
        change(known);
        if *known != before {
            self.news.insert(family.to_string());
        }
    }

    /// Ends a scrape. One that failed has not said everything: the next one has to.
    pub(crate) fn finish(&mut self, now_ms: i64, is_ok: bool) {
        let Some(fresh) = self.fresh.take() else { return };
        if is_ok {
            self.repeated_ms = Some(now_ms);
            self.news = fresh.keys().cloned().collect();
            self.families = fresh;
        }
    }

    /// What has to be shipped.
    pub(crate) fn take_news(&mut self) -> Vec<(String, Metadata)> {
        let news = std::mem::take(&mut self.news).into_iter();
        news.filter_map(|family| Some((family.clone(), self.families.get(&family)?.clone())))
            .collect()
    }

    /// Lines of metadata that there was no room for since this was asked last.
    pub(crate) fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }

    /// The families that are remembered, and the bytes of their texts.
    pub(crate) fn size(&self) -> (usize, usize) {
        let bytes = self.families.iter().map(|(f, m)| f.len() + m.help.len() + m.unit.len());
        (self.families.len(), bytes.sum())
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

    fn help<'a>(family: &'a str, help: &'a str) -> Event<'a> {
        Event::Help { family: Cow::Borrowed(family), help: Cow::Borrowed(help) }
    }

    #[test]
    fn only_news_are_shipped_and_everything_now_and_then() {
        let mut known = KnownMetadata::default();
        assert!(!known.begin(0));
        known.note(&Event::Type { family: Cow::Borrowed("m"), metric_type: MetricType::Gauge });
        known.note(&help("m", "one"));
        known.finish(0, true);
        let first = known.take_news();
        assert_eq!(first.len(), 1);
        assert_eq!((first[0].1.metric_type, &*first[0].1.help), (MetricType::Gauge, "one"));
        known.note(&help("m", "one"));
        assert!(known.take_news().is_empty());
        known.note(&help("m", "two"));
        assert_eq!(known.take_news()[0].1.help, "two");
        assert!(!known.begin(REPEAT_MS - 1));
        assert!(known.begin(REPEAT_MS));
    }

    #[test]
    fn what_a_target_does_not_say_any_more_is_forgotten() {
        let mut known = KnownMetadata::default();
        known.begin(0);
        known.note(&help("kept", "k"));
        known.note(&help("gone", "g"));
        known.finish(0, true);
        known.take_news();
        // A scrape that fails has not said everything.
        assert!(known.begin(REPEAT_MS));
        known.finish(REPEAT_MS, false);
        assert_eq!((known.size().0, known.take_news().len()), (2, 0));
        assert!(known.begin(REPEAT_MS + 1));
        known.note(&help("kept", "k"));
        known.finish(REPEAT_MS + 1, true);
        let shipped: Vec<String> =
            known.take_news().into_iter().map(|(family, _)| family).collect();
        assert_eq!(shipped, ["kept"]);
        assert_eq!(known.size(), (1, "kept".len() + "k".len()));
        assert!(!known.begin(REPEAT_MS + 2));
    }

    #[test]
    fn families_without_room_are_counted() {
        let mut known = KnownMetadata::default();
        for n in 0..=FAMILIES_MAX {
            known.note(&help(&format!("m{n}"), "h"));
        }
        assert_eq!((known.size().0, known.take_left_out()), (FAMILIES_MAX, 1));
        assert_eq!(known.take_left_out(), 0);
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut(&"ä".repeat(TEXT_BYTES_MAX)).len(), TEXT_BYTES_MAX);
        assert_eq!(cut(&format!("a{}", "ä".repeat(TEXT_BYTES_MAX))).len(), TEXT_BYTES_MAX - 1);
    }
}

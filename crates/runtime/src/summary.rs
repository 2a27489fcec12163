//! `SummaryFamily`: summaries by the value of one label, as Prometheus' own ones are: sum, count, and quantiles of
//! the last ten minutes. The metrics library has no summaries.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::SharedClock;

/// Quantiles are those of observations not older than this, as Prometheus' are.
const WINDOW: Duration = Duration::from_secs(600);
/// Observations of one summary that quantiles are taken from, the newest ones: 32 KiB.
const RECENT_MAX: usize = 2_048;

/// Summaries by the value of one label. Cloning shares them.
#[derive(Clone)]
pub struct SummaryFamily(Arc<Shared>);

struct Shared {
    label: &'static str,
    quantiles: &'static [f64],
    clock: SharedClock,
    summaries: Mutex<BTreeMap<String, Summary>>,
}

#[derive(Default)]
struct Summary {
    sum: f64,
    count: u64,
    recent: VecDeque<(Duration, f64)>,
}

impl SummaryFamily {
    /// A family without summaries, with these quantiles (0 to 1, rising).
    pub fn new(label: &'static str, quantiles: &'static [f64], clock: SharedClock) -> Self {
        SummaryFamily(Arc::new(Shared { label, quantiles, clock, summaries: Mutex::default() }))
    }

    /// Shows the summary of a value that has no observation yet.
    pub fn prepare(&self, label_value: &str) {
        self.0.summaries.lock().entry(label_value.to_string()).or_default();
    }

    /// Takes an observation. Values of the label are bounded by the caller.
    pub fn observe(&self, label_value: &str, observed: f64) {
        let now = self.0.clock.monotonic();
        let mut summaries = self.0.summaries.lock();
        if !summaries.contains_key(label_value) {
            summaries.insert(label_value.to_string(), Summary::default());
        }
        let Some(summary) = summaries.get_mut(label_value) else { return };
        summary.sum += observed;
        summary.count += 1;
        if summary.recent.len() == RECENT_MAX {
            summary.recent.pop_front();
        }
        summary.recent.push_back((now, observed));
    }

    /// Forgets the summary of a value that is gone.
    pub fn forget(&self, label_value: &str) {
        self.0.summaries.lock().remove(label_value);
    }

    /// Writes the summaries as OpenMetrics text.
    pub(crate) fn encode(&self, name: &str, help: &str, text: &mut String) -> fmt::Result {
        let (label, now) = (self.0.label, self.0.clock.monotonic());
        writeln!(text, "# HELP {name} {help}.\n# TYPE {name} summary")?;
        for (value, summary) in self.0.summaries.lock().iter_mut() {
            let value = escaped(value);
            let sorted = summary.recent_values(now);
            for quantile in self.0.quantiles {
                let at = at_quantile(&sorted, *quantile);
                writeln!(text, "{name}{{{label}=\"{value}\",quantile=\"{quantile}\"}} {at}")?;
            }
            writeln!(text, "{name}_sum{{{label}=\"{value}\"}} {}", summary.sum)?;
            writeln!(text, "{name}_count{{{label}=\"{value}\"}} {}", summary.count)?;
        }
        Ok(())
    }
}

impl fmt::Debug for SummaryFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SummaryFamily").field("label", &self.0.label).finish_non_exhaustive()
    }
}

impl Summary {
    /// Forgets what has left the window; the rest in order.
    fn recent_values(&mut self, now: Duration) -> Vec<f64> {
        while self.recent.front().is_some_and(|(at, _)| now.saturating_sub(*at) > WINDOW) {
            self.recent.pop_front();
        }
        let mut values: Vec<f64> = self.recent.iter().map(|(_, value)| *value).collect();
        values.sort_by(f64::total_cmp);
        values
    }
}

/// The least value that `quantile` of `sorted` do not exceed; NaN of nothing.
fn at_quantile(sorted: &[f64], quantile: f64) -> f64 {
    let rank = (quantile * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ManualClock, MetricsRegistry};

    #[test]
    fn quantiles_are_of_the_last_ten_minutes_and_sums_of_all_time() {
        let clock = ManualClock::at(0);
        let registry = MetricsRegistry::new();
        let family = SummaryFamily::new("slice", &[0.5, 0.9], clock.clone());
        registry.register_summary("engine_seconds", "Time", family.clone());
        (1..=10).for_each(|n| family.observe("a\"b", f64::from(n)));
        let text = registry.encode().expect("encodes");
        let expected = "# HELP engine_seconds Time.\n# TYPE engine_seconds summary\n\
            engine_seconds{slice=\"a\\\"b\",quantile=\"0.5\"} 5\n\
            engine_seconds{slice=\"a\\\"b\",quantile=\"0.9\"} 9\n\
            engine_seconds_sum{slice=\"a\\\"b\"} 55\n\
            engine_seconds_count{slice=\"a\\\"b\"} 10\n# EOF\n";
        assert_eq!(text, expected);
        clock.advance(WINDOW + Duration::from_secs(1));
        let text = registry.encode().expect("encodes");
        assert!(text.contains("quantile=\"0.9\"} NaN\n") && text.contains("_count"), "{text}");
        family.forget("a\"b");
        assert!(!registry.encode().expect("encodes").contains("quantile"));
    }

    #[test]
    fn observations_that_are_kept_are_bounded() {
        let family = SummaryFamily::new("l", &[0.5], ManualClock::at(0));
        (0..RECENT_MAX + 5).for_each(|_| family.observe("v", 1.0));
        let summaries = family.0.summaries.lock();
        assert_eq!(summaries["v"].recent.len(), RECENT_MAX);
        assert_eq!(summaries["v"].count, RECENT_MAX as u64 + 5);
    }
}

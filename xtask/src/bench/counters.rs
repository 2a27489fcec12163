//! `Counters`: the synthetic history, 10,000 series of `http_requests_total` as services write them. Two in five
//! never move, two in five move a little, one in five moves a lot. Equal seeds give equal data.

use pando_model::Labels;

/// Time between two samples of a series, ms.
pub(crate) const SCRAPE_INTERVAL_MS: i64 = 15_000;
/// Series of one pod.
const POD_SERIES: usize = 100;

/// Chance with a seed: splitmix64.
#[derive(Clone, Debug)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is small beside 2^64.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// By how much the counter `index` of a group grows from one scrape to the next.
    pub(crate) fn growth(&mut self, index: usize) -> u64 {
        match index % 10 {
            0..4 => 0,
            4..8 => self.below(5),
            _ => self.below(2_000),
        }
    }
}

/// Series and their present values.
pub(crate) struct Counters {
    pub(crate) labels: Vec<Labels>,
    pub(crate) values: Vec<u64>,
    chance: Chance,
}

impl Counters {
    /// `series` counters with start values below 1,000,000.
    pub(crate) fn new(series: usize) -> Self {
        let mut chance = Chance(1);
        let labels = (0..series).map(labels).collect();
        let values = (0..series).map(|_| chance.below(1_000_000)).collect();
        Counters { labels, values, chance }
    }

    /// Goes on to the next scrape.
    pub(crate) fn step(&mut self) {
        for (index, value) in self.values.iter_mut().enumerate() {
            *value += self.chance.growth(index);
        }
    }
}

/// How many pods `series` counters belong to.
pub(crate) fn pods(series: usize) -> usize {
    series.div_ceil(POD_SERIES)
}

fn labels(index: usize) -> Labels {
    let (pod, class) = (index / POD_SERIES, index % POD_SERIES);
    let name = Chance(pod as u64).next() & 0xf_ffff;
    let code = ["200", "201", "404", "500", "503"][class % 5];
    let method = ["GET", "POST"][(class / 5) % 2];
    Labels::from_pairs([
        ("__name__", "http_requests_total"),
        ("code", code),
        ("instance", &format!("10.0.{}.{}:8080", pod / 250, pod % 250)),
        ("job", "api-server"),
        ("method", method),
        ("namespace", &format!("team-{}", pod % 20)),
        ("path", &format!("/api/v1/resource{}/items", class / 10)),
        ("pod", &format!("api-server-7d9f8b6c5-{name:05x}")),
    ])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_series_and_every_pod_has_a_name_of_its_own() {
        let counters = Counters::new(10_000);
        let series: BTreeSet<&Labels> = counters.labels.iter().collect();
        assert_eq!(series.len(), 10_000);
        let pods_seen: BTreeSet<&str> = counters.labels.iter().map(|l| l.value("pod")).collect();
        assert_eq!(pods_seen.len(), pods(10_000));
    }

    #[test]
    fn a_part_of_the_series_moves_and_none_falls() {
        let mut counters = Counters::new(1_000);
        let before = counters.values.clone();
        for _ in 0..20 {
            counters.step();
        }
        let grown: Vec<u64> = counters.values.iter().zip(&before).map(|(a, b)| a - b).collect();
        assert!(grown.iter().enumerate().all(|(i, by)| (*by == 0) == (i % 10 < 4)), "{grown:?}");
        assert!(grown.iter().skip(8).step_by(10).all(|by| *by > 1_000));
    }
}

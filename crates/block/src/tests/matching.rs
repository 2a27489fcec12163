//! A scan finds what a naive test of every series finds, wherever labels are stored and pages end.

use std::sync::LazyLock;

use pando_model::{KeyRange, MatchOp, Matcher, SeriesKey, SeriesSamples, TimeRange};
use proptest::prelude::*;

use super::support::*;
use crate::decode::sample_roots;
use crate::group::GroupRead;
use crate::series::{cut, positions};
use crate::{BlockOptions, BuiltBlock};

/// All labels in columns, some, none.
static BLOCKS: LazyLock<[(BuiltBlock, Vec<SeriesSamples>); 3]> =
    LazyLock::new(|| [1, 40, 1_000_000].map(block));

fn block(rows_min: u64) -> (BuiltBlock, Vec<SeriesSamples>) {
    let t = tenant("a");
    let mut all = Vec::new();
    for i in 0..60i64 {
        let (host, path) = (format!("h{}", i % 7), format!("/{}", i % 5));
        let name = ["alpha", "beta", "gamma", ""][(i % 4) as usize];
        let mut pairs = vec![("__name__", name), ("host", host.as_str())];
        if i % 3 == 0 {
            pairs.push(("path", path.as_str()));
        }
        let number = i.to_string();
        pairs.push(("n", number.as_str()));
        if i == 17 {
            pairs.push(("once", "yes"));
        }
        let start = (i % 6) * 900;
        all.push(series(&t, &pairs, (0..12).map(|k| (start + k * 250, k as f64))));
    }
    let pushed: Vec<_> = all.iter().map(|s| (t.clone(), s.clone())).collect();
    let options = BlockOptions { label_column_rows_min: rows_min, ..options(1) };
    (build(options, &pushed), all)
}

fn matcher() -> impl Strategy<Value = Matcher> {
    let name = prop::sample::select(vec!["__name__", "host", "path", "n", "once", "absent"]);
    let op = prop_oneof![
        Just(MatchOp::Equal),
        Just(MatchOp::NotEqual),
        Just(MatchOp::Regex),
        Just(MatchOp::NotRegex)
    ];
    let value = prop::sample::select(vec![
        "", "alpha", "gamma", "h3", "h.*", ".*a", ".+", "/[0-2]", "yes", "[1-3].*|",
    ]);
    (name, op, value)
        .prop_map(|(name, op, value)| Matcher::new(name, op, value).expect("a good pattern"))
}

fn keys() -> impl Strategy<Value = KeyRange> {
    prop_oneof![
        Just(KeyRange::ALL),
        any::<(u64, u64)>()
            .prop_map(|(a, b)| KeyRange { first: SeriesKey(a.min(b)), last: SeriesKey(a.max(b)) })
    ]
}

fn time() -> impl Strategy<Value = TimeRange> {
    prop_oneof![
        Just(TimeRange::ALL),
        (0..9_000i64, 0..4_000i64).prop_map(|(a, n)| TimeRange { min_ms: a, max_ms: a + n })
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_scan_is_a_naive_test(
        matchers in prop::collection::vec(matcher(), 0..4),
        keys in keys(),
        time in time(),
        rows_min in 0..3usize,
    ) {
        let (block, all) = &BLOCKS[rows_min];
        let found = scan(block, &tenant("a"), keys, &matchers, time);
        let mut expected: Vec<SeriesSamples> = all
            .iter()
            .filter(|s| keys.contains(s.key) && Matcher::all_match(&matchers, &s.labels))
            .map(|s| cut(s, positions(&s.axis, time)))
            .filter(|s| !s.is_empty())
            .collect();
        expected.sort_by_key(|s| (s.labels.metric_name().to_string(), s.key));
        let content = |list: &[SeriesSamples]| -> Vec<_> {
            list.iter().map(|s| format!("{:?}", super::support::content(s))).collect()
        };
        prop_assert_eq!(content(&found), content(&expected));
    }
}

#[test]
fn a_metric_name_reads_its_own_pages_only() {
    let (block, _) = &BLOCKS[0];
    let bytes = |matchers: &[Matcher]| -> u64 {
        let plan = open(block).plan_scan(&tenant("a"), KeyRange::ALL, matchers, TimeRange::ALL);
        let pages = plan.pages();
        pages.iter().map(|p| u64::from(p.bytes)).sum()
    };
    let one = bytes(&[Matcher::equal("__name__", "gamma")]);
    let all = bytes(&[Matcher::equal("host", "h1")]);
    assert!(one * 2 < all, "one={one} all={all}");
    assert_eq!(bytes(&[Matcher::equal("__name__", "zeta")]), 0);
}

/// Rows in short gaps are decoded with those that are asked for, but not where they have pages of their own.
#[test]
fn short_gaps_do_not_make_a_scan_much_larger() {
    let t = tenant("a");
    let of = |samples: i64| {
        let one = |i: i64| {
            let number = i.to_string();
            let value = |k: i64| ((i * 131 + k) as f64).sin();
            let samples = (0..5 * samples).map(|k| (k * 1_000 / samples, value(k)));
            (t.clone(), series(&t, &[("__name__", "m"), ("n", number.as_str())], samples))
        };
        build(options(1), &(0..12).map(one).collect::<Vec<_>>())
    };
    // Each series has a row in each of five seconds, and one of them is asked for.
    let time = TimeRange { min_ms: 2_000, max_ms: 3_000 };
    for (samples, bridges) in [(1, true), (200, false)] {
        let block = of(samples);
        let plan = open(&block).plan_scan(&t, KeyRange::ALL, &[], time);
        let selection = wait(plan.fetch_and_select(object(&block).as_ref())).expect("selects");
        assert_eq!(selection.rows(), 12);
        let roots = sample_roots(&open(&block).opened.columns);
        for at in 0..selection.groups() {
            let read = selection.read(at, roots.clone()).expect("a group");
            let rows = |read: &GroupRead| read.rows.iter().map(|r| r.end - r.start).sum::<u64>();
            let (asked, decoded) = (rows(&read), rows(&read.bridged(&selection.block)));
            assert_eq!(decoded > asked, bridges, "samples={samples} {decoded} of {asked}");
        }
        assert_eq!(scan(&block, &t, KeyRange::ALL, &[], time).len(), 12);
    }
}

#[test]
fn a_key_range_and_a_time_range_prune_pages() {
    let (block, all) = &BLOCKS[0];
    let plan = |keys, time| {
        let plan = open(block).plan_scan(&tenant("a"), keys, &[], time);
        plan.pages().len()
    };
    let everything = plan(KeyRange::ALL, TimeRange::ALL);
    let key = all[30].key;
    assert!(plan(KeyRange { first: key, last: key }, TimeRange::ALL) * 2 < everything);
    assert_eq!(plan(KeyRange::ALL, TimeRange { min_ms: 90_000, max_ms: 91_000 }), 0);
}

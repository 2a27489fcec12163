//! Rules that plans agree by, each with expressions that need it.

use crate::{Features, QueryParams};

use super::plans::{Case, check};
use crate::testing::{
    FEATURES,
    data::{self, ORIGIN_MS},
};

/// Over the data of some seeds, five minutes after it begins.
fn agree_on(text: &str) {
    for seed in 0..24 {
        let features = Features { delayed_name_removal: false, ..FEATURES };
        let params = QueryParams::instant(ORIGIN_MS + 300_007).with_features(features);
        let text = text.to_string();
        check(Case { seed, text, params, series: data::series(seed) });
    }
}

/// `changes` of two metrics is refused where it runs; no step of the subquery asks for it.
#[test]
fn what_is_never_evaluated_is_not_refused() {
    agree_on("last_over_time(changes({job=\"a\",instance=\"1\"}[5m])[5ms:17s])");
}

/// Not in the order in which an executor or the frontend sees them.
#[test]
fn the_best_of_groups_are_in_the_order_of_the_groups() {
    agree_on("bottomk(15, {__name__=~\"latency_.*\",job!=\"a\"}) without ()");
    agree_on("topk(2, load) by (job)");
}

/// The order is that of the labels that the argument has, whether names were dropped from them or not.
#[test]
fn limitk_takes_the_first_of_what_it_is_given() {
    agree_on("limitk(2, rate({__name__=~\"load|target_info\"}[2m]))");
    agree_on("limitk(1, -{__name__=~\"load|target_info\"}) by (job)");
}

/// The groups of an aggregation have no order of their own, which plans would see where values are equal.
#[test]
fn equal_values_are_sorted_by_their_labels() {
    agree_on("sort(group by (job) (load))");
    agree_on("sort_desc(group by (instance) (load{job=\"b\"} or load))");
    agree_on("sort(-(group by (instance, job) (load)))");
}

/// Between those that are left there may be resets that none of them follows.
#[test]
fn subqueries_that_leave_histograms_out_read_their_buckets() {
    agree_on("histogram_count(increase(sizes[8m:1m]))");
    agree_on("histogram_sum(rate(delays[10m:90s]))");
}

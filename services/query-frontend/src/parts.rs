//! Parts of a fragment by steps: a long range is asked for interval by interval, so that members work on it side by
//! side, each on the blocks that it has in its caches.

use std::ops::Range;

use pando_model::TimeRange;
use pando_promql::{FragmentPlan, FragmentSpec, Read};

/// How many parts a fragment has at most, or one or two more: longer ranges have longer ones.
const PARTS_MAX: i64 = 64;
/// What is read for the first step of a part is read for the part before it as well: an interval is at least so many
/// times as long.
const WINDOWS_MIN: i64 = 4;

/// A fragment over some of its steps.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Part {
    /// Which of the fragment's steps.
    pub(crate) steps: Range<usize>,
    /// The fragment with these steps alone.
    pub(crate) plan: FragmentPlan,
    /// The samples that it needs.
    pub(crate) time: TimeRange,
}

/// The parts of `fragment`: the steps of each are in one interval of `interval_ms` or a multiple of it, aligned to
/// 1970. One part where that is 0, and where samples are sent as they are.
pub(crate) fn parts(fragment: &FragmentSpec, interval_ms: i64) -> Vec<Part> {
    let steps = &fragment.plan.steps;
    let (first_ms, last_ms) = (steps.start_ms(), steps.last_ms());
    let mut interval_ms = interval_ms.max(0);
    if interval_ms > 0 {
        let window_ms = first_ms.saturating_sub(fragment.plan.window().after_ms);
        let longest = window_ms.saturating_mul(WINDOWS_MIN).max(0);
        let spans = last_ms.saturating_sub(first_ms) / interval_ms;
        let times = (spans / PARTS_MAX + 1).max((longest - 1).div_euclid(interval_ms) + 1);
        interval_ms = interval_ms.saturating_mul(times);
    }
    let whole = Part { steps: 0..steps.len(), plan: fragment.plan.clone(), time: fragment.range };
    let of = |t_ms: i64| t_ms.div_euclid(interval_ms);
    let is_raw = matches!(fragment.plan.read, Read::Raw { .. });
    if interval_ms == 0 || is_raw || of(first_ms) == of(last_ms) {
        return vec![whole];
    }
    let mut parts = Vec::new();
    let mut from = 0;
    while from < steps.len() {
        let end_ms = of(steps.at(from)).saturating_add(1).saturating_mul(interval_ms);
        let after = end_ms.saturating_sub(1).saturating_sub(first_ms) / steps.step_ms() + 1;
        let upto = usize::try_from(after).unwrap_or(usize::MAX).clamp(from + 1, steps.len());
        let Some(plan) = fragment.plan.with_steps(from, upto - from) else { return vec![whole] };
        let time = plan.time_range();
        parts.push(Part { steps: from..upto, plan, time });
        from = upto;
    }
    parts
}

#[cfg(test)]
mod tests {
    use pando_promql::{Query, QueryParams};

    use super::*;

    const HOUR: i64 = 3_600_000;

    fn parts_of(text: &str, (start, end, step): (i64, i64, i64), interval: i64) -> Vec<Part> {
        let params = QueryParams::range(start, end, step).expect("steps");
        let query = Query::parse(text, params).expect(text);
        parts(&query.fragments()[0], interval)
    }

    #[test]
    fn the_steps_of_a_part_are_in_one_interval_and_none_is_left_out() {
        for (start, end, step) in [
            (0, 72 * HOUR, HOUR),
            (-30 * HOUR, 30 * HOUR, 7 * HOUR),
            (HOUR + 1, 60 * HOUR, 50 * HOUR),
            (23 * HOUR, 24 * HOUR, 60_000),
        ] {
            let parts = parts_of("sum(rate(m[5m]))", (start, end, step), 24 * HOUR);
            let mut next = 0;
            for Part { steps, plan, time } in &parts {
                assert_eq!(steps.start, next);
                assert_eq!(plan.steps.len(), steps.len());
                assert_eq!(plan.steps.start_ms(), start + step * steps.start as i64);
                let day = |t: i64| t.div_euclid(24 * HOUR);
                assert_eq!(day(plan.steps.start_ms()), day(plan.steps.last_ms()));
                assert_eq!(time.min_ms, plan.steps.start_ms() - 300_000 + 1);
                assert_eq!(time.max_ms, plan.steps.last_ms() + 1);
                next = steps.end;
            }
            assert_eq!(next as i64, (end - start) / step + 1);
            assert!(parts.len() > 1);
        }
    }

    #[test]
    fn what_is_short_or_raw_or_not_to_be_cut_is_whole() {
        let day = (0, 23 * HOUR, HOUR);
        assert_eq!(parts_of("m", day, 24 * HOUR).len(), 1);
        let days = (0, 100 * HOUR, HOUR);
        assert_eq!(parts_of("m", days, 24 * HOUR).len(), 5);
        assert_eq!(parts_of("m", days, 0).len(), 1);
        assert_eq!(parts_of("quantile_over_time(2, m[5m])", days, 24 * HOUR).len(), 1);
    }

    #[test]
    fn long_windows_are_not_read_again_and_again() {
        let days = (0, 60 * 24 * HOUR, HOUR);
        assert_eq!(parts_of("rate(m[6h])", days, 24 * HOUR).len(), 61);
        assert_eq!(parts_of("rate(m[7h])", days, 24 * HOUR).len(), 31);
        assert_eq!(parts_of("rate(m[30d])", days, 24 * HOUR).len(), 1);
    }

    #[test]
    fn a_long_range_has_longer_parts() {
        let years = (0, 10_000 * 24 * HOUR, 24 * HOUR);
        let parts = parts_of("m", years, HOUR);
        assert!((32..=66).contains(&parts.len()), "{}", parts.len());
        let all = parts.iter().map(|part| part.steps.len()).sum::<usize>();
        assert_eq!(all, 10_001);
    }
}

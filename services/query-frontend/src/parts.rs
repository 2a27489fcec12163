//! Parts of a fragment by steps: a long range is asked for interval by interval, so that members work on it side by
//! side, each on the blocks that it has in its caches. Where two parts would read the same blocks, they are one.

use std::collections::BTreeMap;
use std::ops::Range;

use pando_model::{BlockId, TimeRange};
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

/// `parts` without the borders that cost more than they bring: two neighbours are one part where what both of them read
/// is half of what one of them reads, or more. `blocks` says what is read of a time: its blocks, and the bytes of each.
/// What a part reads before its first step does not count: it would join every part to the one before it.
pub(crate) fn joined(
    fragment: &FragmentSpec,
    parts: Vec<Part>,
    blocks: impl Fn(TimeRange) -> BTreeMap<BlockId, u64>,
) -> Vec<Part> {
    if parts.len() <= 1 {
        return parts;
    }
    let mut all: Vec<(Part, BTreeMap<BlockId, u64>)> = Vec::with_capacity(parts.len());
    for part in parts {
        let own = TimeRange { min_ms: part.plan.steps.start_ms(), ..part.time };
        let mut read = blocks(own);
        if let Some((last, last_read)) = all.last_mut().filter(|(_, own)| share(own, &read)) {
            let steps = last.steps.start..part.steps.end;
            if let Some(plan) = fragment.plan.with_steps(steps.start, steps.len()) {
                let time = plan.time_range();
                *last = Part { steps, plan, time };
                last_read.append(&mut read);
                continue;
            }
        }
        all.push((part, read));
    }
    all.into_iter().map(|(part, _)| part).collect()
}

/// Whether half of the bytes of `a` or of `b`, or more, are in blocks of both.
fn share(a: &BTreeMap<BlockId, u64>, b: &BTreeMap<BlockId, u64>) -> bool {
    let both: u64 = a.iter().filter(|(id, _)| b.contains_key(id)).map(|(_, bytes)| *bytes).sum();
    let smaller = a.values().sum::<u64>().min(b.values().sum());
    both > 0 && both >= smaller.div_ceil(2)
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

    /// Days, of which each reads what `blocks` says: by number, hours from and to, and bytes.
    fn joined_days(days: i64, blocks: &[(u128, i64, i64, u64)]) -> Vec<(usize, usize)> {
        let params = QueryParams::range(0, days * 24 * HOUR - HOUR, HOUR).expect("steps");
        let query = Query::parse("sum(rate(m[5m]))", params).expect("a query");
        let spec = &query.fragments()[0];
        let read = |time: TimeRange| {
            let of = |(_, from, upto, _): &&(u128, i64, i64, u64)| {
                time.overlaps(TimeRange { min_ms: from * HOUR, max_ms: upto * HOUR })
            };
            blocks.iter().filter(of).map(|(id, _, _, bytes)| (BlockId(*id), *bytes)).collect()
        };
        let all = joined(spec, parts(spec, 24 * HOUR), read);
        for Part { steps, plan, time } in &all {
            assert_eq!(plan.steps.len(), steps.len());
            assert_eq!(plan.steps.start_ms(), steps.start as i64 * HOUR);
            assert_eq!(time.max_ms, (steps.end as i64 - 1) * HOUR + 1);
        }
        all.into_iter().map(|part| (part.steps.start, part.steps.end)).collect()
    }

    #[test]
    fn what_is_in_one_block_is_read_once() {
        assert_eq!(joined_days(3, &[(1, 0, 72, 100)]), [(0, 72)]);
        assert_eq!(joined_days(3, &[(1, 0, 40, 100), (2, 40, 72, 1)]), [(0, 72)]);
        assert_eq!(joined_days(3, &[(1, 0, 40, 100), (2, 40, 72, 300)]), [(0, 72)]);
        // The third day has its own block, and shares nothing.
        assert_eq!(joined_days(3, &[(1, 0, 36, 100), (2, 50, 72, 1)]), [(0, 48), (48, 72)]);
    }

    #[test]
    fn borders_between_blocks_stay() {
        // The window of the first step of a day reaches into the last block of the day before.
        let of_two_hours: Vec<_> = (0..36).map(|at| (at as u128, 2 * at, 2 * at + 2, 10)).collect();
        assert_eq!(joined_days(3, &of_two_hours), [(0, 24), (24, 48), (48, 72)]);
        // One that does not matter beside them.
        let and_a_long_one = [&of_two_hours[..], &[(99, 0, 72, 20)]].concat();
        assert_eq!(joined_days(3, &and_a_long_one), [(0, 24), (24, 48), (48, 72)]);
        let and_a_large_one = [&of_two_hours[..], &[(99, 0, 72, 200)]].concat();
        assert_eq!(joined_days(3, &and_a_large_one), [(0, 72)]);
        // Of two days each, as the compactor makes them: their borders are those of every second day.
        let of_two_days: Vec<_> =
            (0..4).map(|at| (at as u128, 48 * at, 48 * at + 48, 100)).collect();
        let pairs = [(0, 48), (48, 96), (96, 144), (144, 192)];
        assert_eq!(joined_days(8, &of_two_days), pairs);
        let of_a_day: Vec<_> = (0..3).map(|at| (at as u128, 24 * at, 24 * at + 24, 100)).collect();
        assert_eq!(joined_days(3, &of_a_day), [(0, 24), (24, 48), (48, 72)]);
        // Nothing in blocks.
        assert_eq!(joined_days(3, &[]), [(0, 24), (24, 48), (48, 72)]);
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

//! The time axis: strictly increasing times, shared by every series that is scraped together.
//!
//! Scrapes follow a schedule, so an axis is a grid (start, interval, steps that were left out) and
//! a column of deviations from it, which is a constant 0 for a regular axis. Without a schedule the
//! interval is 0 and the deviations are the distances from the start. Equal axes are equal bytes,
//! so that a block's dictionary stores each once.
//!
//! ```text
//! axis    = version:u8 = 1, count:varint [start:zigzag [interval:varint [gaps] deviations]]
//! gaps    = count:varint (position:varint, left out:varint) ...      where interval is not 0
//! grid[0] = start, grid[i] = grid[i-1] + interval * (1 + steps left out before time i)
//! time[i] = grid[i] + deviation[i]               deviations: a column of crate::ints
//! ```
//!
//! The start stands where the axis has a time, the rest where it has two. A gap's position counts
//! the times since the one after the gap before. All arithmetic wraps. It does not know who was
//! scraped.

use crate::error::CodecError;
use crate::ints::{decode_ints, encode_ints};
use crate::limits::SAMPLES_PER_CHUNK_MAX;
use crate::varint::{Reader, put_varint, put_zigzag};

const WHAT: &str = "axis";
const VERSION: u8 = 1;

/// Schedules are whole multiples of one of these, ms: the measured interval is rounded to them.
const ROUND_INTERVALS_MS: [u64; 3] = [1000, 100, 10];

/// Appends `times`, ms, which must increase strictly: what does not could not be decoded again, nor
/// could more than [`SAMPLES_PER_CHUNK_MAX`].
pub fn encode_axis(times: &[i64], out: &mut Vec<u8>) {
    debug_assert!(times.windows(2).all(|w| w[0] < w[1]), "an axis increases strictly");
    debug_assert!(times.len() <= SAMPLES_PER_CHUNK_MAX, "callers cut chunks before that");
    out.push(VERSION);
    put_varint(out, times.len() as u64);
    let Some(start) = times.first() else { return };
    put_zigzag(out, *start);
    if times.len() < 2 {
        return;
    }
    let mut best: Option<Vec<u8>> = None;
    for interval in candidate_intervals(times) {
        let bytes = encode_on_grid(times, interval);
        if best.as_ref().is_none_or(|best| bytes.len() < best.len()) {
            best = Some(bytes);
        }
    }
    out.append(&mut best.unwrap_or_default());
}

/// Decodes what [`encode_axis`] wrote.
pub fn decode_axis(bytes: &[u8]) -> Result<Vec<i64>, CodecError> {
    let mut reader = Reader::new(WHAT, bytes);
    let count = read_count(&mut reader)?;
    if count == 0 {
        reader.finish()?;
        return Ok(Vec::new());
    }
    let start = reader.zigzag()?;
    if count == 1 {
        reader.finish()?;
        return Ok(vec![start]);
    }
    let interval = reader.varint()?;
    let gaps = if interval > 0 { read_gaps(&mut reader, count)? } else { Vec::new() };
    let mut times = Vec::new();
    decode_ints(&mut reader, count, &mut times)?;
    reader.finish()?;
    let (mut grid, mut from) = (start as u64, 0);
    for &(position, left_out) in gaps.iter().chain([&(count, 0)]) {
        for time in &mut times[from..position] {
            *time = time.wrapping_add(grid as i64);
            grid = grid.wrapping_add(interval);
        }
        grid = grid.wrapping_add(interval.wrapping_mul(left_out));
        from = position;
    }
    if times.windows(2).any(|w| w[0] >= w[1]) {
        return Err(reader.malformed("times do not increase"));
    }
    Ok(times)
}

fn read_count(reader: &mut Reader<'_>) -> Result<usize, CodecError> {
    reader.version(VERSION)?;
    reader.count("samples", SAMPLES_PER_CHUNK_MAX)
}

/// The gaps as (position of the time after it, steps left out).
fn read_gaps(reader: &mut Reader<'_>, count: usize) -> Result<Vec<(usize, u64)>, CodecError> {
    let n = reader.count_of("gaps", count, 2)?;
    let (mut gaps, mut position) = (Vec::with_capacity(n), 0usize);
    for _ in 0..n {
        position += reader.count("samples", count)?;
        if position >= count {
            return Err(reader.malformed("gap beyond the axis"));
        }
        gaps.push((position, reader.varint()?));
    }
    Ok(gaps)
}

/// The intervals that are worth trying: the usual distance, rounded to what people configure, as
/// measured, and 0 for "no schedule".
fn candidate_intervals(times: &[i64]) -> Vec<u64> {
    let mut distances: Vec<u64> =
        times.windows(2).map(|w| w[1].wrapping_sub(w[0]) as u64).collect();
    let first = distances[0];
    if distances.iter().all(|d| *d == first) {
        return vec![first];
    }
    let middle = distances.len() / 2;
    let (_, median, _) = distances.select_nth_unstable(middle);
    let median = *median;
    let mut candidates = Vec::new();
    for unit in ROUND_INTERVALS_MS {
        let rounded = median.saturating_add(unit / 2) / unit * unit;
        // Jitter is a small part of the interval; anything more is another interval.
        if rounded > 0 && rounded.abs_diff(median) <= median / 20 {
            candidates.push(rounded);
        }
    }
    candidates.extend([median, 0]);
    candidates.dedup();
    candidates
}

fn encode_on_grid(times: &[i64], interval: u64) -> Vec<u8> {
    let (mut gaps, mut gaps_count, mut gap_before) = (Vec::new(), 0, 0);
    let mut deviations = Vec::with_capacity(times.len());
    let mut grid = times[0] as u64;
    deviations.push(0);
    for (i, &time) in times.iter().enumerate().skip(1) {
        let ahead = (time as u64).wrapping_sub(grid);
        // A time behind the grid is a huge distance here; it stays on the next step.
        let steps = if interval == 0 || ahead > i64::MAX as u64 {
            1
        } else {
            ((ahead + interval / 2) / interval).max(1)
        };
        if steps > 1 {
            put_varint(&mut gaps, (i - gap_before) as u64);
            put_varint(&mut gaps, steps - 1);
            (gaps_count, gap_before) = (gaps_count + 1, i);
        }
        grid = grid.wrapping_add(interval.wrapping_mul(steps));
        deviations.push((time as u64).wrapping_sub(grid) as i64);
    }
    let mut out = Vec::new();
    put_varint(&mut out, interval);
    if interval > 0 {
        put_varint(&mut out, gaps_count);
        out.append(&mut gaps);
    }
    encode_ints(&deviations, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzz;
    use proptest::prelude::*;

    fn encoded(times: &[i64]) -> Vec<u8> {
        let mut out = Vec::new();
        encode_axis(times, &mut out);
        assert_eq!(decode_axis(&out).as_deref(), Ok(times));
        out
    }

    #[test]
    fn the_bytes_are_pinned() {
        assert_eq!(encoded(&[]), [1, 0]);
        assert_eq!(encoded(&[-1]), [1, 1, 1]);
        // Start 0, interval 15,000, no gap, all deviations 0.
        assert_eq!(encoded(&[0, 15_000, 30_000]), [1, 3, 0, 0x98, 0x75, 0, 0, 0]);
        // Two steps are left out before the time at position 2.
        assert_eq!(encoded(&[0, 5000, 20_000, 25_000]), [1, 4, 0, 0x88, 0x27, 1, 2, 2, 0, 0]);
    }

    #[test]
    fn a_schedule_with_gaps_and_jitter_stays_small() {
        let regular: Vec<i64> = (0..5760).map(|i| 1_700_000_000_000 + i * 15_000).collect();
        assert!(encoded(&regular).len() <= 16);
        let holes: Vec<i64> = regular.iter().copied().filter(|t| t % 7_000 != 0).collect();
        assert!(holes.len() < regular.len() && encoded(&holes).len() < 2 * 900);
        let jitter: Vec<i64> = regular.iter().enumerate().map(|(i, t)| t + i as i64 % 4).collect();
        assert!(encoded(&jitter).len() < jitter.len() * 2 / 8 + 150);
    }

    #[test]
    fn the_whole_range_of_times_survives() {
        encoded(&[i64::MIN, 0, i64::MAX]);
        encoded(&[i64::MIN, i64::MAX - 1, i64::MAX]);
        encoded(&[i64::MIN, i64::MIN + 1, i64::MAX]);
        encoded(&[i64::MAX - 2, i64::MAX - 1, i64::MAX]);
    }

    #[test]
    fn times_that_do_not_increase_are_refused() {
        let mut bytes = vec![1, 3, 0, 0];
        encode_ints(&[0, 5, 5], &mut bytes);
        assert!(matches!(decode_axis(&bytes), Err(CodecError::Malformed { .. })));
        assert!(matches!(decode_axis(&[9]), Err(CodecError::Version { found: 9, .. })));
        let too_many = [1, 0x81, 0x80, 0x80, 1, 0, 1, 0, 0, 0];
        assert!(matches!(decode_axis(&too_many), Err(CodecError::Limit { .. })));
    }

    #[test]
    fn damage_never_panics() {
        let times: Vec<i64> =
            (0..300).map(|i| i * 1000 + (i % 7) * i64::from(i % 50 == 3)).collect();
        fuzz::damage(&encoded(&times), |bytes| drop(decode_axis(bytes)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn any_axis_survives(start in any::<i64>(), interval in 1u64..100_000,
                             steps in proptest::collection::vec((0u64..8, 0u64..40), 0..400)) {
            let mut times = vec![start];
            for (jitter, gap) in steps {
                let step = interval + jitter + if gap == 0 { interval * 9 } else { 0 };
                let last = times[times.len() - 1];
                match last.checked_add_unsigned(step) {
                    Some(next) => times.push(next),
                    None => break,
                }
            }
            encoded(&times);
        }

        #[test]
        fn any_times_survive(times in proptest::collection::btree_set(any::<i64>(), 0..40)) {
            encoded(&times.into_iter().collect::<Vec<_>>());
        }
    }
}

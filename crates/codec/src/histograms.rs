//! Native histograms of one series, transposed: each bucket is a column of its own.
//!
//! A bucket's counts grow as a counter does, so that plain deltas per bucket are what packs best; a
//! column is a run sequence of the float codec, which finds that out by itself and holds float
//! counts as well. What seldom changes (schema, threshold, spans, bounds) is a table of layouts.
//!
//! ```text
//! histograms = version:u8 = 1, count:varint [layouts numbers marks zeros sums buckets* counted]
//! layouts    = count:varint layout ...           distinct, as they first appear
//! layout     = schema:zigzag threshold:8 bytes side side bounds          sides: positive, negative
//! side       = spans:varint (offset:zigzag length:varint) ... buckets:varint
//! bounds     = count:varint, runs of crate::floats
//! numbers    = column of crate::ints: each histogram's layout
//! marks      = column of crate::ints: integer | reset hint << 1
//! zeros      = runs: zero counts        sums = runs: sums
//! buckets    = runs: the counts of one bucket in all histograms that have it
//!              buckets are ordered by (schema, side, index)
//! counted    = how:u8, runs: 0 the counts | 1 what the counts are above the sum of all buckets
//! ```
//!
//! A bucket's index follows from its side's spans; where spans overlap or end early it is one above
//! the bucket's before, so that even a histogram that no validation would pass survives. It does
//! not judge histograms and knows no times.

use std::collections::HashMap;

use pando_model::{Histogram, ResetHint, Span};

use crate::error::CodecError;
use crate::floats::{decode_float_runs, encode_float_runs};
use crate::ints::{decode_ints, encode_ints};
use crate::limits::{
    BUCKETS_PER_CHUNK_MAX, Budget, HISTOGRAMS_PER_CHUNK_MAX, LAYOUTS_PER_CHUNK_MAX,
};
use crate::varint::{Reader, put_f64, put_varint, put_zigzag};

#[cfg(test)]
mod tests;

const WHAT: &str = "histograms";
const VERSION: u8 = 1;
const COUNTS_PLAIN: u8 = 0;
const COUNTS_ABOVE_BUCKETS: u8 = 1;
/// A layout takes at least these bytes: schema, threshold, four counts, bounds.
const LAYOUT_BYTES_MIN: usize = 14;
/// A span takes at least these bytes.
const SPAN_BYTES_MIN: usize = 2;
/// A column takes at least these bytes: the head of a run and a constant.
const COLUMN_BYTES_MIN: usize = 2;

/// Appends `histograms`. More than [`HISTOGRAMS_PER_CHUNK_MAX`], or than [`BUCKETS_PER_CHUNK_MAX`]
/// buckets in all, could not be decoded again.
pub fn encode_histograms(histograms: &[&Histogram], out: &mut Vec<u8>) {
    debug_assert!(histograms.len() <= HISTOGRAMS_PER_CHUNK_MAX, "callers cut chunks before that");
    out.push(VERSION);
    put_varint(out, histograms.len() as u64);
    if histograms.is_empty() {
        return;
    }
    let (layouts, numbers) = layouts_of(histograms);
    put_varint(out, layouts.len() as u64);
    layouts.iter().for_each(|layout| layout.write(out));
    encode_ints(&numbers, out);
    let mark = |h: &&Histogram| i64::from(h.integer) | (h.reset_hint as i64) << 1;
    encode_ints(&histograms.iter().map(mark).collect::<Vec<_>>(), out);
    for field in [|h: &Histogram| h.zero_count, |h: &Histogram| h.sum] {
        encode_float_runs(&histograms.iter().map(|h| field(h)).collect::<Vec<_>>(), out);
    }
    let columns = Columns::of(&layouts);
    let mut buckets = vec![Vec::new(); columns.count];
    for (h, number) in histograms.iter().zip(&numbers) {
        let counts = h.positive_buckets.iter().chain(&h.negative_buckets);
        for (column, count) in columns.by_layout[*number as usize].iter().zip(counts) {
            buckets[*column as usize].push(*count);
        }
    }
    buckets.iter().for_each(|counts| encode_float_runs(counts, out));
    encode_counts(histograms, out);
}

/// Decodes what [`encode_histograms`] wrote.
pub fn decode_histograms(bytes: &[u8]) -> Result<Vec<Histogram>, CodecError> {
    let mut reader = Reader::new(WHAT, bytes);
    reader.version(VERSION)?;
    let count = reader.count("histograms", HISTOGRAMS_PER_CHUNK_MAX)?;
    if count == 0 {
        reader.finish()?;
        return Ok(Vec::new());
    }
    let layouts = read_layouts(&mut reader)?;
    let (mut numbers, mut marks) = (Vec::new(), Vec::new());
    decode_ints(&mut reader, count, &mut numbers)?;
    decode_ints(&mut reader, count, &mut marks)?;
    let (mut zeros, mut sums) = (Vec::new(), Vec::new());
    decode_float_runs(&mut reader, count, &mut zeros)?;
    decode_float_runs(&mut reader, count, &mut sums)?;

    let columns = Columns::of(&layouts);
    let (values, mut cursors) = read_buckets(&mut reader, &columns, &numbers)?;
    let mut histograms = Vec::with_capacity(count);
    for (i, number) in numbers.iter().enumerate() {
        // `read_buckets` has checked that every number is a layout's.
        let layout = &layouts[*number as usize];
        let mut counts = Vec::with_capacity(layout.buckets());
        for column in &columns.by_layout[*number as usize] {
            let cursor = &mut cursors[*column as usize];
            counts.push(values[*cursor]);
            *cursor += 1;
        }
        let negative_buckets = counts.split_off(layout.positive.buckets);
        histograms.push(Histogram {
            integer: marks[i] & 1 != 0,
            reset_hint: read_hint(&reader, marks[i])?,
            schema: layout.schema,
            zero_threshold: layout.zero_threshold,
            zero_count: zeros[i],
            count: 0.0,
            sum: sums[i],
            positive_spans: layout.positive.spans.clone(),
            negative_spans: layout.negative.spans.clone(),
            positive_buckets: counts,
            negative_buckets,
            custom_values: layout.bounds.clone(),
        });
    }
    decode_counts(&mut reader, &mut histograms)?;
    reader.finish()?;
    Ok(histograms)
}

/// What seldom changes between a series' histograms.
#[derive(Debug)]
struct Layout {
    schema: i32,
    zero_threshold: f64,
    positive: Side,
    negative: Side,
    bounds: Vec<f64>,
}

#[derive(Debug)]
struct Side {
    spans: Vec<Span>,
    buckets: usize,
}

impl Layout {
    fn of(h: &Histogram) -> Layout {
        let side =
            |spans: &[Span], counts: &[f64]| Side { spans: spans.to_vec(), buckets: counts.len() };
        Layout {
            schema: h.schema,
            zero_threshold: h.zero_threshold,
            positive: side(&h.positive_spans, &h.positive_buckets),
            negative: side(&h.negative_spans, &h.negative_buckets),
            bounds: h.custom_values.clone(),
        }
    }

    fn buckets(&self) -> usize {
        self.positive.buckets + self.negative.buckets
    }

    fn write(&self, out: &mut Vec<u8>) {
        put_zigzag(out, i64::from(self.schema));
        put_f64(out, self.zero_threshold);
        for side in [&self.positive, &self.negative] {
            put_varint(out, side.spans.len() as u64);
            for span in &side.spans {
                put_zigzag(out, i64::from(span.offset));
                put_varint(out, u64::from(span.length));
            }
            put_varint(out, side.buckets as u64);
        }
        put_varint(out, self.bounds.len() as u64);
        encode_float_runs(&self.bounds, out);
    }
}

/// The distinct layouts, and the number of each histogram's.
fn layouts_of(histograms: &[&Histogram]) -> (Vec<Layout>, Vec<i64>) {
    let (mut layouts, mut known) = (Vec::new(), HashMap::new());
    let mut numbers: Vec<i64> = Vec::with_capacity(histograms.len());
    for (i, h) in histograms.iter().enumerate() {
        if i > 0 && same_layout(h, histograms[i - 1]) {
            numbers.push(numbers[i - 1]);
            continue;
        }
        let layout = Layout::of(h);
        // The bytes are the identity: two NaN thresholds are one layout.
        let mut bytes = Vec::new();
        layout.write(&mut bytes);
        numbers.push(*known.entry(bytes).or_insert_with(|| {
            layouts.push(layout);
            layouts.len() as i64 - 1
        }));
    }
    (layouts, numbers)
}

fn same_layout(a: &Histogram, b: &Histogram) -> bool {
    a.schema == b.schema
        && a.zero_threshold.to_bits() == b.zero_threshold.to_bits()
        && a.positive_buckets.len() == b.positive_buckets.len()
        && a.negative_buckets.len() == b.negative_buckets.len()
        && a.positive_spans == b.positive_spans
        && a.negative_spans == b.negative_spans
        && a.custom_values.len() == b.custom_values.len()
        && a.custom_values.iter().zip(&b.custom_values).all(|(a, b)| a.to_bits() == b.to_bits())
}

/// Which column holds which bucket.
struct Columns {
    count: usize,
    /// For each layout the columns of its buckets, positive ones first.
    by_layout: Vec<Vec<u32>>,
}

/// A bucket's place among all columns: schema, negative side, index.
type BucketKey = (i32, bool, i64);

impl Columns {
    fn of(layouts: &[Layout]) -> Columns {
        let mut all: Vec<BucketKey> = layouts.iter().flat_map(bucket_keys).collect();
        all.sort_unstable();
        all.dedup();
        let column = |key| all.binary_search(&key).unwrap_or_default() as u32;
        let by_layout = layouts.iter().map(|l| bucket_keys(l).map(column).collect()).collect();
        Columns { count: all.len(), by_layout }
    }
}

fn bucket_keys(layout: &Layout) -> impl Iterator<Item = BucketKey> {
    let of_side = |side, negative| indexes(side).map(move |i| (layout.schema, negative, i));
    of_side(&layout.positive, false).chain(of_side(&layout.negative, true))
}

/// The indexes of a side's buckets: strictly increasing, whatever the spans say.
fn indexes(side: &Side) -> impl Iterator<Item = i64> {
    let mut next = 0i64;
    let by_spans = side.spans.iter().flat_map(move |span| {
        let from = next + i64::from(span.offset);
        next = from + i64::from(span.length);
        from..next
    });
    let mut before = None;
    by_spans.map(Some).chain(std::iter::repeat(None)).take(side.buckets).map(move |by_span| {
        let above = before.map_or(i64::MIN, |b: i64| b + 1);
        let index = by_span.unwrap_or(above.max(0)).max(above);
        before = Some(index);
        index
    })
}

fn read_layouts(reader: &mut Reader<'_>) -> Result<Vec<Layout>, CodecError> {
    let count = reader.count_of("layouts", LAYOUTS_PER_CHUNK_MAX, LAYOUT_BYTES_MIN)?;
    let mut budget = Budget::new(WHAT, "buckets", BUCKETS_PER_CHUNK_MAX);
    let mut layouts = Vec::with_capacity(count);
    for _ in 0..count {
        let schema = reader.zigzag_i32()?;
        let zero_threshold = reader.f64()?;
        let positive = read_side(reader)?;
        let negative = read_side(reader)?;
        let bounds_count = reader.count("buckets", BUCKETS_PER_CHUNK_MAX)?;
        budget.take(positive.buckets + negative.buckets)?;
        budget.take(bounds_count)?;
        let mut bounds = Vec::new();
        decode_float_runs(reader, bounds_count, &mut bounds)?;
        layouts.push(Layout { schema, zero_threshold, positive, negative, bounds });
    }
    Ok(layouts)
}

fn read_side(reader: &mut Reader<'_>) -> Result<Side, CodecError> {
    let count = reader.count_of("spans", BUCKETS_PER_CHUNK_MAX, SPAN_BYTES_MIN)?;
    let mut spans = Vec::with_capacity(count);
    for _ in 0..count {
        spans.push(Span { offset: reader.zigzag_i32()?, length: reader.varint_u32()? });
    }
    // The buckets of one layout are as many columns, which follow.
    let buckets = reader.count_of("buckets", BUCKETS_PER_CHUNK_MAX, COLUMN_BYTES_MIN)?;
    Ok(Side { spans, buckets })
}

/// Reads all columns one behind the other, and says where each begins.
fn read_buckets(
    reader: &mut Reader<'_>,
    columns: &Columns,
    numbers: &[i64],
) -> Result<(Vec<f64>, Vec<usize>), CodecError> {
    let mut uses = vec![0usize; columns.by_layout.len()];
    let mut budget = Budget::new(WHAT, "buckets", BUCKETS_PER_CHUNK_MAX);
    for number in numbers {
        let layout = usize::try_from(*number).ok().filter(|n| *n < uses.len());
        let layout = layout.ok_or_else(|| reader.malformed("layout is not in the table"))?;
        uses[layout] += 1;
        budget.take(columns.by_layout[layout].len())?;
    }
    let mut lengths = vec![0usize; columns.count];
    for (layout, uses) in columns.by_layout.iter().zip(uses) {
        for column in layout {
            lengths[*column as usize] += uses;
        }
    }
    let (mut values, mut starts) = (Vec::new(), Vec::with_capacity(columns.count));
    for length in lengths {
        starts.push(values.len());
        decode_float_runs(reader, length, &mut values)?;
    }
    Ok((values, starts))
}

fn read_hint(reader: &Reader<'_>, mark: i64) -> Result<ResetHint, CodecError> {
    match mark >> 1 {
        hint @ 0..=3 => Ok(ResetHint::from_number(hint as u32)),
        _ => Err(reader.malformed("reset hint is unknown")),
    }
}

/// The sum of all buckets, in the one order that encoder and decoder share.
fn buckets_sum(h: &Histogram) -> f64 {
    h.positive_buckets.iter().chain(&h.negative_buckets).fold(h.zero_count, |sum, c| sum + c)
}

/// Usually a histogram's count is the sum of its buckets and costs nothing. Where the subtraction
/// is not exact, or does not pay, counts are stored as they are.
fn encode_counts(histograms: &[&Histogram], out: &mut Vec<u8>) {
    let above: Vec<f64> = histograms.iter().map(|h| h.count - buckets_sum(h)).collect();
    // What is not finite is left alone: the bits of a computed NaN are not the same everywhere.
    let exact = |(h, above): (&&Histogram, &f64)| {
        above.is_finite() && (buckets_sum(h) + above).to_bits() == h.count.to_bits()
    };
    let mut plain = vec![COUNTS_PLAIN];
    encode_float_runs(&histograms.iter().map(|h| h.count).collect::<Vec<_>>(), &mut plain);
    if histograms.iter().zip(&above).all(exact) {
        let mut derived = vec![COUNTS_ABOVE_BUCKETS];
        encode_float_runs(&above, &mut derived);
        if derived.len() <= plain.len() {
            plain = derived;
        }
    }
    out.append(&mut plain);
}

fn decode_counts(reader: &mut Reader<'_>, histograms: &mut [Histogram]) -> Result<(), CodecError> {
    let how = reader.u8()?;
    let mut counts = Vec::new();
    decode_float_runs(reader, histograms.len(), &mut counts)?;
    for (h, count) in histograms.iter_mut().zip(counts) {
        h.count = match how {
            COUNTS_PLAIN => count,
            COUNTS_ABOVE_BUCKETS => buckets_sum(h) + count,
            _ => return Err(reader.malformed("counts are stored in no known way")),
        };
    }
    Ok(())
}

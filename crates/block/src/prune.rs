//! Pruning: which rows of a row group can hold what a scan wants, by the statistics of pages alone.
//!
//! Statistics are bounds (texts are cut at 64 bytes), so that what is left may still not pass; what
//! is left out cannot.

use std::ops::Range;

use pando_model::{KeyRange, METRIC_NAME, MatchOp, Matcher, TenantId, TimeRange};
use parquet::file::page_index::column_index::ColumnIndexMetaData;

use crate::reader::Opened;
use crate::schema::Fixed;

/// What a scan wants: samples in `time` of series of `tenant` with keys in `keys` that pass `matchers`.
pub(crate) struct Wanted<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) keys: KeyRange,
    pub(crate) matchers: &'a [Matcher],
    pub(crate) time: TimeRange,
}

impl Wanted<'_> {
    /// The rows of `group` within `rows`, all of them the tenant's, that may be wanted.
    pub(crate) fn prune(&self, block: &Opened, group: usize, rows: Range<u64>) -> Vec<Range<u64>> {
        let Wanted { keys, matchers, time, .. } = *self;
        let mut left = vec![rows];
        if keys != KeyRange::ALL {
            keep(block, group, leaf(block, Fixed::Key), &mut left, |index, page| {
                let ColumnIndexMetaData::INT64(index) = index else { return true };
                // The column is unsigned; the library hands out the bits as signed.
                let bounds = (index.min_value(page), index.max_value(page));
                let (Some(min), Some(max)) = bounds else { return true };
                *min as u64 <= keys.last.0 && keys.first.0 <= *max as u64
            });
        }
        keep(block, group, leaf(block, Fixed::MinTime), &mut left, |index, page| {
            let ColumnIndexMetaData::INT64(index) = index else { return true };
            index.min_value(page).is_none_or(|min| *min < time.max_ms)
        });
        keep(block, group, leaf(block, Fixed::MaxTime), &mut left, |index, page| {
            let ColumnIndexMetaData::INT64(index) = index else { return true };
            index.max_value(page).is_none_or(|max| *max >= time.min_ms)
        });
        if let Some(leaf) = name_leaf(block) {
            for matcher in matchers.iter().filter(|m| m.name() == METRIC_NAME) {
                keep(block, group, leaf, &mut left, |index, page| may_match(index, page, matcher));
            }
        }
        left
    }

    /// Whether all of `rows` are wanted, as the statistics of their pages alone say: nothing but the name is asked of
    /// the labels, and a page has one name.
    pub(crate) fn all_pass(&self, block: &Opened, group: usize, rows: &[Range<u64>]) -> bool {
        let Wanted { tenant, keys, matchers, time } = *self;
        let Some(names) = name_leaf(block) else { return false };
        let all = |leaf, passes: &dyn Fn(&ColumnIndexMetaData, usize) -> bool| {
            all_of(block, group, leaf, rows, passes)
        };
        keys == KeyRange::ALL
            && matchers.iter().all(|matcher| matcher.name() == METRIC_NAME)
            && all(leaf(block, Fixed::Tenant), &|index, page| {
                only_text(index, page) == Some(tenant.as_str())
            })
            && all(leaf(block, Fixed::MinTime), &|index, page| {
                let ColumnIndexMetaData::INT64(index) = index else { return false };
                index.max_value(page).is_some_and(|max| *max < time.max_ms)
            })
            && all(leaf(block, Fixed::MaxTime), &|index, page| {
                let ColumnIndexMetaData::INT64(index) = index else { return false };
                index.min_value(page).is_some_and(|min| *min >= time.min_ms)
            })
            && all(names, &|index, page| {
                let name = only_text(index, page);
                name.is_some_and(|name| matchers.iter().all(|matcher| matcher.matches(name)))
            })
    }
}

fn leaf(block: &Opened, column: Fixed) -> usize {
    block.columns.leaves(block.columns.root(column)).start
}

/// The leaf column of metric names, where they have a column.
fn name_leaf(block: &Opened) -> Option<usize> {
    block.columns.label_root(METRIC_NAME).map(|root| block.columns.leaves(root).start)
}

/// The one text that all rows of a page have. A text that was cut has another bound above than below.
fn only_text(index: &ColumnIndexMetaData, page: usize) -> Option<&str> {
    let ColumnIndexMetaData::BYTE_ARRAY(index) = index else { return None };
    if index.is_null_page(page) || index.null_count(page) != Some(0) {
        return None;
    }
    let (min, max) = (index.min_value(page)?, index.max_value(page)?);
    std::str::from_utf8(min).ok().filter(|_| min == max)
}

/// Whether a page of metric names may hold one that passes.
fn may_match(index: &ColumnIndexMetaData, page: usize, matcher: &Matcher) -> bool {
    let ColumnIndexMetaData::BYTE_ARRAY(index) = index else { return true };
    if index.is_null_page(page) {
        return matcher.matches_empty();
    }
    let nulls = index.null_count(page).is_none_or(|nulls| nulls > 0);
    if nulls && matcher.matches_empty() {
        return true;
    }
    let (Some(min), Some(max)) = (index.min_value(page), index.max_value(page)) else {
        return true;
    };
    match (matcher.op(), std::str::from_utf8(min)) {
        (MatchOp::Equal, _) => {
            let name = matcher.value().as_bytes();
            min <= name && name <= max
        }
        // One name in the whole page. A text that was cut has another bound above than below.
        (_, Ok(name)) if min == max => matcher.matches(name),
        _ => true,
    }
}

/// Keeps of `rows` what lies in pages of column `leaf` for which `wanted` holds.
fn keep(
    block: &Opened,
    group: usize,
    leaf: usize,
    rows: &mut Vec<Range<u64>>,
    wanted: impl Fn(&ColumnIndexMetaData, usize) -> bool,
) {
    let Some((index, pages)) = indexed_pages(block, group, leaf) else { return };
    let mut kept: Vec<Range<u64>> = Vec::new();
    for (_, page) in pages.enumerate().filter(|(at, _)| wanted(index, *at)) {
        match kept.last_mut() {
            Some(run) if run.end == page.start => run.end = page.end,
            _ => kept.push(page),
        }
    }
    *rows = intersect(rows, &kept);
}

/// Whether `passes` holds for each page of column `leaf` that any of `rows` is in.
fn all_of(
    block: &Opened,
    group: usize,
    leaf: usize,
    rows: &[Range<u64>],
    passes: &dyn Fn(&ColumnIndexMetaData, usize) -> bool,
) -> bool {
    let Some((index, pages)) = indexed_pages(block, group, leaf) else { return false };
    let touched =
        |page: &Range<u64>| rows.iter().any(|run| run.start < page.end && page.start < run.end);
    pages.enumerate().all(|(at, page)| !touched(&page) || passes(index, at))
}

/// The statistics of the pages of column `leaf`, and the rows of each; `None` where they are not there for all.
fn indexed_pages(
    block: &Opened,
    group: usize,
    leaf: usize,
) -> Option<(&ColumnIndexMetaData, impl Iterator<Item = Range<u64>>)> {
    let index = block.arrow.metadata().page_index()?.column_index(group, leaf)?;
    let pages = &block.pages.chunk(group, leaf).data;
    let ends = pages.iter().skip(1).map(|page| page.first_row).chain([block.group_rows(group)]);
    let rows = pages.iter().zip(ends).map(|(page, end)| page.first_row..end);
    (index.num_pages() == pages.len() as u64).then_some((index, rows))
}

/// The rows that are in both lists of runs (sorted, disjoint).
fn intersect(a: &[Range<u64>], b: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut both = Vec::new();
    let (mut i, mut j) = (0, 0);
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        let common = x.start.max(y.start)..x.end.min(y.end);
        if !common.is_empty() {
            both.push(common);
        }
        if x.end <= y.end { i += 1 } else { j += 1 }
    }
    both
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_intersected() {
        assert_eq!(intersect(&[0..10, 20..30], &[5..25, 28..40]), [5..10, 20..25, 28..30]);
        assert!(intersect(&[0..5, 9..10], &[5..8, 10..11]).is_empty());
    }
}

//! Losses: which samples of the inputs are not in the output, by deletes and retention. Pure.
//!
//! What is lost is a matter of each input: a delete reaches into the blocks that it concerns and not
//! into those that came later, and retention spares what was stored lately, however old its times
//! are. A sample that one input loses may stand in another and stay. Mostly the losses of all inputs
//! can be taken from the merged series; where they cannot, [`Plan::separately`] says so, and each
//! input is written anew first.

use std::collections::BTreeMap;
use std::sync::Arc;

use pando_catalog::{BlockEntry, BlocksView, DeleteRecord, RoutingView, believable_ms};
use pando_model::{Matcher, SeriesSamples, TenantId, TenantSpan, TimeRange};

/// What one tenant loses.
#[derive(Clone, Debug, PartialEq, Eq)]
struct TenantLosses {
    /// Samples before it are lost, ms; `i64::MIN` for none.
    before_ms: i64,
    /// The deletes that apply, by number.
    deletes: BTreeMap<u64, Arc<DeleteRecord>>,
}

/// What a block loses, by tenant. A tenant that loses nothing is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Losses {
    tenants: BTreeMap<TenantId, TenantLosses>,
}

/// The losses of a work item's inputs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// What each input loses before it is merged; empty where all losses can be taken from the
    /// merged series.
    pub(crate) separately: Vec<Losses>,
    /// What the merged series lose.
    pub(crate) merged: Losses,
}

impl Plan {
    /// The losses of `inputs`, with deletes up to `deletes_upto`, judged at `now_ms`.
    pub(crate) fn of(
        inputs: &[Arc<BlockEntry>],
        routing: &RoutingView,
        blocks: &BlocksView,
        deletes_upto: u64,
        now_ms: i64,
    ) -> Plan {
        let now_ms = believable_ms(now_ms, blocks.iter().map(|entry| entry.stored_ms));
        let each: Vec<Losses> = inputs
            .iter()
            .map(|entry| Losses::of_block(entry, routing, blocks, deletes_upto, now_ms))
            .collect();
        let mut merged = Losses::default();
        each.iter().for_each(|losses| merged.add(losses));
        let harmless = |(entry, own): (&Arc<BlockEntry>, &Losses)| {
            entry.record.tenants.iter().all(|span| merged.takes_no_more_than(own, span))
        };
        match inputs.iter().zip(&each).all(harmless) {
            true => Plan { separately: Vec::new(), merged },
            false => Plan { separately: each, merged: Losses::default() },
        }
    }

    /// Whether nothing is lost.
    pub(crate) fn is_empty(&self) -> bool {
        self.merged.is_empty() && self.separately.iter().all(Losses::is_empty)
    }
}

impl Losses {
    fn of_block(
        entry: &BlockEntry,
        routing: &RoutingView,
        blocks: &BlocksView,
        deletes_upto: u64,
        now_ms: i64,
    ) -> Losses {
        let mut tenants = BTreeMap::new();
        for span in &entry.record.tenants {
            let deletes = blocks.deletes_of_block(entry, &span.tenant).into_iter();
            let deletes = deletes.filter(|delete| delete.number <= deletes_upto);
            let deletes: BTreeMap<u64, Arc<DeleteRecord>> =
                deletes.map(|delete| (delete.number, delete)).collect();
            let before_ms = expired_before(entry, span, routing.retention_ms(&span.tenant), now_ms);
            if before_ms > i64::MIN || !deletes.is_empty() {
                tenants.insert(span.tenant.clone(), TenantLosses { before_ms, deletes });
            }
        }
        Losses { tenants }
    }

    /// Whether nothing is lost.
    pub(crate) fn is_empty(&self) -> bool {
        self.tenants.is_empty()
    }

    fn add(&mut self, other: &Losses) {
        for (tenant, losses) in &other.tenants {
            match self.tenants.get_mut(tenant) {
                Some(all) => {
                    all.before_ms = all.before_ms.max(losses.before_ms);
                    all.deletes.extend(losses.deletes.clone());
                }
                None => {
                    self.tenants.insert(tenant.clone(), losses.clone());
                }
            }
        }
    }

    /// Whether a block with `span`, whose losses are `own`, loses nothing else by these.
    fn takes_no_more_than(&self, own: &Losses, span: &TenantSpan) -> bool {
        let Some(all) = self.tenants.get(&span.tenant) else { return true };
        let own = own.tenants.get(&span.tenant);
        let own_before_ms = own.map_or(i64::MIN, |own| own.before_ms);
        let same_time = all.before_ms <= own_before_ms || all.before_ms <= span.time.min_ms;
        let known = |number| own.is_some_and(|own| own.deletes.contains_key(number));
        let apart = |delete: &DeleteRecord| !delete.time.overlaps(span.time);
        same_time && all.deletes.iter().all(|(number, delete)| known(number) || apart(delete))
    }

    /// What of `series` of `tenant` stays; `None` where nothing does.
    pub(crate) fn apply(&self, tenant: &TenantId, series: SeriesSamples) -> Option<SeriesSamples> {
        let Some(losses) = self.tenants.get(tenant) else { return Some(series) };
        let hit = losses.deletes.values();
        let hit = hit.filter(|delete| Matcher::all_match(&delete.matchers, &series.labels));
        let deleted: Vec<TimeRange> = hit.map(|delete| delete.time).collect();
        let stays = |t_ms: i64| {
            t_ms >= losses.before_ms && !deleted.iter().any(|range| range.contains(t_ms))
        };
        subset(series, stays)
    }
}

/// The time before which retention takes the samples of `span` in `entry`; `i64::MIN` where it takes
/// none. As the catalog judges whole blocks: what was stored less than the retention ago stays,
/// however old its times are.
fn expired_before(entry: &BlockEntry, span: &TenantSpan, retention_ms: u64, now_ms: i64) -> i64 {
    let retention_ms = i64::try_from(retention_ms).unwrap_or(i64::MAX);
    if retention_ms == 0 || entry.stored_ms.saturating_add(retention_ms) > now_ms {
        return i64::MIN;
    }
    let before_ms = now_ms.saturating_sub(retention_ms);
    if before_ms > span.time.min_ms { before_ms } else { i64::MIN }
}

/// The samples and exemplars of `series` whose times stay; `None` where no sample does.
fn subset(mut series: SeriesSamples, stays: impl Fn(i64) -> bool) -> Option<SeriesSamples> {
    let kept: Vec<bool> = series.axis.iter().map(|t_ms| stays(*t_ms)).collect();
    series.exemplars.retain(|exemplar| stays(exemplar.timestamp_ms));
    if kept.iter().all(|kept| *kept) {
        return (!kept.is_empty()).then_some(series);
    }
    if !kept.contains(&true) {
        return None;
    }
    // New positions of the samples that stay.
    let places: Vec<u32> = kept
        .iter()
        .scan(0u32, |next, kept| {
            let place = *next;
            *next += u32::from(*kept);
            Some(place)
        })
        .collect();
    let is_kept = |at: usize| kept.get(at).copied().unwrap_or(false);
    series.histograms.retain_mut(|(at, _)| {
        let old = *at as usize;
        *at = places.get(old).copied().unwrap_or_default();
        is_kept(old)
    });
    let times = series.axis.iter().enumerate().filter(|(at, _)| is_kept(*at));
    series.axis = times.map(|(_, t_ms)| *t_ms).collect();
    retain_at(&mut series.floats, &kept);
    retain_at(&mut series.starts, &kept);
    Some(series)
}

fn retain_at<T>(values: &mut Vec<T>, kept: &[bool]) {
    let mut kept = kept.iter();
    values.retain(|_| kept.next().copied().unwrap_or(true));
}

#[cfg(test)]
mod tests;

//! Live generations of this node's shards, for executors here and elsewhere.

use std::sync::Arc;

use async_trait::async_trait;
use pando_consensus::ReadError;
use pando_executor::{
    ExecuteError, Found, LiveShards, LiveSource, Lookup, LookupKind, SeriesStream, Sources,
    blocking,
};
use pando_head::{HeadError, Selection, Shard};
use pando_model::{ErrorKind, Matcher, SeriesKey, SeriesSamples, ShardId, TimeRange};

use crate::local_shard::LocalShard;
use crate::shards::Shards;
use crate::state::HeadState;

/// Samples that are read at a time: some ms, for which nothing can be applied.
const BATCH_SAMPLES: usize = 64 << 10;
/// A lookup of times before this is worth a look at whether the head has any, ms. One that reaches
/// into the last hour hardly ever finds that it has none.
const PAST_MS: i64 = 3_600_000;

/// The live generations of this node's shards.
#[derive(Clone)]
pub(crate) struct LocalLive {
    shards: Arc<Shards>,
}

impl LocalLive {
    pub(crate) fn new(shards: Arc<Shards>) -> Self {
        LocalLive { shards }
    }

    /// The shard of `source`, once this replica has applied what was committed when it was asked;
    /// `None` where it is not here.
    async fn confirmed(
        &self,
        source: &LiveSource,
    ) -> Result<Option<Arc<LocalShard>>, ExecuteError> {
        let Some(shard) = self.shards.get(source.shard) else { return Ok(None) };
        let confirmed = shard.group.read_index().await;
        confirmed.map_err(|error| self.unconfirmed(source.shard, &error))?;
        Ok(Some(shard))
    }

    /// What an answer that is not confirmed means. A closed shard is removed once no query should name it any more;
    /// one that does plans again, and finds all of it in blocks.
    pub(crate) fn unconfirmed(&self, shard: ShardId, error: &ReadError) -> ExecuteError {
        if self.shards.get(shard).is_none() {
            return ExecuteError::Stale(format!("shard is closed and removed: shard={shard}"));
        }
        let message = format!("replica cannot be confirmed: shard={shard}: {error}");
        ExecuteError::Live { kind: error.kind(), message }
    }
}

#[async_trait]
impl LiveShards for LocalLive {
    async fn open(
        &self,
        sources: &Sources,
        source: &LiveSource,
        matchers: &[Matcher],
        time: TimeRange,
    ) -> Result<Option<Box<dyn SeriesStream>>, ExecuteError> {
        let Some(shard) = self.confirmed(source).await? else { return Ok(None) };
        let state = shard.state.clone();
        let (tenant, keys) = (sources.tenant.clone(), sources.keys);
        let (source, matchers) = (source.clone(), matchers.to_vec());
        let stream = blocking(move || {
            let select = |shard: &Shard| {
                check_pin(shard, &source)?;
                let selected = shard.select(&tenant, keys, &matchers, time, source.first_cut);
                selected.map(|selection| (selection, state.restores())).map_err(head_error)
            };
            let (selection, restores) = state.read(select)?;
            Ok::<_, ExecuteError>(HeadStream { state, restores, selection: Some(selection) })
        });
        Ok(Some(Box::new(stream.await?)))
    }

    async fn lookup(
        &self,
        sources: &Sources,
        source: &LiveSource,
        lookup: &Lookup,
    ) -> Result<Option<Found>, ExecuteError> {
        let Some(shard) = self.confirmed(source).await? else { return Ok(None) };
        let state = shard.state.clone();
        let now_ms = self.shards.context().clock.now_ms();
        let past = lookup.time.max_ms < now_ms.saturating_sub(PAST_MS);
        let (sources, source, lookup) = (sources.clone(), source.clone(), lookup.clone());
        let found = blocking(move || {
            state.read(|shard| {
                check_pin(shard, &source)?;
                let max_ms = lookup.rows_time().max_ms;
                if past && shard.stats(&sources.tenant, 0).min_time_ms >= max_ms {
                    return Ok(Found::default());
                }
                look_up(shard, &sources, &source, &lookup)
            })
        });
        found.await.map(Some)
    }
}

/// A shard that is sealed while the pin has it open has successors that the pin does not know.
fn check_pin(shard: &Shard, source: &LiveSource) -> Result<(), ExecuteError> {
    if shard.is_sealed() && !source.sealed {
        let text = format!("shard is sealed, and has successors: shard={}", source.shard);
        return Err(ExecuteError::Stale(text));
    }
    Ok(())
}

fn look_up(
    shard: &Shard,
    sources: &Sources,
    source: &LiveSource,
    lookup: &Lookup,
) -> Result<Found, ExecuteError> {
    let (tenant, limit) = (&sources.tenant, lookup.limit());
    let mut found = Found::default();
    for matchers in lookup.sets() {
        match lookup.kind {
            LookupKind::LabelNames => {
                found.texts.extend(shard.label_names(tenant, matchers, limit));
            }
            LookupKind::LabelValues => {
                found.texts.extend(shard.label_values(tenant, &lookup.label, matchers, limit));
            }
            LookupKind::Series => {
                // The head's order is not the answer's: the limit counts after sorting.
                let series = shard.series(tenant, matchers, usize::MAX).into_iter();
                let here = series.filter(|s| sources.keys.contains(SeriesKey::of(tenant, s)));
                found.series.extend(here);
            }
            LookupKind::Exemplars => {
                let (keys, time) = (sources.keys, lookup.time);
                let exemplars = shard.exemplars(tenant, keys, matchers, time, source.first_cut);
                for (labels, exemplars) in exemplars.map_err(head_error)? {
                    found.add_exemplars(labels, exemplars);
                }
            }
        }
        found.truncate(limit);
    }
    Ok(found)
}

fn head_error(error: HeadError) -> ExecuteError {
    match error.kind() {
        ErrorKind::Stale => ExecuteError::Stale(error.to_string()),
        kind => ExecuteError::Live { kind, message: error.to_string() },
    }
}

/// Series of a head, read in batches; between two of them the head takes writes.
struct HeadStream {
    state: Arc<HeadState>,
    /// Of the head that the selection was made from: rows of another one are other series (INV-6).
    restores: u64,
    /// `None` at the end, and after an error.
    selection: Option<Selection>,
}

#[async_trait]
impl SeriesStream for HeadStream {
    async fn next_batch(&mut self) -> Result<Option<Vec<SeriesSamples>>, ExecuteError> {
        let Some(mut selection) = self.selection.take() else { return Ok(None) };
        let (state, restores) = (self.state.clone(), self.restores);
        let (batch, selection) = blocking(move || {
            state.read(|shard| {
                if state.restores() != restores {
                    let text = "replica has taken over another member's state meanwhile";
                    return Err(ExecuteError::Stale(text.to_string()));
                }
                let batch = shard.read(&mut selection, BATCH_SAMPLES).map_err(head_error)?;
                Ok((batch, selection))
            })
        })
        .await?;
        if batch.is_empty() {
            return Ok(None);
        }
        self.selection = Some(selection);
        Ok(Some(batch))
    }
}

#[cfg(test)]
mod tests {
    use pando_codec::entry::ShardRules;
    use pando_consensus::StateMachine as _;
    use pando_head::ShardConfig;
    use pando_model::{Cut, KeyRange, ShardId, TenantId};

    use super::*;

    #[tokio::test]
    async fn a_stream_over_a_head_that_was_replaced_is_stale() {
        let (shard, rules) = (ShardId(1), ShardRules::default());
        let state = HeadState::new(ShardConfig { shard, rules, inherited: Vec::new() });
        let state = Arc::new(state);
        let tenant = TenantId::parse("a").expect("good name");
        let open = || {
            let select =
                |shard: &Shard| shard.select(&tenant, KeyRange::ALL, &[], TimeRange::ALL, Cut(1));
            let selection = Some(state.read(select).expect("it is here"));
            HeadStream { state: state.clone(), restores: state.restores(), selection }
        };
        let mut before = open();
        state.restore(&state.snapshot()).expect("it is whole");
        let stale = before.next_batch().await.expect_err("its rows are another head's");
        assert_eq!(stale.kind(), ErrorKind::Stale);
        assert!(open().next_batch().await.expect("it reads").is_none());
    }
}

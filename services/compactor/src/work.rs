//! One work item, from its lease to its end.

use std::sync::Arc;

use pando_catalog::{BlockEntry, CatalogView, WorkEnd, WorkKind};
use pando_model::BlockId;
use pando_runtime::SharedClock;
use tokio_util::sync::CancellationToken;

use crate::commit::Output;
use crate::compactor::Parts;
use crate::error::CompactError;
use crate::lease::Held;
use crate::losses::Plan;
use crate::merge::Merge;

/// How a work item ended well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    /// The inputs are replaced.
    Replaced,
    /// There was nothing to replace them for.
    Nothing,
}

/// Does a leased work item, with the lease kept beside it, and ends the lease.
pub(crate) async fn run(
    parts: &Parts,
    held: &Held,
    stop: &CancellationToken,
) -> Result<Ended, CompactError> {
    let now_ms = parts.clock.now_ms();
    let block = BlockId::new(now_ms, parts.rng.u128());
    let store = parts.store.clone();
    let output = Output::new(block, store, parts.client.clone(), parts.config.put);
    let clock: &SharedClock = &parts.clock;
    let result = tokio::select! {
        result = replace(parts, held, &output, now_ms, stop) => result,
        lost = held.keep(&parts.client, clock) => Err(lost),
        () = stop.cancelled() => Err(CompactError::Stopping),
    };
    match result {
        Ok(Ended::Replaced) => Ok(Ended::Replaced),
        Ok(Ended::Nothing) => {
            held.release(&parts.client, WorkEnd::NothingToDo).await;
            Ok(Ended::Nothing)
        }
        Err(_) if output.abandon().await => Ok(Ended::Replaced),
        Err(error) => {
            held.release(&parts.client, error.work_end()).await;
            Err(error)
        }
    }
}

async fn replace(
    parts: &Parts,
    held: &Held,
    output: &Output,
    now_ms: i64,
    stop: &CancellationToken,
) -> Result<Ended, CompactError> {
    // The answer's version is not below the grant's, so that its view has the inputs and the deletes.
    let needed = held.renew(&parts.client).await?;
    let view = parts.follower.pin(needed, parts.config.catalog_patience).await;
    let view = view.ok_or(CompactError::Behind { needed })?;
    let inputs = inputs_of(held, &view)?;
    let item = held.item.clone();
    let losses = Plan::of(&inputs, &view.routing, &view.blocks, item.deletes_upto, now_ms);
    if item.spec.kind == WorkKind::Rewrite && losses.is_empty() {
        return Ok(Ended::Nothing);
    }
    let merge = Merge { item, inputs: inputs.clone(), losses, output: output.block, now_ms };
    let merged = merge.run(parts.blocks.clone(), stop.child_token()).await?;
    let written = merged.output.as_ref().map(|built| built.record.object_bytes);
    let kept = merged.kept.samples;
    output.commit(held, merged).await?;
    count(parts, &inputs, written, kept);
    Ok(Ended::Replaced)
}

fn inputs_of(held: &Held, view: &CatalogView) -> Result<Vec<Arc<BlockEntry>>, CompactError> {
    let find = |id: &BlockId| {
        let entry = view.blocks.block(*id).cloned();
        entry.ok_or(CompactError::InputGone { block: *id })
    };
    held.item.spec.inputs.iter().map(find).collect()
}

fn count(parts: &Parts, inputs: &[Arc<BlockEntry>], written: Option<u64>, kept: u64) {
    let sum = |of: fn(&BlockEntry) -> u64| inputs.iter().map(|entry| of(entry)).sum();
    let metrics = &parts.metrics;
    metrics.blocks_replaced.inc_by(inputs.len() as u64);
    metrics.input_bytes.inc_by(sum(|entry| entry.record.object_bytes));
    metrics.input_samples.inc_by(sum(|entry| entry.record.digest.samples));
    metrics.blocks_written.inc_by(u64::from(written.is_some()));
    metrics.output_bytes.inc_by(written.unwrap_or(0));
    metrics.output_samples.inc_by(kept);
}

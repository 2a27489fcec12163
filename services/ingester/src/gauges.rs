//! Looks at all shards now and then: gauges, and what refuses writes before memory or disk are full.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pando_head::{HeadStats, Shard};

use crate::generations::forget_old_blocks;
use crate::shards::Shards;

/// How often. Looking walks over all series tables, some ms for each million series.
const INTERVAL: Duration = Duration::from_secs(2);
/// Chunks are counted, and old blocks looked for, only each so many looks.
const SELDOM: u64 = 30;

/// Looks until it is dropped.
pub(crate) async fn run(shards: Arc<Shards>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for turn in 0.. {
        ticks.tick().await;
        let looked_at = shards.clone();
        let look = move || look(&looked_at, turn % SELDOM == 0);
        if let Err(error) = tokio::task::spawn_blocking(look).await {
            tracing::error!(%error, "looking at shards stopped with a fault");
        }
    }
}

fn look(shards: &Shards, seldom: bool) {
    let context = shards.context();
    let metrics = &context.metrics;
    let all = shards.all();
    let (mut series, mut chunks, mut led, mut uncommitted, mut differing) = (0, 0, 0, 0, 0);
    let (mut series_bytes, mut stream_bytes, mut sample_bytes) = (0u64, 0u64, 0u64);
    for shard in &all {
        let memory = shard.state.read(Shard::memory);
        shard.sample_bytes.store(memory.sample_bytes as u64, Ordering::Relaxed);
        series_bytes += memory.series_bytes as u64;
        stream_bytes += memory.stream_bytes as u64;
        sample_bytes += memory.sample_bytes as u64;
        series += shard.state.read(Shard::active_series);
        if seldom {
            let of = |head: &Shard| -> Vec<HeadStats> {
                head.tenants().map(|tenant| head.stats(tenant, 0)).collect()
            };
            chunks += shard.state.read(of).iter().map(|stats| stats.chunks).sum::<u64>();
        }
        let progress = shard.state.progress();
        differing += progress.differing.len() as u64;
        if shard.group.is_leader() {
            led += 1;
            uncommitted += progress.uncommitted.len() as u64;
        }
    }
    let memory_bytes = series_bytes + stream_bytes + sample_bytes;
    context.memory_bytes.store(memory_bytes, Ordering::Relaxed);
    match context.host.checkpoint_bytes() {
        Ok(bytes) => {
            context.checkpoint_bytes.store(bytes, Ordering::Relaxed);
            metrics.disk("checkpoints", bytes);
        }
        Err(error) => tracing::warn!(%error, "checkpoints cannot be measured"),
    }
    metrics.disk("log", context.host.log_bytes());
    if let Ok(Some(free)) = context.host.free_bytes() {
        metrics.disk("free", free);
    }
    metrics.shards.set(all.len() as u64);
    metrics.copies_damaged(context.blocks.copies_damaged());
    let failed = all.iter().filter(|shard| shard.group.failure().is_some());
    metrics.shards_failed.set(failed.count() as u64);
    metrics.shards_led.set(led);
    metrics.generations_uncommitted.set(uncommitted);
    metrics.generations_differing.set(differing);
    metrics.head_series.set(series);
    metrics.memory("series", series_bytes);
    metrics.memory("streams", stream_bytes);
    metrics.memory("samples", sample_bytes);
    if seldom {
        metrics.head_chunks.set(chunks);
        let keep_ms = context.config.keep_ms;
        forget_old_blocks(&context.blocks, context.clock.now_ms().saturating_sub(keep_ms));
    }
}

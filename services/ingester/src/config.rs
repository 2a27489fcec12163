//! Configuration of the ingester.

use std::time::Duration;

use pando_codec::write_block::REQUEST_BYTES_MAX;
use pando_model::NodeId;

/// How an ingester behaves.
#[derive(Clone, Debug)]
pub struct IngesterConfig {
    /// This node.
    pub node: NodeId,
    /// A generation with samples ends after this time at the latest.
    pub cut_interval: Duration,
    /// A generation ends when its samples take about this much memory, bytes.
    pub cut_bytes: u64,
    /// Log and checkpoints may take this much, bytes; then writes are refused. The log holds what is not
    /// committed yet, and what a checkpoint has not freed.
    pub disk_bytes: u64,
    /// Writes are refused while less than this is free on the file system of log and checkpoints,
    /// bytes: cuts, commits and checkpoints need it.
    pub disk_reserve_bytes: u64,
    /// Series, streams and samples of all shards may take about this much memory, bytes; then
    /// writes are refused. Estimated every 2 s.
    pub memory_bytes: u64,
    /// The longest query: what may still be named by a query that began before is kept for so long.
    pub query_timeout: Duration,
    /// Blocks younger than this are kept in the local folder, ms.
    pub keep_ms: i64,
    /// Write blocks that wait for their outcome, of all shards, bytes.
    pub write_bytes_max: usize,
    /// A member whose clock is further off the controllers' takes no writes, ms.
    pub clock_skew_ms_max: i64,
    /// Whether operators may have generations cut by gRPC.
    pub admin_api: bool,
}

impl IngesterConfig {
    /// A generation's bytes.
    pub const CUT_BYTES: u64 = 256 << 20;
    /// Bytes of log and checkpoints.
    pub const DISK_BYTES: u64 = 20 << 30;
    /// Bytes that stay free beside them.
    pub const DISK_RESERVE_BYTES: u64 = 1 << 30;

    /// The usual values: cuts each 10 min or 256 MiB, 20 GiB of disk (1 GiB of it free) or 16 GiB of
    /// memory before writes are refused, queries of 2 min, blocks kept for 3 h, 256 MiB of writes under
    /// way, clocks at most 1 min off.
    pub fn new(node: NodeId) -> Self {
        IngesterConfig {
            node,
            cut_interval: Duration::from_secs(600),
            cut_bytes: Self::CUT_BYTES,
            disk_bytes: Self::DISK_BYTES,
            disk_reserve_bytes: Self::DISK_RESERVE_BYTES,
            memory_bytes: 16 << 30,
            query_timeout: Duration::from_secs(120),
            keep_ms: 3 * 3_600_000,
            write_bytes_max: 256 << 20,
            clock_skew_ms_max: 60_000,
            admin_api: false,
        }
    }

    /// Every fault at once.
    pub fn validate(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.cut_interval < Duration::from_secs(1) {
            faults.push(format!(
                "cuts are at least 1 s apart: --ingester.cut-interval={:?}",
                self.cut_interval
            ));
        }
        if self.cut_bytes == 0 || self.disk_bytes < self.cut_bytes {
            let (cut, disk, memory) = (self.cut_bytes, self.disk_bytes, self.memory_bytes);
            faults.push(format!(
                "a generation does not fit: --ingester.disk-bytes={disk} cut_bytes={cut} (--ingester.cut-bytes, or a \
                 quarter of --ingester.memory-bytes={memory})"
            ));
        }
        if self.memory_bytes < self.cut_bytes {
            let (cut, memory) = (self.cut_bytes, self.memory_bytes);
            faults.push(format!(
                "a generation does not fit: --ingester.cut-bytes={cut} \
                 --ingester.memory-bytes={memory}"
            ));
        }
        if self.keep_ms < 0 {
            faults.push(format!(
                "blocks cannot be kept for less than no time: keep_ms={}",
                self.keep_ms
            ));
        }
        if self.write_bytes_max < REQUEST_BYTES_MAX {
            let (given, least) = (self.write_bytes_max, REQUEST_BYTES_MAX);
            faults.push(format!(
                "one request does not fit: write_bytes_max={given} at_least={least}"
            ));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_named_at_once() {
        let good = IngesterConfig::new(NodeId(1));
        assert_eq!(good.validate(), [] as [String; 0]);
        let bad = IngesterConfig {
            cut_interval: Duration::ZERO,
            disk_bytes: 1,
            memory_bytes: 1,
            keep_ms: -1,
            write_bytes_max: 1,
            ..good
        };
        assert_eq!(bad.validate().len(), 5);
    }
}

//! `BlockRows`: all series of all tenants of a block, in order. For compaction and for checks.

use std::sync::Arc;

use pando_model::{Metadata, SeriesSamples, TenantId};

use crate::error::BlockError;
use crate::group::GroupRead;
use crate::io::RangeReader;
use crate::reader::{Opened, fetch_verified};
use crate::scan::{GroupSeries, Known};

/// One series of one tenant.
#[derive(Clone, Debug)]
pub struct TenantSeries {
    /// The tenant.
    pub tenant: TenantId,
    /// All samples that the block has of the series.
    pub samples: SeriesSamples,
    /// Metadata of its metric family, where it is known.
    pub metadata: Option<Metadata>,
}

/// Walks through a block, one row group in memory at a time.
pub struct BlockRows {
    block: Arc<Opened>,
    io: Arc<dyn RangeReader>,
    next_group: usize,
    group: Option<GroupSeries>,
    known: Option<Known>,
}

impl BlockRows {
    pub(crate) fn new(block: Arc<Opened>, io: Arc<dyn RangeReader>) -> Self {
        BlockRows { block, io, next_group: 0, group: None, known: None }
    }

    pub(crate) fn block(&self) -> &Opened {
        &self.block
    }

    /// The next series; `None` at the end. After an error the rest is lost.
    pub async fn next_series(&mut self) -> Result<Option<TenantSeries>, BlockError> {
        loop {
            if let Some(group) = &mut self.group {
                if let Some(series) = group.next_raw()? {
                    let tenant = series.tenant.ok_or_else(|| BlockError::Parquet {
                        block: self.block.record.id,
                        what: "a row without a tenant".to_string(),
                    })?;
                    let (samples, metadata) = (series.samples, series.metadata);
                    return Ok(Some(TenantSeries { tenant, samples, metadata }));
                }
                self.known = self.group.take().map(GroupSeries::into_known);
            }
            if self.next_group >= self.block.groups() {
                return Ok(None);
            }
            let group = self.next_group;
            self.next_group += 1;
            let read = GroupRead {
                group,
                rows: std::iter::once(0..self.block.group_rows(group)).collect(),
                roots: self.block.columns.all_roots().collect(),
            };
            let ranges = read.ranges(&self.block);
            let (block, io) = (&self.block, self.io.as_ref());
            let mut known = self.known.take();
            let group = fetch_verified(block.record.id, io, ranges, |parts| {
                let known = known.take().unwrap_or_else(|| Known::new(block.record.id, None));
                GroupSeries::new(block.clone(), read.clone(), parts, known)
            })
            .await?;
            self.group = Some(group);
        }
    }
}

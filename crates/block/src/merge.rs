//! Merging blocks: a k-way merge in the order of series, and the check that it conserves samples.
//!
//! Of several samples of one series at one time one is kept by the values alone, so that the result
//! does not depend on the order of the inputs. The check has three parts: what was read of each
//! input has the digest of its record; what the new file holds, read back and decoded, has the
//! digest of the merged samples; and both the new record and the file say so.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use pando_model::{Digest, JoinedAxes, Metadata, SeriesSamples, TenantId};

use crate::error::BlockError;
use crate::io::{MemoryObject, RangeReader};
use crate::order::SeriesPlace;
use crate::reader::BlockReader;
use crate::rows::{BlockRows, TenantSeries};
use crate::verify::verify_opened;
use crate::writer::{BlockOptions, BlockWriter, BuiltBlock, digest_of};

/// A block to merge, and where its bytes come from.
#[derive(Clone)]
pub struct MergeInput {
    /// The opened block.
    pub reader: BlockReader,
    /// Its bytes.
    pub io: Arc<dyn RangeReader>,
}

/// The series of several blocks as if they were one: each series once, duplicates removed.
pub struct MergedSeries {
    inputs: Vec<Input>,
    /// The places of the inputs' next series.
    heads: BinaryHeap<Reverse<(SeriesPlace, usize)>>,
    started: bool,
    axes: JoinedAxes,
}

struct Input {
    rows: BlockRows,
    next: Option<TenantSeries>,
    digest: Digest,
}

impl MergedSeries {
    /// Merges `inputs`.
    pub fn new(inputs: &[MergeInput]) -> Self {
        let inputs = inputs.iter().map(|input| Input {
            rows: input.reader.rows(input.io.clone()),
            next: None,
            digest: Digest::default(),
        });
        let heads = BinaryHeap::new();
        MergedSeries {
            inputs: inputs.collect(),
            heads,
            started: false,
            axes: JoinedAxes::default(),
        }
    }

    /// The next series; `None` when all inputs are at their end and each had the samples that its
    /// record promises. After an error the rest is lost.
    pub async fn next_series(&mut self) -> Result<Option<TenantSeries>, BlockError> {
        if !self.started {
            self.started = true;
            for at in 0..self.inputs.len() {
                self.advance(at).await?;
            }
        }
        let Some(Reverse((place, first))) = self.heads.pop() else { return Ok(None) };
        let mut same = vec![first];
        while let Some(Reverse((next, at))) = self.heads.peek() {
            if *next != place {
                break;
            }
            same.push(*at);
            self.heads.pop();
        }
        let (mut parts, mut metadata): (Vec<SeriesSamples>, Option<Metadata>) = (Vec::new(), None);
        for at in same {
            if let Some(series) = self.inputs[at].next.take() {
                parts.push(series.samples);
                // The largest, so that the order of inputs does not matter here either.
                metadata = metadata.max(series.metadata);
            }
            self.advance(at).await?;
        }
        let tenant = place.tenant;
        let samples = SeriesSamples::join(parts, &mut self.axes);
        Ok(samples.map(|samples| TenantSeries { tenant, samples, metadata }))
    }

    async fn advance(&mut self, at: usize) -> Result<(), BlockError> {
        let input = &mut self.inputs[at];
        match input.rows.next_series().await? {
            Some(series) => {
                input.digest.merge(digest_of(&series.tenant, &series.samples));
                let place = SeriesPlace {
                    tenant: series.tenant.clone(),
                    key: series.samples.key,
                    labels: series.samples.labels.clone(),
                };
                input.next = Some(series);
                self.heads.push(Reverse((place, at)));
                Ok(())
            }
            None => {
                let record = &input.rows.block().record;
                if input.digest == record.digest {
                    return Ok(());
                }
                Err(BlockError::Conservation {
                    block: record.id,
                    what: "an input is not what its record says",
                    samples: input.digest.samples,
                    expected: record.digest.samples,
                })
            }
        }
    }
}

/// Makes one block of `inputs`. `keep` sees every merged series and returns what of it is to stay:
/// all of it, or what deletes, retention or a key range leave.
pub async fn merge_blocks(
    inputs: &[MergeInput],
    options: BlockOptions,
    mut keep: impl FnMut(&TenantId, SeriesSamples) -> Option<SeriesSamples>,
) -> Result<BuiltBlock, BlockError> {
    let mut merged = MergedSeries::new(inputs);
    let mut writer = BlockWriter::new(options);
    let mut expected = Digest::default();
    while let Some(series) = merged.next_series().await? {
        let Some(samples) = keep(&series.tenant, series.samples) else { continue };
        expected.merge(digest_of(&series.tenant, &samples));
        writer.push(&series.tenant, samples, series.metadata.as_ref())?;
    }
    let built = writer.finish()?;
    let io = Arc::new(MemoryObject(built.bytes.clone()));
    let reader = BlockReader::fetch(&built.record, io.as_ref()).await?;
    let report = verify_opened(&reader, io).await?;
    if report.digest != expected || built.record.digest != expected {
        return Err(BlockError::Conservation {
            block: built.record.id,
            what: "the output is not the merged input",
            samples: report.digest.samples,
            expected: expected.samples,
        });
    }
    Ok(built)
}

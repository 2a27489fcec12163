//! `Part`: what of a batch goes into one write block, and its halves where that is too much.

use pando_codec::CodecError;
use pando_codec::write_block::{KeyedEncoder, KeyedSample};
use pando_model::{Metadata, TenantId};

use crate::batch::ShipSample;

/// A part that owns what it consists of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Part {
    pub(crate) samples: Vec<ShipSample>,
    pub(crate) metadata: Vec<(String, Metadata)>,
}

/// A part of a batch that stays where it is.
#[derive(Clone, Copy)]
pub(crate) struct PartRef<'a> {
    pub(crate) samples: &'a [ShipSample],
    pub(crate) metadata: &'a [(String, Metadata)],
}

impl Part {
    pub(crate) fn is_empty(&self) -> bool {
        self.samples.is_empty() && self.metadata.is_empty()
    }

    pub(crate) fn as_ref(&self) -> PartRef<'_> {
        PartRef { samples: &self.samples, metadata: &self.metadata }
    }
}

impl<'a> PartRef<'a> {
    pub(crate) fn to_part(self) -> Part {
        Part { samples: self.samples.to_vec(), metadata: self.metadata.to_vec() }
    }

    /// Both halves, the first samples first; `None` where it is one sample, or what is known of one family.
    pub(crate) fn halves(self) -> Option<[PartRef<'a>; 2]> {
        let PartRef { samples, metadata } = self;
        let (of_samples, of_metadata) = match (samples.len(), metadata.len()) {
            (0 | 1, 0) | (0, 1) => return None,
            (0, families) => (0, families / 2),
            (1, _) => (1, 0),
            (count, families) => (count / 2, families),
        };
        let (samples, more_samples) = samples.split_at(of_samples);
        let (metadata, more_metadata) = metadata.split_at(of_metadata);
        let second = PartRef { samples: more_samples, metadata: more_metadata };
        Some([PartRef { samples, metadata }, second])
    }

    /// Pushes all of it into the open block of `encoder`.
    ///
    /// # Errors
    /// A limit of the block or the stream. Some of it is in the open block then.
    pub(crate) fn push_to(
        self,
        encoder: &mut KeyedEncoder,
        tenant: &TenantId,
    ) -> Result<(), CodecError> {
        let mut order: Vec<&ShipSample> = self.samples.iter().collect();
        order.sort_by_key(|sample| sample.key.high_half());
        for run in order.chunk_by(|a, b| a.key.high_half() == b.key.high_half()) {
            let samples: Vec<KeyedSample<'_>> = run.iter().map(|sample| keyed(sample)).collect();
            encoder.push(tenant, run[0].key.high_half(), &samples)?;
        }
        for (family, metadata) in self.metadata {
            encoder.encoder().push_metadata(tenant, family, metadata);
        }
        Ok(())
    }
}

fn keyed(sample: &ShipSample) -> KeyedSample<'_> {
    KeyedSample {
        labels: &sample.labels,
        timestamp_ms: sample.timestamp_ms,
        value: sample.value.clone(),
        start_ms: sample.start_ms,
        exemplars: &sample.exemplars,
    }
}

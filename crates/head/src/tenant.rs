//! `Tenant`: what a shard knows of one tenant besides its samples.

use std::collections::BTreeMap;

use pando_codec::entry::TenantLimits;
use pando_codec::varint::{put_text, put_varint, put_zigzag};
use pando_codec::{CodecError, Reader};
use pando_model::{Labels, Metadata, MetricType, TenantId};

use crate::outcome::Refusal;
use crate::series_table::SeriesTable;
use crate::targets::Targets;

/// Metric families of one tenant that a shard keeps metadata of; further ones are dropped.
const METADATA_MAX: usize = 1 << 16;
/// Bytes of one text of metadata; longer ones are dropped.
const METADATA_BYTES_MAX: usize = 64 << 10;

/// One tenant of a shard.
#[derive(Debug, Default)]
pub(crate) struct Tenant {
    pub(crate) series: SeriesTable,
    /// The newest sample time, ms, also of the shards before this one.
    pub(crate) newest_ms: Option<i64>,
    pub(crate) metadata: BTreeMap<String, Metadata>,
    pub(crate) targets: Targets,
}

impl Tenant {
    /// The row of the series, or why it is refused.
    pub(crate) fn register(
        &mut self,
        tenant: &TenantId,
        labels: &Labels,
        limits: &TenantLimits,
    ) -> Result<u32, (Refusal, String)> {
        if labels.is_empty() {
            return Err((Refusal::NoLabels, format!("series has no labels: tenant={tenant}")));
        }
        if let Some((limit, found, max)) = exceeded(labels, limits) {
            let message = format!(
                "label limit reached: tenant={tenant} {limit}={found} max={max} series={labels}"
            );
            return Err((Refusal::LabelLimit, message));
        }
        let max = limits.series_max;
        self.series.activate(tenant, labels, max).ok_or_else(|| {
            let message =
                format!("series limit reached: tenant={tenant} series_max={max} series={labels}");
            (Refusal::SeriesLimit, message)
        })
    }

    /// Keeps what is said of a family, if there is room.
    pub(crate) fn note_metadata(&mut self, family: String, metadata: Metadata) {
        let room = self.metadata.len() < METADATA_MAX || self.metadata.contains_key(&family);
        let texts = [&family, &metadata.unit, &metadata.help];
        if room && texts.iter().all(|text| text.len() <= METADATA_BYTES_MAX) {
            self.metadata.insert(family, metadata);
        }
    }

    /// Appends the tenant to a checkpoint.
    pub(crate) fn save(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.newest_ms.is_some()));
        put_zigzag(out, self.newest_ms.unwrap_or(0));
        put_varint(out, self.metadata.len() as u64);
        for (family, metadata) in &self.metadata {
            put_text(out, family);
            out.push(metadata.metric_type as u8);
            put_text(out, &metadata.unit);
            put_text(out, &metadata.help);
        }
        self.targets.save(out);
        self.series.save(out);
    }

    /// Reads what [`Tenant::save`] wrote.
    pub(crate) fn load(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let has_newest = reader.u8()? == 1;
        let newest_ms = Some(reader.zigzag()?).filter(|_| has_newest);
        let mut metadata = BTreeMap::new();
        let text = |reader: &mut Reader<'_>| {
            reader.text("metadata bytes", METADATA_BYTES_MAX).map(str::to_string)
        };
        for _ in 0..reader.count_of("metadata", METADATA_MAX, 4)? {
            let family = text(reader)?;
            let metric_type = MetricType::from_number(u32::from(reader.u8()?));
            let (unit, help) = (text(reader)?, text(reader)?);
            metadata.insert(family, Metadata { metric_type, unit, help });
        }
        let targets = Targets::load(reader)?;
        Ok(Tenant { series: SeriesTable::load(reader)?, newest_ms, metadata, targets })
    }
}

/// The limit of labels that is exceeded: its name, what was found, what is allowed.
fn exceeded(labels: &Labels, limits: &TenantLimits) -> Option<(&'static str, usize, u32)> {
    let (mut count, mut name_bytes, mut value_bytes) = (0, 0, 0);
    for (name, value) in labels {
        count += 1;
        name_bytes = name_bytes.max(name.len());
        value_bytes = value_bytes.max(value.len());
    }
    [
        ("labels_per_series", count, limits.labels_per_series_max),
        ("label_name_bytes", name_bytes, limits.label_name_bytes_max),
        ("label_value_bytes", value_bytes, limits.label_value_bytes_max),
    ]
    .into_iter()
    .find(|(_, found, max)| *found > *max as usize)
}

//! A description of a block for people, from its footer alone.

use std::fmt::Write;

use pando_model::BlockSource;

use crate::reader::BlockReader;

/// Lines that say what `reader`'s block is, and what each column costs.
pub fn inspect_block(reader: &BlockReader) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write_record(&mut out, reader);
    let _ = write_columns(&mut out, reader);
    out
}

fn write_record(out: &mut String, reader: &BlockReader) -> std::fmt::Result {
    let record = reader.record();
    writeln!(out, "block {}", record.id)?;
    writeln!(out, "  format {} level {}", record.format, record.level)?;
    writeln!(out, "  resolution_ms {} created_ms {}", record.resolution_ms, record.created_ms)?;
    match &record.source {
        BlockSource::Generation(g) => writeln!(out, "  shard {} cut {}", g.shard, g.cut)?,
        BlockSource::Compaction { work, sources } => {
            writeln!(out, "  compaction work {work}")?;
            for source in sources {
                writeln!(out, "    source {source}")?;
            }
        }
    }
    writeln!(out, "  time [{}, {})", record.time.min_ms, record.time.max_ms)?;
    writeln!(out, "  samples {} hash {:032x}", record.digest.samples, record.digest.sum)?;
    let footer_bytes = record.object_bytes.saturating_sub(record.footer_offset);
    writeln!(out, "  bytes {} footer {footer_bytes}", record.object_bytes)?;
    let samples = record.digest.samples.max(1) as f64;
    writeln!(out, "  bits_per_sample {:.3}", record.object_bytes as f64 * 8.0 / samples)?;
    writeln!(out, "tenants {}", record.tenants.len())?;
    for span in &record.tenants {
        writeln!(
            out,
            "  {} rows {} at {} series {} samples {} keys {:016x}..={:016x} time [{}, {})",
            span.tenant,
            span.rows,
            span.first_row,
            span.series,
            span.samples,
            span.keys.first.0,
            span.keys.last.0,
            span.time.min_ms,
            span.time.max_ms,
        )?;
    }
    Ok(())
}

fn write_columns(out: &mut String, reader: &BlockReader) -> std::fmt::Result {
    let block = &reader.opened;
    let metadata = block.arrow.metadata();
    writeln!(out, "row groups {}", block.groups())?;
    for group in 0..block.groups() {
        writeln!(out, "  {group} rows {}", block.group_rows(group))?;
    }
    let schema = metadata.file_metadata().schema_descr();
    writeln!(out, "columns {}", schema.num_columns())?;
    for leaf in 0..schema.num_columns() {
        let (mut compressed, mut plain, mut pages, mut dictionaries) = (0i64, 0i64, 0, 0);
        for (group, chunks) in metadata.row_groups().iter().enumerate() {
            compressed += chunks.column(leaf).compressed_size();
            plain += chunks.column(leaf).uncompressed_size();
            pages += block.pages.chunk(group, leaf).data.len();
            dictionaries += usize::from(block.pages.chunk(group, leaf).dictionary.is_some());
        }
        let path = schema.column(leaf).path().string();
        writeln!(
            out,
            "  {path} bytes {compressed} uncompressed {plain} pages {pages} \
             dictionaries {dictionaries}"
        )?;
    }
    Ok(())
}

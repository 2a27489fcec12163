//! `io.prometheus.write.v2.Request`:
//!
//! ```text
//! Request    4 symbol*  5 TimeSeries*
//! TimeSeries 1 uint32 label reference*  2 Sample*  3 Histogram*  4 Exemplar*  5 Metadata
//!            6 int64 created timestamp (before 2.0-rc.4; now in samples)
//! Sample     1 double value  2 int64 timestamp  3 int64 start timestamp
//! Exemplar   1 uint32 label reference*  2 double value  3 int64 timestamp
//! Metadata   1 enum type  3 uint32 help reference  4 uint32 unit reference
//! ```
//!
//! The symbols may stand anywhere in the message, so that it is read twice.

use pando_model::{Exemplar, Labels, MetricType};

use super::body::{Limits, Version};
use super::error::{RemoteWriteError, SeriesProblem};
use super::histogram;
use super::request::{MetadataRef, SeriesRecord, WriteRequest};
use super::v1::{metric_type_of, sample, text};
use super::wire::{Budget, Field, Reader};

type Result<T> = std::result::Result<T, RemoteWriteError>;
type Checked<T> = std::result::Result<T, SeriesProblem>;

pub(super) fn decode(bytes: &[u8], limits: Limits) -> Result<WriteRequest<'_>> {
    let mut budget = Budget::new(limits);
    let mut symbols = Vec::new();
    let mut reader = Reader::new(bytes, "Request");
    while let Some((number, field)) = reader.next()? {
        if number == 4 {
            budget.take()?;
            symbols.push(text(reader.inner(field, "Request.symbols")?.bytes()));
        }
    }
    let mut decoder = Decoder {
        symbols: Symbols(symbols),
        request: WriteRequest::new(Version::V2),
        budget,
        references: Vec::new(),
    };
    let mut reader = Reader::new(bytes, "Request");
    while let Some((number, field)) = reader.next()? {
        if number == 5 {
            decoder.budget.take()?;
            decoder.time_series(reader.inner(field, "TimeSeries")?)?;
        }
    }
    Ok(decoder.request)
}

/// The table of symbols; one that is not UTF-8 is a problem of the series that refer to it.
struct Symbols<'a>(Vec<Checked<&'a str>>);

impl<'a> Symbols<'a> {
    #[inline]
    fn get(&self, reference: u32) -> Checked<&'a str> {
        match self.0.get(reference as usize) {
            Some(Ok(symbol)) => Ok(symbol),
            Some(Err(problem)) => Err(problem.clone()),
            None => Err(SeriesProblem::UnknownSymbol { reference, symbols: self.0.len() }),
        }
    }

    fn pairs(&self, references: &[u32], mut each: impl FnMut((&'a str, &'a str))) -> Checked<()> {
        let (pairs, rest) = references.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(SeriesProblem::OddReferences { count: references.len() });
        }
        for [name, value] in pairs {
            each((self.get(*name)?, self.get(*value)?));
        }
        Ok(())
    }
}

struct Decoder<'a> {
    symbols: Symbols<'a>,
    request: WriteRequest<'a>,
    budget: Budget,
    references: Vec<u32>,
}

impl<'a> Decoder<'a> {
    fn time_series(&mut self, mut reader: Reader<'a>) -> Result<()> {
        let from = self.request.lengths();
        self.references.clear();
        let (mut metadata, mut problem, mut created_ms) = (None, None, 0);
        let (samples, histograms) = (self.request.samples.len(), self.request.histograms.len());
        while let Some((number, field)) = reader.next()? {
            if (2..=4).contains(&number) {
                self.budget.take()?;
            }
            match number {
                1 => references(&reader, field, &mut self.references, &mut self.budget)?,
                2 => self.request.samples.push(sample(reader.inner(field, "Sample")?)?),
                3 => {
                    let reader = reader.inner(field, "Histogram")?;
                    self.request.histograms.push(histogram::decode(reader, &mut self.budget)?);
                }
                4 => {
                    let exemplar = self.exemplar(reader.inner(field, "Exemplar")?)?;
                    self.request.exemplars.push(exemplar);
                }
                5 => match self.metadata(reader.inner(field, "Metadata")?)? {
                    Ok(found) => metadata = Some(found).filter(|m| !m.is_empty()),
                    Err(e) => problem = Some(e),
                },
                6 => created_ms = reader.integer(field)? as i64,
                _ => {}
            }
        }
        let labels = &mut self.request.labels;
        if let Err(e) = self.symbols.pairs(&self.references, |pair| labels.push(pair)) {
            problem = Some(e);
        }
        if created_ms != 0 {
            let old = self.request.samples[samples..].iter_mut().map(|s| &mut s.start_ms);
            let histograms = self.request.histograms[histograms..].iter_mut();
            for start_ms in old.chain(histograms.map(|h| &mut h.start_ms)) {
                *start_ms = if *start_ms == 0 { created_ms } else { *start_ms };
            }
        }
        let (to, problem) = (self.request.lengths(), problem.map(Box::new));
        self.request.series.push(SeriesRecord { from, to, metadata, problem });
        Ok(())
    }

    fn exemplar(&mut self, mut reader: Reader<'a>) -> Result<Checked<Exemplar>> {
        let (mut refs, mut value, mut timestamp_ms) = (Vec::new(), 0.0, 0);
        while let Some((number, field)) = reader.next()? {
            match number {
                1 => references(&reader, field, &mut refs, &mut self.budget)?,
                2 => value = reader.double(field)?,
                3 => timestamp_ms = reader.integer(field)? as i64,
                _ => {}
            }
        }
        let mut pairs = Vec::with_capacity(refs.len() / 2);
        let found = self.symbols.pairs(&refs, |pair| pairs.push(pair));
        Ok(found.map(|()| Exemplar { labels: Labels::from_pairs(pairs), value, timestamp_ms }))
    }

    fn metadata(&self, mut reader: Reader<'a>) -> Result<Checked<MetadataRef<'a>>> {
        let (mut metric_type, mut help, mut unit) = (MetricType::Unknown, 0, 0);
        while let Some((number, field)) = reader.next()? {
            match number {
                1 => metric_type = metric_type_of(reader.integer(field)?),
                3 => help = reader.integer(field)? as u32,
                4 => unit = reader.integer(field)? as u32,
                _ => {}
            }
        }
        // A sender that says no metadata may leave even the empty symbol out.
        let text = |reference| match reference {
            0 if self.symbols.0.is_empty() => Ok(""),
            reference => self.symbols.get(reference),
        };
        Ok(text(unit).and_then(|unit| Ok(MetadataRef { metric_type, unit, help: text(help)? })))
    }
}

fn references(
    reader: &Reader<'_>,
    field: Field<'_>,
    into: &mut Vec<u32>,
    budget: &mut Budget,
) -> Result<()> {
    let message = *reader;
    if let Field::Bytes(mut packed) = field {
        while !packed.is_at_end() {
            budget.take()?;
            into.push(packed.varint()? as u32);
        }
        return Ok(());
    }
    let Field::Varint(value) = field else { return Err(message.malformed("wrong wire type")) };
    budget.take()?;
    into.push(value as u32);
    Ok(())
}

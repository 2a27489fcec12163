//! `Scrape`: one body read through the cache of its target.

use crate::created::{has_created_name, has_start};
use crate::error::ParseError;
use crate::float::{NORMAL_NAN, parse_float};
use crate::format::ScrapeFormat;
use crate::parser::{Event, Parser, Step};
use crate::sample::{ExemplarRef, SampleRef};

use super::entry::{Kind, NONE};
use super::{LineCache, Outcome};

/// A sample of a series that the cache knows.
#[derive(Clone, Copy, Debug)]
pub struct Known<'b> {
    /// The series, by the number that the caller gave it.
    pub slot: u32,
    /// The value.
    pub value: f64,
    /// The timestamp on the line, ms since the epoch.
    pub timestamp_ms: Option<i64>,
    /// When the series began, ms since the epoch, where it is asked for and known.
    pub start_ms: Option<i64>,
    /// The exemplar on the line.
    pub exemplar: Option<ExemplarRef<'b>>,
}

/// What a line means.
#[derive(Clone, Debug)]
pub enum Line<'b> {
    /// A sample of a known series.
    Known(Known<'b>),
    /// A sample whose series the caller must name with [`Scrape::assign`] or refuse with
    /// [`Scrape::drop_series`] before it goes on; otherwise it is new again the next time.
    New(SampleRef<'b>),
    /// Metadata, or a comment, that the scrape before did not have.
    Meta(Event<'b>),
}

/// A body under way. Dropping it before [`Scrape::finish`] abandons the scrape.
#[derive(Debug)]
pub struct Scrape<'c, 'b> {
    cache: &'c mut LineCache,
    parser: Parser<'b>,
    format: ScrapeFormat,
    previous: u32,
    expected: u32,
    pending: Option<SampleRef<'b>>,
    samples: u64,
}

enum Found<'b> {
    Line(Line<'b>),
    Skipped,
    /// The line is not the expected one, or needs the parser.
    Unknown,
    End,
}

impl<'c, 'b> Scrape<'c, 'b> {
    pub(super) fn new(cache: &'c mut LineCache, format: ScrapeFormat, body: &'b [u8]) -> Self {
        let parser = Parser::with_created(format, body, cache.options.created);
        let expected = cache.first;
        Scrape { cache, parser, format, previous: NONE, expected, pending: None, samples: 0 }
    }

    /// Lets this scrape hand out all metadata, not the news alone: what it does not hand out is gone.
    pub fn with_all_metadata(self) -> Self {
        self.cache.all_metadata = true;
        self
    }

    /// The next line that means something; `None` at the end of the body. After an error nothing follows,
    /// and what came before it must not be stored: abandon the scrape and call [`LineCache::fail`].
    #[allow(clippy::should_implement_trait)] // An iterator could not be asked to assign slots in between.
    pub fn next(&mut self) -> Option<Result<Line<'b>, ParseError>> {
        self.pending = None;
        loop {
            let mut found = self.expected_line();
            if matches!(found, Ok(Found::Unknown)) {
                found = self.other_line();
            }
            match found {
                Ok(Found::Line(line)) => return Some(Ok(line)),
                Ok(Found::Skipped) => {}
                Ok(Found::Unknown | Found::End) => return None,
                Err(e) => return Some(Err(e)),
            }
        }
    }

    /// Says that the line which was just handed out as new belongs to the series in `slot`. Slots are the
    /// caller's numbers from 0, without large gaps: memory is taken up to the highest one.
    pub fn assign(&mut self, slot: u32) {
        let Some(sample) = self.pending.take() else { return };
        let id = self.insert(&sample, Kind::Sample);
        if let Some(id) = id {
            self.cache.entries[id as usize].slot = slot;
        }
        self.cache.slots.assign(slot, id.is_some());
        self.mark(slot, sample.timestamp_ms);
    }

    /// Says that the series of the line which was just handed out as new is not wanted.
    pub fn drop_series(&mut self) {
        if let Some(sample) = self.pending.take() {
            self.insert(&sample, Kind::Dropped);
        }
    }

    /// Sample lines so far, dropped ones too.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Ends the scrape, which must have been read to its end.
    pub fn finish(self) -> Outcome<'c> {
        self.cache.finish(self.samples)
    }

    /// Compares with the line that came here in the last scrape.
    #[inline]
    fn expected_line(&mut self) -> Result<Found<'b>, ParseError> {
        let Some(entry) = self.cache.entries.get(self.expected as usize) else {
            return Ok(Found::Unknown);
        };
        let at = self.parser.at();
        let rest = self.parser.body().get(at..).unwrap_or_default();
        if !self.parser.is_at_line_start() || !rest.starts_with(entry.prefix(&self.cache.arena)) {
            return Ok(Found::Unknown);
        }
        let end = at + entry.prefix_len as usize;
        match entry.kind {
            Kind::Free => Ok(Found::Unknown),
            Kind::Sample | Kind::Dropped | Kind::Created => {
                let is_created = entry.created_name && has_start(self.parser.metric_type());
                match is_created == (entry.kind == Kind::Created) {
                    true => self.value_at(self.expected, at, end),
                    false => Ok(Found::Unknown),
                }
            }
            // What the last scrape did not have is news.
            Kind::Meta | Kind::Type(_)
                if entry.seen + 1 != self.cache.scrape || self.cache.all_metadata =>
            {
                Ok(Found::Unknown)
            }
            kind => Ok(self.skip_meta(self.expected, kind, end)),
        }
    }

    /// Reads the value of a known line: `line_start..value_start` are the bytes that are known.
    #[inline]
    fn value_at(
        &mut self,
        id: u32,
        line_start: usize,
        value_start: usize,
    ) -> Result<Found<'b>, ParseError> {
        let text = self.parser.body().get(value_start..).unwrap_or_default();
        let entry = &mut self.cache.entries[id as usize];
        let (value, len) = match entry.same_value(text) {
            Some(same) => same,
            None => {
                // No value, one that ends with the body or in an odd way, or a bad one: let the parser say.
                let Some(len) = value_len(self.format, text) else { return Ok(Found::Unknown) };
                let Ok(value) = parse_float(&text[..len]) else { return Ok(Found::Unknown) };
                let value = if value.is_nan() { NORMAL_NAN } else { value };
                entry.remember_value(&text[..len], value);
                (value, len)
            }
        };
        let (mut timestamp_ms, mut exemplar) = (None, None);
        let end = value_start + len;
        if text.get(len) == Some(&b'\n') {
            self.parser.skip_to_line(end + 1, self.parser.metric_type());
        } else {
            let tail = self.parser.tail_at(line_start, end)?;
            (timestamp_ms, exemplar) = (tail.timestamp_ms, tail.exemplar);
        }
        Ok(self.known(id, value, timestamp_ms, exemplar))
    }

    #[inline]
    fn known(
        &mut self,
        id: u32,
        value: f64,
        timestamp_ms: Option<i64>,
        exemplar: Option<ExemplarRef<'b>>,
    ) -> Found<'b> {
        self.arrive(id);
        let entry = &self.cache.entries[id as usize];
        let (kind, slot) = (entry.kind, entry.slot);
        if kind == Kind::Created {
            return Found::Skipped;
        }
        self.samples += 1;
        if kind == Kind::Dropped {
            return Found::Skipped;
        }
        self.mark(slot, timestamp_ms);
        let cache = &self.cache;
        let start_ms = self
            .parser
            .created()
            .and_then(|created| created.start_ms(cache.entries[id as usize].prefix(&cache.arena)));
        Found::Line(Line::Known(Known { slot, value, timestamp_ms, start_ms, exemplar }))
    }

    /// Parses the next line and looks it up.
    #[cold]
    fn other_line(&mut self) -> Result<Found<'b>, ParseError> {
        let at = self.parser.at();
        if let Some(found) = self.known_meta(at) {
            return Ok(found);
        }
        let is_blank = self.parser.body().get(at) == Some(&b'\n');
        if is_blank && self.format == ScrapeFormat::Text && self.parser.is_at_line_start() {
            self.parser.skip_to_line(at + 1, self.parser.metric_type());
            return Ok(Found::Skipped);
        }
        match self.parser.step()? {
            Step::End => Ok(Found::End),
            Step::Created(sample) => {
                match self.find_sample(&sample, true) {
                    Some(id) => self.arrive(id),
                    None => {
                        self.insert(&sample, Kind::Created);
                    }
                }
                Ok(Found::Skipped)
            }
            Step::Event(Event::Sample(sample)) => {
                let Some(id) = self.find_sample(&sample, false) else {
                    self.samples += 1;
                    self.pending = Some(sample);
                    return Ok(Found::Line(Line::New(sample)));
                };
                let entry = &mut self.cache.entries[id as usize];
                entry.remember_value(sample.value_text, sample.value);
                Ok(self.known(id, sample.value, sample.timestamp_ms, sample.exemplar))
            }
            Step::Event(event) => {
                self.insert_meta(at, &event);
                Ok(Found::Line(Line::Meta(event)))
            }
        }
    }

    /// The line of `sample`, as long as its family's type lets it mean what it meant.
    fn find_sample(&self, sample: &SampleRef<'_>, is_created: bool) -> Option<u32> {
        let id = self.cache.find(sample.prefix)?;
        ((self.cache.entries[id as usize].kind == Kind::Created) == is_created).then_some(id)
    }

    /// The line at `at` where it is metadata that the last scrape had at another place.
    fn known_meta(&mut self, at: usize) -> Option<Found<'b>> {
        let line = meta_line(self.parser.body().get(at..)?)?;
        if !self.parser.is_at_line_start() || self.cache.all_metadata {
            return None;
        }
        let id = self.cache.find(line)?;
        let entry = &self.cache.entries[id as usize];
        if entry.seen + 1 < self.cache.scrape {
            return None;
        }
        let kind = entry.kind;
        Some(self.skip_meta(id, kind, at + line.len()))
    }

    fn skip_meta(&mut self, id: u32, kind: Kind, end: usize) -> Found<'b> {
        let metric_type = match kind {
            Kind::Type(metric_type) => metric_type,
            _ => self.parser.metric_type(),
        };
        self.parser.skip_to_line(end, metric_type);
        self.arrive(id);
        Found::Skipped
    }

    fn insert_meta(&mut self, at: usize, event: &Event<'b>) {
        let Some(line) = self.parser.body().get(at..).and_then(meta_line) else { return };
        if at + line.len() != self.parser.at() {
            return;
        }
        let kind = match event {
            // A TYPE line makes the parser look ahead for start timestamps; it is never skipped then.
            Event::Type { .. } if self.parser.created().is_some() => return,
            Event::Type { metric_type, .. } => Kind::Type(*metric_type),
            _ => Kind::Meta,
        };
        let id = self.cache.find(line).or_else(|| self.cache.insert(line, kind));
        self.follow(id);
    }

    fn insert(&mut self, sample: &SampleRef<'b>, kind: Kind) -> Option<u32> {
        let id = self.cache.insert(sample.prefix, kind);
        if let Some(id) = id {
            let entry = &mut self.cache.entries[id as usize];
            entry.remember_value(sample.value_text, sample.value);
            entry.created_name = self.parser.created().is_some() && has_created_name(sample.series);
        }
        self.follow(id);
        id
    }

    /// A line that was not here: what was expected here is expected after it.
    fn follow(&mut self, id: Option<u32>) {
        let Some(id) = id else { return };
        let entry = &mut self.cache.entries[id as usize];
        if entry.next == NONE && self.expected != id {
            entry.next = self.expected;
        }
        self.arrive(id);
    }

    /// Takes note that line `id` came after the previous one.
    #[inline]
    fn arrive(&mut self, id: u32) {
        if self.expected != id {
            match self.cache.entries.get_mut(self.previous as usize) {
                Some(previous) => previous.next = id,
                None => self.cache.first = id,
            }
        }
        let entry = &mut self.cache.entries[id as usize];
        self.cache.lines_seen += usize::from(entry.seen != self.cache.scrape);
        entry.seen = self.cache.scrape;
        (self.previous, self.expected) = (id, entry.next);
    }

    #[inline]
    fn mark(&mut self, slot: u32, timestamp_ms: Option<i64>) {
        if timestamp_ms.is_none() || self.cache.options.track_timestamped {
            self.cache.slots.mark(slot);
        }
    }
}

/// A line that begins with `#`, with its newline.
fn meta_line(rest: &[u8]) -> Option<&[u8]> {
    let end = memchr::memchr(b'\n', rest.strip_prefix(b"#")?)?;
    rest.get(..end + 2)
}

/// The length of the value that `text` begins with; `None` where only the parser can say.
#[inline]
fn value_len(format: ScrapeFormat, text: &[u8]) -> Option<usize> {
    let len = text.iter().position(|b| matches!(b, b' ' | b'\n' | b'\t' | b'{' | 0))?;
    let ends_well = match text[len] {
        b'\n' | b' ' => true,
        b'\t' => format == ScrapeFormat::Text,
        _ => false,
    };
    (len > 0 && ends_well).then_some(len)
}

#[cfg(test)]
mod layout {
    #[test]
    fn a_line_fits_a_cache_line() {
        assert_eq!(size_of::<super::super::entry::Entry>(), 64);
    }
}

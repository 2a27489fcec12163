//! Notes that executors make, with their wire numbers.

use super::batch::corrupt;
use super::messages::NoteMessage;
use crate::annotations::{HistogramOperation, Note};
use crate::error::QueryError;
use crate::fragment::NoteSite;

/// Whether version 1 does not know the note.
pub(super) fn is_of_version_two(note: &Note) -> bool {
    matches!(
        note,
        Note::NotCounter(_)
            | Note::NotGauge(_)
            | Note::MixedExponentialCustom(_)
            | Note::CounterResetCollision(_)
            | Note::MismatchedCustomBuckets(_)
            | Note::StartTimeOverlap(_)
    )
}

/// The note as a message.
pub(super) fn encode((site, note): &(NoteSite, Note)) -> NoteMessage {
    let (kind, text) = match note {
        Note::PossibleNonCounter(name) => (1, name),
        Note::MixedFloatsHistograms(name) => (2, name),
        Note::HistogramIgnoredInAggregation(op) => (3, op),
        Note::HistogramIgnoredInMixedRange(name) => (4, name),
        Note::InvalidQuantile(q) => (5, q),
        Note::NotCounter(name) => (6, name),
        Note::NotGauge(name) => (7, name),
        Note::MixedExponentialCustom(name) => (8, name),
        Note::CounterResetCollision(operation) => (9, &operation.as_str().to_string()),
        Note::MismatchedCustomBuckets(operation) => (10, &operation.as_str().to_string()),
        Note::StartTimeOverlap(name) => (11, name),
        // The frontend alone makes the others.
        _ => (0, &String::new()),
    };
    let site = match site {
        NoteSite::Function => 1,
        NoteSite::Aggregation(number) => number.saturating_add(2),
    };
    NoteMessage { site, kind, texts: vec![text.clone()] }
}

/// The note of a message.
pub(super) fn decode(message: NoteMessage) -> Result<(NoteSite, Note), QueryError> {
    let site = match message.site {
        1 => NoteSite::Function,
        site => NoteSite::Aggregation(site.saturating_sub(2)),
    };
    let text = message.texts.into_iter().next().unwrap_or_default();
    let note = match message.kind {
        1 => Note::PossibleNonCounter(text),
        2 => Note::MixedFloatsHistograms(text),
        3 => Note::HistogramIgnoredInAggregation(text),
        4 => Note::HistogramIgnoredInMixedRange(text),
        5 => Note::InvalidQuantile(text),
        6 => Note::NotCounter(text),
        7 => Note::NotGauge(text),
        8 => Note::MixedExponentialCustom(text),
        9 => Note::CounterResetCollision(operation(&text)?),
        10 => Note::MismatchedCustomBuckets(operation(&text)?),
        11 => Note::StartTimeOverlap(text),
        other => {
            let (got, known) = (other.into(), 11);
            return Err(QueryError::Unsupported { what: "note", got, known });
        }
    };
    Ok((site, note))
}

fn operation(name: &str) -> Result<HistogramOperation, QueryError> {
    HistogramOperation::from_name(name)
        .ok_or_else(|| corrupt(format!("unknown histogram operation={name:?}")))
}

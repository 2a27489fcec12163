//! What applying an entry comes to: the same on every replica, for it follows from the log alone.

use std::fmt;

use pando_codec::varint::{put_text, put_varint};
use pando_codec::write_block::GroupId;
use pando_codec::{CodecError, Reader};
use pando_model::{Cut, Digest, Epoch, Sequence, SeriesKey, StreamId, TenantId};

/// How many refused samples of a block are described in words.
pub const MESSAGES_MAX: usize = 5;
/// Bytes of such a description: a series may have labels of many MiB, and what is said of it is kept and sent.
pub(crate) const MESSAGE_BYTES_MAX: usize = 1024;

/// The first [`MESSAGE_BYTES_MAX`] bytes of `message`.
pub(crate) fn cut_short(mut message: String) -> String {
    if message.len() > MESSAGE_BYTES_MAX {
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX - "...".len()));
        message += "...";
        message.shrink_to_fit();
    }
    message
}

/// What applying one entry came to.
#[derive(Clone, PartialEq, Debug)]
pub enum Applied {
    /// The outcome of each write block, in order.
    Write(Vec<BlockOutcome>),
    /// A generation ended.
    Cut(CutOutcome),
    /// The catalog's word on a generation.
    Committed {
        /// The generation.
        cut: Cut,
        /// Whether its samples here are those of the block. `false` is an alarm: the generation stays.
        matches: bool,
    },
    /// The shard has ended.
    Sealed {
        /// The last generation.
        cut: CutOutcome,
        /// What its successors need.
        answer: SealAnswer,
    },
    /// The entry changes nothing: it was applied before, names a generation that is not open or not kept, or
    /// comes after the seal.
    Nothing,
}

/// A generation that has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CutOutcome {
    /// The generation.
    pub cut: Cut,
    /// Number and multiset hash of its samples.
    pub digest: Digest,
    /// Hash of the digest and of the whole state after the cut: replicas compare it.
    pub state_hash: u64,
}

/// What the answer to a seal says, and successors inherit.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SealAnswer {
    /// The last applied block of every stream, by stream.
    pub last_sequences: Vec<(StreamId, Sequence)>,
    /// The newest sample time of every tenant, ms, by tenant.
    pub newest_ms: Vec<(TenantId, i64)>,
    /// Who scrapes every target, by tenant and target.
    pub targets: Vec<TargetAnswer>,
}

/// The hand-over state of one target.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TargetAnswer {
    /// The tenant.
    pub tenant: TenantId,
    /// The target.
    pub target: u64,
    /// The epoch of its newest scraper.
    pub epoch: Epoch,
    /// From when on that scraper's samples count, ms.
    pub from_ms: i64,
    /// Its newest sample, ms.
    pub newest_ms: i64,
}

/// What became of one write block.
#[derive(Clone, PartialEq, Debug)]
pub enum BlockOutcome {
    /// It was applied, and its stream is one further.
    Applied(Verdicts),
    /// It was applied before.
    Duplicate {
        /// The sequence that the stream expects.
        expected: Sequence,
        /// What it came to then; `None`: every sample of it was accepted.
        judged: Option<Judged>,
    },
    /// It is not the next one.
    Expect {
        /// The sequence that the stream expects.
        expected: Sequence,
    },
    /// The stream is not known here and this is not its first block: the producer must begin a new epoch.
    NewEpochNeeded,
    /// What frames of these groups are based on is not known here. Nothing was applied.
    SendFull {
        /// The groups.
        groups: Vec<GroupId>,
    },
    /// A series' key is not the shard's. Nothing was applied; the route must be looked up again.
    Moved {
        /// The tenant.
        tenant: TenantId,
        /// The key.
        key: SeriesKey,
    },
    /// The shard has ended.
    Sealed {
        /// The stream's last applied sequence; `None` where it has none.
        last: Option<Sequence>,
    },
    /// The bytes arrived damaged, or are of an unknown version. Nothing was applied; send them again.
    Damaged {
        /// What is wrong.
        message: String,
    },
    /// The bytes are what was sent, but are no write block. It will never be better: the stream is one further.
    Malformed {
        /// What is wrong.
        message: String,
    },
    /// The shard holds as many streams as it may. Nothing was applied; idle ones are forgotten at cuts.
    TooManyStreams {
        /// The limit.
        streams_max: usize,
    },
}

/// What a block came to of which not every sample was accepted. The answer may be lost, so a shard remembers it for
/// the last blocks of every stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Judged {
    /// As [`BlockOutcome::Applied`].
    Applied(Verdicts),
    /// As [`BlockOutcome::Malformed`].
    Malformed {
        /// What is wrong.
        message: String,
    },
}

impl Judged {
    /// What is to be remembered of an outcome; `None` where every sample was accepted, or nothing was applied.
    pub(crate) fn of(outcome: &BlockOutcome) -> Option<Self> {
        match outcome {
            BlockOutcome::Applied(verdicts)
                if verdicts.refused_total() > 0 || !verdicts.messages.is_empty() =>
            {
                Some(Judged::Applied(verdicts.clone()))
            }
            BlockOutcome::Malformed { message } => {
                Some(Judged::Malformed { message: message.clone() })
            }
            _ => None,
        }
    }

    /// Bytes of heap, estimated.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Judged::Applied(verdicts) => verdicts.messages.iter().map(|m| m.len() + 24).sum(),
            Judged::Malformed { message } => message.len(),
        }
    }

    /// Appends it to a checkpoint.
    pub(crate) fn save(&self, out: &mut Vec<u8>) {
        let messages = match self {
            Judged::Malformed { message } => {
                out.push(0);
                std::slice::from_ref(message)
            }
            Judged::Applied(verdicts) => {
                let Verdicts { accepted, repeated, histograms, exemplars, refused, messages } =
                    verdicts;
                out.push(1);
                let counts = [accepted, repeated, histograms, exemplars].into_iter().chain(refused);
                counts.for_each(|count| put_varint(out, *count));
                messages
            }
        };
        put_varint(out, messages.len() as u64);
        messages.iter().for_each(|message| put_text(out, message));
    }

    /// Reads what [`Judged::save`] wrote.
    pub(crate) fn load(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let kind = reader.u8()?;
        let mut verdicts = Verdicts::default();
        if kind == 1 {
            let Verdicts { accepted, repeated, histograms, exemplars, refused, .. } = &mut verdicts;
            for count in [accepted, repeated, histograms, exemplars].into_iter().chain(refused) {
                *count = reader.varint()?;
            }
        }
        for _ in 0..reader.count_of("messages", MESSAGES_MAX, 1)? {
            verdicts.messages.push(reader.text("message bytes", MESSAGE_BYTES_MAX)?.to_string());
        }
        match kind {
            0 => Ok(Judged::Malformed { message: verdicts.messages.pop().unwrap_or_default() }),
            1 => Ok(Judged::Applied(verdicts)),
            _ => Err(reader.malformed("a block was judged in an unknown way")),
        }
    }
}

/// What became of a block's samples.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Verdicts {
    /// Samples that are in the shard now, those that were before included.
    pub accepted: u64,
    /// Of these, the ones that were there before.
    pub repeated: u64,
    /// Of the accepted ones, those that are histograms.
    pub histograms: u64,
    /// Exemplars that are in the shard now, those that were before included.
    pub exemplars: u64,
    /// Samples refused, by reason: see [`Verdicts::refused`].
    pub(crate) refused: [u64; Refusal::ALL.len()],
    /// The first refusals in words, at most [`MESSAGES_MAX`].
    pub messages: Vec<String>,
}

impl Verdicts {
    /// Samples refused for `reason`.
    pub fn refused(&self, reason: Refusal) -> u64 {
        self.refused[reason as usize]
    }

    /// Samples refused for any reason.
    pub fn refused_total(&self) -> u64 {
        self.refused.iter().sum()
    }

    pub(crate) fn refuse(&mut self, reason: Refusal, message: impl FnOnce() -> String) {
        self.refused[reason as usize] += 1;
        self.note(message);
    }

    pub(crate) fn note(&mut self, message: impl FnOnce() -> String) {
        if self.messages.len() < MESSAGES_MAX {
            self.messages.push(cut_short(message()));
        }
    }
}

/// Why a sample was refused for good.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Refusal {
    /// The tenant has as many active series in this shard as it may.
    SeriesLimit = 0,
    /// The series has too many labels, or too long ones.
    LabelLimit = 1,
    /// The series has no label at all.
    NoLabels = 2,
    /// The sample is older than the tenant's out-of-order window.
    TooOld = 3,
    /// The sample is too far ahead of the leader's clock.
    TooFarAhead = 4,
    /// The series has another value at this time.
    DuplicateTimestamp = 5,
    /// Another scraper has taken the target over.
    HandedOver = 6,
}

impl Refusal {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Refusal; 7] = [
        Refusal::SeriesLimit,
        Refusal::LabelLimit,
        Refusal::NoLabels,
        Refusal::TooOld,
        Refusal::TooFarAhead,
        Refusal::DuplicateTimestamp,
        Refusal::HandedOver,
    ];

    /// The reason as a label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::SeriesLimit => "series_limit",
            Refusal::LabelLimit => "label_limit",
            Refusal::NoLabels => "no_labels",
            Refusal::TooOld => "too_old",
            Refusal::TooFarAhead => "too_far_ahead",
            Refusal::DuplicateTimestamp => "duplicate_timestamp",
            Refusal::HandedOver => "handed_over",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

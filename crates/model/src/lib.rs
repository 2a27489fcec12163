//! The words of Pando as types: labels, matchers, samples, histograms, keys, ids, time ranges, error kinds.
//!
//! Nothing here does I/O, reads a clock or knows of a wire format.

pub mod block_record;
pub mod digest;
pub mod duration;
pub mod error;
pub mod exemplar;
pub mod histogram;
pub mod ids;
pub mod join;
pub mod key;
pub mod labels;
pub mod matcher;
pub mod metadata;
pub mod number;
pub mod regex;
pub mod relabel;
pub mod sample;
pub mod series;
pub mod tenant;
pub mod time;

pub use block_record::{BlockRecord, BlockSource, TenantSpan};
pub use digest::Digest;
pub use error::ErrorKind;
pub use exemplar::Exemplar;
pub use histogram::{Histogram, ResetHint, Span};
pub use ids::{
    BlockId, CatalogVersion, ClusterId, Cut, Epoch, GenerationId, NodeId, ProducerId, Sequence,
    ShardId, StreamId,
};
pub use join::JoinedAxes;
pub use key::{KeyRange, SeriesKey};
pub use labels::{Labels, LabelsBuilder, LabelsPool, METRIC_NAME};
pub use matcher::{MatchOp, Matcher};
pub use metadata::{Metadata, MetricType};
pub use regex::GoRegex;
pub use sample::{STALE_NAN, Sample, SampleValue, is_stale_nan};
pub use series::SeriesSamples;
pub use tenant::TenantId;
pub use time::{TimeRange, Window};

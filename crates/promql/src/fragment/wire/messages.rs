//! The protobuf messages. Tags are part of the format: a new meaning takes a new version.

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PlanMessage {
    #[prost(uint32, tag = "1")]
    pub(super) version: u32,
    #[prost(message, repeated, tag = "2")]
    pub(super) matchers: Vec<MatcherMessage>,
    #[prost(sint64, tag = "3")]
    pub(super) start_ms: i64,
    #[prost(sint64, tag = "4")]
    pub(super) step_ms: i64,
    #[prost(uint32, tag = "5")]
    pub(super) steps: u32,
    /// 1 instant, 2 timestamp, 3 range, 4 raw; version 2: 5 range by rules, 6 smoothed, 7 start timestamp,
    /// 8 sample time.
    #[prost(uint32, tag = "6")]
    pub(super) read: u32,
    #[prost(sint64, tag = "7")]
    pub(super) window_ms: i64,
    #[prost(uint32, tag = "8")]
    pub(super) function: u32,
    #[prost(double, repeated, tag = "9")]
    pub(super) args: Vec<f64>,
    /// Several from version 3 on.
    #[prost(message, repeated, tag = "10")]
    pub(super) aggregations: Vec<AggregationMessage>,
    #[prost(bool, tag = "11")]
    pub(super) delayed_name_removal: bool,
    /// A hint: who does not know it sends more than is needed.
    #[prost(bool, tag = "12")]
    pub(super) statistics: bool,
    /// Of a range by rules: 0 plain, 1 anchored, 2 smoothed.
    #[prost(uint32, tag = "13")]
    pub(super) edges: u32,
    #[prost(sint64, tag = "14")]
    pub(super) lookback_ms: i64,
    #[prost(bool, tag = "15")]
    pub(super) start_timestamps: bool,
    /// A hint: who does not know it counts nothing.
    #[prost(bool, tag = "16")]
    pub(super) count_samples: bool,
    /// A hint: who does not know it knows of fewer resets.
    #[prost(sint64, tag = "17")]
    pub(super) hints_back_ms: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct MatcherMessage {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    /// 0 =, 1 !=, 2 =~, 3 !~
    #[prost(uint32, tag = "2")]
    pub(super) op: u32,
    #[prost(string, tag = "3")]
    pub(super) value: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct AggregationMessage {
    /// 1 sum, 2 avg, 3 min, 4 max, 5 count, 6 group, 7 topk, 8 bottomk; version 3: 9 stddev, 10 stdvar, 11 quantile,
    /// 12 count_values, 13 limitk, 14 limit_ratio.
    #[prost(uint32, tag = "1")]
    pub(super) op: u32,
    #[prost(uint32, tag = "2")]
    pub(super) k: u32,
    #[prost(string, repeated, tag = "3")]
    pub(super) grouping: Vec<String>,
    #[prost(bool, tag = "4")]
    pub(super) without: bool,
    /// Of limit_ratio.
    #[prost(double, tag = "5")]
    pub(super) ratio: f64,
    /// Of count_values.
    #[prost(string, tag = "6")]
    pub(super) label: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct BatchMessage {
    #[prost(uint32, tag = "1")]
    pub(super) version: u32,
    #[prost(string, repeated, tag = "2")]
    pub(super) symbols: Vec<String>,
    /// i64 little endian.
    #[prost(bytes = "vec", repeated, tag = "3")]
    pub(super) axes: Vec<Vec<u8>>,
    #[prost(message, repeated, tag = "4")]
    pub(super) groups: Vec<GroupMessage>,
    #[prost(message, repeated, tag = "5")]
    pub(super) raw: Vec<RawMessage>,
    /// u64 little endian.
    #[prost(bytes = "vec", tag = "6")]
    pub(super) label_hashes: Vec<u8>,
    /// Of the same series: u64 little endian. Earlier versions do not send it.
    #[prost(bytes = "vec", tag = "9")]
    pub(super) series_hashes: Vec<u8>,
    #[prost(message, repeated, tag = "7")]
    pub(super) notes: Vec<NoteMessage>,
    /// Empty, or one per step.
    #[prost(uint64, repeated, tag = "8")]
    pub(super) step_samples: Vec<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct GroupMessage {
    /// name, value, name, value ... as numbers of symbols.
    #[prost(uint32, repeated, tag = "1")]
    pub(super) labels: Vec<u32>,
    #[prost(bool, tag = "2")]
    pub(super) drop_name: bool,
    /// 1 values, 2 sum, 3 avg, 4 count; version 3: 5 spread.
    #[prost(uint32, tag = "3")]
    pub(super) kind: u32,
    #[prost(uint32, tag = "4")]
    pub(super) steps: u32,
    /// u64 little endian words, one bit a step.
    #[prost(bytes = "vec", tag = "5")]
    pub(super) present: Vec<u8>,
    #[prost(bytes = "vec", tag = "6")]
    pub(super) values: Vec<u8>,
    #[prost(bytes = "vec", tag = "7")]
    pub(super) compensation: Vec<u8>,
    #[prost(bytes = "vec", tag = "8")]
    pub(super) count: Vec<u8>,
    #[prost(bytes = "vec", tag = "9")]
    pub(super) incremental: Vec<u8>,
    #[prost(message, repeated, tag = "10")]
    pub(super) histograms: Vec<HistogramMessage>,
    /// Version 2: partial sums of histograms, beside those of floats; one for each layout of a step.
    #[prost(message, repeated, tag = "11")]
    pub(super) histogram_sums: Vec<HistogramSumMessage>,
    /// Version 2: the metric that they come from.
    #[prost(string, tag = "12")]
    pub(super) histogram_name: String,
    /// Version 3: which of the plan's aggregations it is of.
    #[prost(uint32, tag = "13")]
    pub(super) aggregation: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RawMessage {
    #[prost(uint32, repeated, tag = "1")]
    pub(super) labels: Vec<u32>,
    #[prost(fixed64, tag = "2")]
    pub(super) key: u64,
    /// A number of an axis of the batch.
    #[prost(uint32, tag = "3")]
    pub(super) axis: u32,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) floats: Vec<u8>,
    #[prost(message, repeated, tag = "5")]
    pub(super) histograms: Vec<HistogramMessage>,
    /// i64 little endian; empty or one per sample.
    #[prost(bytes = "vec", tag = "6")]
    pub(super) starts: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct HistogramMessage {
    /// Step, or position in the axis.
    #[prost(uint32, tag = "1")]
    pub(super) at: u32,
    #[prost(bool, tag = "2")]
    pub(super) integer: bool,
    #[prost(uint32, tag = "3")]
    pub(super) reset_hint: u32,
    #[prost(sint32, tag = "4")]
    pub(super) schema: i32,
    /// zero threshold, zero count, count, sum: f64 little endian, so that NaNs keep their bits.
    #[prost(bytes = "vec", tag = "5")]
    pub(super) scalars: Vec<u8>,
    /// offset, length, offset, length ...
    #[prost(sint64, repeated, tag = "6")]
    pub(super) positive_spans: Vec<i64>,
    #[prost(sint64, repeated, tag = "7")]
    pub(super) negative_spans: Vec<i64>,
    #[prost(bytes = "vec", tag = "8")]
    pub(super) positive_buckets: Vec<u8>,
    #[prost(bytes = "vec", tag = "9")]
    pub(super) negative_buckets: Vec<u8>,
    #[prost(bytes = "vec", tag = "10")]
    pub(super) custom_values: Vec<u8>,
}

/// Version 2.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct HistogramSumMessage {
    /// Step.
    #[prost(uint32, tag = "1")]
    pub(super) at: u32,
    /// 1 incremental mean; of the whole step: 2 incompatible, 4 bounds reconciled, 8 a reset seen, 16 none seen.
    #[prost(uint32, tag = "2")]
    pub(super) flags: u32,
    /// How many histograms there are.
    #[prost(double, tag = "3")]
    pub(super) count: f64,
    #[prost(uint32, tag = "4")]
    pub(super) reset_hint: u32,
    #[prost(sint32, tag = "5")]
    pub(super) schema: i32,
    #[prost(double, tag = "6")]
    pub(super) zero_threshold: f64,
    /// zero count, count, sum, each with its compensation: f64 little endian.
    #[prost(bytes = "vec", tag = "7")]
    pub(super) scalars: Vec<u8>,
    /// offset, length, offset, length ...
    #[prost(sint64, repeated, tag = "8")]
    pub(super) positive_spans: Vec<i64>,
    #[prost(sint64, repeated, tag = "9")]
    pub(super) negative_spans: Vec<i64>,
    /// Sum and compensation of each bucket.
    #[prost(bytes = "vec", tag = "10")]
    pub(super) positive_buckets: Vec<u8>,
    #[prost(bytes = "vec", tag = "11")]
    pub(super) negative_buckets: Vec<u8>,
    #[prost(bytes = "vec", tag = "12")]
    pub(super) custom_values: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct NoteMessage {
    /// 1 function, 2 the first aggregation; version 3: 3 the second one, and so on.
    #[prost(uint32, tag = "1")]
    pub(super) site: u32,
    #[prost(uint32, tag = "2")]
    pub(super) kind: u32,
    #[prost(string, repeated, tag = "3")]
    pub(super) texts: Vec<String>,
}

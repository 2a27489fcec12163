//! Tests of the shard as a whole: what producers' encoders send, entries bring and queries read.

use bytes::Bytes;
use pando_codec::entry::{CutReason, Entry, Routes, ShardRules, StreamBlock, TenantLimits, Write};
use pando_codec::write_block::{
    Encoder, FrameInput, FrameValue, GroupId, GroupSpec, TargetEpoch, UNDER_WAY_MAX,
};
use pando_model::{
    BlockId, Cut, Digest, Epoch, Exemplar, Histogram, KeyRange, Labels, MatchOp, Matcher, Metadata,
    MetricType, ProducerId, STALE_NAN, Sequence, SeriesKey, SeriesSamples, ShardId, StreamId,
    TenantId, TimeRange, is_stale_nan,
};

use crate::{
    Applied, BlockOutcome, CutOutcome, HeadError, Judged, Refusal, SealAnswer, Shard, ShardConfig,
    Verdicts,
};

mod model;

fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).expect("good name")
}

fn labels(i: usize) -> Labels {
    let metric = ["up", "requests_total", "seconds"][i % 3];
    let (i, instance) = (i.to_string(), format!("host{}:80", i % 2));
    Labels::from_pairs([("__name__", metric), ("i", &i), ("instance", &instance), ("job", "j")])
}

fn spec(tenant_name: &str, series: impl IntoIterator<Item = usize>) -> GroupSpec {
    let series = series.into_iter().map(|i| Some(labels(i))).collect();
    GroupSpec { tenant: tenant(tenant_name), target: None, series }
}

fn floats(values: &[f64]) -> Vec<FrameValue> {
    values.iter().map(|v| FrameValue::Float(*v)).collect()
}

fn config() -> ShardConfig {
    ShardConfig { shard: ShardId(7), rules: ShardRules::default(), inherited: Vec::new() }
}

/// A stream's producer.
struct Producer {
    encoder: Encoder,
    stream: StreamId,
    next: u64,
}

impl Producer {
    fn new(id: u64, epoch: u64) -> Self {
        let stream = StreamId { producer: ProducerId(id), epoch: Epoch(epoch) };
        Producer { encoder: Encoder::new(), stream, next: 1 }
    }

    fn frame(&mut self, group: GroupId, time_ms: i64, values: &[FrameValue]) {
        let input = FrameInput { time_ms, values, ..FrameInput::default() };
        self.encoder.push_frame(group, &input);
    }

    fn block(&mut self) -> StreamBlock {
        let bytes = self.encoder.finish().expect("something was pushed");
        self.numbered(bytes.into())
    }

    fn numbered(&mut self, bytes: Bytes) -> StreamBlock {
        let sequence = Sequence(self.next);
        self.next += 1;
        StreamBlock { stream: self.stream, sequence, skip: None, bytes }
    }
}

/// A shard with its log.
struct Log {
    shard: Shard,
    index: u64,
    now_ms: i64,
}

impl Log {
    fn new(config: ShardConfig) -> Self {
        Log { shard: Shard::new(config), index: 0, now_ms: 1_000_000_000_000 }
    }

    fn apply(&mut self, entry: &Entry) -> Applied {
        self.index += 1;
        // Through bytes, as the log does it.
        let entry = Entry::decode(&entry.encode().into()).expect("written");
        self.shard.apply(self.index, &entry)
    }

    fn write(&mut self, blocks: Vec<StreamBlock>) -> Vec<BlockOutcome> {
        let entry = Entry::Write(Write { leader_time_ms: self.now_ms, rules: None, blocks });
        match self.apply(&entry) {
            Applied::Write(outcomes) => outcomes,
            other => panic!("a write was answered with {other:?}"),
        }
    }

    fn accept(&mut self, block: StreamBlock) -> Verdicts {
        match self.write(vec![block]).pop() {
            Some(BlockOutcome::Applied(verdicts)) => verdicts,
            other => panic!("the block was not applied: {other:?}"),
        }
    }

    fn cut(&mut self) -> CutOutcome {
        let cut = self.shard.open_cut();
        match self.apply(&Entry::Cut { cut, reason: CutReason::Demand }) {
            Applied::Cut(outcome) => outcome,
            other => panic!("a cut was answered with {other:?}"),
        }
    }

    fn commit(&mut self, cut: Cut, digest: Digest) -> bool {
        match self.apply(&Entry::Committed { cut, block: BlockId(1), digest }) {
            Applied::Committed { matches, .. } => matches,
            other => panic!("a commit was answered with {other:?}"),
        }
    }

    fn select(&self, name: &str, matchers: &[Matcher], first_cut: Cut) -> Vec<SeriesSamples> {
        let time = TimeRange::ALL;
        let mut selection = self
            .shard
            .select(&tenant(name), KeyRange::ALL, matchers, time, first_cut)
            .expect("the generation is there");
        let mut all = Vec::new();
        loop {
            let batch = self.shard.read(&mut selection, 3).expect("samples decode");
            if batch.is_empty() {
                return all;
            }
            all.extend(batch);
        }
    }
}

/// The samples of one series as (time, bits).
fn samples(series: &SeriesSamples) -> Vec<(i64, f64)> {
    series.axis.iter().copied().zip(series.floats.iter().copied()).collect()
}

fn steady(name: &str, frames: i64) -> (Log, Producer, GroupId) {
    let mut log = Log::new(config());
    let mut producer = Producer::new(1, 1);
    let group = producer.encoder.register(spec(name, 0..6)).expect("few series");
    for n in 0..frames {
        let v = n as f64;
        producer.frame(group, n * 15_000, &floats(&[1.0, v, v * 0.5, 7.0, -v, 0.0]));
        log.accept(producer.block());
    }
    (log, producer, group)
}

#[test]
fn samples_come_back_whole_with_one_axis_for_series_scraped_together() {
    let (mut log, mut producer, group) = steady("a", 100);
    log.cut();
    for n in 100..140 {
        producer.frame(group, n * 15_000, &floats(&[1.0, n as f64, 0.0, 7.0, 0.0, 0.0]));
        log.accept(producer.block());
    }
    let all = log.select("a", &[], Cut(1));
    assert_eq!(all.len(), 6);
    let names: Vec<&str> = all.iter().map(|series| series.labels.metric_name()).collect();
    assert!(names.is_sorted());
    for series in &all {
        assert_eq!(series.len(), 140);
        assert!(std::sync::Arc::ptr_eq(&series.axis, &all[0].axis));
        assert_eq!(series.key, SeriesKey::of(&tenant("a"), &series.labels));
    }
    let one = log.select("a", &[Matcher::equal("i", "1")], Cut(1));
    assert_eq!(one[0].floats, (0..140).map(f64::from).collect::<Vec<_>>());
    let time = TimeRange { min_ms: 99 * 15_000, max_ms: 101 * 15_000 };
    let mut selection = log
        .shard
        .select(&tenant("a"), KeyRange::ALL, &[Matcher::equal("i", "1")], time, Cut(1))
        .expect("it is there");
    let batch = log.shard.read(&mut selection, 100).expect("it decodes");
    assert_eq!(samples(&batch[0]), [(99 * 15_000, 99.0), (100 * 15_000, 100.0)]);
}

#[test]
fn matchers_and_key_ranges_choose_and_tenants_stay_apart() {
    let (mut log, ..) = steady("a", 2);
    let mut other = Producer::new(2, 1);
    let group = other.encoder.register(spec("b", [0, 50])).expect("few series");
    other.frame(group, 1_000, &floats(&[1.0, 2.0]));
    log.accept(other.block());
    let count = |name: &str, op, label: &str, value: &str| {
        let matcher = Matcher::new(label, op, value).expect("good pattern");
        log.select(name, &[matcher], Cut(1)).len()
    };
    assert_eq!(count("a", MatchOp::Equal, "__name__", "up"), 2);
    assert_eq!(count("a", MatchOp::NotEqual, "__name__", "up"), 4);
    assert_eq!(count("a", MatchOp::Regex, "i", "[0-2]"), 3);
    assert_eq!(count("a", MatchOp::NotRegex, "i", "[0-2]"), 3);
    assert_eq!(count("a", MatchOp::Equal, "nope", ""), 6);
    assert_eq!(count("a", MatchOp::Regex, "nope", ".+"), 0);
    assert_eq!(count("b", MatchOp::Equal, "i", "50"), 1);
    assert_eq!(count("a", MatchOp::Equal, "i", "50"), 0);
    assert_eq!(count("c", MatchOp::NotEqual, "x", "y"), 0);
    assert_eq!(log.shard.label_values(&tenant("b"), "i", &[], 9), ["0", "50"]);
    let up = [Matcher::equal("__name__", "up")];
    assert_eq!(log.shard.label_values(&tenant("a"), "i", &up, 9), ["0", "3"]);
    assert_eq!(log.shard.label_names(&tenant("a"), &up, 2), ["__name__", "i"]);
    assert_eq!(log.shard.series(&tenant("a"), &up, 9).len(), 2);
    let key = SeriesKey::of(&tenant("a"), &labels(2));
    let keys = KeyRange { first: key, last: key };
    let selection = log.shard.select(&tenant("a"), keys, &[], TimeRange::ALL, Cut(1));
    assert_eq!(selection.expect("it is there").len(), 1);
    let stats = log.shard.stats(&tenant("a"), 2);
    assert_eq!((stats.series, stats.samples, stats.series_by_metric.len()), (6, 12, 2));
    assert_eq!(stats.series_by_pair[0].name, "job=j");
}

#[test]
fn a_stream_is_applied_in_sequence_and_once() {
    let mut log = Log::new(config());
    let mut producer = Producer::new(1, 1);
    let group = producer.encoder.register(spec("a", 0..2)).expect("few series");
    let blocks: Vec<StreamBlock> = (1..=6)
        .map(|n| {
            if n == 5 {
                producer.encoder.force_full_all();
            }
            producer.frame(group, n * 1_000, &floats(&[n as f64, 1.0]));
            producer.block()
        })
        .collect();
    let mut send = |n: usize| log.write(vec![blocks[n - 1].clone()]).remove(0);
    assert_eq!(send(2), BlockOutcome::NewEpochNeeded);
    assert!(matches!(send(1), BlockOutcome::Applied(_)));
    assert_eq!(send(1), BlockOutcome::Duplicate { expected: Sequence(2), judged: None });
    assert_eq!(send(3), BlockOutcome::Expect { expected: Sequence(2) });
    assert!(matches!(send(2), BlockOutcome::Applied(_)));
    let mut skipping = blocks[4].clone();
    skipping.skip = Some((Sequence(3), Sequence(4)));
    let mut damaged = skipping.clone();
    let mut bytes = damaged.bytes.to_vec();
    bytes[10] ^= 1;
    damaged.bytes = bytes.into();
    let outcomes = log.write(vec![blocks[4].clone(), damaged, skipping, blocks[5].clone()]);
    assert_eq!(outcomes[0], BlockOutcome::Expect { expected: Sequence(3) });
    assert!(matches!(outcomes[1], BlockOutcome::Damaged { .. }));
    assert!(matches!(outcomes[2], BlockOutcome::Applied(_)));
    assert!(matches!(outcomes[3], BlockOutcome::Applied(_)));
    assert_eq!(&*log.select("a", &[], Cut(1))[0].axis, [1_000, 2_000, 5_000, 6_000]);
}

#[test]
fn samples_are_judged_one_by_one_and_messages_name_them() {
    let mut log = Log::new(config());
    let limits =
        TenantLimits { series_max: 3, out_of_order_window_ms: 60_000, ..Default::default() };
    let rules = ShardRules { version: 1, default_limits: limits, ..ShardRules::default() };
    let write = Write { leader_time_ms: log.now_ms, rules: Some(rules), blocks: Vec::new() };
    log.apply(&Entry::Write(write));
    let now = log.now_ms;
    let mut producer = Producer::new(1, 1);
    let group = producer.encoder.register(spec("a", 0..4)).expect("few series");
    let one = floats(&[1.0; 4]);
    producer.frame(group, now, &one);
    let verdicts = log.accept(producer.block());
    assert_eq!((verdicts.accepted, verdicts.refused(Refusal::SeriesLimit)), (3, 1));
    assert!(
        verdicts.messages[0].contains("series_max=3") && verdicts.messages[0].contains("i=\"3\"")
    );

    producer.frame(group, now - 60_001, &one);
    producer.frame(group, now + crate::AHEAD_MS_MAX + 1, &one);
    producer.frame(group, now - 60_000, &one);
    producer.frame(group, now, &floats(&[1.0, 2.0]));
    let verdicts = log.accept(producer.block());
    assert_eq!(verdicts.refused(Refusal::TooOld), 3);
    assert_eq!(verdicts.refused(Refusal::TooFarAhead), 3);
    assert_eq!(verdicts.refused(Refusal::SeriesLimit), 3);
    assert_eq!(verdicts.refused(Refusal::DuplicateTimestamp), 1);
    assert_eq!((verdicts.accepted, verdicts.repeated), (4, 1));
    assert_eq!(verdicts.messages.len(), crate::MESSAGES_MAX);
    assert!(verdicts.messages[0].contains("window_ms=60000"), "{:?}", verdicts.messages);
    let late = log.select("a", &[Matcher::equal("i", "0")], Cut(1));
    assert_eq!(samples(&late[0]), [(now - 60_000, 1.0), (now, 1.0)]);

    let long = "x".repeat(20_000);
    let series = [Labels::from_pairs([("__name__", &long)]), Labels::empty()].map(Some).to_vec();
    let bad = GroupSpec { tenant: tenant("b"), target: None, series };
    let group = producer.encoder.register(bad).expect("few series");
    producer.frame(group, now, &floats(&[1.0; 2]));
    let verdicts = log.accept(producer.block());
    assert_eq!(verdicts.refused(Refusal::LabelLimit), 1);
    assert_eq!(verdicts.refused(Refusal::NoLabels), 1);
    assert!(verdicts.messages[0].contains("label_value_bytes=20000 max=16384"));
}

#[test]
fn a_key_of_another_shard_is_answered_with_moved_and_nothing_is_applied() {
    let mut log = Log::new(config());
    let key = SeriesKey::of(&tenant("a"), &labels(0));
    let routes = Routes::Ranges(vec![(tenant("a"), KeyRange { first: key, last: key })]);
    let rules = ShardRules { version: 2, routes, ..ShardRules::default() };
    let write = Write { leader_time_ms: 0, rules: Some(rules), blocks: Vec::new() };
    log.apply(&Entry::Write(write));
    let mut producer = Producer::new(1, 1);
    let group = producer.encoder.register(spec("a", [0, 1])).expect("few series");
    producer.frame(group, 1_000, &floats(&[1.0, 1.0]));
    let outcome = log.write(vec![producer.block()]).remove(0);
    let key = SeriesKey::of(&tenant("a"), &labels(1));
    assert_eq!(outcome, BlockOutcome::Moved { tenant: tenant("a"), key });
    assert_eq!(log.shard.active_series(), 0);
    let mut producer = Producer::new(2, 1);
    let group = producer.encoder.register(spec("a", [0])).expect("few series");
    producer.frame(group, 1_000, &floats(&[1.0]));
    assert_eq!(log.accept(producer.block()).accepted, 1);
}

#[test]
fn generations_stay_until_they_are_committed_with_the_same_samples_and_dropped() {
    let (mut log, mut producer, group) = steady("a", 10);
    let first = log.cut();
    assert_eq!(first.digest.samples, 60);
    producer.frame(group, 150_000, &floats(&[2.0; 6]));
    log.accept(producer.block());
    let second = log.cut();
    let mut digest = Digest::default();
    for item in log.shard.generation_series(Cut(1)).expect("it is there") {
        let (tenant, series) = item.expect("it decodes");
        let hash = pando_model::digest::series_hash(&tenant, &series.labels);
        for i in 0..series.len() {
            digest.add(hash, series.axis[i], &series.value(i));
        }
    }
    assert_eq!(digest, first.digest);
    assert!(!log.commit(Cut(2), first.digest), "another digest is an alarm");
    assert!(log.commit(Cut(1), first.digest));
    log.shard.drop_committed(Cut(2));
    let cuts: Vec<u64> = log.shard.generations().map(|g| g.cut.0).collect();
    assert_eq!(cuts, [2, 3]);
    let select = |cut| {
        let all = log.shard.select(&tenant("a"), KeyRange::ALL, &[], TimeRange::ALL, Cut(cut));
        all.map(|selection| selection.len())
    };
    let dropped = HeadError::Dropped { shard: ShardId(7), cut: Cut(1), dropped: Cut(1) };
    assert_eq!(select(1), Err(dropped));
    assert_eq!(select(2), Ok(6));
    assert_eq!(select(3), Ok(0));
    assert_eq!(select(4), Err(HeadError::Behind { shard: ShardId(7), cut: Cut(4), open: Cut(3) }));
    assert!(log.commit(Cut(2), second.digest));
}

#[test]
fn a_cut_forgets_idle_series_and_their_memory_is_used_again() {
    let mut log = Log::new(config());
    let mut producer = Producer::new(1, 1);
    let group = producer.encoder.register(spec("a", 0..10)).expect("few series");
    producer.frame(group, 0, &floats(&[1.0; 10]));
    log.accept(producer.block());
    let hour = crate::IDLE_MS;
    for (t, values) in [(hour / 2, 2), (hour, 2), (hour + 1, 2)] {
        producer.frame(group, t, &floats(&vec![1.0; values]));
        log.accept(producer.block());
    }
    let first = log.cut();
    assert_eq!(log.shard.active_series(), 2, "eight have no sample in the last hour");
    assert_eq!(log.select("a", &[], Cut(1)).len(), 10, "their samples are still there");
    assert!(log.commit(Cut(1), first.digest));
    log.shard.drop_committed(Cut(1));
    assert_eq!(log.shard.label_values(&tenant("a"), "i", &[], 99), ["0", "1"]);

    producer.frame(group, hour + 2, &floats(&[1.0; 3]));
    let block = producer.block();
    let full = BlockOutcome::SendFull { groups: vec![group] };
    assert_eq!(log.write(vec![block]), [full]);
    producer.next -= 1;
    producer.encoder.force_full(group);
    producer.frame(group, hour + 2, &floats(&[1.0; 3]));
    assert_eq!(log.accept(producer.block()).accepted, 3);
    assert_eq!(log.select("a", &[Matcher::equal("i", "2")], Cut(2)).len(), 1);

    // A stream whose groups are all forgotten, and that is silent for a generation, is forgotten too.
    let mut other = Producer::new(2, 1);
    let newer = other.encoder.register(spec("a", [77])).expect("few series");
    other.frame(newer, 10 * hour, &floats(&[1.0]));
    log.accept(other.block());
    log.cut();
    log.cut();
    producer.frame(group, 10 * hour, &floats(&[1.0; 3]));
    assert_eq!(log.write(vec![producer.block()]), [BlockOutcome::NewEpochNeeded]);
}

#[test]
fn after_the_seal_nothing_is_accepted_and_the_answer_says_how_far_it_got() {
    let (mut log, mut producer, group) = steady("a", 3);
    let Applied::Sealed { cut, answer } = log.apply(&Entry::Seal) else { panic!("it seals") };
    assert_eq!(cut.digest.samples, 18);
    assert_eq!(answer.last_sequences, [(producer.stream, Sequence(3))]);
    assert_eq!(answer.newest_ms, [(tenant("a"), 30_000)]);
    producer.frame(group, 45_000, &floats(&[1.0; 6]));
    let outcome = log.write(vec![producer.block()]);
    assert_eq!(outcome, [BlockOutcome::Sealed { last: Some(Sequence(3)) }]);
    let cut = Entry::Cut { cut: log.shard.open_cut(), reason: CutReason::Time };
    assert_eq!(log.apply(&cut), Applied::Nothing);
    assert_eq!(log.select("a", &[], Cut(1)).len(), 6);
    assert!(log.shard.generations().map(|g| (g.cut, g.open)).eq([(Cut(1), false)]));

    // A successor of two takes the lower bound.
    let other = SealAnswer { newest_ms: vec![(tenant("a"), 20_000_000)], ..Default::default() };
    let mut next = Log::new(ShardConfig { inherited: vec![other, answer], ..config() });
    let mut producer = Producer::new(1, 2);
    let group = producer.encoder.register(spec("a", [0])).expect("few series");
    let window = TenantLimits::default().out_of_order_window_ms;
    producer.frame(group, 30_000 - window, &floats(&[1.0]));
    producer.frame(group, 29_999 - window, &floats(&[1.0]));
    let verdicts = next.accept(producer.block());
    assert_eq!((verdicts.accepted, verdicts.refused(Refusal::TooOld)), (1, 1));
}

#[test]
fn a_hand_over_ends_what_vanished_and_refuses_the_old_scraper() {
    for agent_drops_its_group in [false, true] {
        let mut log = Log::new(config());
        let target = |epoch| Some(TargetEpoch { target: 9, epoch: Epoch(epoch) });
        let (mut old, mut new) = (Producer::new(1, 1), Producer::new(2, 1));
        let of_old = GroupSpec { target: target(1), ..spec("a", 0..3) };
        let group = old.encoder.register(of_old).expect("few series");
        old.frame(group, 1_000, &floats(&[1.0; 3]));
        old.frame(
            group,
            2_000,
            &[FrameValue::Float(1.0), FrameValue::Absent, FrameValue::Float(1.0)],
        );
        log.accept(old.block());
        if agent_drops_its_group {
            old.encoder.drop_group(group);
            log.accept(old.block());
            let of_old = GroupSpec { target: target(1), ..spec("a", 0..3) };
            let again = old.encoder.register(of_old).expect("few series");
            assert_ne!(again, group);
        }
        let of_new = GroupSpec { target: target(2), ..spec("a", [0, 3]) };
        let new_group = new.encoder.register(of_new).expect("few series");
        new.frame(new_group, 3_000, &floats(&[5.0, 5.0]));
        assert_eq!(log.accept(new.block()).accepted, 2);
        let ended = log.select("a", &[Matcher::equal("i", "2")], Cut(1)).remove(0);
        let last = samples(&ended).pop().expect("three samples");
        assert!(last.0 == 3_000 && is_stale_nan(last.1), "it vanished with the hand-over");
        let gone = log.select("a", &[Matcher::equal("i", "1")], Cut(1)).remove(0);
        assert_eq!(samples(&gone), [(1_000, 1.0)], "it was absent before");

        if !agent_drops_its_group {
            old.frame(group, 2_500, &floats(&[1.0; 3]));
            old.frame(group, 3_000, &floats(&[5.0; 3]));
            let verdicts = log.accept(old.block());
            assert_eq!((verdicts.accepted, verdicts.refused(Refusal::HandedOver)), (3, 3));
        }
        let newest = log.shard.seal_answer().targets[0].newest_ms;
        assert_eq!(newest, 3_000);
    }
}

#[test]
fn sparse_frames_edits_exemplars_starts_and_metadata_are_kept() {
    let mut log = Log::new(config());
    let mut producer = Producer::new(1, 1);
    let group = producer.encoder.register(spec("a", 0..20)).expect("few series");
    let exemplar =
        Exemplar { labels: Labels::from_pairs([("t", "1")]), value: 2.0, timestamp_ms: 5 };
    for n in 0..40i64 {
        // One series of twenty: too few for the lane.
        let mut values = vec![FrameValue::Absent; 20];
        values[3] = FrameValue::Float(n as f64);
        let input = FrameInput {
            time_ms: n * 1_000,
            values: &values,
            starts: &[(3, 500 + n / 20)],
            exemplars: &[(3, exemplar.clone())],
            ..FrameInput::default()
        };
        producer.encoder.push_frame(group, &input);
    }
    let help = "Help.".to_string();
    let metadata = Metadata { metric_type: MetricType::Gauge, unit: "s".to_string(), help };
    producer.encoder.push_metadata(&tenant("a"), "up", &metadata);
    producer.encoder.edit(group, &[0], vec![labels(20)]).expect("few series");
    producer.frame(group, 50_000, &floats(&[9.0; 21]));
    assert_eq!(log.accept(producer.block()).accepted, 60);
    let series = log.select("a", &[Matcher::equal("i", "3")], Cut(1)).remove(0);
    assert_eq!(series.len(), 41);
    assert_eq!((series.starts[0], series.starts[20], series.starts[40]), (500, 501, 501));
    assert_eq!(series.exemplars, std::slice::from_ref(&exemplar));
    let of = |matcher: Matcher, min_ms: i64| {
        let time = TimeRange { min_ms, max_ms: 6 };
        let found = log.shard.exemplars(&tenant("a"), KeyRange::ALL, &[matcher], time, Cut(1));
        found.expect("the cut is there").pop()
    };
    assert_eq!(of(Matcher::equal("i", "3"), 5), Some((labels(3), vec![exemplar])));
    assert_eq!(of(Matcher::equal("i", "3"), 6), None);
    assert_eq!(of(Matcher::equal("i", "20"), 0), None);
    let dropped = log.shard.exemplars(&tenant("a"), KeyRange::ALL, &[], TimeRange::ALL, Cut(9));
    assert!(dropped.is_err(), "a cut that is not there");
    assert_eq!(log.select("a", &[Matcher::equal("i", "20")], Cut(1))[0].floats, [9.0]);
    assert!(log.select("a", &[Matcher::equal("i", "0")], Cut(1)).is_empty());
    assert_eq!(log.shard.metadata(&tenant("a")).collect::<Vec<_>>(), [("up", &metadata)]);
}

#[test]
fn what_is_stored_is_counted_by_kind() {
    let histogram = |count: f64| {
        let histogram =
            Histogram { count, zero_count: count, integer: true, ..Histogram::default() };
        FrameValue::Histogram(std::sync::Arc::new(histogram))
    };
    let exemplar = |value| {
        let labels = Labels::from_pairs([("trace_id", "x")]);
        Exemplar { labels, value, timestamp_ms: 1 }
    };
    let mut log = Log::new(config());
    let mut send = |id, time_ms, counts: f64, traced: f64| {
        let mut producer = Producer::new(id, 1);
        let group = producer.encoder.register(spec("a", 0..3)).expect("few series");
        let values = [FrameValue::Float(1.0), histogram(counts), FrameValue::Float(2.0)];
        let exemplars = &[(1, exemplar(traced))];
        let input = FrameInput { time_ms, values: &values, exemplars, ..FrameInput::default() };
        producer.encoder.push_frame(group, &input);
        let Verdicts { accepted, histograms, exemplars, .. } = log.accept(producer.block());
        (accepted, histograms, exemplars)
    };
    let day_ms = 86_400_000;
    assert_eq!(send(1, day_ms, 3.0, 0.5), (3, 1, 1));
    assert_eq!(send(2, day_ms, 3.0, 0.5), (3, 1, 1), "it is there");
    assert_eq!(send(3, day_ms, 4.0, 0.5), (2, 0, 1), "the histogram has another value");
    assert_eq!(send(4, 0, 3.0, 0.7), (0, 0, 0), "too old");
}

#[test]
fn offsets_give_series_their_own_times() {
    let mut log = Log::new(config());
    let mut producer = Producer::new(1, 1);
    let group = producer.encoder.register(spec("a", 0..2)).expect("few series");
    for n in 0..40i64 {
        let values = floats(&[n as f64, STALE_NAN]);
        let input = FrameInput {
            time_ms: n * 10_000,
            values: &values,
            offsets: &[(0, -(n % 7) - 1)],
            ..FrameInput::default()
        };
        producer.encoder.push_frame(group, &input);
        assert_eq!(log.accept(producer.block()).accepted, 2);
    }
    let own = log.select("a", &[Matcher::equal("i", "0")], Cut(1)).remove(0);
    assert_eq!(own.axis[..3], [-1, 9_998, 19_997]);
    assert_eq!(own.floats[39], 39.0);
    let frame = log.select("a", &[Matcher::equal("i", "1")], Cut(1)).remove(0);
    assert_eq!(frame.axis[1], 10_000);
    assert!(is_stale_nan(frame.floats[39]));
}

/// What is said of a series is sent and kept: it is short, however long the series' labels are.
#[test]
fn a_refusal_of_a_long_label_is_said_in_few_words() {
    let mut log = Log::new(config());
    let mut producer = Producer::new(1, 1);
    let long = Labels::from_pairs([("__name__", "m"), ("a", &*"\u{1}\u{e9}".repeat(200_000))]);
    let spec = GroupSpec { tenant: tenant("a"), target: None, series: vec![Some(long)] };
    let group = producer.encoder.register(spec).expect("few series");
    producer.frame(group, 1_000, &floats(&[1.0]));
    let verdicts = log.accept(producer.block());
    assert_eq!(verdicts.refused(Refusal::LabelLimit), 1);
    let lengths: Vec<usize> = verdicts.messages.iter().map(String::len).collect();
    assert!(lengths == [1024] || lengths == [1023], "{lengths:?}");
    assert!(log.shard.stats(&tenant("a"), 1).series == 0);
}

/// The answer to a block may be lost: whoever sends it again is told the same, by each replica.
#[test]
fn what_a_block_came_to_is_said_again() {
    let (mut log, mut producer, group) = steady("a", 2);
    log.cut();
    // Too far ahead, then no write block, then more than is remembered.
    producer.frame(group, 1 << 50, &floats(&[1.0; 2]));
    let refused = producer.block();
    let outcome = log.write(vec![refused.clone()]).remove(0);
    let BlockOutcome::Applied(verdicts) = outcome else { panic!("{outcome:?}") };
    assert_eq!((verdicts.accepted, verdicts.refused(Refusal::TooFarAhead)), (0, 2));
    let body = b"\x01 nothing that could be decoded";
    let hash = xxhash_rust::xxh3::xxh3_64(body).to_le_bytes();
    let malformed = producer.numbered([&body[..], &hash].concat().into());
    let outcome = log.write(vec![malformed.clone()]).remove(0);
    let BlockOutcome::Malformed { message } = outcome else { panic!("{outcome:?}") };
    producer.encoder.force_full_all();
    producer.frame(group, 1_000_000, &floats(&[1.0; 2]));
    let good = producer.block();
    log.accept(good.clone());
    let said = [Some(Judged::Applied(verdicts)), Some(Judged::Malformed { message }), None];
    let again = |shard: &mut Shard, index: u64| {
        let blocks = vec![refused.clone(), malformed.clone(), good.clone()];
        let write = Write { leader_time_ms: 0, rules: None, blocks };
        let Applied::Write(outcomes) = shard.apply(index, &Entry::Write(write)) else {
            panic!("a write")
        };
        let judged = outcomes.into_iter().map(|outcome| match outcome {
            BlockOutcome::Duplicate { judged, .. } => judged,
            other => panic!("{other:?}"),
        });
        judged.collect::<Vec<_>>()
    };
    let mut restored = Shard::restore(ShardId(7), &log.shard.checkpoint()).expect("it is whole");
    assert_eq!(restored.state_hash(), log.shard.state_hash());
    assert_eq!(again(&mut restored, log.index + 1), said);
    restored.apply(log.index + 2, &Entry::Seal);
    assert_eq!(again(&mut restored, log.index + 3), said);
    for n in 1..UNDER_WAY_MAX as i64 {
        assert_eq!(again(&mut log.shard, log.index + 1)[1], said[1]);
        log.index += 1;
        producer.frame(group, 1_001_000 + n, &floats(&[1.0; 2]));
        log.accept(producer.block());
    }
    assert_eq!(again(&mut log.shard, log.index + 1), [None, None, None]);
}

#[test]
fn checkpoint_version_one_is_pinned() {
    let (mut log, mut producer, group) = steady("a", 2);
    log.cut();
    producer.frame(group, 20_000, &floats(&[1.0; 2]));
    log.accept(producer.block());
    let bytes = log.shard.checkpoint();
    assert_eq!((bytes.len(), xxhash_rust::xxh3::xxh3_64(&bytes)), PINNED);
    assert_eq!(bytes[0], crate::CHECKPOINT_VERSION);
    let other = Shard::restore(ShardId(8), &bytes).expect_err("it is shard 7's");
    assert_eq!(other, HeadError::OtherShard { shard: ShardId(8), found: ShardId(7) });
    let error = Shard::restore(ShardId(7), &[9]).expect_err("version 9");
    assert_eq!(error.kind(), pando_model::ErrorKind::Unsupported);
}
const PINNED: (usize, u64) = (687, 7_790_484_969_613_746_880);

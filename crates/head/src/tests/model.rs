//! The shard against a naive model: any mixture of producers, retries, cuts, commits and restarts.

use std::collections::BTreeMap;
use std::sync::Arc;

use pando_model::{Histogram, SampleValue};
use proptest::prelude::*;

use super::*;

const SERIES: usize = 6;
const WINDOW_MS: i64 = 400;

#[derive(Clone, Debug)]
enum Step {
    /// Producer, time, a value code for each slot, an offset of slot 1.
    Frame(usize, i64, Vec<Option<u8>>, i64),
    /// Producer: its frames so far become a block.
    Finish(usize),
    /// Producer, which of its blocks: in sequence or not.
    Deliver(usize, usize),
    /// Producer: everything that it has, in sequence.
    DeliverAll(usize),
    Full(usize),
    Cut,
    CommitAndDrop,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let values = prop::collection::vec(prop::option::weighted(0.8, 0u8..6), SERIES);
    prop_oneof![
        8 => (0usize..2, 0i64..1000, values, 0i64..3)
            .prop_map(|(p, t, v, o)| Step::Frame(p, t / 10 * 10, v, o * 10)),
        3 => (0usize..2).prop_map(Step::Finish),
        2 => (0usize..2, 0usize..8).prop_map(|(p, n)| Step::Deliver(p, n)),
        4 => (0usize..2).prop_map(Step::DeliverAll),
        1 => (0usize..2).prop_map(Step::Full),
        1 => Just(Step::Cut),
        1 => Just(Step::CommitAndDrop),
        1 => Just(Step::Restart),
    ]
}

fn value_of(code: u8) -> SampleValue {
    match code {
        0 => SampleValue::Histogram(Arc::new(Histogram { count: 3.0, ..Histogram::default() })),
        1 => SampleValue::Float(STALE_NAN),
        _ => SampleValue::Float(f64::from(code)),
    }
}

fn frame_value(value: SampleValue) -> FrameValue {
    match value {
        SampleValue::Float(v) => FrameValue::Float(v),
        SampleValue::Histogram(h) => FrameValue::Histogram(h),
    }
}

/// One sample: series, time, value.
type Sent = (usize, i64, SampleValue);

#[derive(Default)]
struct Naive {
    expected: [usize; 2],
    newest: Option<i64>,
    /// Generations in order; the last one is open.
    generations: Vec<BTreeMap<(usize, i64), SampleValue>>,
    committed: usize,
}

impl Naive {
    /// (accepted, refused) of a block that is applied.
    fn apply(&mut self, sent: &[Sent]) -> (u64, u64) {
        let (mut accepted, mut refused) = (0, 0);
        // Floats of a frame are judged before its histograms; neither order shows but in the bound.
        for (series, t, value) in sent {
            if self.newest.is_some_and(|newest| *t < newest - WINDOW_MS) {
                refused += 1;
                continue;
            }
            let open = self.generations.last_mut().expect("one is open");
            match open.get(&(*series, *t)) {
                Some(known) if !known.same_bits(value) => refused += 1,
                _ => {
                    open.insert((*series, *t), value.clone());
                    self.newest = self.newest.max(Some(*t));
                    accepted += 1;
                }
            }
        }
        (accepted, refused)
    }
}

struct Run {
    log: Log,
    /// A replica that is never restarted and never drops anything.
    twin: Shard,
    naive: Naive,
    producers: Vec<(Producer, GroupId)>,
    open: [Vec<Sent>; 2],
    blocks: [Vec<(StreamBlock, Vec<Sent>)>; 2],
}

impl Run {
    fn new() -> Self {
        let limits = TenantLimits { out_of_order_window_ms: WINDOW_MS, ..Default::default() };
        let rules = ShardRules { default_limits: limits, ..ShardRules::default() };
        let config = ShardConfig { rules, ..config() };
        let producers = [1u64, 2].map(|id| {
            let mut producer = Producer::new(id, 1);
            // The same series in another order, so that rows are no columns.
            let order: Vec<usize> =
                if id == 1 { (0..SERIES).collect() } else { (0..SERIES).rev().collect() };
            let group = producer.encoder.register(spec("a", order)).expect("few series");
            (producer, group)
        });
        Run {
            twin: Shard::new(config.clone()),
            log: Log::new(config),
            naive: Naive { generations: vec![BTreeMap::new()], ..Naive::default() },
            producers: producers.into(),
            open: Default::default(),
            blocks: Default::default(),
        }
    }

    fn series_of(&self, p: usize, slot: usize) -> usize {
        if p == 0 { slot } else { SERIES - 1 - slot }
    }

    fn frame(&mut self, p: usize, t: i64, codes: &[Option<u8>], offset: i64) {
        let mut values = vec![FrameValue::Absent; SERIES];
        let (mut floats, mut histograms) = (Vec::new(), Vec::new());
        for (slot, code) in codes.iter().enumerate() {
            let Some(value) = code.map(value_of) else { continue };
            let time = if slot == 1 { t + offset } else { t };
            let sent = (self.series_of(p, slot), time, value.clone());
            match &value {
                SampleValue::Float(_) => floats.push(sent),
                SampleValue::Histogram(_) => histograms.push(sent),
            }
            values[slot] = frame_value(value);
        }
        let (producer, group) = &mut self.producers[p];
        let offsets = [(1, offset)];
        let input =
            FrameInput { time_ms: t, values: &values, offsets: &offsets, ..FrameInput::default() };
        producer.encoder.push_frame(*group, &input);
        self.open[p].extend(floats.into_iter().chain(histograms));
    }

    fn finish(&mut self, p: usize) {
        if self.producers[p].0.encoder.pending_bytes() > 0 {
            let block = self.producers[p].0.block();
            let sent = std::mem::take(&mut self.open[p]);
            self.blocks[p].push((block, sent));
        }
    }

    fn apply(&mut self, entry: &Entry) -> Applied {
        let applied = self.log.apply(entry);
        let twin = self.twin.apply(self.log.index, entry);
        assert_eq!(applied, twin, "replicas judge alike");
        applied
    }

    fn deliver(&mut self, p: usize, n: usize) {
        let Some((block, sent)) = self.blocks[p].get(n).cloned() else { return };
        let blocks = vec![block];
        let entry = Entry::Write(Write { leader_time_ms: 0, rules: None, blocks });
        let Applied::Write(outcomes) = self.apply(&entry) else { panic!("a write") };
        let expected = self.naive.expected[p];
        match &outcomes[0] {
            BlockOutcome::Applied(verdicts) => {
                assert_eq!(n, expected);
                let counts = self.naive.apply(&sent);
                assert_eq!((verdicts.accepted, verdicts.refused_total()), counts);
                self.naive.expected[p] += 1;
            }
            BlockOutcome::Duplicate { .. } => assert!(n < expected),
            BlockOutcome::Expect { .. } => assert!(n > expected && expected > 0),
            BlockOutcome::NewEpochNeeded => assert!(n > 0 && expected == 0),
            // A series without samples was forgotten. Nothing was applied, and the stream waits.
            BlockOutcome::SendFull { .. } => assert_eq!(n, expected),
            other => panic!("unexpected outcome {other:?}"),
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Frame(p, t, codes, offset) => self.frame(*p, *t, codes, *offset),
            Step::Finish(p) => self.finish(*p),
            Step::Deliver(p, n) => self.deliver(*p, *n),
            Step::DeliverAll(p) => {
                for n in self.naive.expected[*p]..self.blocks[*p].len() {
                    self.deliver(*p, n);
                }
            }
            Step::Full(p) => self.producers[*p].0.encoder.force_full_all(),
            Step::Cut => {
                let cut = self.log.shard.open_cut();
                self.apply(&Entry::Cut { cut, reason: CutReason::Time });
                self.naive.generations.push(BTreeMap::new());
            }
            Step::CommitAndDrop => {
                let Some(first) = self.log.shard.generations().find(|g| !g.open && !g.committed)
                else {
                    return;
                };
                let (cut, digest) = (first.cut, first.digest);
                self.apply(&Entry::Committed { cut, block: BlockId(1), digest });
                self.log.shard.drop_committed(cut);
                self.naive.committed = cut.0 as usize;
            }
            Step::Restart => {
                let bytes = self.log.shard.checkpoint();
                let restored = Shard::restore(ShardId(7), &bytes).expect("it was written");
                assert_eq!(restored.checkpoint(), bytes, "nothing is lost");
                self.log.shard = restored;
            }
        }
        assert_eq!(self.log.shard.state_hash(), self.twin.state_hash());
    }

    /// Compares every generation, and the merge of those that are left.
    fn check(&self) {
        let series_number = |series: &SeriesSamples| -> usize {
            series.labels.value("i").parse().expect("a number")
        };
        let collect = |series: &SeriesSamples| -> Vec<Sent> {
            let number = series_number(series);
            (0..series.len()).map(|i| (number, series.axis[i], series.value(i))).collect()
        };
        for (n, expected) in self.naive.generations.iter().enumerate() {
            let cut = Cut(n as u64 + 1);
            let mut found = Vec::new();
            for item in self.twin.generation_series(cut).expect("the twin has everything") {
                found.extend(collect(&item.expect("it decodes").1));
            }
            found.sort_by_key(|(series, t, _)| (*series, *t));
            let expected: Vec<Sent> =
                expected.iter().map(|((series, t), v)| (*series, *t, v.clone())).collect();
            same(&found, &expected);
        }
        let mut merged: BTreeMap<(usize, i64), SampleValue> = BTreeMap::new();
        for generation in &self.naive.generations[self.naive.committed..] {
            for (at, value) in generation {
                let kept = merged.entry(*at).or_insert_with(|| value.clone());
                if value.merge_order(kept).is_gt() {
                    *kept = value.clone();
                }
            }
        }
        let first = Cut(self.naive.committed as u64 + 1);
        let mut found: Vec<Sent> =
            self.log.select("a", &[], first).iter().flat_map(collect).collect();
        found.sort_by_key(|(series, t, _)| (*series, *t));
        let merged: Vec<Sent> = merged.into_iter().map(|((s, t), v)| (s, t, v)).collect();
        same(&found, &merged);
    }
}

fn same(found: &[Sent], expected: &[Sent]) {
    let equal = |a: &Sent, b: &Sent| (a.0, a.1) == (b.0, b.1) && a.2.same_bits(&b.2);
    let ok = found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| equal(a, b));
    assert!(ok, "found {found:?}\nexpected {expected:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn the_shard_is_its_model(steps in prop::collection::vec(step(), 1..80)) {
        let mut run = Run::new();
        for step in steps.iter().chain(&[
            Step::Finish(0), Step::Finish(1), Step::DeliverAll(0), Step::DeliverAll(1),
        ]) {
            run.step(step);
        }
        run.check();
    }

    #[test]
    fn damaged_checkpoints_and_blocks_never_panic(at in any::<usize>(), bit in 0u8..8, fix in any::<bool>()) {
        let (log, mut producer, group) = steady("a", 40);
        let mut bytes = log.shard.checkpoint();
        let body = bytes.len() - 8;
        let at_checkpoint = at % body;
        bytes[at_checkpoint] ^= 1 << bit;
        prop_assert!(Shard::restore(ShardId(7), &bytes).is_err());
        if fix {
            let checksum = xxhash_rust::xxh3::xxh3_64(&bytes[..body]);
            bytes[body..].copy_from_slice(&checksum.to_le_bytes());
            if let Ok(shard) = Shard::restore(ShardId(7), &bytes) {
                let mut log = Log { shard, index: 1000, now_ms: 0 };
                producer.frame(group, 0, &floats(&[3.0; 6]));
                log.write(vec![producer.block()]);
                let cut = log.shard.open_cut();
                log.apply(&Entry::Cut { cut, reason: CutReason::Time });
                let all = log.shard.select(&tenant("a"), KeyRange::ALL, &[], TimeRange::ALL, cut);
                if let Ok(mut selection) = all {
                    let _ = log.shard.read(&mut selection, 1000);
                }
            }
        }
    }
}

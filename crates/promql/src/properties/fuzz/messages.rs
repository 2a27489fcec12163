//! Damaged plans and batches through their decoders.

use crate::{
    Budget, CancelFlag, Features, FragmentExecution, FragmentPlan, PartialBatch, PartialGroup,
    PartialMerge, Query, QueryParams, Read,
};
use pando_model::{Matcher, SeriesSamples};

use super::damage::damaged;
use crate::testing::{Chance, Expressions, FEATURES, all_cases, data, each_seed};

const CASES: u64 = 200;
/// How many times each message is damaged.
const DAMAGES: usize = 12;
/// The most bytes of memory for a byte of a message: a sum has one presence bit a step, and two columns of eight
/// bytes (130); a group without steps takes four bytes, and some hundred of memory.
const MEMORY_A_BYTE: usize = 160;
/// What plans of many steps may take.
const BYTES_MAX: u64 = 1 << 20;

/// A random plan with the batches that it comes to.
struct Sent {
    plan: FragmentPlan,
    batches: Vec<PartialBatch>,
}

fn sent(chance: &mut Chance, seed: u64) -> Vec<Sent> {
    let features = Features {
        delayed_name_removal: chance.one_in(2),
        start_timestamps: chance.one_in(2),
        ..FEATURES
    };
    let start = data::ORIGIN_MS + chance.within(0, data::SPAN_MS);
    let params = QueryParams::range(start, start + 300_000, 60_000).expect("six steps");
    let text = Expressions::new(chance).query(false);
    let Ok(query) = Query::parse(&text, params.with_features(features)) else { return Vec::new() };
    let all = data::series(seed / 16);
    let plans = query.fragments().iter().map(|spec| match chance.one_in(4) {
        true => spec.plan.raw(),
        false => spec.plan.clone(),
    });
    let ran = plans.filter_map(|plan| {
        let mut run = FragmentExecution::new(plan.clone(), Budget::default(), CancelFlag::new());
        let pass = |s: &&SeriesSamples| Matcher::all_match(&plan.matchers, &s.labels);
        run.push_batch(all.iter().filter(pass).cloned().collect()).ok()?;
        let batches = run.finish().ok()?;
        Some(Sent { plan, batches })
    });
    ran.collect()
}

#[test]
fn what_is_encoded_is_decoded_to_itself() {
    each_seed(CASES, |seed| {
        for Sent { plan, batches } in sent(&mut Chance::new(seed, "messages"), seed) {
            assert_same_plan(&plan);
            for batch in batches {
                let bytes = batch.encode();
                let again = PartialBatch::decode(&bytes).expect("a batch");
                assert_eq!(again.encode(), bytes);
                assert_eq!(format!("{again:?}"), format!("{batch:?}"));
            }
        }
    });
}

/// Compared as text: arguments may be NaN.
fn assert_same_plan(plan: &FragmentPlan) {
    let again = FragmentPlan::decode(&plan.encode()).expect("a plan");
    assert_eq!(format!("{again:?}"), format!("{plan:?}"));
}

#[test]
fn damaged_plans_are_refused_or_are_plans() {
    let (mut read, mut asked) = (0, 0);
    each_seed(CASES, |seed| {
        let mut chance = Chance::new(seed, "messages");
        let sent = sent(&mut chance, seed);
        let encoded: Vec<Vec<u8>> = sent.iter().map(|sent| sent.plan.encode()).collect();
        for bytes in &encoded {
            for _ in 0..DAMAGES {
                let bytes = damaged(&mut chance, bytes, &encoded[0], &WORDS);
                asked += 1;
                let Ok(plan) = FragmentPlan::decode(&bytes) else { continue };
                read += 1;
                // What was read can be sent on, asked for in parts, and begun to be executed.
                assert_same_plan(&plan);
                assert!(plan.with_steps(0, 1).is_some());
                let _ = (plan.time_range(), plan.raw().encode());
                execute(&plan, seed);
            }
        }
    });
    assert!(!all_cases() || (read > asked / 50 && read < asked), "read={read} asked={asked}");
}

/// Executes a plan that may hold any number there is, over as many samples and bytes as its budget allows. A column of
/// too many steps is refused, before there is one.
fn execute(plan: &FragmentPlan, seed: u64) {
    let mut budget = Budget { samples_max: 100_000, ..Budget::default() };
    if plan.steps.len() > 1_000 {
        budget.bytes_max = BYTES_MAX;
    }
    let mut run = FragmentExecution::new(plan.clone(), budget, CancelFlag::new());
    let few: Vec<SeriesSamples> = data::series(seed / 16).into_iter().step_by(7).collect();
    let has_columns = !few.is_empty() && !matches!(plan.read, Read::Raw { .. });
    match run.push_batch(few) {
        Ok(()) => {
            let too_large = plan.steps.len() as u64 * 8 > BYTES_MAX;
            assert!(!has_columns || !too_large, "{plan:?}");
            let _ = run.finish();
        }
        Err(error) => drop(error),
    }
}

#[test]
fn damaged_batches_are_refused_or_are_bounded_batches() {
    let (mut read, mut asked) = (0, 0);
    each_seed(CASES, |seed| {
        let mut chance = Chance::new(seed, "messages");
        for Sent { plan, batches } in sent(&mut chance, seed) {
            let encoded: Vec<Vec<u8>> = batches.iter().map(PartialBatch::encode).collect();
            for bytes in &encoded {
                for _ in 0..DAMAGES {
                    let bytes = damaged(&mut chance, bytes, &encoded[0], &WORDS);
                    asked += 1;
                    let Ok(batch) = PartialBatch::decode(&bytes) else { continue };
                    read += 1;
                    let held = memory(&batch);
                    assert!(held <= MEMORY_A_BYTE * (bytes.len() + 1), "held={held}");
                    merge(&plan, batch);
                }
            }
        }
    });
    assert!(!all_cases() || (read > asked / 50 && read < asked), "read={read} asked={asked}");
}

/// Merges a batch that may not fit the plan, and whose numbers may be any.
fn merge(plan: &FragmentPlan, batch: PartialBatch) {
    let mut merge = PartialMerge::new(plan.clone(), Budget::default(), CancelFlag::new());
    if merge.push(batch).is_ok() {
        let _ = merge.finish();
    }
}

/// Bytes that a batch holds, at least.
fn memory(batch: &PartialBatch) -> usize {
    let raw = |s: &SeriesSamples| {
        s.labels.heap_bytes() + s.floats.len() * 8 + s.axis.len() * 8 + s.histograms.len() * 64
    };
    batch.groups.iter().map(PartialGroup::bytes).sum::<usize>()
        + batch.raw.iter().map(raw).sum::<usize>()
        + batch.label_hashes.len() * 16
        + batch.step_samples.len() * 8
        + batch.notes.len() * 32
}

/// What damage puts in: numbers at the ends of their ranges, long lengths, tags.
const WORDS: [&[u8]; 7] = [
    &[0xff; 8],
    &[0x80, 0x80, 0x80, 0x80, 0x10],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    &[0; 8],
    &[0x0a, 0x00],
    &[0x22, 0x02, 0x10, 0x7f],
    &[0, 0, 0, 0, 0, 0, 0xf0, 0x7f],
];

//! `info`: joins a vector with info series on the labels that identify a target, after Prometheus 3.14.
//!
//! ```text
//! base   http_requests{instance="a", job="j"}   } same instance and job
//! info   target_info{instance="a", job="j", version="1"}
//!   ->   http_requests{instance="a", job="j", version="1"}
//! ```
//!
//! Info series of one name and one target form a [`Slot`]. At each step the series with the newest sample stands for
//! its slot; two of the same time are an error. A base series takes the data labels of all slots of its target: those
//! that the selector names, or all where it names none, but none that it has itself. Two slots that disagree on a label
//! are an error. Where there is no slot at a step, the series stays as it is, or is left out if a data matcher does not
//! match the empty value. Base series that are info series themselves stay as they are.
//!
//! Steps with the same series in all slots have the same labels, so labels are made once for each such set.

use pando_model::{Labels, METRIC_NAME, Matcher};
use rapidhash::{RapidHashMap, RapidHashSet};

use super::bitmap::Bitmap;
use super::labelset::LabelSetIndex;
use super::vector::{StepVector, join_same_labels};
use crate::budget::Ledger;
use crate::error::QueryError;

/// The labels that identify a target.
pub(crate) const IDENTIFYING: [&str; 2] = ["instance", "job"];

/// What makes a series an info series, and what is wanted of it.
pub(crate) struct InfoSelector<'a> {
    /// The matchers of names.
    pub(crate) names: &'a [Matcher],
    /// The matchers of data labels.
    pub(crate) data: &'a [Matcher],
}

impl InfoSelector<'_> {
    fn is_info(&self, labels: &Labels) -> bool {
        self.names.iter().all(|m| m.matches(labels.metric_name()))
    }

    fn wants(&self, label: &str) -> bool {
        label != METRIC_NAME
            && (self.data.is_empty() || self.data.iter().any(|m| m.name() == label))
    }

    /// Whether a series without info is left out.
    fn requires(&self) -> bool {
        self.data.iter().any(|m| !m.matches_empty())
    }
}

/// The info series of one name and one target, by their numbers. Mostly one.
struct Slot {
    series: Vec<u32>,
}

impl Slot {
    /// The series with the newest sample at `step`; `tie` is told of two with equal times.
    fn newest(
        &self,
        info: &[StepVector],
        step: usize,
        mut tie: impl FnMut(u32, u32),
    ) -> Option<u32> {
        let mut newest: Option<(u32, f64)> = None;
        for &n in &self.series {
            let Some(time) = info[n as usize].float(step) else { continue };
            match newest {
                Some((_, other)) if other > time => {}
                Some((m, other)) if other == time => tie(m, n),
                _ => newest = Some((n, time)),
            }
        }
        newest.map(|(n, _)| n)
    }

    /// Notes two series of equal times at any of the steps `present`.
    fn check(&self, info: &[StepVector], present: &Bitmap, fault: &mut FirstFault) {
        if self.series.len() < 2 {
            return;
        }
        for i in present.iter() {
            self.newest(info, i, |old, new| {
                let (old, new) = (&info[old as usize], &info[new as usize]);
                fault.note(i, || {
                    let t = new.values[i] as i64;
                    format!(
                        "found duplicate series for info metric: existing {} @ {t}, new {} @ {t}",
                        old.labels, new.labels
                    )
                });
            });
        }
    }
}

/// The first error by its step: what Prometheus, which works step by step, would say.
#[derive(Default)]
struct FirstFault(Option<(usize, String)>);

impl FirstFault {
    fn note(&mut self, step: usize, message: impl FnOnce() -> String) {
        if self.0.as_ref().is_none_or(|(first, _)| step < *first) {
            self.0 = Some((step, message()));
        }
    }

    fn result(self) -> Result<(), QueryError> {
        self.0.map_or(Ok(()), |(_, message)| Err(QueryError::execution(message)))
    }
}

/// Joins `base` with `info`, whose floats are the times of its samples in ms, over `steps` steps.
pub(crate) fn join(
    base: Vec<StepVector>,
    info: Vec<StepVector>,
    selector: &InfoSelector<'_>,
    steps: usize,
    ledger: &mut Ledger,
) -> Result<Vec<StepVector>, QueryError> {
    let info = of_targets(&base, info, selector);
    if let Some(series) = info.iter().find(|s| !s.histograms.is_empty()) {
        let labels = &series.labels;
        return Err(QueryError::execution(format!(
            "this should be an info metric, with float samples: {labels}"
        )));
    }
    let mut present = Bitmap::zeros(steps);
    base.iter().for_each(|s| present.or_with(&s.presence()));
    let mut fault = FirstFault::default();
    let slots = Slots::of(&info);
    for slot in slots.of_target.iter().flatten() {
        ledger.check_cancel()?;
        slot.check(&info, &present, &mut fault);
    }
    let mut out = Vec::with_capacity(base.len());
    for series in base {
        if selector.is_info(&series.labels) {
            out.push(series);
        } else {
            ledger.check_cancel()?;
            enrich(series, &info, &slots, selector, &mut fault, &mut out, ledger)?;
        }
    }
    fault.result()?;
    out.retain(|s| !s.is_empty());
    join_same_labels(out)
}

/// The info series of instances and jobs that are in `base`: the others take no part, not even in errors.
fn of_targets(
    base: &[StepVector],
    mut info: Vec<StepVector>,
    selector: &InfoSelector<'_>,
) -> Vec<StepVector> {
    let mut known: [RapidHashSet<&str>; 2] = Default::default();
    let joined = base.iter().filter(|s| !s.is_empty() && !selector.is_info(&s.labels));
    for series in joined {
        for (values, label) in known.iter_mut().zip(IDENTIFYING) {
            values.extend(Some(series.labels.value(label)).filter(|v| !v.is_empty()));
        }
    }
    if known.iter().all(|values| values.is_empty()) {
        return Vec::new();
    }
    let of_target = |labels: &Labels| {
        let mut pairs = known.iter().zip(IDENTIFYING);
        pairs.all(|(values, label)| values.is_empty() || values.contains(labels.value(label)))
    };
    info.retain(|s| !s.is_empty() && of_target(&s.labels));
    info
}

fn target(labels: &Labels) -> Labels {
    labels.without(|name| !IDENTIFYING.contains(&name))
}

/// All slots, by target.
struct Slots {
    targets: LabelSetIndex,
    /// The slots of each target, in the order of their names.
    of_target: Vec<Vec<Slot>>,
}

impl Slots {
    fn of(info: &[StepVector]) -> Self {
        let mut targets = LabelSetIndex::default();
        let mut of_target: Vec<Vec<(&str, Slot)>> = Vec::new();
        for (n, series) in info.iter().enumerate() {
            let at = targets.position(&target(&series.labels));
            if at == of_target.len() {
                of_target.push(Vec::new());
            }
            let (slots, name) = (&mut of_target[at], series.labels.metric_name());
            match slots.binary_search_by(|(other, _)| (*other).cmp(name)) {
                Ok(place) => slots[place].1.series.push(n as u32),
                Err(place) => slots.insert(place, (name, Slot { series: vec![n as u32] })),
            }
        }
        let unnamed = |slots: Vec<(_, Slot)>| slots.into_iter().map(|(_, slot)| slot).collect();
        Slots { targets, of_target: of_target.into_iter().map(unnamed).collect() }
    }

    fn of_series(&self, labels: &Labels) -> &[Slot] {
        let at = self.targets.get(&target(labels));
        at.and_then(|at| self.of_target.get(at)).map_or(&[], Vec::as_slice)
    }
}

/// Adds `series` to `out` with the labels of its info series: one series for each set of those.
fn enrich(
    series: StepVector,
    info: &[StepVector],
    slots: &Slots,
    selector: &InfoSelector<'_>,
    fault: &mut FirstFault,
    out: &mut Vec<StepVector>,
    ledger: &mut Ledger,
) -> Result<(), QueryError> {
    let slots = slots.of_series(&series.labels);
    if slots.is_empty() {
        if !selector.requires() {
            out.push(series);
        }
        return Ok(());
    }
    // The steps of each set of info series.
    let mut sets: Vec<(Vec<u32>, Bitmap)> = Vec::new();
    let mut numbers: RapidHashMap<Vec<u32>, usize> = RapidHashMap::default();
    let mut latest: Vec<u32> = Vec::new();
    for i in series.presence().iter() {
        latest.clear();
        latest.extend(slots.iter().filter_map(|slot| slot.newest(info, i, |_, _| {})));
        let at = match numbers.get(&latest) {
            Some(at) => *at,
            None => {
                ledger.hold(0, series.values.len() / 8 + latest.len() * 8)?;
                numbers.insert(latest.clone(), sets.len());
                sets.push((latest.clone(), Bitmap::zeros(series.values.len())));
                sets.len() - 1
            }
        };
        sets[at].1.set(i);
    }
    for (set, mask) in sets {
        if set.is_empty() && selector.requires() {
            continue;
        }
        let winners = set.iter().map(|n| &info[*n as usize].labels);
        match with_data_labels(&series.labels, winners, selector) {
            Ok(labels) => {
                ledger.hold(mask.count(), series.bytes() + labels.heap_bytes())?;
                let mut part = series.clone();
                part.labels = labels;
                part.keep(&mask);
                out.push(part);
            }
            Err(label) => {
                let step = mask.iter().next().unwrap_or_default();
                fault.note(step, || format!("conflicting label: {label}"));
            }
        }
    }
    Ok(())
}

/// `base` with the data labels of `infos`; or the label that two of them disagree on.
fn with_data_labels<'a>(
    base: &Labels,
    infos: impl Iterator<Item = &'a Labels>,
    selector: &InfoSelector<'_>,
) -> Result<Labels, &'a str> {
    let mut builder = base.to_builder();
    for labels in infos {
        for (name, value) in labels {
            if !selector.wants(name) || base.get(name).is_some() {
                continue;
            }
            let known = builder.value(name);
            if !known.is_empty() && known != value {
                return Err(name);
            }
            builder.set(name, value);
        }
    }
    Ok(builder.build())
}

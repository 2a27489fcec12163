//! Random times and settings of queries.

use crate::{Features, QueryParams};

use crate::testing::{
    Chance, FEATURES,
    data::{ORIGIN_MS, SPAN_MS},
};

/// Times, a lookback and switches, about the times of the data.
pub fn params(chance: &mut Chance, instant: bool) -> QueryParams {
    let start = ORIGIN_MS + chance.within(-60_000, SPAN_MS + 60_000);
    // Every other time the steps meet the times of samples.
    let start = if chance.one_in(2) { start - start % 30_000 } else { start };
    let params = match instant {
        true => QueryParams::instant(start),
        false => {
            let step = [7_000, 15_000, 30_000, 60_000, 137_000][chance.below(5)];
            let rest = chance.within(0, step - 1);
            let end = start + step * chance.within(0, 11) + rest;
            QueryParams::range(start, end, step).expect("few steps")
        }
    };
    let features = Features {
        delayed_name_removal: chance.one_in(2),
        start_timestamps: chance.one_in(2),
        ..FEATURES
    };
    let lookback = [0, 20_000, 45_000, 150_000][chance.below(4)];
    params.with_lookback(lookback).with_features(features)
}

use pando_model::{Exemplar, STALE_NAN, SampleValue};
use proptest::prelude::*;

use super::*;
use crate::fuzz;

fn histogram(n: u32) -> SampleValue {
    let h = Histogram { count: f64::from(n), sum: f64::from(n) * 0.25, ..Histogram::default() };
    SampleValue::Histogram(Arc::new(h))
}

fn series(values: Vec<SampleValue>) -> SeriesSamples {
    let times = (0..).map(|i| i * 15_000);
    let labels = Labels::from_pairs([("__name__", "up")]);
    SeriesSamples::from_values(labels, SeriesKey(7), times.zip(values))
}

fn assert_same(a: &SeriesSamples, b: &SeriesSamples) {
    assert_eq!((&a.labels, a.key, &a.axis), (&b.labels, b.key, &b.axis));
    assert_eq!((a.floats.len(), a.histograms.len()), (b.floats.len(), b.histograms.len()));
    for at in 0..a.len() {
        assert!(a.value(at).same_bits(&b.value(at)), "at={at}");
    }
    assert_eq!((&a.starts, &a.exemplars), (&b.starts, &b.exemplars));
}

fn round_trip(samples: &SeriesSamples) -> Chunk {
    let chunk = Chunk::encode(samples);
    let decoded = chunk.decode(samples.labels.clone(), samples.key).expect("what was encoded");
    assert_same(&decoded, samples);
    chunk
}

fn mixed() -> SeriesSamples {
    let mut samples = series(vec![
        SampleValue::Float(1.5),
        histogram(3),
        histogram(5),
        SampleValue::Float(STALE_NAN),
        histogram(9),
        SampleValue::Float(-0.0),
    ]);
    samples.starts = vec![0, 0, 5, 5, 5, 5];
    let labels = Labels::from_pairs([("trace_id", "x")]);
    samples.exemplars = vec![Exemplar { labels, value: 0.5, timestamp_ms: 15_001 }];
    samples
}

#[test]
fn floats_need_two_parts_and_share_an_axis() {
    let one = series(vec![SampleValue::Float(1.0), SampleValue::Float(1.0)]);
    let chunk = round_trip(&one);
    assert_eq!(&*chunk.axis, [1, 2, 0, 0x98, 0x75, 0, 0, 0]);
    assert_eq!(&*chunk.floats, [1, 2, 0xa0, 2]);
    assert_eq!((&chunk.histograms, &chunk.starts, &chunk.exemplars), (&None, &None, &None));
    assert_eq!(chunk.encoded_bytes(), 12);

    let axis: Arc<[i64]> = decode_axis(&chunk.axis).expect("an axis").into();
    let decoded = chunk.parts().decode(one.labels.clone(), one.key, axis.clone());
    assert!(Arc::ptr_eq(&decoded.expect("a chunk").axis, &axis));
    assert_eq!(Chunk::encode_with_axis(&one, chunk.axis.clone()), chunk);
}

#[test]
fn floats_histograms_starts_and_exemplars_share_a_chunk() {
    round_trip(&mixed());
    round_trip(&series(vec![]));
    round_trip(&series(vec![histogram(1)]));
    round_trip(&series(vec![histogram(1), SampleValue::Float(2.0)]));
    let mut unknown = series(vec![SampleValue::Float(1.0)]);
    unknown.starts = vec![0];
    assert_eq!(Chunk::encode(&unknown).starts, None);
}

#[test]
fn parts_that_do_not_belong_together_are_refused() {
    let samples = mixed();
    let chunk = Chunk::encode(&samples);
    let decode = |chunk: &Chunk| chunk.decode(samples.labels.clone(), samples.key);
    for other in [
        Chunk { axis: Chunk::encode(&series(vec![histogram(1)])).axis, ..chunk.clone() },
        Chunk { histograms: None, ..chunk.clone() },
        Chunk { floats: Chunk::encode(&series(vec![])).floats, ..chunk.clone() },
        Chunk { starts: Some(Bytes::from_static(&[1, 2, 0, 0])), ..chunk.clone() },
        Chunk { exemplars: Some(Bytes::new()), ..chunk.clone() },
    ] {
        assert!(matches!(
            decode(&other),
            Err(CodecError::Malformed { .. }
                | CodecError::Limit { .. }
                | CodecError::Truncated { .. })
        ));
    }
    assert!(decode(&chunk).is_ok());
}

#[test]
fn what_does_not_fit_a_chunk_is_told_before() {
    assert_eq!(check_limits(&mixed()), Ok(()));
    let mut many = mixed();
    many.exemplars = vec![many.exemplars[0].clone(); EXEMPLARS_PER_CHUNK_MAX + 1];
    assert!(matches!(check_limits(&many), Err(CodecError::Limit { limit: "exemplars", .. })));
}

#[test]
fn damage_never_panics() {
    let samples = mixed();
    let chunk = Chunk::encode(&samples);
    let histograms = chunk.histograms.clone().expect("there are histograms");
    fuzz::damage(&histograms, |bytes| {
        let chunk = Chunk { histograms: Some(Bytes::copy_from_slice(bytes)), ..chunk.clone() };
        drop(chunk.decode(samples.labels.clone(), samples.key));
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_mixture_survives(
        kinds in proptest::collection::vec((any::<bool>(), any::<u8>()), 0..40),
    ) {
        let value = |(float, n): (bool, u8)| match float {
            true => SampleValue::Float(f64::from(n)),
            false => histogram(u32::from(n)),
        };
        round_trip(&series(kinds.into_iter().map(value).collect()));
    }
}

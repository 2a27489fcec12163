//! Reads the values of parameters as Prometheus does, and refuses them in its words.

use std::time::Duration;

use pando_model::duration::parse_duration as parse_prometheus_duration;
use pando_model::number::{go_quote, parse_go_float};
use pando_model::{ErrorKind, Matcher};
use pando_promql::syntax::RegexBudget;
use pando_rpc::http::ApiError;

use super::params::Params;
use crate::error::FrontendError;
use crate::frontend::Frontend;

/// The lowest and the highest time of Prometheus' API, ms, and how it writes them: Go's own parser
/// cannot read years of more than four digits.
pub(super) const TIME_MS_MIN: i64 = (i64::MIN / 1000 + 62_135_596_801) * 1000;
pub(super) const TIME_MS_MAX: i64 = (i64::MAX / 1000 - 62_135_596_801) * 1000 + 999;
const TIME_TEXT_MIN: &str = "-292273086-05-16T16:47:06Z";
const TIME_TEXT_MAX: &str = "292277025-08-18T07:12:54.999999999Z";

/// The most points of a series in a range query.
const POINTS_MAX: i128 = 11_000;

/// A time, ms: float seconds or RFC 3339.
pub(super) fn time(text: &str) -> Result<i64, String> {
    if let Some(seconds) = parse_go_float(text).filter(|s| s.is_finite()) {
        let millis = (seconds.fract() * 1000.0).round();
        // Casts saturate: absurd times are taken, as they are by Prometheus.
        let whole = (seconds.trunc() as i64).saturating_mul(1000);
        return Ok(whole.saturating_add(millis as i64).clamp(TIME_MS_MIN, TIME_MS_MAX));
    }
    let timestamp = is_rfc3339(text).then(|| text.parse::<jiff::Timestamp>().ok()).flatten();
    match (timestamp, text) {
        (Some(t), _) => Ok(t.as_nanosecond().div_euclid(1_000_000) as i64),
        (None, TIME_TEXT_MIN) => Ok(TIME_MS_MIN),
        (None, TIME_TEXT_MAX) => Ok(TIME_MS_MAX),
        _ => Err(format!("cannot parse {} to a valid timestamp", go_quote(text))),
    }
}

/// Whether `text` has the form of Go's `RFC3339Nano`; jiff reads many more forms.
fn is_rfc3339(text: &str) -> bool {
    let Some((date_time, rest)) = text.split_at_checked(19) else { return false };
    let shape = |text: &str, shape: &[u8]| {
        text.len() == shape.len()
            && text.bytes().zip(shape).all(|(byte, form)| match form {
                b'0' => byte.is_ascii_digit(),
                form => byte == *form,
            })
    };
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => {
            let zone = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            if zone.len() == fraction.len() {
                return false;
            }
            zone
        }
        None => rest,
    };
    shape(date_time, b"0000-00-00T00:00:00")
        && (zone == "Z" || shape(zone, b"+00:00") || shape(zone, b"-00:00"))
}

/// A duration, ns: float seconds or Prometheus' own form.
pub(super) fn duration_ns(text: &str) -> Result<i64, String> {
    if let Some(seconds) = parse_go_float(text) {
        let nanos = seconds * 1e9;
        if nanos.is_nan() || nanos.abs() > i64::MAX as f64 {
            return Err(format!(
                "cannot parse {} to a valid duration. It overflows int64",
                go_quote(text)
            ));
        }
        return Ok(nanos as i64);
    }
    let parsed = parse_prometheus_duration(text).ok().and_then(|ms| ms.checked_mul(1_000_000));
    parsed.ok_or_else(|| format!("cannot parse {} to a valid duration", go_quote(text)))
}

/// The time `name`, ms, where it is given; `default_ms` where it is not.
pub(super) fn time_param(params: &Params, name: &str, default_ms: i64) -> Result<i64, ApiError> {
    match params.get(name) {
        "" => Ok(default_ms),
        text => time(text).map_err(|why| {
            ApiError::bad_parameter(name, format!("invalid time value for '{name}': {why}"))
        }),
    }
}

/// `limit`: how many results are wanted; 0 for all.
pub(super) fn limit(params: &Params) -> Result<usize, ApiError> {
    match params.get("limit") {
        "" => Ok(0),
        text => match text.parse::<i64>() {
            Ok(limit) => usize::try_from(limit)
                .map_err(|_| ApiError::bad_parameter("limit", "limit must be non-negative")),
            Err(_) => Err(ApiError::bad_parameter("limit", "limit must be a number")),
        },
    }
}

/// `timeout`, where it is given.
pub(super) fn timeout(params: &Params) -> Result<Option<Duration>, ApiError> {
    match params.get("timeout") {
        "" => Ok(None),
        text => {
            let ns = duration_ns(text).map_err(|why| ApiError::bad_parameter("timeout", why))?;
            Ok(Some(Duration::from_nanos(ns.max(0) as u64)))
        }
    }
}

/// `lookback_delta`, ms; 0 where it is not given.
pub(super) fn lookback_ms(params: &Params) -> Result<i64, ApiError> {
    match params.get("lookback_delta") {
        "" => Ok(0),
        text => duration_ns(text).map(|ns| ns / 1_000_000).map_err(|why| {
            ApiError::new(
                ErrorKind::Invalid,
                format!("error parsing lookback delta duration: {why}"),
            )
        }),
    }
}

/// `start`, `end` and `step` of a range query, ms.
pub(super) fn range(params: &Params) -> Result<(i64, i64, i64), ApiError> {
    let bad = |name: &str, why: String| ApiError::bad_parameter(name, why);
    let start_ms = time(params.get("start")).map_err(|why| bad("start", why))?;
    let end_ms = time(params.get("end")).map_err(|why| bad("end", why))?;
    if end_ms < start_ms {
        return Err(bad("end", "end timestamp must not be before start time".into()));
    }
    let step_ns = duration_ns(params.get("step")).map_err(|why| bad("step", why))?;
    let step_ms = step_ns / 1_000_000;
    if step_ms <= 0 {
        return Err(bad(
            "step",
            "zero or negative query resolution step widths are not accepted. Try a positive integer"
                .into(),
        ));
    }
    let span_ns = (i128::from(end_ms) - i128::from(start_ms)) * 1_000_000;
    if span_ns / i128::from(step_ns) > POINTS_MAX {
        return Err(ApiError::new(
            ErrorKind::Invalid,
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ));
    }
    Ok((start_ms, end_ms, step_ms))
}

/// The selectors of `match[]`, or what is wrong with one: Prometheus' text without the parameter's name. Their patterns
/// may take a second: no socket waits for them.
pub(super) async fn matchers(
    frontend: &Frontend,
    params: &Params,
) -> Result<Result<Vec<Vec<Matcher>>, String>, FrontendError> {
    let texts: Vec<String> = params.all("match[]").map(str::to_string).collect();
    if texts.is_empty() {
        return Ok(Ok(Vec::new()));
    }
    frontend.read(move || selectors(&texts, RegexBudget::default())).await
}

/// The selectors `texts`, each of which needs a matcher that does not match the empty text. Their patterns count
/// against `budget`, all together.
fn selectors(texts: &[String], mut budget: RegexBudget) -> Result<Vec<Vec<Matcher>>, String> {
    const EMPTY: &str = "must contain at least one non-empty matcher";
    let refused = |error: pando_promql::ParseError| match error.message.ends_with(EMPTY) {
        // The same fault has other words in an expression.
        true => format!("match[] {EMPTY}"),
        false => error.to_string(),
    };
    let one = |text: &String| {
        let matchers = pando_promql::parse_matchers(text).map_err(refused)?;
        let counted = matchers.iter().try_for_each(|matcher| budget.add(matcher));
        counted.map_err(|why| format!("match[] has {why}"))?;
        Ok(matchers)
    };
    texts.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_prometheus_reads_them() {
        let good = [
            ("0", 0),
            ("30", 30_000),
            ("1435781451.781", 1_435_781_451_781),
            ("1543578564.705", 1_543_578_564_705),
            ("1234567.8999999", 1_234_567_900),
            ("-1.5", -1_500),
            ("1e3", 1_000_000),
            ("1700000000000", 1_700_000_000_000_000),
            ("2015-06-03T13:21:58.555Z", 1_433_337_718_555),
            ("2015-06-03T14:21:58.555+01:00", 1_433_337_718_555),
            ("2015-06-03T13:21:58Z", 1_433_337_718_000),
            ("1969-12-31T23:59:59.9999Z", -1),
            ("-292273086-05-16T16:47:06Z", TIME_MS_MIN),
            ("292277025-08-18T07:12:54.999999999Z", TIME_MS_MAX),
        ];
        for (text, ms) in good {
            assert_eq!(time(text), Ok(ms), "{text}");
        }
        for text in [
            "",
            "foo",
            "2015-06-03T13:21:58",
            "2015-06-03 13:21:58Z",
            "2015-06-03T13:21:58.Z",
            "NaN",
            "15:04é",
        ] {
            let want = format!("cannot parse {} to a valid timestamp", go_quote(text));
            assert_eq!(time(text), Err(want), "{text}");
        }
        assert_eq!(time("1e40"), Ok(TIME_MS_MAX));
    }

    #[test]
    fn durations_are_read_as_prometheus_reads_them() {
        let good = [
            ("0", 0),
            ("1", 1_000_000_000),
            ("0.25", 250_000_000),
            ("-2", -2_000_000_000),
            ("5m", 300_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1ms", 1_000_000),
        ];
        for (text, ns) in good {
            assert_eq!(duration_ns(text), Ok(ns), "{text}");
        }
        for text in ["", "abc", "1.5h", "5m1h"] {
            let want = format!("cannot parse {} to a valid duration", go_quote(text));
            assert_eq!(duration_ns(text), Err(want), "{text}");
        }
        assert!(duration_ns("1e30").is_err_and(|why| why.ends_with("It overflows int64")));
    }

    #[test]
    fn ranges_are_refused_in_prometheus_words() {
        let range_of = |query: &str| range(&Params::new(b"", query.as_bytes()));
        assert_eq!(range_of("start=0&end=11000&step=1").ok(), Some((0, 11_000_000, 1_000)));
        assert_eq!(range_of("start=1&end=1&step=0.5").ok(), Some((1_000, 1_000, 500)));
        let cases = [
            ("end=1&step=1", r#"invalid parameter "start": cannot parse "" to a valid timestamp"#),
            ("start=1&step=1", r#"invalid parameter "end": cannot parse "" to a valid timestamp"#),
            (
                "start=2&end=1&step=1",
                r#"invalid parameter "end": end timestamp must not be before start time"#,
            ),
            ("start=1&end=2", r#"invalid parameter "step": cannot parse "" to a valid duration"#),
            (
                "start=1&end=2&step=0",
                r#"invalid parameter "step": zero or negative query resolution step widths are not accepted. Try a positive integer"#,
            ),
            (
                "start=0&end=11001&step=1",
                "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
            ),
        ];
        for (query, message) in cases {
            let error = range_of(query).expect_err(query);
            assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Invalid, message));
        }
    }

    #[test]
    fn limits_and_other_settings() {
        let with = |query: &str| Params::new(b"", query.as_bytes());
        assert_eq!(limit(&with("")).ok(), Some(0));
        assert_eq!(limit(&with("limit=7")).ok(), Some(7));
        let text = |query: &str| limit(&with(query)).map_err(|e| e.message);
        assert_eq!(
            text("limit=x"),
            Err(r#"invalid parameter "limit": limit must be a number"#.into())
        );
        assert_eq!(
            text("limit=-1"),
            Err(r#"invalid parameter "limit": limit must be non-negative"#.into())
        );
        assert_eq!(timeout(&with("timeout=1m")).ok(), Some(Some(Duration::from_secs(60))));
        assert_eq!(timeout(&with("timeout=-1")).ok(), Some(Some(Duration::ZERO)));
        assert_eq!(lookback_ms(&with("lookback_delta=0.5")).ok(), Some(500));
        assert!(lookback_ms(&with("lookback_delta=x")).is_err());
        let time_text = time_param(&with("time=x"), "time", 5).map_err(|e| e.message);
        assert_eq!(
            time_text,
            Err(r#"invalid parameter "time": invalid time value for 'time': cannot parse "x" to a valid timestamp"#.into())
        );
        assert_eq!(time_param(&with(""), "time", 5).ok(), Some(5));
    }

    #[test]
    fn selectors_need_a_matcher_that_is_not_empty() {
        let with = |query: &str| {
            let params = Params::new(b"", query.as_bytes());
            let texts: Vec<String> = params.all("match[]").map(str::to_string).collect();
            selectors(&texts, RegexBudget::default())
        };
        assert_eq!(with("").map(|sets| sets.len()), Ok(0));
        assert_eq!(with("match[]=up&match[]={a=%22b%22}").map(|sets| sets.len()), Ok(2));
        assert!(with("match[]={").is_err());
        assert!(with("match[]=up[5m]").is_err());
        let empty = "match[] must contain at least one non-empty matcher";
        for text in ["{}", "{a=%22%22}", "{a!=%22b%22}", "{a=~%22.*%22}"] {
            assert_eq!(with(&format!("match[]={text}")), Err(empty.to_string()), "{text}");
        }
    }

    #[test]
    fn the_patterns_of_all_selectors_are_limited_together() {
        let texts = vec![r#"{a=~"x.*y"}"#.to_string(); 3];
        let one =
            selectors(&texts[..1], RegexBudget::default()).expect("a selector")[0][0].regex_bytes();
        assert_eq!(selectors(&texts, RegexBudget::new(3 * one)).map(|sets| sets.len()), Ok(3));
        let error = selectors(&texts, RegexBudget::new(3 * one - 1)).expect_err("too many");
        assert!(error.ends_with(&format!("regex_bytes_max={}", 3 * one - 1)), "{error}");
    }
}

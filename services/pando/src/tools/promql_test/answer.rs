//! Answers of Prometheus' HTTP API, read for a test script's expectations.
//!
//! JSON says less than the engine does: of a native histogram there are count, sum and the buckets that are not empty,
//! with their bounds, but no schema, no reset hint and no empty bucket; a stale marker is a NaN as any other.

use pando_model::number::parse_go_float;
use pando_model::{Labels, SampleValue};
use pando_promql::promqltest::{
    Answer, AnswerValue, Rows, Seen, ShownBucket, ShownHistogram, SubjectError,
};
use serde_json::Value;

/// What Prometheus puts before an engine's own message where the expression is at fault.
const FAULT_OF_QUERY: &str = "invalid parameter \"query\": ";

/// Reads an answer or a refusal.
pub(super) fn read(body: &Value) -> Result<Answer, SubjectError> {
    let broken = || {
        let text = body.to_string();
        SubjectError::Broken(format!("not an answer of Prometheus' API: {text:.300}"))
    };
    match body["status"].as_str() {
        Some("success") => {}
        Some("error") => return Err(error(body)),
        _ => return Err(broken()),
    }
    let texts = |name: &str| -> Vec<String> {
        let texts = body[name].as_array().into_iter().flatten();
        texts.filter_map(Value::as_str).map(str::to_string).collect()
    };
    let value = value(&body["data"]).ok_or_else(broken)?;
    Ok(Answer { value, warnings: texts("warnings"), infos: texts("infos") })
}

/// Only what is wrong with the expression or its execution is a refusal.
fn error(body: &Value) -> SubjectError {
    let text = |name: &str| body[name].as_str().unwrap_or_default();
    let (kind, message) = (text("errorType"), text("error"));
    match kind {
        "bad_data" | "execution" => {
            let message = message.strip_prefix(FAULT_OF_QUERY).unwrap_or(message);
            SubjectError::Refused(message.to_string())
        }
        _ => SubjectError::Broken(format!("{kind}: {message}")),
    }
}

fn value(data: &Value) -> Option<AnswerValue> {
    let result = &data["result"];
    Some(match data["resultType"].as_str()? {
        "scalar" => AnswerValue::Scalar(float(&result[1])?),
        "string" => AnswerValue::String(result[1].as_str()?.to_string()),
        "vector" => AnswerValue::Vector(rows(result, |series| {
            point(series.get("value").or_else(|| series.get("histogram"))?).map(|p| vec![p])
        })?),
        "matrix" => AnswerValue::Matrix(rows(result, |series| {
            let all = ["values", "histograms"].into_iter().filter_map(|name| series.get(name));
            let mut points = Vec::new();
            for one in all {
                points.extend(one.as_array()?.iter().map(point).collect::<Option<Vec<_>>>()?);
            }
            points.sort_by_key(|(t, _)| *t);
            Some(points)
        })?),
        _ => return None,
    })
}

fn rows(result: &Value, points: impl Fn(&Value) -> Option<Vec<(i64, Seen)>>) -> Option<Rows> {
    let row = |series: &Value| {
        let pairs = series["metric"].as_object()?.iter();
        let pairs = pairs.map(|(name, value)| Some((name, value.as_str()?)));
        let labels = Labels::from_pairs(pairs.collect::<Option<Vec<_>>>()?);
        Some((labels, points(series)?))
    };
    result.as_array()?.iter().map(row).collect()
}

/// `[seconds, "float"]` or `[seconds, {histogram}]`.
fn point(point: &Value) -> Option<(i64, Seen)> {
    let t_ms = (point.get(0)?.as_f64()? * 1000.0).round() as i64;
    let value = point.get(1)?;
    let seen = match value.is_object() {
        true => Seen::Shown(histogram(value)?),
        false => Seen::Sample(SampleValue::Float(float(value)?)),
    };
    Some((t_ms, seen))
}

fn float(value: &Value) -> Option<f64> {
    parse_go_float(value.as_str()?)
}

fn histogram(value: &Value) -> Option<ShownHistogram> {
    let bucket = |bucket: &Value| {
        let rule = u8::try_from(bucket.get(0)?.as_u64()?).ok()?;
        let [lower, upper, count] = [1, 2, 3].map(|at| bucket.get(at).and_then(float));
        Some(ShownBucket { rule, lower: lower?, upper: upper?, count: count? })
    };
    let buckets = match value.get("buckets") {
        None => Vec::new(),
        Some(buckets) => buckets.as_array()?.iter().map(bucket).collect::<Option<_>>()?,
    };
    Some(ShownHistogram { count: float(&value["count"])?, sum: float(&value["sum"])?, buckets })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Result<Answer, SubjectError> {
        read(&serde_json::from_str(text).expect("json"))
    }

    #[test]
    fn every_kind_of_value_is_read() {
        let of = |data: &str| answer(&format!(r#"{{"status":"success","data":{data}}}"#));
        let scalar = of(r#"{"resultType":"scalar","result":[1.5,"+Inf"]}"#).expect("an answer");
        assert_eq!(scalar.value, AnswerValue::Scalar(f64::INFINITY));
        let string = of(r#"{"resultType":"string","result":[0,"x\ny"]}"#).expect("an answer");
        assert_eq!(string.value, AnswerValue::String("x\ny".to_string()));
        let vector = of(
            r#"{"resultType":"vector","result":[{"metric":{"a":"b","__name__":"m"},"value":[-1.001,"2e-3"]}]}"#,
        );
        let labels = Labels::from_pairs([("__name__", "m"), ("a", "b")]);
        let float = |v| Seen::Sample(SampleValue::Float(v));
        let rows = vec![(labels, vec![(-1001, float(0.002))])];
        assert_eq!(vector.expect("an answer").value, AnswerValue::Vector(rows));
        let matrix = of(
            r#"{"resultType":"matrix","result":[{"metric":{},"values":[[0,"1"],[120,"3"]],"histograms":
            [[60.5,{"count":"3","sum":"-1.5","buckets":[[1,"-2","-1","1"],[3,"-0.5","0.5","2"]]}],
             [61,{"count":"0","sum":"NaN"}]]}]}"#,
        );
        let AnswerValue::Matrix(rows) = matrix.expect("an answer").value else {
            panic!("a matrix")
        };
        let points = &rows[0].1;
        let times: Vec<i64> = points.iter().map(|(t, _)| *t).collect();
        assert_eq!(times, [0, 60_500, 61_000, 120_000]);
        let buckets = vec![
            ShownBucket { rule: 1, lower: -2.0, upper: -1.0, count: 1.0 },
            ShownBucket { rule: 3, lower: -0.5, upper: 0.5, count: 2.0 },
        ];
        assert_eq!(points[1].1, Seen::Shown(ShownHistogram { count: 3.0, sum: -1.5, buckets }));
        assert!(matches!(&points[2].1, Seen::Shown(h) if h.sum.is_nan() && h.buckets.is_empty()));
    }

    #[test]
    fn remarks_are_kept_apart() {
        let text = r#"{"status":"success","warnings":["w (1:2)"],"infos":["i","j"],
            "data":{"resultType":"vector","result":[]}}"#;
        let Answer { value, warnings, infos } = answer(text).expect("an answer");
        assert_eq!(value, AnswerValue::Vector(Vec::new()));
        assert_eq!((warnings, infos), (vec!["w (1:2)".into()], vec!["i".into(), "j".into()]));
    }

    #[test]
    fn only_what_is_wrong_with_the_query_is_a_refusal() {
        let error = |kind: &str, message: &str| {
            let body = serde_json::json!({"status": "error", "errorType": kind, "error": message});
            read(&body).expect_err("an error")
        };
        let refused = |text: &str| SubjectError::Refused(text.to_string());
        let parse = "invalid parameter \"query\": 1:2: parse error: x";
        assert_eq!(error("bad_data", parse), refused("1:2: parse error: x"));
        assert_eq!(error("execution", "many-to-many"), refused("many-to-many"));
        for kind in ["timeout", "internal", "unavailable", "canceled", ""] {
            assert!(matches!(error(kind, "x"), SubjectError::Broken(_)), "{kind}");
        }
        for text in [
            "{}",
            "[]",
            r#"{"status":"success"}"#,
            r#"{"status":"success","data":{"resultType":"scalar","result":[1]}}"#,
            r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{}}]}}"#,
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1]]}]}}"#,
        ] {
            assert!(matches!(answer(text), Err(SubjectError::Broken(_))), "{text}");
        }
    }
}

//! What the other tests rely on to notice a fault does notice it.

use pando_integration_tests::answers::ensure_equal;
use pando_integration_tests::cluster::sum_of;
use serde_json::{Value, json};

#[test]
fn a_metric_that_is_absent_is_not_zero() {
    let exposition = "# TYPE a_total counter\na_total{part=\"x\"} 1\na_total{part=\"y z\"} 2.5\n\
                      a_total_seconds 9\nb 0\n";
    assert_eq!(sum_of(exposition, "a_total"), Some(3.5));
    assert_eq!(sum_of(exposition, "a_total{part=\"x\"}"), Some(1.0));
    assert_eq!(sum_of(exposition, "b"), Some(0.0));
    assert_eq!(sum_of(exposition, "a_total{reason=\"x\"}"), None);
    assert_eq!(sum_of(exposition, "a"), None);
}

#[test]
fn answers_differ_in_more_than_the_order_of_additions() {
    let answer = |points: Value| {
        let metric = json!({"__name__": "m", "i": "1"});
        json!({"resultType": "matrix", "result": [{"metric": metric, "values": points}]})
    };
    let first = answer(json!([[1.0, "1"], [2.0, "0.3"], [3.0, "NaN"]]));
    let same = answer(json!([[1.0, "1"], [2.0, "0.30000000000000004"], [3.0, "NaN"]]));
    assert!(ensure_equal(&same, &first).is_ok());
    for other in [
        json!([[1.0, "1"], [2.0, "0.3000001"], [3.0, "NaN"]]),
        json!([[1.0, "1"], [2.0, "0.3"], [3.0, "0"]]),
        json!([[1.0, "1"], [2.5, "0.3"], [3.0, "NaN"]]),
        json!([[1.0, "1"], [3.0, "NaN"]]),
        json!([[1.0, "1"], [2.0, "0.3"], [2.0, "0.3"], [3.0, "NaN"]]),
    ] {
        assert!(ensure_equal(&answer(other.clone()), &first).is_err(), "{other}");
    }
    let none = json!({"resultType": "matrix", "result": []});
    assert!(ensure_equal(&none, &first).is_err());
    assert!(ensure_equal(&first, &none).is_err());
}

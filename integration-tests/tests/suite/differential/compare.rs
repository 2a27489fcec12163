//! What two answers differ in.

use pando_integration_tests::answers;
use serde_json::Value;

use super::sides::Answer;

/// The first difference; `ordered` says whether the order of the series means anything.
pub(super) fn difference(ours: &Answer, theirs: &Answer, ordered: bool) -> Option<String> {
    let differ = |what: &str, a: &dyn std::fmt::Debug, b: &dyn std::fmt::Debug| {
        Some(format!("{what}: ours={a:?} theirs={b:?}"))
    };
    if (ours.status, &ours.kind) != (theirs.status, &theirs.kind) {
        let show = |a: &Answer| format!("{} {} {}", a.status, a.kind, a.error);
        return differ("status", &show(ours), &show(theirs));
    }
    if ours.error != theirs.error {
        return differ("error", &ours.error, &theirs.error);
    }
    if let Err(error) = answers::ensure_equal(&ours.data, &theirs.data) {
        return Some(format!("{error:#}"));
    }
    for (what, ours, theirs) in
        [("warnings", &ours.warnings, &theirs.warnings), ("infos", &ours.infos, &theirs.infos)]
    {
        if compared(ours) != compared(theirs) {
            return differ(what, ours, theirs);
        }
    }
    if ordered { order(&ours.data, &theirs.data) } else { None }
}

/// Of more than ten notes any ten are told, and how many there are beside them.
fn compared(notes: &[String]) -> Vec<&String> {
    let omitted: Vec<&String> = notes.iter().filter(|note| note.contains(" omitted")).collect();
    if omitted.is_empty() { notes.iter().collect() } else { omitted }
}

/// Where series do not come in the same order, but for those with the same value.
fn order(ours: &Value, theirs: &Value) -> Option<String> {
    let series = |data: &Value| data["result"].as_array().cloned().unwrap_or_default();
    let (ours, theirs) = (series(ours), series(theirs));
    let swapped = ours.iter().zip(&theirs).position(|(a, b)| {
        a["metric"] != b["metric"] && !answers::is_same_value(&a["value"][1], &b["value"][1])
    })?;
    Some(format!("order: at={swapped} ours={} theirs={}", ours[swapped], theirs[swapped]))
}

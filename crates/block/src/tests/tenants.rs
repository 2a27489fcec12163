//! No tenant sees anything of another's rows in the same block (INV-9).

use pando_model::{KeyRange, MatchOp, Matcher, TimeRange};

use super::support::*;

#[test]
fn names_values_and_samples_are_of_the_tenants_own_rows() {
    let (a, b) = (tenant("a"), tenant("b"));
    let mut pushed = Vec::new();
    for i in 0..10 {
        let host = format!("host-{i}");
        let mine = [("__name__", "m"), ("host", host.as_str()), ("public", "p")];
        pushed.push((a.clone(), series(&a, &mine, [(i, 1.0)])));
        let secret = format!("secret-{i}");
        let theirs = [("__name__", "m"), ("host", secret.as_str()), ("hidden", "h"), ("rare", "r")];
        let theirs = if i == 5 { &theirs[..] } else { &theirs[..3] };
        pushed.push((b.clone(), series(&b, theirs, [(i, 2.0)])));
    }
    let block = build(options(1), &pushed);
    assert!(open(&block).label_columns().contains(&"hidden".to_string()));
    let io = object(&block);
    let any = [Matcher::new("host", MatchOp::Regex, ".*").expect("a pattern")];
    for (tenant, names, prefix) in [
        (&a, vec!["__name__", "host", "public"], "host-"),
        (&b, vec!["__name__", "hidden", "host", "rare"], "secret-"),
    ] {
        let plan = open(&block).plan_scan(tenant, KeyRange::ALL, &any, TimeRange::ALL);
        let selection = wait(plan.fetch_and_select(io.as_ref())).expect("selects");
        let found = wait(selection.label_names(io.as_ref())).expect("reads");
        assert_eq!(found.into_iter().collect::<Vec<_>>(), names);
        let values = wait(selection.label_values(io.as_ref(), "host")).expect("reads");
        assert_eq!(values.len(), 10);
        assert!(values.iter().all(|v| v.starts_with(prefix)), "{values:?}");
        let series = wait(selection.series(io.as_ref())).expect("reads");
        assert!(series.iter().all(|(_, l)| l.value("host").starts_with(prefix)));
        assert_eq!(series.len(), 10);
        let samples = scan(&block, tenant, KeyRange::ALL, &any, TimeRange::ALL);
        assert!(samples.iter().all(|s| s.labels.value("host").starts_with(prefix)));
    }
    let rare = open(&block).plan_scan(&a, KeyRange::ALL, &[], TimeRange::ALL);
    let rare = wait(rare.fetch_and_select(io.as_ref())).expect("selects");
    assert!(wait(rare.label_values(io.as_ref(), "rare")).expect("reads").is_empty());
    assert!(wait(rare.label_values(io.as_ref(), "hidden")).expect("reads").is_empty());
    let nobody = open(&block).plan_scan(&tenant("c"), KeyRange::ALL, &[], TimeRange::ALL);
    assert!(nobody.ranges().is_empty());
    assert_eq!(wait(nobody.fetch_and_select(io.as_ref())).expect("selects").rows(), 0);
}

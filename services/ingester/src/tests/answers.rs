//! What other members ask: raw series, lookups, metadata and statistics.

use pando_consensus::ReadError;
use pando_executor::{LiveSource, Lookup, LookupKind, Sources, wire};
use pando_model::{
    CatalogVersion, Cut, ErrorKind, KeyRange, MatchOp, Matcher, Metadata, MetricType, ShardId,
    TimeRange,
};
use pando_proto::v1::{FetchRequest, MetadataRequest, StatsRequest};

use crate::live::LocalLive;

use super::fixture::{Cluster, NOW_MS, Producer, tenant, write};

async fn filled() -> Cluster {
    let cluster = Cluster::start(1).await;
    for (id, name) in [(1, "a"), (2, "b")] {
        let mut producer = Producer::new(id, name, 20);
        let help =
            Metadata { metric_type: MetricType::Counter, help: name.into(), ..Metadata::default() };
        producer.metadata(name, "requests_total", &help);
        let first = producer.block(NOW_MS - 15_000, &[1.0; 20]);
        let second = producer.block(NOW_MS, &[2.5; 20]);
        write(&cluster, producer.request(1, vec![first, second])).await;
    }
    cluster
}

fn sources(name: &str, keys: KeyRange) -> Sources {
    let source =
        LiveSource { shard: ShardId(1), first_cut: Cut(1), sealed: false, members: Vec::new() };
    Sources {
        tenant: tenant(name),
        keys,
        version: CatalogVersion(0),
        blocks: Vec::new(),
        live: vec![source],
    }
}

#[tokio::test]
async fn raw_series_travel_whole_and_a_tenant_sees_its_own_only() {
    let cluster = filled().await;
    let matcher = Matcher::new("__name__", MatchOp::Equal, "up").expect("a matcher");
    let request = FetchRequest {
        tenant: "a".to_string(),
        first_key: 0,
        last_key: u64::MAX,
        shard: 1,
        first_cut: 1,
        matchers: wire::matchers_to_proto(&[matcher]),
        min_ms: NOW_MS,
        max_ms: NOW_MS + 1,
        catalog_version: 0,
        sealed: false,
    };
    let mut stream =
        cluster.live_client(1).fetch(request.clone()).await.expect("found").into_inner();
    let mut series = Vec::new();
    while let Some(batch) = stream.message().await.expect("a batch") {
        series.extend(wire::series_from_proto(batch).expect("series"));
    }
    assert_eq!(series.len(), 10);
    assert!(series.iter().all(|s| s.floats == [2.5] && *s.axis == [NOW_MS]));
    assert!(series.iter().all(|s| s.labels.get("instance") == Some("host1:80")));
    let elsewhere = FetchRequest { shard: 9, ..request.clone() };
    let refused = cluster.live_client(1).fetch(elsewhere).await.expect_err("no such shard");
    assert_eq!(refused.code(), tonic::Code::Unavailable);
    let ahead = FetchRequest { first_cut: 7, ..request };
    let refused = cluster.live_client(1).fetch(ahead).await.expect_err("not begun");
    assert_eq!(refused.code(), tonic::Code::Unavailable);
    cluster.stop().await;
}

#[tokio::test]
async fn lookups_metadata_and_statistics_are_of_one_tenant() {
    let cluster = filled().await;
    let lookup = Lookup {
        kind: LookupKind::LabelValues,
        label: "instance".to_string(),
        matchers: Vec::new(),
        time: TimeRange { min_ms: NOW_MS - 60_000, max_ms: NOW_MS },
        limit: 0,
    };
    let look_up = async |lookup: &Lookup, keys: KeyRange| {
        let request = wire::lookup_to_proto(&sources("b", keys), lookup);
        let stream = cluster.live_client(1).lookup_live(request).await.expect("found");
        let mut stream = stream.into_inner();
        let mut found = pando_executor::Found::default();
        while let Some(batch) = stream.message().await.expect("a batch") {
            found.merge(wire::found_from_proto(batch).expect("found"));
        }
        found
    };
    let found = look_up(&lookup, KeyRange::ALL).await;
    assert_eq!(found.texts.iter().map(String::as_str).collect::<Vec<_>>(), ["host2:80"]);
    let before = TimeRange { min_ms: 0, max_ms: NOW_MS - 86_400_000 };
    let found = look_up(&Lookup { time: before, ..lookup.clone() }, KeyRange::ALL).await;
    assert!(found.texts.is_empty(), "the head has nothing from yesterday");

    let series = Lookup { kind: LookupKind::Series, ..lookup };
    let all = look_up(&series, KeyRange::ALL).await.series;
    assert_eq!(all.len(), 20);
    let middle = pando_model::SeriesKey::of(&tenant("b"), all.iter().next().expect("one"));
    let upto = look_up(&series, KeyRange { last: middle, ..KeyRange::ALL }).await.series.len();
    let after = pando_model::SeriesKey(middle.0 + 1);
    let beyond = look_up(&series, KeyRange { first: after, ..KeyRange::ALL }).await.series.len();
    assert_eq!(upto + beyond, 20, "key ranges divide the series");
    assert!(upto > 0);

    let request = MetadataRequest { tenant: "b".to_string(), ..MetadataRequest::default() };
    let metrics =
        cluster.live_client(1).metadata(request).await.expect("found").into_inner().metrics;
    let shown: Vec<_> = metrics.iter().map(|m| (m.name.as_str(), m.help.as_str())).collect();
    assert_eq!(shown, [("requests_total", "b")]);

    let request = StatsRequest { tenant: "b".to_string(), limit: 1 };
    let stats = cluster.live_client(1).stats(request).await.expect("found").into_inner();
    assert_eq!((stats.series, stats.min_ms, stats.max_ms), (20, NOW_MS - 15_000, NOW_MS));
    assert_eq!(stats.series_by_metric.len(), 1);
    assert!(!stats.shards.is_empty(), "the shards that were counted are named");
    cluster.stop().await;
}

#[tokio::test]
async fn a_shard_that_is_removed_while_it_is_asked_is_stale() {
    let cluster = Cluster::start(1).await;
    let live = LocalLive::new(cluster.member(1).ingester.shards().clone());
    let error = ReadError::Fatal("group is shut down".to_string());
    assert_eq!(live.unconfirmed(ShardId(9), &error).kind(), ErrorKind::Stale);
    // One that is here has a fault of its own: another member may answer.
    assert_eq!(live.unconfirmed(ShardId(1), &error).kind(), ErrorKind::Internal);
    cluster.stop().await;
}

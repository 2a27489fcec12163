//! Writes that cannot be taken: each is refused for what it is, and what is good beside and after it is stored.

use anyhow::{Context, Result, ensure};
use pando_cluster::ControllerClient;
use pando_codec::write_block::{KeyedEncoder, KeyedSample};
use pando_integration_tests::cluster::Cluster;
use pando_integration_tests::writer::{Writer, Written, raw_samples};
use pando_integration_tests::{http, now_ms};
use pando_model::{ClusterId, Labels, NodeId, SampleValue, SeriesKey, TenantId};
use pando_proto::v1::ingester_client::IngesterClient;
use pando_proto::v1::write_outcome::Outcome;
use pando_proto::v1::{WriteBlock, WriteRequest};
use pando_rpc::{Channels, Identity};

use super::one_process;

const HOUR_MS: i64 = 3_600_000;
const V1: &str = "application/x-protobuf";

async fn alone() -> Result<Cluster> {
    one_process("global: {}\n", &[]).await
}

/// Posts bytes as they are; the status and what is said.
async fn post(
    base: &str,
    tenant: &str,
    content_type: &str,
    body: Vec<u8>,
) -> Result<(u16, String)> {
    let request = http::client()
        .post(format!("{base}/api/v1/write"))
        .header("Content-Type", content_type)
        .header("Content-Encoding", "snappy")
        .header("X-Scope-OrgID", tenant)
        .body(body);
    let response = request.send().await?;
    Ok((response.status().as_u16(), response.text().await?))
}

fn packed(bytes: &[u8]) -> Result<Vec<u8>> {
    Ok(snap::raw::Encoder::new().compress_vec(bytes)?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_cannot_be_read_is_refused() -> Result<()> {
    let cluster = alone().await?;
    let base = cluster.url("all", "");
    // Says that it unpacks to 4 GiB.
    let bomb = vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0x00];
    let v2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request";
    let good = packed(&[])?;
    let cases: [(&str, &str, Vec<u8>, u16); 8] = [
        ("no snappy", V1, b"this is no snappy".to_vec(), 400),
        ("a cut off snappy", V1, packed(&[7; 100_000])?[..50].to_vec(), 400),
        ("a snappy bomb", V1, bomb, 400),
        ("no protobuf", V1, packed(&[0xff; 64])?, 400),
        ("no protobuf of version 2", v2, packed(&[0xff; 64])?, 400),
        ("nothing at all", V1, Vec::new(), 400),
        (
            "an unknown message",
            "application/x-protobuf;proto=io.example.Unknown",
            good.clone(),
            415,
        ),
        ("an unknown type", "text/html", good, 415),
    ];
    for (what, content_type, body, expected) in cases {
        let (status, text) = post(&base, "default", content_type, body).await?;
        ensure!(
            status == expected && !text.trim().is_empty(),
            "{what}: status={status} text={text}"
        );
    }
    for tenant in ["../x", "../../etc", "a/b", "a\\b", ".", "a b", &"t".repeat(65)] {
        let (status, text) = post(&base, tenant, V1, packed(&[])?).await?;
        ensure!(status == 400 && text.contains("tenant"), "{tenant}: status={status} text={text}");
        let answer =
            http::json_of(tenant, &format!("{base}/api/v1/query"), &[("query", "up")]).await?;
        ensure!(answer["errorType"] == "bad_data", "tenant={tenant}: {answer}");
    }
    let writer = Writer::new(&base, "default");
    let outcome = writer.write_v1(&[Written::new("good", &[], now_ms(), 1.0)]).await;
    ensure!(outcome.is_acknowledged(), "a good body is refused after bad ones: {outcome:?}");
    writer.check(&base, "{__name__=~\".+\"}").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sample_that_can_never_be_accepted_is_refused_alone() -> Result<()> {
    let cluster = alone().await?;
    let base = cluster.url("all", "");
    let writer = Writer::new(&base, "default");
    let now = now_ms();
    // Both series come from one target: they share a block and a group.
    let sample = |series: &str, at: i64, value: f64| {
        Written::new("m", &[("job", "j"), ("instance", "i"), ("s", series)], at, value)
    };
    writer.write_surely(&[sample("a", now, 1.0), sample("b", now, 2.0)]).await?;
    let too_old = now - 4 * HOUR_MS;
    let too_far_ahead = now + HOUR_MS;
    let mut expected: Vec<(i64, f64)> = vec![(now, 1.0), (now, 2.0)];
    for (n, bad) in [too_old, too_far_ahead, too_old - 1, too_far_ahead + 1].into_iter().enumerate()
    {
        let good = now + 1 + n as i64;
        let samples = [sample("a", bad, 3.0), sample("a", good, 4.0), sample("b", good, 5.0)];
        let outcome = match n < 2 {
            true => writer.write_v1(&samples).await,
            false => writer.write_v2(&samples).await,
        };
        ensure!(outcome.status == 400, "{outcome:?}");
        let reason = if bad < now { "too_old" } else { "too_far_ahead" };
        ensure!(outcome.body.contains(&format!("{reason}=1")), "reason is not said: {outcome:?}");
        if n >= 2 {
            ensure!(outcome.samples_written == Some(2), "{outcome:?}");
        }
        expected.extend([(good, 4.0), (good, 5.0)]);
    }
    // Another value at a time that is taken is refused alike; the same value again is nothing new.
    let outcome = writer.write_v2(&[sample("a", now, 9.0), sample("b", now + 10, 6.0)]).await;
    ensure!(outcome.status == 400 && outcome.samples_written == Some(1), "{outcome:?}");
    let outcome = writer.write_v2(&[sample("a", now, 1.0), sample("b", now + 10, 6.0)]).await;
    ensure!(outcome.is_acknowledged(), "{outcome:?}");
    expected.push((now + 10, 6.0));
    writer.write_surely(&[sample("a", now + 11, 7.0)]).await?;
    expected.push((now + 11, 7.0));

    let answer = raw_samples(&base, "default", "m", too_old - 1, too_far_ahead + 1).await?;
    let mut found = Vec::new();
    for series in answer["result"].as_array().context("a matrix")? {
        for point in series["values"].as_array().context("points")? {
            let t = (point[0].as_f64().unwrap_or_default() * 1000.0).round() as i64;
            found.push((t, point[1].as_str().unwrap_or_default().parse::<f64>()?));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    expected.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    ensure!(found == expected, "stored={found:?} expected={expected:?}");
    Ok(())
}

/// A producer that speaks to a shard itself.
struct Producer {
    channels: Channels,
    address: String,
    encoder: KeyedEncoder,
    tenant: TenantId,
}

impl Producer {
    async fn new(cluster: &Cluster) -> Result<Self> {
        let identity = Identity::new(NodeId(77));
        let channels = Channels::new(identity.clone(), None);
        let address = cluster.named("all").grpc_address();
        let client = ControllerClient::new(channels.clone(), vec![address.clone()]);
        let hello = client.hello(&address).await?;
        identity.set_cluster(ClusterId(hello.cluster));
        let tenant = TenantId::default_tenant();
        // From then on the tenant has a route, and the shard a leader.
        let writer = Writer::new(&cluster.url("all", ""), "default");
        writer.write_surely(&[Written::new("first", &[], now_ms(), 1.0)]).await?;
        Ok(Producer { channels, address, encoder: KeyedEncoder::new(), tenant })
    }

    /// A block with one sample of each of two series.
    fn block(&mut self, at_ms: i64) -> Result<Vec<u8>> {
        let labels: Vec<Labels> = ["a", "b"]
            .map(|s| Labels::from_pairs([("__name__", "direct"), ("instance", "i"), ("s", s)]))
            .into();
        let half = SeriesKey::of(&self.tenant, &labels[0]).high_half();
        let samples: Vec<KeyedSample<'_>> = labels
            .iter()
            .map(|labels| KeyedSample {
                labels,
                timestamp_ms: at_ms,
                value: SampleValue::Float(1.0),
                start_ms: 0,
                exemplars: &[],
            })
            .collect();
        self.encoder.push(&self.tenant, half, &samples)?;
        self.encoder.finish(1_000).context("a block")
    }

    /// What shard 1 says to one block.
    async fn send(&self, sequence: u64, block: Vec<u8>) -> Result<Outcome> {
        let peer = self.channels.peer(&self.address, None)?;
        let block = WriteBlock { sequence, skip_from: 0, skip_to: 0, block: block.into() };
        let request = WriteRequest { shard: 1, producer: 4711, epoch: 1, blocks: vec![block] };
        let answer = IngesterClient::new(peer).write(request).await?.into_inner();
        let outcome = answer.outcomes.into_iter().next().and_then(|o| o.outcome);
        outcome.with_context(|| format!("no outcome: not_leader={:?}", answer.not_leader))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_block_of_unknown_series_is_asked_for_in_full() -> Result<()> {
    let cluster = alone().await?;
    let base = cluster.url("all", "");
    let mut producer = Producer::new(&cluster).await?;
    let now = now_ms();
    // The first block names the series; the second knows them by number. The shard never gets the first.
    let _lost = producer.block(now)?;
    let second = producer.block(now + 1)?;
    let outcome = producer.send(1, second.clone()).await?;
    ensure!(matches!(outcome, Outcome::SendFull(_)), "unknown series: {outcome:?}");
    // Nothing of it was applied, and the stream stands where it stood.
    let mut flipped = second;
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x10;
    let outcome = producer.send(1, flipped).await?;
    ensure!(matches!(outcome, Outcome::Damaged(_)), "a flipped bit: {outcome:?}");
    let outcome = producer.send(1, b"no write block".to_vec()).await?;
    ensure!(
        matches!(outcome, Outcome::Damaged(_) | Outcome::Malformed(_)),
        "no write block: {outcome:?}"
    );
    producer.encoder.encoder().force_full_all();
    let full = producer.block(now + 2)?;
    let outcome = producer.send(5, full.clone()).await?;
    ensure!(matches!(outcome, Outcome::NewEpoch(_)), "the middle of a new stream: {outcome:?}");
    let outcome = producer.send(1, full.clone()).await?;
    let Outcome::Applied(applied) = outcome else { anyhow::bail!("full: {outcome:?}") };
    ensure!(applied.accepted == 2 && applied.refusals.is_empty(), "{applied:?}");
    // Once applied, never again (INV-2).
    let outcome = producer.send(1, full).await?;
    ensure!(matches!(outcome, Outcome::Expect(2)), "the same again: {outcome:?}");
    let next = producer.block(now + 3)?;
    let outcome = producer.send(9, next.clone()).await?;
    ensure!(matches!(outcome, Outcome::Expect(2)), "a gap in the stream: {outcome:?}");
    let outcome = producer.send(2, next).await?;
    ensure!(
        matches!(&outcome, Outcome::Applied(a) if a.accepted == 2),
        "what follows: {outcome:?}"
    );

    let answer = raw_samples(&base, "default", "direct", now - 1_000, now + 1_000).await?;
    let series = answer["result"].as_array().context("a matrix")?;
    let counts: Vec<usize> =
        series.iter().map(|s| s["values"].as_array().map_or(0, Vec::len)).collect();
    ensure!(counts == [2, 2], "samples of the two series: {counts:?}");
    Ok(())
}

//! Streams against an ingester that only counts: what it has, per stream, and which shards are sealed. What it has
//! of a stream's groups is real, as is the encoding.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pando_catalog::wire::StreamedView as _;
use pando_catalog::{Catalog, Command, Node, Role, RoutingView, SealResult, Successor};
use pando_cluster::{CatalogFollower, ControllerClient, Streams};
use pando_codec::write_block::{
    DecodeError, Decoder, GroupId, Op, REQUEST_BYTES_MAX, UNDER_WAY_MAX,
};
use pando_model::{
    CatalogVersion, ClusterId, Cut, Epoch, ErrorKind, KeyRange, Labels, Metadata, NodeId,
    ProducerId, SampleValue, SeriesKey, ShardId, TenantId,
};
use pando_proto::v1::ingester_server::{Ingester, IngesterServer};
use pando_proto::v1::write_outcome::Outcome;
use pando_proto::v1::{
    CutRequest, CutResponse, GenerationDigestRequest, GenerationDigestResponse, Refusal,
    SealRequest, SealResponse, WriteApplied, WriteBlock, WriteMalformed, WriteNewEpoch,
    WriteOutcome, WriteRequest, WriteResponse, WriteSealed, WriteSendFull, WriteUnavailable,
};
use pando_rpc::{Channels, GrpcServer, Identity, bind, limited};
use pando_runtime::Tasks;
use pando_runtime::disk::{Disk as _, SimDisk};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tonic::{Request, Response, Status};

use crate::part::Part;
use crate::shard_stream::{Answer, Parcel};
use crate::{Batch, Receipt, ShipSample, Shipper, ShipperConfig};

const CLUSTER: ClusterId = ClusterId(7);
const NOW_MS: i64 = 1_700_000_000_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// Shard, producer, epoch.
type StreamId = (u64, u64, u64);

/// What the ingester has.
#[derive(Default)]
struct Has {
    /// The next sequence of each stream.
    next: BTreeMap<StreamId, u64>,
    decoders: BTreeMap<StreamId, Decoder>,
    series: BTreeMap<(StreamId, GroupId), Vec<Labels>>,
    /// Blocks.
    applied: u64,
    sealed: BTreeSet<u64>,
    /// Shards that answer nothing but "later".
    unavailable: BTreeSet<u64>,
    /// Blocks with this label value are malformed.
    poison: Option<&'static str>,
    /// Samples of this instance are refused.
    refused: Option<&'static str>,
    /// The instances whose samples were applied.
    instances: Vec<String>,
    /// What blocks came to of which not every sample was accepted.
    judged: BTreeMap<(StreamId, u64), Outcome>,
    /// The marked parcel of each sequence.
    marks: BTreeMap<(StreamId, u64), u8>,
    /// The next answer is lost.
    loses_answer: bool,
    requests: usize,
    skips: usize,
}

/// The text behind the first `mark` in a block: its texts stand there as they are.
fn text_behind(block: &[u8], mark: &str) -> Option<String> {
    let text = String::from_utf8_lossy(block);
    text.split_once(mark).map(|(_, behind)| behind.chars().take(8).collect())
}

impl Has {
    fn judge(&mut self, stream: StreamId, block: &WriteBlock) -> Outcome {
        let next = self.next.get(&stream).copied();
        let mark = text_behind(&block.block, "mark-").map_or(0, |text| text.as_bytes()[0]);
        let marked = *self.marks.entry((stream, block.sequence)).or_insert(mark);
        assert_eq!(mark, marked, "a sequence is given to one parcel: {}", block.sequence);
        let from = if block.skip_from > 0 { block.skip_from } else { block.sequence };
        if self.unavailable.contains(&stream.0) {
            return Outcome::Unavailable(WriteUnavailable { message: "disk is full".to_string() });
        }
        if next.is_some_and(|next| block.sequence < next) {
            let judged = self.judged.get(&(stream, block.sequence)).cloned();
            return judged.unwrap_or(Outcome::Expect(next.unwrap_or_default()));
        }
        if self.sealed.contains(&stream.0) {
            return Outcome::Sealed(WriteSealed { last_sequence: next.unwrap_or(1) - 1 });
        }
        match next {
            None if from > 1 => return Outcome::NewEpoch(WriteNewEpoch {}),
            Some(next) if from > next => return Outcome::Expect(next),
            _ => {}
        }
        let outcome = self.apply(stream, &block.block);
        if matches!(outcome, Outcome::Applied(_) | Outcome::Malformed(_)) {
            self.next.insert(stream, block.sequence + 1);
        }
        let kept = match &outcome {
            Outcome::Applied(applied) => !applied.refusals.is_empty(),
            Outcome::Malformed(_) => true,
            _ => false,
        };
        if kept {
            self.judged.insert((stream, block.sequence), outcome.clone());
        }
        outcome
    }

    /// Applies a block that is the next of its stream.
    fn apply(&mut self, stream: StreamId, block: &[u8]) -> Outcome {
        let holds = |poison: &str| text_behind(block, poison).is_some();
        if self.poison.is_some_and(holds) {
            return Outcome::Malformed(WriteMalformed { message: "label is too long".to_string() });
        }
        let decoder = self.decoders.entry(stream).or_default();
        let decoded = match decoder.decode(block) {
            Ok(decoded) => decoded,
            Err(DecodeError::SendFull { groups }) => {
                let groups = groups.into_iter().map(|group| u64::from(group.0)).collect();
                return Outcome::SendFull(WriteSendFull { groups });
            }
            Err(DecodeError::Codec(error)) => panic!("{error}"),
        };
        let (mut accepted, mut refused) = (0, 0);
        for op in &decoded.ops {
            match op {
                Op::Register { group, spec } => {
                    let series = spec.series.iter().flatten().cloned().collect();
                    self.series.insert((stream, *group), series);
                }
                Op::Edit { group, added, .. } => {
                    self.series.entry((stream, *group)).or_default().extend(added.iter().cloned());
                }
                Op::Frame(frame) => {
                    let series = &self.series[&(stream, frame.group)];
                    for (slot, _) in frame.floats() {
                        let instance = series[slot as usize].value("instance").to_string();
                        match Some(&*instance) == self.refused {
                            true => refused += 1,
                            false => self.instances.push(instance),
                        }
                    }
                    accepted += frame.len() as u64;
                }
                Op::Drop { .. } | Op::Metadata { .. } => {}
            }
        }
        decoder.commit(decoded);
        self.applied += 1;
        let refusals = match refused {
            0 => Vec::new(),
            samples => vec![Refusal { reason: "too_old".to_string(), samples }],
        };
        let accepted = accepted - refused;
        Outcome::Applied(WriteApplied { accepted, refusals, ..WriteApplied::default() })
    }
}

#[derive(Clone, Default)]
struct Counting(Arc<Mutex<Has>>);

#[tonic::async_trait]
impl Ingester for Counting {
    async fn write(
        &self,
        request: Request<WriteRequest>,
    ) -> Result<Response<WriteResponse>, Status> {
        let request = request.into_inner();
        let mut has = self.0.lock();
        let stream = (request.shard, request.producer, request.epoch);
        has.requests += 1;
        has.skips += request.blocks.iter().filter(|block| block.skip_from > 0).count();
        let bytes: usize = request.blocks.iter().map(|block| block.block.len()).sum();
        if bytes > REQUEST_BYTES_MAX || request.blocks.len() > UNDER_WAY_MAX {
            return Err(Status::invalid_argument("write request is too large"));
        }
        let outcomes: Vec<Outcome> =
            request.blocks.iter().map(|block| has.judge(stream, block)).collect();
        if std::mem::take(&mut has.loses_answer) {
            return Err(Status::unavailable("connection is lost"));
        }
        let outcomes = outcomes.into_iter().map(|o| WriteOutcome { outcome: Some(o) }).collect();
        Ok(Response::new(WriteResponse { outcomes, not_leader: None }))
    }

    async fn cut(&self, _: Request<CutRequest>) -> Result<Response<CutResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn seal(&self, _: Request<SealRequest>) -> Result<Response<SealResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn generation_digest(
        &self,
        _: Request<GenerationDigestRequest>,
    ) -> Result<Response<GenerationDigestResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }
}

fn tenant() -> TenantId {
    TenantId::parse("a").expect("good name")
}

fn identity(node: u64) -> Identity {
    let identity = Identity::new(NodeId(node));
    identity.set_cluster(CLUSTER);
    identity
}

/// Where the tenant's samples go.
#[derive(Clone, Copy, PartialEq)]
enum Route {
    /// To shard 1.
    One,
    /// Half of them to shard 1, the others to shard 2.
    Halves,
    /// To shard 2, the successor of shard 1.
    Successor,
}

/// A routing view of one member.
fn view(address: String, routed: Route) -> RoutingView {
    let node = Node {
        id: NodeId(1),
        roles: BTreeSet::from([Role::Ingester]),
        grpc_address: address,
        http_address: String::new(),
        zone: String::new(),
        feature_level: 1,
        joined_ms: 0,
        agent_group: String::new(),
    };
    let members = vec![NodeId(1)];
    let to = |key, shard| (SeriesKey(key), ShardId(shard));
    let (shards, route) = match routed {
        Route::One | Route::Successor => (1, vec![to(u64::MAX, 1)]),
        Route::Halves => (2, vec![to(u64::MAX / 2, 1), to(u64::MAX, 2)]),
    };
    let mut commands = vec![
        Command::InitCluster { cluster: CLUSTER, feature_level: 1 },
        Command::RegisterNode { node, now_ms: NOW_MS },
        Command::OpenShards { members: vec![members.clone(); shards], now_ms: NOW_MS },
        Command::AssignTenant { tenant: tenant(), route },
    ];
    if routed == Route::Successor {
        let seal =
            SealResult { shard: ShardId(1), term: 1, last_cut: Cut(1), answer: Vec::new().into() };
        commands.push(Command::SealShards {
            seals: vec![seal],
            successors: vec![Successor { members, ranges: vec![(tenant(), KeyRange::ALL)] }],
            now_ms: NOW_MS,
        });
    }
    let mut catalog = Catalog::new();
    for command in commands {
        catalog.apply(catalog.applied() + 1, &command).expect("the command fits");
    }
    let mut view = RoutingView::new();
    view.apply(&catalog.routing_since(CatalogVersion(0)).expect("a delta")).expect("it fits");
    view
}

fn sample(instance: usize) -> ShipSample {
    sample_of(&instance.to_string())
}

fn sample_of(instance: &str) -> ShipSample {
    let labels = Labels::from_pairs([("__name__", "up"), ("instance", instance), ("job", "j")]);
    ShipSample {
        key: SeriesKey::of(&tenant(), &labels),
        labels,
        timestamp_ms: NOW_MS,
        value: SampleValue::Float(1.0),
        start_ms: 0,
        exemplars: Vec::new(),
    }
}

struct Bench {
    ingester: Counting,
    shipper: Shipper,
    tasks: Tasks,
}

impl Bench {
    async fn start(routed: Route, timeout: Duration) -> Bench {
        let (tasks, disk, ingester) = (Tasks::new(), SimDisk::new(), Counting::default());
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let server = GrpcServer::new(identity(1), None);
        server.add(limited!(IngesterServer::new(ingester.clone())));
        let token = tasks.token();
        tasks.spawn_until_stopped("server", async move {
            server.serve(listener, token.cancelled_owned()).await.expect("it serves");
        });
        // The view that it follows is the one on its disk: there is no controller here.
        let kept = view(address, routed).to_bytes();
        disk.create_dir(Path::new("/catalog")).expect("a folder");
        disk.replace(Path::new("/catalog/routing"), &kept).expect("written");
        let channels = Channels::new(identity(9), None);
        let client = ControllerClient::new(channels.clone(), vec!["127.0.0.1:1".to_string()]);
        let folder = PathBuf::from("/catalog");
        let follower =
            CatalogFollower::start(client, Streams::Routing, disk.shared(), folder, &tasks);
        let config = ShipperConfig { producer: ProducerId(5), epoch: Epoch(3), timeout };
        let shipper = Shipper::new(config, follower, channels, tasks.clone());
        Bench { ingester, shipper, tasks }
    }

    /// Sends one sample over the stream of a shard, as a batch does that an older view has split.
    async fn send(&self, shard: u64) -> Answer {
        let (reply, answer) = oneshot::channel();
        let part = Part { samples: vec![sample(0)], metadata: Vec::new() };
        let parcel = Parcel { tenant: tenant(), part, trouble: Arc::default(), reply };
        self.shipper.stream(ShardId(shard)).send(parcel).await.expect("it is taken");
        let answered = tokio::time::timeout(PATIENCE, answer).await.expect("in time");
        answered.expect("an answer")
    }

    async fn judged(&self, shard: u64) {
        let answer = self.send(shard).await;
        let Answer::Judged(receipt) = answer else { panic!("it was not judged") };
        assert_eq!(receipt.accepted, 1);
    }

    async fn stop(self) {
        assert_eq!(self.tasks.shutdown(PATIENCE).await, [] as [&str; 0]);
    }
}

#[tokio::test]
async fn a_stream_that_begins_again_at_a_sealed_shard_is_given_its_samples_back() {
    let bench = Bench::start(Route::Successor, PATIENCE).await;
    for _ in 0..3 {
        bench.judged(1).await;
    }
    bench.ingester.0.lock().sealed.insert(1);
    // Another shard's stream is asked for: the idle one of the shard that has ended goes.
    bench.judged(2).await;
    assert!(!bench.shipper.has_stream(ShardId(1)));

    let answer = bench.send(1).await;
    assert!(matches!(answer, Answer::Elsewhere { .. }), "nothing of it was applied");
    // And again, now over the stream that was restarted.
    let answer = bench.send(1).await;
    assert!(matches!(answer, Answer::Elsewhere { .. }), "nothing of it was applied");
    assert_eq!(bench.ingester.0.lock().applied, 4);
    bench.stop().await;
}

#[tokio::test]
async fn what_a_sealed_shard_has_of_a_stream_counts_as_applied() {
    let bench = Bench::start(Route::One, PATIENCE).await;
    bench.judged(1).await;
    {
        // The next block is applied and its answer lost; then the shard is sealed.
        let mut has = bench.ingester.0.lock();
        has.next.values_mut().for_each(|next| *next = 3);
        has.sealed.insert(1);
    }
    bench.judged(1).await;
    bench.stop().await;
}

#[tokio::test]
async fn a_batch_that_is_not_acknowledged_in_time_says_what_of_it_is_stored() {
    let bench = Bench::start(Route::Halves, Duration::from_secs(1)).await;
    bench.ingester.0.lock().unavailable.insert(2);
    let samples: Vec<ShipSample> = (0..16).map(sample).collect();
    let halves = [true, false]
        .map(|low| samples.iter().filter(|sample| (sample.key.0 <= u64::MAX / 2) == low).count());
    assert!(halves[0] > 0 && halves[1] > 0, "{halves:?}");
    let batch = Batch { tenant: tenant(), samples, metadata: Vec::new() };
    let error = bench.shipper.ship(batch).await.expect_err("half of it is not acknowledged");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let (error, judged) = error.apart();
    assert!(error.to_string().ends_with("last=disk is full: shard=2"), "{error}");
    assert_eq!(judged.accepted, halves[0] as u64);
    bench.stop().await;
}

#[tokio::test]
async fn a_series_that_fits_no_write_block_is_refused_alone() {
    let bench = Bench::start(Route::One, PATIENCE).await;
    bench.ingester.0.lock().poison = Some("far too long");
    for _ in 0..2 {
        // Two at fault, one of them beside a sample of its own target.
        let mut samples: Vec<ShipSample> = (0..40).map(sample).collect();
        let mut beside = sample(12);
        beside.labels = beside.labels.to_builder().set("__name__", "far too long").build();
        samples.insert(13, beside);
        samples.insert(30, sample_of("far too long"));
        let metadata = vec![("up".to_string(), Metadata::default())];
        let batch = Batch { tenant: tenant(), samples, metadata };
        let receipt = bench.shipper.ship(batch).await.expect("every sample is judged");
        assert_eq!(receipt.accepted, 40);
        assert_eq!(receipt.refused, [("encode".to_string(), 2)].into());
        assert_eq!(receipt.messages.len(), 2, "{:?}", receipt.messages);
        assert!(receipt.messages[0].contains("label is too long"), "{:?}", receipt.messages);
        let mut instances = std::mem::take(&mut bench.ingester.0.lock().instances);
        instances.sort_by_key(|instance| instance.parse::<usize>().expect("a number"));
        assert_eq!(instances, (0..40).map(|i: usize| i.to_string()).collect::<Vec<_>>());
    }
    bench.stop().await;
}

/// Ships samples of the instances in `instances` as one batch.
async fn ship(bench: &Bench, instances: &[&str]) -> Receipt {
    let samples = instances.iter().map(|instance| sample_of(instance)).collect();
    let batch = Batch { tenant: tenant(), samples, metadata: Vec::new() };
    bench.shipper.ship(batch).await.expect("every sample is judged")
}

#[tokio::test]
async fn an_answer_that_is_lost_is_given_again() {
    let bench = Bench::start(Route::One, PATIENCE).await;
    (bench.ingester.0.lock().refused, bench.ingester.0.lock().poison) =
        (Some("old"), Some("poison"));
    for loses_answer in [false, true] {
        bench.ingester.0.lock().loses_answer = loses_answer;
        let receipt = ship(&bench, &["a", "b"]).await;
        assert_eq!((receipt.accepted, receipt.refused_total()), (2, 0));
        bench.ingester.0.lock().loses_answer = loses_answer;
        let receipt = ship(&bench, &["a", "old", "b"]).await;
        assert_eq!(receipt.accepted, 2);
        assert_eq!(receipt.refused, [("too_old".to_string(), 1)].into());
        bench.ingester.0.lock().loses_answer = loses_answer;
        let receipt = ship(&bench, &["a", "poison", "b"]).await;
        assert_eq!(receipt.accepted, 2);
        assert_eq!(receipt.refused, [("encode".to_string(), 1)].into());
    }
    let mut instances = std::mem::take(&mut bench.ingester.0.lock().instances);
    instances.sort_unstable();
    assert_eq!(instances, ["a", "a", "a", "a", "a", "a", "b", "b", "b", "b", "b", "b"]);
    bench.stop().await;
}

#[tokio::test]
async fn a_shard_that_has_forgotten_something_of_a_stream_is_told_again() {
    let bench = Bench::start(Route::One, PATIENCE).await;
    let ship = || async { assert_eq!(ship(&bench, &["a", "b", "c"]).await.accepted, 3) };
    for _ in 0..3 {
        ship().await;
    }
    // The groups, then the last block, then all of the stream.
    bench.ingester.0.lock().decoders.clear();
    ship().await;
    bench.ingester.0.lock().next.values_mut().for_each(|next| *next -= 1);
    ship().await;
    let has_one = bench.ingester.0.lock().next.len();
    assert_eq!(has_one, 2, "it began anew");
    bench.ingester.0.lock().next.clear();
    ship().await;
    let applied = std::mem::take(&mut bench.ingester.0.lock().instances);
    assert_eq!(applied.len(), 6 * 3, "each once: {applied:?}");
    bench.stop().await;
}

/// A sample whose series takes some 100 kB.
fn large_sample(n: usize) -> ShipSample {
    let mut sample = sample_of("large");
    sample.labels =
        sample.labels.to_builder().set("text", &format!("{n}{}", "x".repeat(100_000))).build();
    sample.key = SeriesKey::of(&tenant(), &sample.labels);
    sample
}

#[tokio::test]
async fn more_than_a_request_can_take_goes_in_several() {
    let bench = Bench::start(Route::One, PATIENCE).await;
    let large = |numbers: std::ops::Range<usize>| Batch {
        tenant: tenant(),
        samples: numbers.map(large_sample).collect(),
        metadata: Vec::new(),
    };
    // Too much for a block, then many blocks that are too much for a request together, while the shard cannot be
    // reached and all of them wait.
    let receipt = bench.shipper.ship(large(0..100)).await.expect("it is judged");
    assert_eq!((receipt.accepted, receipt.refused_total()), (100, 0));
    bench.ingester.0.lock().loses_answer = true;
    let batches = (0..16).map(|n| bench.shipper.ship(large(100 + n * 20..120 + n * 20)));
    for receipt in futures::future::join_all(batches).await {
        assert_eq!(receipt.expect("it is judged").accepted, 20);
    }
    // Of a few parcels that wait, one is too much once its series have to be named again: those behind it keep their
    // numbers.
    let marked = |mark: &str, numbers: std::ops::Range<usize>| {
        let metadata = vec![(format!("mark-{mark}"), Metadata::default())];
        bench.shipper.ship(Batch { metadata, ..large(numbers) })
    };
    let waits = async {
        bench.ingester.0.lock().unavailable.insert(1);
        let before = bench.ingester.0.lock().requests;
        while bench.ingester.0.lock().requests < before + 3 {
            tokio::task::yield_now().await;
        }
        bench.ingester.0.lock().decoders.clear();
        bench.ingester.0.lock().unavailable.clear();
    };
    let (a, b, c, ()) =
        tokio::join!(marked("a", 1..2), marked("b", 0..100), marked("c", 2..3), waits);
    let accepted = [a, b, c].map(|receipt| receipt.expect("it is judged").accepted);
    assert_eq!(accepted, [1, 100, 1]);
    assert!(bench.ingester.0.lock().skips > 0, "a sequence was left out");
    // A frame of one sample; all that its group consists of would be too much.
    bench.ingester.0.lock().decoders.clear();
    let receipt = bench.shipper.ship(large(7..8)).await.expect("it is judged");
    assert_eq!((receipt.accepted, receipt.refused_total()), (1, 0));
    bench.stop().await;
}

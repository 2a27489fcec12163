//! Streams against an ingester that only counts: what it has, per stream, and which shards are sealed. What it has
//! of a stream's groups is real, as is the encoding.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pando_catalog::{Catalog, Command, Node, Role, RoutingView, SealResult, Successor};
use pando_cluster::{CatalogFollower, ControllerClient, Streams};
use pando_codec::write_block::{DecodeError, Decoder, GroupId, Op};
use pando_model::{
    CatalogVersion, ClusterId, Cut, Epoch, ErrorKind, KeyRange, Labels, Metadata, NodeId,
    ProducerId, SampleValue, SeriesKey, ShardId, TenantId,
};
use pando_proto::v1::ingester_server::{Ingester, IngesterServer};
use pando_proto::v1::write_outcome::Outcome;
use pando_proto::v1::{
    CutRequest, CutResponse, GenerationDigestRequest, GenerationDigestResponse, SealRequest,
    SealResponse, WriteApplied, WriteMalformed, WriteOutcome, WriteRequest, WriteResponse,
    WriteSealed, WriteSendFull, WriteUnavailable,
};
use pando_rpc::{Channels, GrpcServer, Identity, bind};
use pando_runtime::Tasks;
use pando_runtime::disk::{Disk as _, SimDisk};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tonic::{Request, Response, Status};

use crate::part::Part;
use crate::shard_stream::{Answer, Parcel};
use crate::{Batch, ShipError, ShipSample, Shipper, ShipperConfig};

const CLUSTER: ClusterId = ClusterId(7);
const NOW_MS: i64 = 1_700_000_000_000;
const PATIENCE: Duration = Duration::from_secs(20);

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
    /// The instances whose samples were applied.
    instances: Vec<String>,
}

impl Has {
    /// Applies a block that is the next of its stream.
    fn apply(&mut self, stream: StreamId, block: &[u8]) -> Outcome {
        let holds = |poison: &str| block.windows(poison.len()).any(|b| b == poison.as_bytes());
        if self.poison.is_some_and(holds) {
            *self.next.entry(stream).or_insert(1) += 1;
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
        let mut accepted = 0;
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
                    accepted += frame.len() as u64;
                    let series = &self.series[&(stream, frame.group)];
                    let instance = |slot: u32| series[slot as usize].value("instance").to_string();
                    self.instances.extend(frame.floats().map(|(slot, _)| instance(slot)));
                }
                Op::Drop { .. } | Op::Metadata { .. } => {}
            }
        }
        decoder.commit(decoded);
        *self.next.entry(stream).or_insert(1) += 1;
        self.applied += 1;
        Outcome::Applied(WriteApplied { accepted, ..WriteApplied::default() })
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
        let mut outcomes = Vec::new();
        for block in &request.blocks {
            let next = has.next.get(&stream).copied().unwrap_or(1);
            outcomes.push(if has.unavailable.contains(&request.shard) {
                Outcome::Unavailable(WriteUnavailable { message: "disk is full".to_string() })
            } else if has.sealed.contains(&request.shard) {
                Outcome::Sealed(WriteSealed { last_sequence: next - 1 })
            } else if block.sequence != next {
                Outcome::Expect(next)
            } else {
                has.apply(stream, &block.block)
            });
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
        server.add(IngesterServer::new(ingester.clone()));
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
        let parcel = Parcel { tenant: tenant(), part, reply };
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
    assert!(matches!(error, ShipError::Timeout { .. }), "{error}");
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

//! The Ingester service: what producers and the controller ask of a shard's leader.

use std::sync::Arc;
use std::time::Duration;

use pando_codec::entry::{CutReason, StreamBlock};
use pando_codec::write_block::{REQUEST_BYTES_MAX, UNDER_WAY_MAX, verify};
use pando_consensus::Member;
use pando_head::{BlockOutcome, Judged, Refusal as HeadRefusal, Shard, Verdicts};
use pando_model::{Cut, Epoch, ErrorKind, ProducerId, Sequence, SeriesKey, ShardId, StreamId};
use pando_proto::v1::ingester_server::Ingester as Service;
use pando_proto::v1::write_outcome::Outcome;
use pando_proto::v1::{
    CutRequest, CutResponse, GenerationDigestRequest, GenerationDigestResponse, GenerationName,
    Refusal, SealRequest, SealResponse, TenantMedian, WriteApplied, WriteBlock, WriteDamaged,
    WriteMalformed, WriteMoved, WriteNewEpoch, WriteNotLeader, WriteOutcome, WriteRequest,
    WriteResponse, WriteSealed, WriteSendFull, WriteUnavailable,
};
use pando_rpc::status;
use tonic::{Request, Response, Status};

use crate::local_shard::LocalShard;
use crate::seal_answer::encode_seal_answer;
use crate::shards::Shards;
use crate::write_queue::{WriteError, node_of};

/// Series of a tenant that its median is taken from: enough for a fair split, and quickly done.
const MEDIAN_SERIES_MAX: usize = 100_000;
/// The longest wait for a commit; callers have deadlines of their own.
const COMMIT_PATIENCE: Duration = Duration::from_secs(300);

/// Serves producers and the controller.
pub(crate) struct IngesterService {
    shards: Arc<Shards>,
}

impl IngesterService {
    pub(crate) fn new(shards: Arc<Shards>) -> Self {
        IngesterService { shards }
    }

    fn shard(&self, id: u64) -> Result<Arc<LocalShard>, Status> {
        let missing =
            || status(ErrorKind::Unavailable, format!("shard is not open here: shard={id}"));
        self.shards.get(ShardId(id)).ok_or_else(missing)
    }

    fn not_leader(&self, leader: Option<Member>) -> WriteResponse {
        let not_leader = leader.map_or_else(WriteNotLeader::default, |leader| WriteNotLeader {
            node: leader.node.0,
            // The catalog knows better where a node is now than the group's founding does.
            address: self.shards.context().address(leader.node).unwrap_or(leader.address),
        });
        WriteResponse { outcomes: Vec::new(), not_leader: Some(not_leader) }
    }

    fn leads(&self, shard: &LocalShard) -> Result<(), Status> {
        if shard.group.is_leader() {
            return Ok(());
        }
        let leader = node_of(&shard.group.leader());
        let text = format!("another member leads: shard={} leader={leader}", shard.id);
        Err(status(ErrorKind::Unavailable, text))
    }

    /// Cuts one shard; the last generation that has ended, if any has.
    async fn cut_one(&self, shard: &LocalShard) -> Result<Option<Cut>, Status> {
        let open = shard.state.read(|shard| shard.generations().find(|g| g.open));
        if let Some(open) = open.filter(|open| open.digest.samples > 0) {
            let cut = shard.queue.cut(Some(open.cut), CutReason::Demand).await;
            let cut = cut.map_err(|error| status(error.kind(), error))?;
            self.shards.context().metrics.cut(CutReason::Demand, cut.is_some());
        }
        let last = Cut(shard.state.read(Shard::open_cut).0 - 1);
        Ok((last.0 > 0).then_some(last))
    }
}

#[tonic::async_trait]
impl Service for IngesterService {
    async fn write(
        &self,
        request: Request<WriteRequest>,
    ) -> Result<Response<WriteResponse>, Status> {
        let request = request.into_inner();
        let shard = self.shard(request.shard)?;
        let stream =
            StreamId { producer: ProducerId(request.producer), epoch: Epoch(request.epoch) };
        if let Some(outcomes) = shard.of_sealed(stream, &request.blocks) {
            let outcomes = outcomes.into_iter().map(outcome_to_proto);
            let outcomes = outcomes.map(|outcome| WriteOutcome { outcome: Some(outcome) });
            return Ok(Response::new(WriteResponse {
                outcomes: outcomes.collect(),
                not_leader: None,
            }));
        }
        if !shard.group.is_leader() {
            return Ok(Response::new(self.not_leader(shard.group.leader())));
        }
        let context = self.shards.context();
        if let Some(message) = context.refuses_writes() {
            context.metrics.writes_shed.inc();
            return Ok(Response::new(one(Outcome::Unavailable(WriteUnavailable { message }))));
        }
        let bytes = check_size(&request.blocks)?;
        let held = context.gate.acquire(bytes).await;
        let _held = held.map_err(|error| {
            context.metrics.writes_shed.inc();
            status(error.kind(), error)
        })?;
        let (blocks, damaged) = checked(stream, request.blocks);
        let outcomes = match blocks.is_empty() {
            true => Ok(Vec::new()),
            false => shard.queue.write(blocks).await,
        };
        match outcomes {
            Ok(outcomes) => {
                outcomes.iter().for_each(|outcome| context.metrics.outcome(outcome));
                let outcomes = outcomes.into_iter().map(outcome_to_proto).chain(damaged);
                let outcomes = outcomes.map(|outcome| WriteOutcome { outcome: Some(outcome) });
                Ok(Response::new(WriteResponse { outcomes: outcomes.collect(), not_leader: None }))
            }
            Err(WriteError::NotLeader(leader)) => Ok(Response::new(self.not_leader(leader))),
            Err(error) => Err(status(error.kind(), error)),
        }
    }

    async fn cut(&self, request: Request<CutRequest>) -> Result<Response<CutResponse>, Status> {
        // Only operators ask: the members cut by themselves, and controllers seal.
        if !self.shards.context().config.admin_api {
            let text = "admin calls are off: start the ingesters with --web.enable-admin-api";
            return Err(status(ErrorKind::Forbidden, text));
        }
        let request = request.into_inner();
        let shards = match request.shard {
            0 => self.shards.all().into_iter().filter(|shard| shard.group.is_leader()).collect(),
            id => {
                let shard = self.shard(id)?;
                self.leads(&shard)?;
                vec![shard]
            }
        };
        let mut ended = Vec::new();
        for shard in shards {
            if let Some(cut) = self.cut_one(&shard).await? {
                ended.push((shard, cut));
            }
        }
        if request.wait_committed {
            for (shard, cut) in &ended {
                wait_committed(shard, *cut).await?;
            }
        }
        let names =
            ended.iter().map(|(shard, cut)| GenerationName { shard: shard.id.0, cut: cut.0 });
        Ok(Response::new(CutResponse { generations: names.collect() }))
    }

    async fn seal(&self, request: Request<SealRequest>) -> Result<Response<SealResponse>, Status> {
        let request = request.into_inner();
        let shard = self.shard(request.shard)?;
        self.leads(&shard)?;
        if request.recover && !shard.state.progress().sealed {
            let text = format!("shard is not sealed: shard={}", shard.id);
            return Err(status(ErrorKind::Stale, text));
        }
        // Before the seal, since producers wait from then on.
        let state = shard.state.clone();
        let medians = tokio::task::spawn_blocking(move || medians(|look| state.read(look)));
        let medians = medians.await.map_err(|error| status(ErrorKind::Internal, error))?;
        let sealed = shard.queue.seal().await.map_err(|error| status(error.kind(), error))?;
        let (last_cut, answer) = match sealed {
            Some((cut, answer)) => {
                tracing::info!(shard = %shard.id, last_cut = %cut.cut, "shard is sealed");
                (cut.cut, answer)
            }
            // What is open behind the seal is no generation to anybody.
            None => shard.state.read(|s| (Cut(s.open_cut().0 - 1), s.seal_answer())),
        };
        Ok(Response::new(SealResponse {
            answer: encode_seal_answer(&answer).into(),
            medians,
            last_cut: last_cut.0,
            term: shard.group.term(),
        }))
    }

    async fn generation_digest(
        &self,
        request: Request<GenerationDigestRequest>,
    ) -> Result<Response<GenerationDigestResponse>, Status> {
        let request = request.into_inner();
        let shard = self.shard(request.shard)?;
        let found = shard.state.read(|shard| {
            let mut ended = shard.generations().filter(|g| !g.open);
            ended.find(|g| g.cut == Cut(request.cut)).map(|g| g.digest)
        });
        Ok(Response::new(match found {
            Some(digest) => GenerationDigestResponse {
                known: true,
                samples: digest.samples,
                sum: digest.sum.to_be_bytes().to_vec().into(),
            },
            None => GenerationDigestResponse::default(),
        }))
    }
}

/// A response that is the same for the first block and all behind it.
fn one(outcome: Outcome) -> WriteResponse {
    let outcomes = vec![WriteOutcome { outcome: Some(outcome) }];
    WriteResponse { outcomes, not_leader: None }
}

/// The bytes of all blocks, where they are not too many.
fn check_size(blocks: &[WriteBlock]) -> Result<usize, Status> {
    let limit = |name: &str, found: usize, max: usize| {
        let text = format!("write request is too large: limit={name} found={found} max={max}");
        status(ErrorKind::LimitExceeded, text)
    };
    let bytes: usize = blocks.iter().map(|block| block.block.len()).sum();
    if blocks.len() > UNDER_WAY_MAX {
        return Err(limit("blocks", blocks.len(), UNDER_WAY_MAX));
    }
    if bytes > REQUEST_BYTES_MAX {
        return Err(limit("request bytes", bytes, REQUEST_BYTES_MAX));
    }
    Ok(bytes)
}

/// The blocks that arrived as they were sent, up to the first that did not: a replicated entry with
/// damaged bytes would be answered by every replica. What comes after it would not be next.
fn checked(stream: StreamId, blocks: Vec<WriteBlock>) -> (Vec<StreamBlock>, Option<Outcome>) {
    let mut good = Vec::with_capacity(blocks.len());
    for block in blocks {
        if let Err(error) = verify(&block.block) {
            let damaged = Outcome::Damaged(WriteDamaged { message: error.to_string() });
            return (good, Some(damaged));
        }
        let skipped = (block.skip_from, block.skip_to) != (0, 0);
        good.push(StreamBlock {
            stream,
            sequence: Sequence(block.sequence),
            skip: skipped.then_some((Sequence(block.skip_from), Sequence(block.skip_to))),
            bytes: block.block,
        });
    }
    (good, None)
}

fn outcome_to_proto(outcome: BlockOutcome) -> Outcome {
    match outcome {
        BlockOutcome::Applied(verdicts) => Outcome::Applied(verdicts_to_proto(verdicts)),
        BlockOutcome::Duplicate { expected, judged } => match judged {
            None => Outcome::Expect(expected.0),
            Some(Judged::Applied(verdicts)) => Outcome::Applied(verdicts_to_proto(verdicts)),
            Some(Judged::Malformed { message }) => Outcome::Malformed(WriteMalformed { message }),
        },
        BlockOutcome::Expect { expected } => Outcome::Expect(expected.0),
        BlockOutcome::NewEpochNeeded => Outcome::NewEpoch(WriteNewEpoch {}),
        BlockOutcome::SendFull { groups } => {
            let groups = groups.iter().map(|group| u64::from(group.0)).collect();
            Outcome::SendFull(WriteSendFull { groups })
        }
        BlockOutcome::Moved { .. } => Outcome::Moved(WriteMoved {}),
        BlockOutcome::Sealed { last } => {
            Outcome::Sealed(WriteSealed { last_sequence: last.map_or(0, |last| last.0) })
        }
        BlockOutcome::Damaged { message } => Outcome::Damaged(WriteDamaged { message }),
        BlockOutcome::Malformed { message } => Outcome::Malformed(WriteMalformed { message }),
        BlockOutcome::TooManyStreams { streams_max } => Outcome::Unavailable(WriteUnavailable {
            message: format!("shard has too many streams: limit={streams_max}"),
        }),
    }
}

fn verdicts_to_proto(verdicts: Verdicts) -> WriteApplied {
    let counts = HeadRefusal::ALL.iter().map(|reason| (*reason, verdicts.refused(*reason)));
    let refusals = counts.filter(|(_, samples)| *samples > 0);
    WriteApplied {
        accepted: verdicts.accepted,
        histograms: verdicts.histograms,
        exemplars: verdicts.exemplars,
        refusals: refusals
            .map(|(reason, samples)| Refusal { reason: reason.as_str().to_string(), samples })
            .collect(),
        messages: verdicts.messages,
    }
}

/// Waits until the catalog names the generation.
async fn wait_committed(shard: &LocalShard, cut: Cut) -> Result<(), Status> {
    let mut progress = shard.state.watch();
    let waiting = progress.wait_for(|progress| progress.uncommitted.iter().all(|c| *c > cut));
    let failed = |why: &str| {
        let text = format!("generation is not in the catalog: shard={} cut={cut}: {why}", shard.id);
        status(ErrorKind::Unavailable, text)
    };
    let waited = tokio::time::timeout(COMMIT_PATIENCE, waiting).await;
    let progress = waited.map_err(|_| failed("timeout"))?.map_err(|_| failed("shard is closed"))?;
    match progress.differing.contains(&cut) {
        true => Err(failed("samples differ from the block's")),
        false => Ok(()),
    }
}

/// The key that halves the series of each tenant.
fn medians(
    read: impl Fn(&dyn Fn(&Shard) -> Vec<TenantMedian>) -> Vec<TenantMedian>,
) -> Vec<TenantMedian> {
    read(&|shard| {
        let of = |tenant| {
            let series = shard.series(tenant, &[], MEDIAN_SERIES_MAX);
            let mut keys: Vec<SeriesKey> =
                series.iter().map(|labels| SeriesKey::of(tenant, labels)).collect();
            let middle = keys.len() / 2;
            let (_, median, _) = (!keys.is_empty()).then(|| keys.select_nth_unstable(middle))?;
            Some(TenantMedian { tenant: tenant.to_string(), key: median.0 })
        };
        shard.tenants().filter_map(of).collect()
    })
}

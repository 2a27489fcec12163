//! `LocalShard`: one shard that this node is a member of.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use pando_catalog::{RoutingView, ShardInfo};
use pando_codec::CodecError;
use pando_consensus::{ConsensusError, Group, Member};
use pando_head::{BlockOutcome, SealAnswer, ShardConfig};
use pando_model::{NodeId, Sequence, ShardId, StreamId};
use pando_proto::v1::WriteBlock;
use pando_runtime::Tasks;

use crate::context::SharedContext;
use crate::generations;
use crate::rules::{RulesCache, first_rules};
use crate::seal_answer::decode_seal_answer;
use crate::state::HeadState;
use crate::write_queue::WriteQueue;

/// How long the tasks of a shard that is closed may take to end.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// One shard that this node is a member of.
pub(crate) struct LocalShard {
    pub(crate) id: ShardId,
    /// The members, this node included.
    pub(crate) members: Vec<NodeId>,
    pub(crate) group: Group,
    pub(crate) state: Arc<HeadState>,
    pub(crate) queue: WriteQueue,
    /// Samples in memory, bytes: estimated now and then.
    pub(crate) sample_bytes: AtomicU64,
    tasks: Tasks,
}

/// Why a shard is not open.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("address of a member is not known: node={0}")]
    NoAddress(NodeId),
    #[error("a shard before this one is not known any more: shard={0}")]
    NoPredecessor(ShardId),
    #[error("answer to a seal cannot be read: shard={0}: {1}")]
    Answer(ShardId, CodecError),
    #[error(transparent)]
    Group(#[from] ConsensusError),
}

impl LocalShard {
    /// Opens what this node has of the shard, or founds it, and starts its tasks.
    pub(crate) async fn open(
        context: &SharedContext,
        view: &RoutingView,
        info: &ShardInfo,
    ) -> Result<Arc<Self>, OpenError> {
        let members: Vec<Member> =
            info.members.iter().map(|node| member(view, *node)).collect::<Result<_, _>>()?;
        let stored = context.host.stored_groups().contains(&info.id.0);
        let inherited = match inherited(view, info) {
            // The catalog forgets closed shards; a checkpoint on disk has what they left. Without
            // one the bounds of this replica would be wider than the others': it is not opened.
            Err(OpenError::NoPredecessor(_))
                if stored && context.host.has_checkpoint(info.id.0)? =>
            {
                Vec::new()
            }
            inherited => inherited?,
        };
        let inherits = !inherited.is_empty();
        let config = ShardConfig { shard: info.id, rules: first_rules(), inherited };
        let state = Arc::new(HeadState::new(config));
        let group = context.host.create_group(info.id.0, members, state.clone()).await?;
        let unsaved = inherits && !state.was_restored();
        let tasks = context.tasks.child();
        let rules: crate::write_queue::Rules = Arc::new({
            let (follower, cache, id) = (context.follower.clone(), RulesCache::default(), info.id);
            move || cache.rules(&follower.routing(), id)
        });
        let queue =
            WriteQueue::start(group.clone(), state.clone(), rules, context.clock.clone(), &tasks);
        let shard = Arc::new(LocalShard {
            id: info.id,
            members: info.members.clone(),
            group,
            state,
            queue,
            sample_bytes: AtomicU64::new(0),
            tasks,
        });
        generations::start(&shard, context, unsaved, &shard.tasks);
        Ok(shard)
    }

    /// Ends the shard's tasks. What it has on disk stays.
    pub(crate) async fn stop(&self) {
        let laggards = self.tasks.shutdown(STOP_GRACE).await;
        if !laggards.is_empty() {
            tracing::warn!(shard = %self.id, ?laggards, "tasks of a shard do not end");
        }
    }

    /// The number of members that is more than half of them.
    pub(crate) fn majority(&self) -> usize {
        self.members.len() / 2 + 1
    }

    /// What a sealed shard says to `blocks` of `stream`, up to the first that comes too late; `None` where it is
    /// not sealed as far as is known here. Any member may say so: after a seal nothing changes.
    pub(crate) fn of_sealed(
        &self,
        stream: StreamId,
        blocks: &[WriteBlock],
    ) -> Option<Vec<BlockOutcome>> {
        self.state.read(|shard| {
            if !shard.is_sealed() {
                return None;
            }
            let mut outcomes = Vec::new();
            for block in blocks {
                outcomes.push(shard.of_sealed(stream, Sequence(block.sequence)));
                if matches!(outcomes.last(), Some(BlockOutcome::Sealed { .. })) {
                    break;
                }
            }
            Some(outcomes)
        })
    }
}

fn member(view: &RoutingView, node: NodeId) -> Result<Member, OpenError> {
    let known = view.node(node).ok_or(OpenError::NoAddress(node))?;
    Ok(Member { node, address: known.grpc_address.clone() })
}

/// What the shards before `info` have left.
fn inherited(view: &RoutingView, info: &ShardInfo) -> Result<Vec<SealAnswer>, OpenError> {
    let answer = |id: &ShardId| {
        let before = view.shard(*id).and_then(|before| before.seal.clone());
        let seal = before.ok_or(OpenError::NoPredecessor(*id))?;
        decode_seal_answer(&seal.answer).map_err(|error| OpenError::Answer(*id, error))
    };
    info.predecessors.iter().map(answer).collect()
}

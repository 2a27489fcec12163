//! `WriteQueue`: write blocks wait here while a proposal is in flight; the next one carries all of
//! them.

use std::sync::Arc;

use pando_codec::entry::{BLOCKS_PER_ENTRY_MAX, CutReason, Entry, ShardRules, StreamBlock, Write};
use pando_codec::write_block::REQUEST_BYTES_MAX;
use pando_consensus::{Group, Member, ProposeError};
use pando_head::{Applied, BlockOutcome, CutOutcome, SealAnswer};
use pando_model::{Cut, ErrorKind};
use pando_runtime::{SharedClock, Tasks};
use tokio::sync::{mpsc, oneshot};

use crate::rules::rules_due;
use crate::state::HeadState;

/// Requests that wait for one shard; more are refused with `Unavailable`.
const QUEUE_MAX: usize = 1024;
/// Why something was not applied, or is not known to be.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError {
    /// Another member leads.
    #[error("another member leads the shard: leader={}", node_of(.0))]
    NotLeader(Option<Member>),
    /// Time heals it; the outcome is unknown.
    #[error("{0}")]
    Unavailable(String),
}

/// The leader's node id, as messages name it.
pub(crate) fn node_of(leader: &Option<Member>) -> String {
    leader.as_ref().map_or_else(|| "unknown".to_string(), |leader| leader.node.to_string())
}

impl WriteError {
    /// What the error means.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Unavailable
    }
}

type Reply<T> = oneshot::Sender<Result<T, WriteError>>;
type Blocks = (Vec<StreamBlock>, Reply<Vec<BlockOutcome>>);

/// What the queue carries.
enum Order {
    Blocks(Blocks),
    Cut(Option<Cut>, CutReason, Reply<Option<CutOutcome>>),
    Seal(Reply<Option<(CutOutcome, SealAnswer)>>),
    Committed(Entry, Reply<()>),
}

/// The rules that are in force now, as the catalog says: asked before each proposal.
pub(crate) type Rules = Arc<dyn Fn() -> Arc<ShardRules> + Send + Sync>;

/// The door to a shard's log. Cloning shares it.
#[derive(Clone)]
pub(crate) struct WriteQueue {
    orders: mpsc::Sender<Order>,
}

impl WriteQueue {
    /// A queue before `group`.
    pub(crate) fn start(
        group: Group,
        state: Arc<HeadState>,
        rules: Rules,
        clock: SharedClock,
        tasks: &Tasks,
    ) -> Self {
        let (orders, queue) = mpsc::channel(QUEUE_MAX);
        let runner = Runner { group, state, rules, clock };
        tasks.spawn_vital("write queue", runner.run(queue));
        WriteQueue { orders }
    }

    /// Applies write blocks, in order and in one entry; answers with the outcome of each.
    ///
    /// # Errors
    /// The queue is full, another member leads, or the outcome is unknown.
    pub(crate) async fn write(
        &self,
        blocks: Vec<StreamBlock>,
    ) -> Result<Vec<BlockOutcome>, WriteError> {
        let (reply, answer) = oneshot::channel();
        let full =
            |_| WriteError::Unavailable(format!("too many write requests wait: limit={QUEUE_MAX}"));
        self.orders.try_send(Order::Blocks((blocks, reply))).map_err(full)?;
        answered(answer).await
    }

    /// Ends the open generation, or does nothing where `expected` is not the open one: `None`.
    ///
    /// # Errors
    /// As [`WriteQueue::write`].
    pub(crate) async fn cut(
        &self,
        expected: Option<Cut>,
        reason: CutReason,
    ) -> Result<Option<CutOutcome>, WriteError> {
        let (reply, answer) = oneshot::channel();
        self.send(Order::Cut(expected, reason, reply)).await?;
        answered(answer).await
    }

    /// Seals the shard. `None`: it was sealed before.
    ///
    /// # Errors
    /// As [`WriteQueue::write`].
    pub(crate) async fn seal(&self) -> Result<Option<(CutOutcome, SealAnswer)>, WriteError> {
        let (reply, answer) = oneshot::channel();
        self.send(Order::Seal(reply)).await?;
        answered(answer).await
    }

    /// Tells all replicas that a generation is in a block.
    ///
    /// # Errors
    /// As [`WriteQueue::write`].
    pub(crate) async fn committed(&self, entry: Entry) -> Result<(), WriteError> {
        let (reply, answer) = oneshot::channel();
        self.send(Order::Committed(entry, reply)).await?;
        answered(answer).await
    }

    async fn send(&self, order: Order) -> Result<(), WriteError> {
        self.orders.send(order).await.map_err(|_| stopping())
    }
}

async fn answered<T>(answer: oneshot::Receiver<Result<T, WriteError>>) -> Result<T, WriteError> {
    answer.await.unwrap_or_else(|_| Err(stopping()))
}

fn stopping() -> WriteError {
    WriteError::Unavailable("the shard is being closed".to_string())
}

struct Runner {
    group: Group,
    state: Arc<HeadState>,
    rules: Rules,
    clock: SharedClock,
}

impl Runner {
    async fn run(self, mut queue: mpsc::Receiver<Order>) {
        let mut next = None;
        loop {
            let order = match next.take() {
                Some(order) => order,
                None => match queue.recv().await {
                    Some(order) => order,
                    None => return,
                },
            };
            // Who went away meanwhile gets no answer: `send` fails, and that is all right.
            match order {
                Order::Blocks(blocks) => {
                    let mut requests = vec![blocks];
                    next = gather(&mut queue, &mut requests);
                    self.write(requests).await;
                }
                Order::Cut(expected, reason, reply) => {
                    let _ = reply.send(self.cut(expected, reason).await);
                }
                Order::Seal(reply) => {
                    let sealed = self.apply(Entry::Seal).await;
                    let _ = reply.send(sealed.map(|applied| match applied {
                        Applied::Sealed { cut, answer } => Some((cut, answer)),
                        _ => None,
                    }));
                }
                Order::Committed(entry, reply) => {
                    let _ = reply.send(self.apply(entry).await.map(|_| ()));
                }
            }
        }
    }

    async fn write(&self, requests: Vec<Blocks>) {
        let mut replies = Vec::with_capacity(requests.len());
        let mut all = Vec::new();
        for (blocks, reply) in requests {
            replies.push((blocks.len(), reply));
            all.extend(blocks);
        }
        let rules = (self.rules)();
        let due = self.state.read(|shard| rules_due(&rules, shard.rules()));
        let write = Write {
            leader_time_ms: self.clock.now_ms(),
            rules: due.then(|| ShardRules::clone(&rules)),
            blocks: all,
        };
        let mut outcomes = match self.apply(Entry::Write(write)).await {
            Ok(Applied::Write(outcomes)) => Ok(outcomes.into_iter()),
            Ok(other) => {
                Err(WriteError::Unavailable(format!("write blocks were not applied: {other:?}")))
            }
            Err(error) => Err(error),
        };
        for (blocks, reply) in replies {
            let own = match &mut outcomes {
                Ok(outcomes) => Ok(outcomes.by_ref().take(blocks).collect()),
                Err(error) => Err(error.clone()),
            };
            let _ = reply.send(own);
        }
    }

    async fn cut(
        &self,
        expected: Option<Cut>,
        reason: CutReason,
    ) -> Result<Option<CutOutcome>, WriteError> {
        let open = self.state.read(|shard| shard.open_cut());
        if expected.is_some_and(|expected| expected != open) {
            return Ok(None);
        }
        Ok(match self.apply(Entry::Cut { cut: open, reason }).await? {
            Applied::Cut(outcome) => Some(outcome),
            _ => None,
        })
    }

    /// Proposes one entry and waits until it is applied here.
    async fn apply(&self, entry: Entry) -> Result<Applied, WriteError> {
        let index = match self.group.propose(entry.encode()).await {
            Ok((index, _)) => index,
            Err(ProposeError::NotLeader { leader }) => return Err(WriteError::NotLeader(leader)),
            Err(error) => return Err(WriteError::Unavailable(error.to_string())),
        };
        let lost =
            || WriteError::Unavailable(format!("outcome is not known any more: index={index}"));
        self.state.outcome(index).ok_or_else(lost)
    }
}

/// Takes what waits, up to the size of one request; returns the first order that does not fit, or carries no write
/// blocks. Rules and a log entry's other parts fit beside that (`entry_bytes_max` of the host, 16 MiB).
fn gather(queue: &mut mpsc::Receiver<Order>, requests: &mut Vec<Blocks>) -> Option<Order> {
    let size = |blocks: &[StreamBlock]| {
        (blocks.iter().map(|block| block.bytes.len()).sum::<usize>(), blocks.len())
    };
    let (mut bytes, mut count) = (0, 0);
    for (blocks, _) in requests.iter() {
        (bytes, count) = (bytes + size(blocks).0, count + size(blocks).1);
    }
    loop {
        match queue.try_recv() {
            Ok(Order::Blocks((blocks, reply))) => {
                let (more_bytes, more) = size(&blocks);
                (bytes, count) = (bytes + more_bytes, count + more);
                if bytes > REQUEST_BYTES_MAX || count > BLOCKS_PER_ENTRY_MAX {
                    return Some(Order::Blocks((blocks, reply)));
                }
                requests.push((blocks, reply));
            }
            Ok(other) => return Some(other),
            Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use pando_model::{Epoch, ProducerId, Sequence, StreamId};

    use super::*;

    fn blocks(bytes: usize) -> Blocks {
        let stream = StreamId { producer: ProducerId(1), epoch: Epoch(1) };
        let bytes = Bytes::from(vec![0; bytes]);
        let block = StreamBlock { stream, sequence: Sequence(1), skip: None, bytes };
        (vec![block], oneshot::channel().0)
    }

    #[test]
    fn a_proposal_takes_what_waits_and_fits_and_nothing_overtakes_another() {
        let (orders, mut queue) = mpsc::channel(8);
        let third = REQUEST_BYTES_MAX / 3;
        let push = |order| orders.try_send(order).expect("there is room");
        push(Order::Blocks(blocks(third)));
        push(Order::Blocks(blocks(third)));
        push(Order::Blocks(blocks(third)));
        push(Order::Cut(None, CutReason::Demand, oneshot::channel().0));
        push(Order::Blocks(blocks(1)));

        let mut requests = vec![blocks(third)];
        let next = gather(&mut queue, &mut requests);
        assert_eq!(requests.len(), 3);
        let Some(Order::Blocks(first)) = next else { panic!("the fourth is too much") };
        let mut requests = vec![first];
        let next = gather(&mut queue, &mut requests);
        assert!(matches!(next, Some(Order::Cut(..))), "a cut is not overtaken");
        assert_eq!(requests.len(), 1);
    }
}

//! `ShardStream`: numbers, encodes and sends the write blocks of one shard.
//!
//! One request is under way at a time; it carries one block for each parcel that queued up meanwhile, so that
//! a parcel's verdicts are its own. A block that could not be applied is encoded anew with those behind it; one
//! whose outcome is unknown is sent again as it was (INV-2 makes that harmless, and the shard says again what it came
//! to). A parcel that is too much for a block is given back, to come again in halves. What a shard says of a stream's
//! sequences speaks of this sender's blocks alone, since no two streams ever have one epoch ([`Epochs`]).

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use pando_cluster::CatalogFollower;
use pando_codec::write_block::{
    self, KeyedEncoder, REQUEST_BYTES_MAX, UNDER_WAY_MAX, WORK_PER_BLOCK_MAX,
};
use pando_model::{Epoch, NodeId, ProducerId, ShardId, TenantId};
use pando_proto::v1::ingester_client::IngesterClient;
use pando_proto::v1::write_outcome::Outcome;
use pando_proto::v1::{
    WriteApplied, WriteBlock, WriteDamaged, WriteRequest, WriteResponse, WriteUnavailable,
};
use pando_rpc::{Channels, MESSAGE_BYTES_MAX};
use pando_runtime::Tasks;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tonic::{Request, Status};

use crate::batch::Receipt;
use crate::error::ShipError;
use crate::part::Part;

/// Parcels that wait for one shard.
const QUEUE_MAX: usize = 256;
/// The longest block that is sent: some make a request.
const BLOCK_BYTES_MAX: usize = REQUEST_BYTES_MAX / 3;
const _: () = assert!(BLOCK_BYTES_MAX <= write_block::BLOCK_BYTES_MAX / 4);
/// A request that takes longer is sent again.
const SEND_TIMEOUT: Duration = Duration::from_secs(12);
/// Pause before the next try, doubled up to the second value.
const PAUSE_MIN: Duration = Duration::from_millis(30);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Series and groups that no block of this many named are forgotten by the encoder.
const IDLE_BLOCKS_MAX: u64 = 4096;

/// Streams of one start of the process use the low bits of the epoch; starts of the process the rest.
const STREAM_BITS: u32 = 32;

/// Hands out the epochs of a shipper's streams, each once: a stream that begins anew, or is dropped and begun
/// again later, would otherwise take what its shard says of the one before it for an acknowledgement (INV-1).
#[derive(Clone)]
pub(crate) struct Epochs {
    first: u64,
    drawn: Arc<AtomicU64>,
}

impl Epochs {
    /// The epochs of one start of the process.
    pub(crate) fn of_start(start: Epoch) -> Self {
        Epochs { first: start.0 << STREAM_BITS, drawn: Arc::default() }
    }

    fn draw(&self) -> Epoch {
        Epoch(self.first + self.drawn.fetch_add(1, Ordering::Relaxed))
    }
}

/// A part for one shard, and who waits for its verdict.
pub(crate) struct Parcel {
    pub(crate) tenant: TenantId,
    pub(crate) part: Part,
    /// What keeps it from being acknowledged, for whoever gives up.
    pub(crate) trouble: Arc<Mutex<String>>,
    pub(crate) reply: oneshot::Sender<Answer>,
}

impl Parcel {
    /// Has the groups of its samples begin anew.
    fn forget_groups(&self, encoder: &mut KeyedEncoder) {
        let halves: BTreeSet<u32> = self.part.samples.iter().map(|s| s.key.high_half()).collect();
        halves.into_iter().for_each(|half| encoder.forget(&self.tenant, half));
    }
}

/// What became of a parcel.
pub(crate) enum Answer {
    /// Every sample was judged.
    Judged(Receipt),
    /// The shard is not the place (any more): route the samples again.
    Elsewhere(Part, String),
    /// No write block can hold all of it.
    TooMuch(Part, String),
}

/// The door to one shard's stream. Cloning shares it.
#[derive(Clone)]
pub(crate) struct ShardStream {
    parcels: mpsc::Sender<Parcel>,
    waiting: Arc<AtomicUsize>,
}

impl ShardStream {
    pub(crate) fn start(
        shard: ShardId,
        producer: ProducerId,
        epochs: Epochs,
        follower: CatalogFollower,
        channels: Channels,
        tasks: &Tasks,
    ) -> Self {
        let (parcels, queue) = mpsc::channel(QUEUE_MAX);
        let waiting = Arc::new(AtomicUsize::new(0));
        let sender = Sender {
            shard,
            producer,
            epoch: epochs.draw(),
            epochs,
            follower,
            channels,
            encoder: KeyedEncoder::new(),
            next: 1,
            judged: 0,
            under_way: VecDeque::new(),
            leader: None,
            turn: 0,
            pause: PAUSE_MIN,
            waiting: waiting.clone(),
        };
        tasks.spawn_vital("shard stream", sender.run(queue));
        ShardStream { parcels, waiting }
    }

    pub(crate) async fn send(&self, parcel: Parcel) -> Result<(), ShipError> {
        // Counted before it has its place: a stream that is waited for is not idle.
        let counted = Counted::one(&self.waiting);
        let stopped = |_| ShipError::Unavailable("shipper is stopping".to_string());
        self.parcels.send(parcel).await.map_err(stopped)?;
        counted.hand_over();
        Ok(())
    }

    /// Whether no parcel waits for a verdict.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) == 0
    }
}

/// One parcel that waits, until it is handed over or given up.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn one(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::SeqCst);
        Counted(waiting)
    }

    /// The stream counts it from now on.
    fn hand_over(self) {
        std::mem::forget(self);
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A parcel with its place in the stream.
struct Numbered {
    parcel: Parcel,
    sequence: u64,
    bytes: Bytes,
}

struct Sender {
    shard: ShardId,
    producer: ProducerId,
    epoch: Epoch,
    epochs: Epochs,
    follower: CatalogFollower,
    channels: Channels,
    encoder: KeyedEncoder,
    /// The sequence of the next block. One is never given to another parcel, for a request that was given up may still
    /// arrive; what is taken back leaves a gap.
    next: u64,
    /// The last sequence that was judged.
    judged: u64,
    under_way: VecDeque<Numbered>,
    /// Who led when it was asked last.
    leader: Option<(NodeId, String)>,
    /// Whose turn it is to be asked where nobody is known to lead.
    turn: usize,
    pause: Duration,
    waiting: Arc<AtomicUsize>,
}

impl Sender {
    async fn run(mut self, mut queue: mpsc::Receiver<Parcel>) {
        loop {
            if self.under_way.is_empty() {
                match queue.recv().await {
                    Some(parcel) => self.take(parcel),
                    None => return,
                }
            }
            while self.has_room() {
                let Ok(parcel) = queue.try_recv() else { break };
                self.take(parcel);
            }
            // Parcels whose shipper has given up need no answer, but their blocks keep their numbers.
            if self.under_way.is_empty() {
                continue;
            }
            match self.send().await {
                Ok(response) => self.judge(response).await,
                Err(status) => {
                    tracing::debug!(shard = %self.shard, status = status.message(), "write failed");
                    self.note_trouble(status.message());
                    self.leader = None;
                    if self.shard_has_ended() {
                        self.give_back(status.message());
                    } else {
                        self.rest().await;
                    }
                }
            }
        }
    }

    /// Numbers and encodes a parcel.
    fn take(&mut self, parcel: Parcel) {
        if parcel.reply.is_closed() {
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            return;
        }
        match encode(&mut self.encoder, &parcel) {
            Ok(Some(bytes)) => {
                let sequence = self.next;
                self.next += 1;
                self.under_way.push_back(Numbered { parcel, sequence, bytes: bytes.into() });
            }
            Ok(None) => self.answer(parcel, |_| Answer::Judged(Receipt::default())),
            Err(why) => self.answer(parcel, |part| Answer::TooMuch(part, why)),
        }
    }

    /// Whether one more block goes out with those that are under way. Gaps count: the shard remembers by sequence.
    fn has_room(&self) -> bool {
        self.next - self.judged <= UNDER_WAY_MAX as u64 && self.fitting() == self.under_way.len()
    }

    /// How many blocks, from the oldest on, are sent together; never none.
    fn fitting(&self) -> usize {
        let mut bytes = 0;
        let fits = |numbered: &&Numbered| {
            bytes += numbered.bytes.len();
            bytes <= REQUEST_BYTES_MAX
        };
        self.under_way.iter().take_while(fits).count().max(1)
    }

    async fn send(&mut self) -> Result<WriteResponse, Status> {
        let (node, address) = self.leader()?;
        let peer = self.channels.peer(&address, Some(node))?;
        let mut before = self.judged;
        let blocks = self.under_way.iter().take(self.fitting()).map(|numbered| {
            let (from, sequence) = (before + 1, numbered.sequence);
            before = sequence;
            let (skip_from, skip_to) = if from < sequence { (from, sequence - 1) } else { (0, 0) };
            WriteBlock { sequence, skip_from, skip_to, block: numbered.bytes.clone() }
        });
        let mut request = Request::new(WriteRequest {
            shard: self.shard.0,
            producer: self.producer.0,
            epoch: self.epoch.0,
            blocks: blocks.collect(),
        });
        request.set_timeout(SEND_TIMEOUT);
        let mut client = IngesterClient::new(peer)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        Ok(client.write(request).await?.into_inner())
    }

    /// The member to ask: the last known leader, else the members in turn.
    fn leader(&mut self) -> Result<(NodeId, String), Status> {
        if let Some(leader) = &self.leader {
            return Ok(leader.clone());
        }
        let routing = self.follower.routing();
        let unknown =
            || Status::unavailable(format!("shard is not known here: shard={}", self.shard));
        let info = routing.shard(self.shard).ok_or_else(unknown)?;
        let members: Vec<(NodeId, String)> = info
            .members
            .iter()
            .filter_map(|id| Some((*id, routing.node(*id)?.grpc_address.clone())))
            .collect();
        // However long this takes, each member has its turn: the one that was asked last may be dead.
        self.turn = self.turn.wrapping_add(1);
        let member = members.get(self.turn % members.len().max(1)).cloned().ok_or_else(unknown)?;
        Ok(self.leader.insert(member).clone())
    }

    /// Answers the parcels of the blocks that were judged, and prepares the rest to be sent again.
    async fn judge(&mut self, response: WriteResponse) {
        if let Some(not_leader) = response.not_leader {
            let known = not_leader.node != 0 && !not_leader.address.is_empty();
            self.leader = known.then_some((NodeId(not_leader.node), not_leader.address));
            self.note_trouble("it has no leader yet");
            return self.rest().await;
        }
        for outcome in response.outcomes {
            let Some(sequence) = self.under_way.front().map(|n| n.sequence) else { return };
            match outcome.outcome {
                Some(Outcome::Applied(applied)) => self.done(receipt(applied)),
                Some(Outcome::Expect(expected)) if expected > sequence => {
                    // An earlier try was applied and its answer lost. There is no more to say of it: every sample
                    // was accepted.
                    self.done_before();
                }
                Some(Outcome::Malformed(malformed)) => {
                    let message = malformed.message;
                    tracing::error!(shard = %self.shard, message, "own write block is malformed");
                    if let Some(numbered) = self.pop_judged() {
                        // Its groups name the series that is at fault, also where other samples come next.
                        numbered.parcel.forget_groups(&mut self.encoder);
                        self.answer(numbered.parcel, |part| Answer::TooMuch(part, message));
                    }
                }
                Some(Outcome::Sealed(_)) => return self.give_back("shard is sealed"),
                Some(Outcome::Moved(_)) => return self.give_back("keys have moved"),
                Some(Outcome::NewEpoch(_)) => {
                    self.restart();
                    return self.encode_again();
                }
                Some(Outcome::Expect(expected)) if expected < sequence => {
                    // The shard has less of this stream than it acknowledged: begin anew.
                    self.restart();
                    return self.encode_again();
                }
                Some(Outcome::SendFull(_)) => {
                    self.encoder.encoder().force_full_all();
                    return self.encode_again();
                }
                Some(Outcome::Expect(_)) => return,
                Some(Outcome::Damaged(WriteDamaged { message }))
                | Some(Outcome::Unavailable(WriteUnavailable { message })) => {
                    self.note_trouble(&message);
                    return self.rest().await;
                }
                None => return self.rest().await,
            }
        }
        self.pause = PAUSE_MIN;
    }

    fn pop_judged(&mut self) -> Option<Numbered> {
        let numbered = self.under_way.pop_front()?;
        self.judged = numbered.sequence;
        Some(numbered)
    }

    fn done(&mut self, receipt: Receipt) {
        if let Some(numbered) = self.pop_judged() {
            self.answer(numbered.parcel, |_| Answer::Judged(receipt));
        }
    }

    /// The oldest block under way was applied by an earlier try, with every sample.
    fn done_before(&mut self) {
        let receipt = self.under_way.front().map(|n| Receipt::of_all(&n.parcel.part.samples));
        self.done(receipt.unwrap_or_default());
    }

    /// Begins a new epoch of the stream.
    fn restart(&mut self) {
        self.epoch = self.epochs.draw();
        self.encoder = KeyedEncoder::new();
        (self.next, self.judged) = (1, 0);
        for numbered in &mut self.under_way {
            numbered.sequence = self.next;
            self.next += 1;
        }
    }

    /// Encodes all that is under way anew.
    fn encode_again(&mut self) {
        for mut numbered in std::mem::take(&mut self.under_way) {
            match encode(&mut self.encoder, &numbered.parcel) {
                Ok(Some(bytes)) => {
                    numbered.bytes = bytes.into();
                    self.under_way.push_back(numbered);
                }
                Ok(None) => self.answer(numbered.parcel, |_| Answer::Judged(Receipt::default())),
                Err(why) => self.answer(numbered.parcel, |part| Answer::TooMuch(part, why)),
            }
        }
    }

    /// Gives everything under way back to be routed again.
    fn give_back(&mut self, why: &str) {
        for numbered in std::mem::take(&mut self.under_way) {
            let why = format!("{why}: shard={}", self.shard);
            self.answer(numbered.parcel, |part| Answer::Elsewhere(part, why));
        }
        // The shard has applied none of them, so its state and the encoder's have parted.
        self.restart();
    }

    fn answer(&self, parcel: Parcel, answer: impl FnOnce(Part) -> Answer) {
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        // Nobody may wait any more: the shipper's time has run out.
        let _ = parcel.reply.send(answer(parcel.part));
    }

    fn note_trouble(&self, why: &str) {
        for numbered in &self.under_way {
            *numbered.parcel.trouble.lock() = format!("{why}: shard={}", self.shard);
        }
    }

    fn shard_has_ended(&self) -> bool {
        use pando_catalog::ShardStage;
        let routing = self.follower.routing();
        routing.version().0 > 0
            && routing.shard(self.shard).is_none_or(|info| info.stage == ShardStage::Closed)
    }

    async fn rest(&mut self) {
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }
}

/// One write block with all of a parcel; `None` where there is nothing in it. The error says why there is none that is
/// not too large.
fn encode(encoder: &mut KeyedEncoder, parcel: &Parcel) -> Result<Option<Vec<u8>>, String> {
    let block = encode_once(encoder, parcel);
    if block.is_ok() {
        return block;
    }
    // Its groups may have grown large by other samples, or there may be too many: with new ones it is as small as it
    // can be.
    encode_once(encoder, parcel)
}

fn encode_once(encoder: &mut KeyedEncoder, parcel: &Parcel) -> Result<Option<Vec<u8>>, String> {
    let why = match parcel.part.as_ref().push_to(encoder, &parcel.tenant) {
        Ok(()) => {
            let (bytes, work) =
                (encoder.encoder().pending_bytes(), encoder.encoder().pending_work());
            if bytes <= BLOCK_BYTES_MAX && work <= WORK_PER_BLOCK_MAX {
                return Ok(encoder.finish(IDLE_BLOCKS_MAX));
            }
            format!(
                "write block is too large: bytes={bytes} bytes_max={BLOCK_BYTES_MAX} work={work} \
                 work_max={WORK_PER_BLOCK_MAX}"
            )
        }
        Err(error) => error.to_string(),
    };
    // What was pushed is not sent, and the shard does not know it.
    encoder.abandon();
    parcel.forget_groups(encoder);
    Err(why)
}

fn receipt(applied: WriteApplied) -> Receipt {
    let refused = applied.refusals.into_iter().map(|r| (r.reason, r.samples)).collect();
    let WriteApplied { accepted, histograms, exemplars, messages, .. } = applied;
    Receipt { accepted, histograms, exemplars, refused, messages }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_parcel_that_is_given_up_before_it_has_a_place_does_not_wait() {
        let (parcels, _queue) = mpsc::channel(1);
        let stream = ShardStream { parcels, waiting: Arc::default() };
        let parcel = || Parcel {
            tenant: TenantId::default_tenant(),
            part: Part::default(),
            trouble: Arc::default(),
            reply: oneshot::channel().0,
        };
        stream.send(parcel()).await.expect("there is room");
        let second = tokio::time::timeout(Duration::ZERO, stream.send(parcel())).await;
        assert!(second.is_err(), "the queue is full");
        assert_eq!(stream.waiting.load(Ordering::SeqCst), 1);
    }
}

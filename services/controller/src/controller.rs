//! `Controller`: the catalog's Raft group and what the leader does with it on request.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use pando_catalog::{
    Command, CommandRefused, CommandReply, Node, Reason, SealResult, ShardStage, wire,
};
use pando_cluster::{Presence, SealPlan, assign_tenant, next_grant, plan_seal};
use pando_consensus::Group;
use pando_model::{CatalogVersion, Cut, ErrorKind, NodeId, SeriesKey, ShardId, TenantId};
use pando_proto::v1::ingester_client::IngesterClient;
use pando_proto::v1::{HeartbeatResponse, LeaseWorkResponse, SealRequest, SealResponse};
use pando_rpc::{Channels, Identity, status};
use pando_runtime::{SharedClock, Tasks};
use tonic::{Request, Status};

use crate::config::ControllerConfig;
use crate::contact::Contact;
use crate::grpc::{propose_status, refused_status, unexpected};
use crate::liveness::Liveness;
use crate::metrics::ControllerMetrics;
use crate::state::CatalogState;

/// A member whose clock is further off than this is told so in the log, ms.
const CLOCK_SKEW_WARN_MS: i64 = 60_000;

/// A majority confirms within this time, or is not there: less than the 5 s that a member waits for a
/// controller before it asks the next.
const CONFIRM_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(3);

/// One controller. The group is there once the cluster is founded.
pub struct Controller {
    config: ControllerConfig,
    identity: Identity,
    channels: Channels,
    clock: SharedClock,
    tasks: Tasks,
    state: Arc<CatalogState>,
    liveness: Liveness,
    contact: Contact,
    group: OnceLock<Group>,
    /// One seal at a time: successors are chosen by what the one before has left.
    sealing: tokio::sync::Mutex<()>,
    metrics: ControllerMetrics,
}

impl Controller {
    /// A controller that has not joined its group yet.
    pub fn new(
        config: ControllerConfig,
        identity: Identity,
        channels: Channels,
        clock: SharedClock,
        tasks: Tasks,
        metrics: ControllerMetrics,
    ) -> Self {
        let liveness = Liveness::new(config.member_timeout);
        Controller {
            config,
            identity,
            channels,
            clock,
            tasks,
            state: Arc::new(CatalogState::new()),
            liveness,
            contact: Contact::default(),
            group: OnceLock::new(),
            sealing: tokio::sync::Mutex::default(),
            metrics,
        }
    }

    /// Gives the controller its group, once.
    pub fn join(&self, group: Group) {
        let _ = self.group.set(group);
    }

    pub(crate) fn group(&self) -> Option<&Group> {
        self.group.get()
    }

    pub(crate) fn config(&self) -> &ControllerConfig {
        &self.config
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) fn channels(&self) -> &Channels {
        &self.channels
    }

    pub(crate) fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    pub(crate) fn liveness(&self) -> &Liveness {
        &self.liveness
    }

    pub(crate) fn metrics(&self) -> &ControllerMetrics {
        &self.metrics
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    pub(crate) fn monotonic(&self) -> std::time::Duration {
        self.clock.monotonic()
    }

    /// The replicated state.
    pub fn state(&self) -> &Arc<CatalogState> {
        &self.state
    }

    /// The version of this replica's catalog.
    pub fn version(&self) -> CatalogVersion {
        self.state.read(|catalog| catalog.version())
    }

    /// Whether this controller leads.
    pub fn is_leader(&self) -> bool {
        self.group.get().is_some_and(Group::is_leader)
    }

    /// Whether the group has a leader that this controller knows.
    pub fn has_leader(&self) -> bool {
        self.group.get().is_some_and(|group| group.leader().is_some())
    }

    /// Commits a command and answers what the catalog says to it.
    ///
    /// # Errors
    /// This controller does not lead, or the majority does not answer; the outcome is unknown then.
    pub async fn propose(
        &self,
        command: &Command,
    ) -> Result<Result<CommandReply, CommandRefused>, Status> {
        let Some(group) = self.group.get() else {
            return Err(not_joined());
        };
        let proposed = group.propose(wire::encode_command(command)).await;
        let (_, reply) = proposed.map_err(propose_status)?;
        wire::decode_reply(&reply).map_err(|error| status(error.kind(), error))
    }

    /// Commits a command that is expected to be accepted.
    pub(crate) async fn command(&self, command: &Command) -> Result<CommandReply, Status> {
        self.propose(command).await?.map_err(|refused| refused_status(&refused))
    }

    /// Carries out what a decider decided; what the catalog refuses is left for the next round.
    pub(crate) async fn carry_out(&self, commands: Vec<Command>) -> Result<(), Status> {
        for command in commands {
            self.carried_out(&command).await?;
        }
        Ok(())
    }

    /// Carries out one command that a decider decided; false where the catalog refuses it.
    pub(crate) async fn carried_out(&self, command: &Command) -> Result<bool, Status> {
        let answer = self.propose(command).await?;
        if let Err(refused) = &answer {
            tracing::warn!(%refused, ?command, "catalog refuses what was decided");
        }
        Ok(answer.is_ok())
    }

    /// Waits until this replica has applied all that was committed when this was called, as a majority
    /// confirms it. Who asks at one moment shares one question.
    pub(crate) async fn read_index(&self) -> Result<(), Status> {
        let Some(group) = self.group.get() else { return Err(not_joined()) };
        let asked = self.monotonic();
        match tokio::time::timeout(CONFIRM_TIMEOUT, group.read_index()).await {
            Ok(Ok(())) => {
                self.contact.confirmed(asked);
                Ok(())
            }
            Ok(Err(error)) => Err(status(error.kind(), error)),
            Err(_) => {
                let text = "a majority of the controllers does not answer";
                Err(status(ErrorKind::Unavailable, text))
            }
        }
    }

    /// The version that a majority has reached now: whatever was acknowledged before is in it.
    pub(crate) async fn newest(&self) -> Result<CatalogVersion, Status> {
        self.read_index().await?;
        Ok(self.version())
    }

    /// Whether this controller has heard of a majority lately.
    pub(crate) fn has_majority(&self) -> bool {
        self.contact.is_there(self.monotonic())
    }

    /// Whether operators may seal shards and change tenants here.
    pub(crate) fn check_admin(&self) -> Result<(), Status> {
        if self.config.admin_api {
            return Ok(());
        }
        let text = "admin calls are off: start the controllers with --web.enable-admin-api";
        Err(status(ErrorKind::Forbidden, text))
    }

    /// Takes a heartbeat: registers what is new, and grants the next lease.
    pub(crate) async fn heartbeat(
        &self,
        mut node: Node,
        clock_ms: i64,
        leaving: bool,
    ) -> Result<HeartbeatResponse, Status> {
        // A leader that was replaced without knowing it must not grant what its successor does not know of.
        self.read_index().await?;
        if !self.is_leader() {
            return Err(status(ErrorKind::Unavailable, "the controllers' leader is changing"));
        }
        let now_ms = self.clock.now_ms();
        if leaving {
            self.liveness.leave(node.id);
        } else {
            self.liveness.beat(node.id, self.clock.monotonic());
            if (clock_ms - now_ms).abs() > CLOCK_SKEW_WARN_MS {
                tracing::warn!(node = %node.id, skew_ms = clock_ms - now_ms, "clock of member is off");
            }
            let known = self.state.read(|catalog| catalog.nodes().get(&node.id).cloned());
            node.joined_ms = known.as_ref().map_or(0, |known| known.joined_ms);
            if known.is_none_or(|known| *known != node) {
                self.command(&Command::RegisterNode { node, now_ms }).await?;
            }
        }
        let (version, feature_level) =
            self.state.read(|catalog| (catalog.version(), catalog.feature_level()));
        Ok(HeartbeatResponse {
            clock_ms: now_ms,
            lease_ms: self.config.member_lease.as_millis() as u64,
            catalog_version: version.0,
            feature_level,
            leader_address: String::new(),
        })
    }

    /// Who is alive.
    pub(crate) fn presence(&self) -> Presence {
        self.liveness.presence(self.clock.monotonic())
    }

    /// Gives a tenant its first route.
    pub(crate) async fn assign_tenant(&self, tenant: &TenantId) -> Result<CatalogVersion, Status> {
        let ranges = self.config.tenant_ranges;
        let presence = self.presence();
        let decided = self.state.read(|catalog| {
            // Why there is no shard says more than that there is none.
            self.config.first_shards(catalog, &presence, self.clock.now_ms())?;
            assign_tenant(catalog, tenant, ranges)
        });
        match decided {
            Ok(None) => {}
            Ok(Some(command)) => {
                self.command(&command).await?;
            }
            Err(error) => return Err(status(ErrorKind::Unavailable, error)),
        }
        Ok(self.version())
    }

    /// Leases the next work item to a compactor; an empty answer where there is none.
    pub(crate) async fn lease_work(&self, node: NodeId) -> Result<LeaseWorkResponse, Status> {
        let now_ms = self.clock.now_ms();
        let now = self.clock.monotonic();
        let settings = self.config.compaction();
        let next = self.state.read(|catalog| {
            // A holder that is not heard of has lost its lease: whatever it still does is fenced off.
            let gone = |holder: &NodeId| *holder != node && !self.liveness.is_alive(*holder, now);
            let run_out: BTreeSet<u64> = catalog
                .leases()
                .values()
                .filter(|lease| {
                    lease.holder.as_ref().is_some_and(gone) || lease.holder == Some(node)
                })
                .map(|lease| lease.item.id)
                .collect();
            next_grant(catalog, &settings, &run_out, node, now_ms)
        });
        let Some(command) = next else { return Ok(LeaseWorkResponse::default()) };
        match self.command(&command).await? {
            CommandReply::Leased { item, epoch } => Ok(LeaseWorkResponse {
                work: wire::encode_work_item(&item).into(),
                fencing_epoch: epoch.0,
                lease_ms: self.config.member_timeout.as_millis() as u64,
            }),
            other => Err(unexpected(&other)),
        }
    }

    /// Seals a shard and opens its successors.
    pub(crate) async fn seal_shard(
        &self,
        shard: ShardId,
        split: bool,
    ) -> Result<(Vec<ShardId>, CatalogVersion), Status> {
        self.seal(SealRequest { shard: shard.0, recover: false }, split).await
    }

    /// Records that a shard's members have it sealed, and opens its successor. An open shard stays open.
    pub(crate) async fn recover_seal(
        &self,
        shard: ShardId,
    ) -> Result<(Vec<ShardId>, CatalogVersion), Status> {
        self.seal(SealRequest { shard: shard.0, recover: true }, false).await
    }

    async fn seal(
        &self,
        request: SealRequest,
        split: bool,
    ) -> Result<(Vec<ShardId>, CatalogVersion), Status> {
        let shard = ShardId(request.shard);
        let _one_at_a_time = self.sealing.lock().await;
        let info = self.state.read(|catalog| catalog.shards().get(&shard).map(|s| s.info.clone()));
        let Some(info) = info else {
            return Err(status(ErrorKind::NotFound, format!("no such shard: shard={shard}")));
        };
        if info.stage != ShardStage::Open {
            return Ok((info.successors.clone(), self.version()));
        }
        // A seal cannot be taken back: a shard that nobody could succeed must go on taking writes.
        let (presence, settings) = (self.presence(), self.config.placement());
        let plan = self.state.read(|c| plan_seal(c, &presence, &settings, shard, split));
        let mut plan = plan.map_err(|error| status(error.kind(), error))?;
        let answer = self.seal_at_members(request, &info.members).await?;
        if split {
            let medians = answer.medians.iter();
            let medians = medians
                .filter_map(|m| Some((TenantId::parse(&m.tenant).ok()?, SeriesKey(m.key))))
                .collect();
            plan = self.state.read(|catalog| plan.at_medians(catalog, medians));
        }
        self.succeed(&plan, vec![(shard, answer)]).await
    }

    /// Seals shards as a decider planned it.
    pub(crate) async fn seal_by_plan(&self, plan: &SealPlan) -> Result<(), Status> {
        let _one_at_a_time = self.sealing.lock().await;
        let mut answers = Vec::new();
        for shard in &plan.shards {
            let info = self.state.read(|c| c.shards().get(shard).map(|s| s.info.clone()));
            let Some(info) = info.filter(|info| info.stage == ShardStage::Open) else {
                return Ok(());
            };
            let request = SealRequest { shard: shard.0, recover: false };
            answers.push((*shard, self.seal_at_members(request, &info.members).await?));
        }
        self.succeed(plan, answers).await.map(|_| ())
    }

    /// Records the seals and opens the successors, in one command (INV-3).
    async fn succeed(
        &self,
        plan: &SealPlan,
        answers: Vec<(ShardId, SealResponse)>,
    ) -> Result<(Vec<ShardId>, CatalogVersion), Status> {
        let seals: Vec<SealResult> = answers
            .into_iter()
            .map(|(shard, answer)| SealResult {
                shard,
                term: answer.term,
                last_cut: Cut(answer.last_cut),
                answer: answer.answer,
            })
            .collect();
        // Ranges may have changed since: a tenant was assigned. Then the command is made again.
        for _ in 0..3 {
            let now_ms = self.clock.now_ms();
            let command = self.state.read(|catalog| plan.command(catalog, seals.clone(), now_ms));
            match self.propose(&command).await? {
                Ok(CommandReply::Shards(opened)) => return Ok((opened, self.version())),
                Ok(other) => return Err(unexpected(&other)),
                Err(refused) if refused.reason == Reason::BadRanges => {}
                Err(refused) => return Err(refused_status(&refused)),
            }
        }
        Err(status(ErrorKind::Unavailable, "ranges of the shard keep changing"))
    }

    /// Asks the shard's members to seal it, until its leader answers.
    async fn seal_at_members(
        &self,
        asked: SealRequest,
        members: &[NodeId],
    ) -> Result<SealResponse, Status> {
        let text = format!("shard has no member: shard={}", asked.shard);
        let mut last = status(ErrorKind::Unavailable, text);
        for member in members {
            let address =
                self.state.read(|c| c.nodes().get(member).map(|node| node.grpc_address.clone()));
            let Some(address) = address else { continue };
            let peer = self.channels.peer(&address, Some(*member))?;
            let mut request = Request::new(asked);
            request.set_timeout(std::time::Duration::from_secs(10));
            match IngesterClient::new(peer).seal(request).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(refused) => last = refused,
            }
        }
        Err(last)
    }
}

pub(crate) fn not_joined() -> Status {
    status(ErrorKind::Unavailable, "this controller has not joined its cluster yet")
}

//! `FragmentQuestion`: one part of a fragment, as members are asked for it.

use bytes::Bytes;
use pando_executor::{ExecutionStats, Sources, wire};
use pando_model::ErrorKind;
use pando_promql::{FragmentPlan, QueryError};
use pando_proto::v1::executor_client::ExecutorClient;
use pando_proto::v1::{self, FragmentRequest};
use pando_rpc::{MESSAGE_BYTES_MAX, Peer};
use tokio::sync::SemaphorePermit;
use tonic::{Request, Status};

use crate::fan_out::Question;
use crate::query_budget::{FragmentSeries, PartSeries, QueryBudget};

/// Asks for one part of a fragment.
pub(crate) struct FragmentQuestion<'a> {
    plan: Bytes,
    /// The same without functions and aggregations, for members that do not know a node of the plan.
    raw: Bytes,
    budget: &'a QueryBudget,
    series: PartSeries<'a>,
}

/// A fragment's batches, encoded: decoded ones take many times their space.
pub(crate) struct FragmentAnswer {
    pub(crate) batches: Vec<Bytes>,
    pub(crate) stats: ExecutionStats,
    /// Whether raw series were asked for in the end.
    pub(crate) raw: bool,
}

impl Question for FragmentQuestion<'_> {
    type Answer = FragmentAnswer;

    async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.budget.turns.acquire().await.ok()
    }

    async fn ask(&self, peer: Peer, sources: &Sources) -> Result<FragmentAnswer, Status> {
        match self.execute(peer.clone(), sources, &self.plan).await {
            Err(status) if pando_rpc::kind_of(&status) == ErrorKind::Unsupported => {
                let answer = self.execute(peer, sources, &self.raw).await?;
                Ok(FragmentAnswer { raw: true, ..answer })
            }
            answered => answered,
        }
    }
}

impl<'a> FragmentQuestion<'a> {
    /// Asks for `plan`, a part of the fragment whose series are counted in `series`.
    pub(crate) fn new(
        plan: &FragmentPlan,
        budget: &'a QueryBudget,
        series: &'a FragmentSeries,
    ) -> Self {
        FragmentQuestion {
            plan: plan.encode().into(),
            raw: plan.raw().encode().into(),
            budget,
            series: PartSeries::new(budget, series),
        }
    }

    async fn execute(
        &self,
        peer: Peer,
        sources: &Sources,
        plan: &Bytes,
    ) -> Result<FragmentAnswer, Status> {
        let mut client = ExecutorClient::new(peer)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let limits = self.budget.limits;
        let budget = v1::Budget {
            samples_max: limits.samples_max,
            bytes_max: limits.bytes_max,
            series_max: limits.series_max,
        };
        let request = FragmentRequest {
            sources: Some(wire::sources_to_proto(sources)),
            plan: plan.clone(),
            budget: Some(budget),
        };
        let mut stream = client.execute(Request::new(request)).await?.into_inner();
        let mut received = self.budget.receive();
        let mut batches = Vec::new();
        while let Some(message) = stream.message().await? {
            if !message.batch.is_empty() {
                received.add(message.batch.len() as u64).map_err(refused)?;
                batches.push(message.batch);
            }
            if let Some(stats) = message.stats {
                let stats = wire::stats_from_proto(&stats);
                self.series.add(stats.series).map_err(refused)?;
                received.keep();
                return Ok(FragmentAnswer { batches, stats, raw: false });
            }
        }
        // INV-6: the last message carries statistics; without it nobody knows what is missing.
        Err(Status::unavailable("answer of a fragment is cut short"))
    }
}

fn refused(error: QueryError) -> Status {
    pando_rpc::status(error.kind(), error)
}

//! `ExecutorService`: the gRPC side that ingesters and store gateways share.

use std::pin::Pin;

use futures::Stream;
use pando_promql::fragment::FragmentPlan;
use pando_promql::{Budget, CancelFlag};
use pando_proto::v1::executor_server::Executor as Service;
use pando_proto::v1::{FragmentBatch, FragmentRequest, LookupBatch, LookupRequest};
use pando_runtime::{MetricsRegistry, Tasks};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::error::ExecuteError;
use crate::executor::Executor;
use crate::metrics::{ExecutorMetrics, Running};
use crate::sources::Sources;
use crate::wire;

/// Batches that wait for a slow reader.
const QUEUE_MAX: usize = 2;

/// Serves fragments.
pub struct ExecutorService {
    executor: Executor,
    tasks: Tasks,
    metrics: ExecutorMetrics,
}

impl ExecutorService {
    /// Serves fragments with `executor`.
    pub fn new(executor: Executor, tasks: Tasks, metrics: &MetricsRegistry) -> Self {
        ExecutorService { executor, tasks, metrics: ExecutorMetrics::new(metrics) }
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Service for ExecutorService {
    type ExecuteStream = Answers<FragmentBatch>;

    async fn execute(
        &self,
        request: Request<FragmentRequest>,
    ) -> Result<Response<Self::ExecuteStream>, Status> {
        let request = request.into_inner();
        let sources = wire::sources_from_proto(request.sources).map_err(|e| e.status())?;
        let plan =
            FragmentPlan::decode(&request.plan).map_err(|e| ExecuteError::from(e).status())?;
        let budget = request.budget.map_or_else(Budget::default, |budget| Budget {
            samples_max: budget.samples_max,
            series_max: budget.series_max,
            bytes_max: budget.bytes_max,
        });
        let (answers_out, answers) = mpsc::channel(QUEUE_MAX);
        let (executor, running) = (self.executor.clone(), self.metrics.begin());
        self.tasks.spawn_until_stopped("fragment", async move {
            let cancel = CancelFlag::new();
            // When the caller goes away, this task ends and the engine is told.
            let _canceled = CancelOnDrop(cancel.clone());
            let execution = Execution { sources, plan, budget, cancel, running };
            let run = run(executor, execution, &answers_out);
            tokio::select! {
                () = run => {}
                () = answers_out.closed() => {}
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    type LookupStream = Answers<LookupBatch>;

    async fn lookup(
        &self,
        request: Request<LookupRequest>,
    ) -> Result<Response<Self::LookupStream>, Status> {
        let (sources, lookup) =
            wire::lookup_from_proto(request.into_inner()).map_err(|e| e.status())?;
        let found = self.executor.lookup(&sources, &lookup).await.map_err(|e| e.status())?;
        let batches = wire::found_to_proto(found).into_iter().map(Ok);
        Ok(Response::new(Box::pin(tokio_stream::iter(batches))))
    }
}

/// What is executed, and how.
struct Execution {
    sources: Sources,
    plan: FragmentPlan,
    budget: Budget,
    cancel: CancelFlag,
    running: Running,
}

async fn run(
    executor: Executor,
    execution: Execution,
    answers: &mpsc::Sender<Result<FragmentBatch, Status>>,
) {
    let Execution { sources, plan, budget, cancel, running } = execution;
    let (batches_out, batches) = mpsc::channel(QUEUE_MAX);
    let execute = async {
        let result = executor.execute(&sources, plan, budget, cancel, &batches_out).await;
        drop(batches_out);
        result
    };
    let forward = async {
        let mut batches = ReceiverStream::new(batches);
        while let Some(batch) = batches.next().await {
            let message = FragmentBatch { batch: batch.encode().into(), stats: None };
            if answers.send(Ok(message)).await.is_err() {
                return;
            }
        }
    };
    let (result, ()) = futures::future::join(execute, forward).await;
    running.ended(&result);
    let last = match result {
        // Statistics come last, and only with a whole answer: without them the answer is cut short (INV-6).
        Ok(stats) => Ok(FragmentBatch {
            batch: bytes::Bytes::new(),
            stats: Some(wire::stats_to_proto(&stats)),
        }),
        Err(error) => Err(error.status()),
    };
    let _ = answers.send(last).await;
}

struct CancelOnDrop(CancelFlag);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

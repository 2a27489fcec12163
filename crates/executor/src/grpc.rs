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

use crate::decoding::Decoding;
use crate::error::ExecuteError;
use crate::execution_stats::ExecutionStats;
use crate::executor::Executor;
use crate::metrics::ExecutorMetrics;
use crate::sources::Sources;
use crate::wire;

/// Batches that wait for a slow reader.
const QUEUE_MAX: usize = 2;

/// Serves fragments.
pub struct ExecutorService {
    executor: Executor,
    decoding: Decoding,
    tasks: Tasks,
    metrics: ExecutorMetrics,
}

impl ExecutorService {
    /// Serves fragments with `executor`.
    pub fn new(executor: Executor, tasks: Tasks, metrics: &MetricsRegistry) -> Self {
        let metrics = ExecutorMetrics::new(metrics);
        ExecutorService { executor, decoding: Decoding::new(), tasks, metrics }
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
        let running = self.metrics.begin("execute");
        let request = request.into_inner();
        let asked = match self.decoding.run(move || Asked::decode(request)).await {
            Ok(asked) => asked,
            Err(error) => return running.ended(Err(error)),
        };
        let (answers_out, answers) = mpsc::channel(QUEUE_MAX);
        let (executor, metrics) = (self.executor.clone(), self.metrics.clone());
        self.tasks.spawn_until_stopped("fragment", async move {
            let cancel = CancelFlag::new();
            // When the caller goes away, this task ends and the engine is told.
            let _canceled = CancelOnDrop(cancel.clone());
            let run = async {
                let result = run(&executor, asked, cancel, &answers_out).await;
                if let Ok(stats) = &result {
                    metrics.read(stats);
                }
                // Statistics come last, and only with a whole answer: without them the answer is cut short (INV-6).
                let last = running.ended(result).map(|stats| FragmentBatch {
                    batch: bytes::Bytes::new(),
                    stats: Some(wire::stats_to_proto(&stats)),
                });
                let _ = answers_out.send(last).await;
            };
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
        let running = self.metrics.begin("lookup");
        let found = async {
            let request = request.into_inner();
            let asked = self.decoding.run(move || wire::lookup_from_proto(request)).await;
            let (sources, lookup) = asked?;
            self.executor.lookup(&sources, &lookup).await
        };
        let found = running.ended(found.await)?;
        let batches = wire::found_to_proto(found).into_iter().map(Ok);
        Ok(Response::new(Box::pin(tokio_stream::iter(batches))))
    }
}

/// A fragment that is asked for.
struct Asked {
    sources: Sources,
    plan: FragmentPlan,
    budget: Budget,
}

impl Asked {
    fn decode(request: FragmentRequest) -> Result<Self, ExecuteError> {
        let sources = wire::sources_from_proto(request.sources)?;
        let plan = FragmentPlan::decode(&request.plan)?;
        let budget = request.budget.map_or_else(Budget::default, |budget| Budget {
            samples_max: budget.samples_max,
            series_max: budget.series_max,
            bytes_max: budget.bytes_max,
        });
        Ok(Asked { sources, plan, budget })
    }
}

/// Executes what is asked and sends its batches to `answers`.
async fn run(
    executor: &Executor,
    asked: Asked,
    cancel: CancelFlag,
    answers: &mpsc::Sender<Result<FragmentBatch, Status>>,
) -> Result<ExecutionStats, ExecuteError> {
    let Asked { sources, plan, budget } = asked;
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
    futures::future::join(execute, forward).await.0
}

struct CancelOnDrop(CancelFlag);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;
    use pando_model::NodeId;
    use pando_proto::v1;
    use pando_rpc::{Channels, Identity};
    use pando_runtime::SystemClock;

    use super::*;
    use crate::block_store::{BlockStore, BlockStoreConfig};
    use crate::live::NoLiveShards;

    fn service(registry: &MetricsRegistry) -> ExecutorService {
        let blocks = BlockStore::new(Arc::new(InMemory::new()), &BlockStoreConfig::default());
        let channels = Channels::new(Identity::new(NodeId(1)), None);
        let clock = SystemClock::shared();
        let executor = Executor::new(blocks, Arc::new(NoLiveShards), channels, clock);
        ExecutorService::new(executor, Tasks::new(), registry)
    }

    /// Patterns take a while to compile.
    #[test]
    fn no_socket_waits_for_a_request_to_be_read() {
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build();
        runtime.expect("a runtime").block_on(async {
            let service = service(&MetricsRegistry::new());
            let (begin, begun) = std::sync::mpsc::sync_channel::<()>(1);
            let busy = tokio::task::spawn_blocking(move || begun.recv());
            let mut executed = service.execute(Request::new(FragmentRequest::default()));
            let mut found = service.lookup(Request::new(LookupRequest::default()));
            for _ in 0..50 {
                assert!(futures::poll!(&mut executed).is_pending());
                assert!(futures::poll!(&mut found).is_pending());
                tokio::task::yield_now().await;
            }
            drop(begin);
            assert!(executed.await.is_err() && found.await.is_err());
            assert!(busy.await.expect("it ends").is_err());
        });
    }

    #[tokio::test]
    async fn calls_are_counted_by_how_they_end() {
        let registry = MetricsRegistry::new();
        let service = service(&registry);

        let nonsense = FragmentRequest::default();
        assert!(service.execute(Request::new(nonsense)).await.is_err());
        let lookup = LookupRequest {
            sources: Some(v1::Sources { tenant: "a".to_string(), ..Default::default() }),
            kind: v1::LookupKind::LabelNames as i32,
            ..LookupRequest::default()
        };
        let answers = service.lookup(Request::new(lookup)).await.expect("a stream");
        let answers: Vec<_> = answers.into_inner().collect().await;
        assert!(answers.iter().all(Result::is_ok));
        // As one that is dropped while it is under way.
        drop(service.metrics.begin("lookup"));

        let text = registry.encode().expect("text");
        for line in [
            r#"pando_executor_calls_total{call="execute",code="InvalidArgument"} 1"#,
            r#"pando_executor_calls_total{call="lookup",code="Ok"} 1"#,
            r#"pando_executor_calls_total{call="lookup",code="Cancelled"} 1"#,
            r#"pando_executor_calls_running{call="lookup"} 0"#,
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}

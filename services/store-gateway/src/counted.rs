//! `Counted`: the executor's service, with its calls counted.

use std::pin::Pin;

use futures::{Stream, StreamExt as _};
use pando_executor::ExecutorService;
use pando_proto::v1::executor_server::Executor as Service;
use pando_proto::v1::{FragmentBatch, FragmentRequest, LookupBatch, LookupRequest};
use tonic::{Request, Response, Status};

use crate::metrics::{GatewayMetrics, Running};

/// Counts the calls of an executor's service.
pub(crate) struct Counted {
    service: ExecutorService,
    metrics: GatewayMetrics,
}

impl Counted {
    pub(crate) fn new(service: ExecutorService, metrics: GatewayMetrics) -> Self {
        Counted { service, metrics }
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Service for Counted {
    type ExecuteStream = Answers<FragmentBatch>;

    async fn execute(
        &self,
        request: Request<FragmentRequest>,
    ) -> Result<Response<Self::ExecuteStream>, Status> {
        let running = self.metrics.begin("execute");
        let metrics = self.metrics.clone();
        let answers = self.service.execute(request).await;
        let (answers, running) = begun(answers, running)?;
        let answers = answers.inspect(move |batch| {
            if let Ok(FragmentBatch { stats: Some(stats), .. }) = batch {
                metrics.read(stats.series, stats.samples);
            }
        });
        Ok(Response::new(watched(Box::pin(answers), running)))
    }

    type LookupStream = Answers<LookupBatch>;

    async fn lookup(
        &self,
        request: Request<LookupRequest>,
    ) -> Result<Response<Self::LookupStream>, Status> {
        let running = self.metrics.begin("lookup");
        let answers = self.service.lookup(request).await;
        let (answers, running) = begun(answers, running)?;
        Ok(Response::new(watched(answers, running)))
    }
}

/// The stream of a call that was not refused.
fn begun<T>(
    answers: Result<Response<Answers<T>>, Status>,
    mut running: Running,
) -> Result<(Answers<T>, Running), Status> {
    match answers {
        Ok(answers) => Ok((answers.into_inner(), running)),
        Err(status) => {
            running.failed(&status);
            Err(status)
        }
    }
}

/// The stream, with its end told to `running`.
fn watched<T: Send + 'static>(answers: Answers<T>, running: Running) -> Answers<T> {
    Box::pin(futures::stream::unfold((answers, running), |(mut answers, mut running)| async move {
        match answers.next().await {
            Some(answer) => {
                if let Err(status) = &answer {
                    running.failed(status);
                }
                Some((answer, (answers, running)))
            }
            None => {
                running.done();
                None
            }
        }
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;
    use pando_executor::{BlockStore, BlockStoreConfig, Executor, NoLiveShards};
    use pando_model::NodeId;
    use pando_rpc::{Channels, Identity};
    use pando_runtime::{MetricsRegistry, SystemClock, Tasks};

    use super::*;

    #[tokio::test]
    async fn calls_are_counted_by_how_they_end() {
        let registry = MetricsRegistry::new();
        let blocks = BlockStore::new(Arc::new(InMemory::new()), &BlockStoreConfig::default());
        let channels = Channels::new(Identity::new(NodeId(1)), None);
        let clock = SystemClock::shared();
        let executor = Executor::new(blocks, Arc::new(NoLiveShards), channels, clock);
        let service = ExecutorService::new(executor, Tasks::new(), &registry);
        let counted = Counted::new(service, GatewayMetrics::new(&registry));

        let nonsense = FragmentRequest::default();
        assert!(counted.execute(Request::new(nonsense)).await.is_err());
        let lookup = LookupRequest {
            sources: Some(pando_proto::v1::Sources {
                tenant: "a".to_string(),
                ..Default::default()
            }),
            kind: pando_proto::v1::LookupKind::LabelNames as i32,
            ..LookupRequest::default()
        };
        let answers = counted.lookup(Request::new(lookup.clone())).await.expect("a stream");
        let answers: Vec<_> = answers.into_inner().collect().await;
        assert!(answers.iter().all(Result::is_ok));
        drop(counted.lookup(Request::new(lookup)).await.expect("a stream"));

        let text = registry.encode().expect("text");
        for line in [
            r#"pando_store_gateway_calls_total{call="execute",code="InvalidArgument"} 1"#,
            r#"pando_store_gateway_calls_total{call="lookup",code="Ok"} 1"#,
            r#"pando_store_gateway_calls_total{call="lookup",code="Cancelled"} 1"#,
            r#"pando_store_gateway_calls_running{call="lookup"} 0"#,
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}

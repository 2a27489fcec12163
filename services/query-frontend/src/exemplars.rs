//! Exemplars, from the live generations of a tenant's shards. Blocks hold exemplars too, but no
//! executor sends them.

use std::collections::BTreeMap;

use pando_executor::{LiveSource, Sources, wire};
use pando_model::{ErrorKind, Exemplar, KeyRange, Labels, Matcher, TenantId, TimeRange};
use pando_proto::v1::FetchRequest;
use pando_proto::v1::live_client::LiveClient;
use pando_rpc::{MESSAGE_BYTES_MAX, Peer};
use tonic::Status;

use crate::error::FrontendError;
use crate::fan_out::{Question, Scope};
use crate::frontend::Frontend;

/// Exemplars of one answer; Prometheus keeps as many in all by default.
const EXEMPLARS_MAX: usize = 100_000;

/// Exemplars by series, in the order of their times.
pub(crate) type ExemplarsBySeries = BTreeMap<Labels, Vec<Exemplar>>;

impl Frontend {
    /// The exemplars of `tenant`'s live series that pass all of `matchers`, with times in `time`.
    pub(crate) async fn exemplars(
        &self,
        tenant: &TenantId,
        matchers: &[Matcher],
        time: TimeRange,
    ) -> Result<ExemplarsBySeries, FrontendError> {
        let work = async {
            let Some(view) = self.pin_for(tenant).await? else { return Ok(Default::default()) };
            let question = ExemplarQuestion { frontend: self, matchers, time };
            let scope = Scope { tenant, time, partial: false };
            let mut all = ExemplarsBySeries::new();
            for part in self.fan_out(&view, scope, &question).await?.answers {
                for (labels, exemplars) in part.answer {
                    all.entry(labels).or_default().extend(exemplars);
                }
            }
            let count: usize = all.values().map(Vec::len).sum();
            if count > EXEMPLARS_MAX {
                return Err(FrontendError::TooMany { what: "exemplars", limit: EXEMPLARS_MAX });
            }
            for exemplars in all.values_mut() {
                exemplars.sort_by_key(|exemplar| exemplar.timestamp_ms);
                exemplars.dedup();
            }
            Ok(all)
        };
        self.within(self.config().timeout, work).await
    }
}

/// Asks the members of a piece's live sources, whoever would execute the piece.
struct ExemplarQuestion<'a> {
    frontend: &'a Frontend,
    matchers: &'a [Matcher],
    time: TimeRange,
}

impl Question for ExemplarQuestion<'_> {
    type Answer = ExemplarsBySeries;

    async fn ask(&self, _: Peer, sources: &Sources) -> Result<ExemplarsBySeries, Status> {
        let mut found = ExemplarsBySeries::new();
        for source in &sources.live {
            let none = format!("no member of the shard is known: shard={}", source.shard);
            let mut answer = Err(Status::unavailable(none));
            for (node, address) in &source.members {
                answer = match self.frontend.channels().peer(address, Some(*node)) {
                    Ok(peer) => self.fetch(peer, sources, source).await,
                    Err(status) => Err(status),
                };
                match &answer {
                    Err(status) if pando_rpc::kind_of(status) != ErrorKind::Stale => {}
                    _ => break,
                }
            }
            for (labels, exemplars) in answer? {
                found.entry(labels).or_default().extend(exemplars);
            }
        }
        Ok(found)
    }
}

impl ExemplarQuestion<'_> {
    async fn fetch(
        &self,
        peer: Peer,
        sources: &Sources,
        source: &LiveSource,
    ) -> Result<ExemplarsBySeries, Status> {
        let KeyRange { first, last } = sources.keys;
        let request = FetchRequest {
            tenant: sources.tenant.to_string(),
            first_key: first.0,
            last_key: last.0,
            shard: source.shard.0,
            first_cut: source.first_cut.0,
            matchers: wire::matchers_to_proto(self.matchers),
            min_ms: self.time.min_ms,
            max_ms: self.time.max_ms,
            catalog_version: sources.version.0,
            sealed: source.sealed,
        };
        let mut client = LiveClient::new(peer).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let mut stream = client.fetch(request).await?.into_inner();
        let mut found = ExemplarsBySeries::new();
        while let Some(batch) = stream.message().await? {
            let series = wire::series_from_proto(batch);
            for one in series.map_err(|error| pando_rpc::status(ErrorKind::Internal, error))? {
                let inside = |e: &Exemplar| self.time.contains(e.timestamp_ms);
                let exemplars: Vec<Exemplar> = one.exemplars.into_iter().filter(inside).collect();
                if !exemplars.is_empty() {
                    found.entry(one.labels).or_default().extend(exemplars);
                }
            }
        }
        Ok(found)
    }
}

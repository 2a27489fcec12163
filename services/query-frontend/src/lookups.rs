//! Lookups: names, values and series, from every source that may have them.

use std::time::Duration;

use pando_executor::{Found, Lookup, Sources, wire};
use pando_model::{ErrorKind, TenantId};
use pando_proto::v1::executor_client::ExecutorClient;
use pando_rpc::{MESSAGE_BYTES_MAX, Peer};
use tonic::Status;

use crate::error::FrontendError;
use crate::fan_out::{Question, Scope};
use crate::frontend::Frontend;

/// What was found.
#[derive(Clone, Debug, Default)]
pub(crate) struct LookupAnswer {
    /// The first of them, as many as were asked for.
    pub(crate) found: Found,
    /// Whether there are more.
    pub(crate) truncated: bool,
    /// What is missing.
    pub(crate) missing: Vec<String>,
}

impl Frontend {
    /// Looks up names, values or series of `tenant`; at most `lookup.limit` of them.
    pub(crate) async fn look_up(
        &self,
        tenant: &TenantId,
        mut lookup: Lookup,
        partial: bool,
    ) -> Result<LookupAnswer, FrontendError> {
        let asked = lookup.limit;
        let most = self.config().lookup_results_max;
        let limit = if asked == 0 { most } else { asked.min(most) };
        // One more shows whether there are more.
        lookup.limit = limit.saturating_add(1);
        let work = self.ask_all(tenant, lookup, partial);
        let (mut found, missing) = self.within(self.config().timeout, work).await?;
        let many = found.texts.len().max(found.series.len()) > limit;
        if many && limit != asked {
            return Err(FrontendError::TooMany { what: "lookup", limit });
        }
        if many {
            found.truncate(limit);
        }
        Ok(LookupAnswer { found, truncated: many, missing })
    }

    /// Everything that `lookup` finds, up to its own limit, and what is missing.
    pub(crate) async fn ask_all(
        &self,
        tenant: &TenantId,
        lookup: Lookup,
        partial: bool,
    ) -> Result<(Found, Vec<String>), FrontendError> {
        if lookup.time.min_ms >= lookup.time.max_ms {
            // Nothing is at any time of it, whatever is known of rows around.
            return Ok(Default::default());
        }
        let Some(view) = self.pin_for(tenant).await? else { return Ok(Default::default()) };
        let scope = Scope { tenant, time: lookup.rows_time(), partial };
        let limit = lookup.limit();
        let answers = self.fan_out(&view, scope, &LookupQuestion { lookup }).await?;
        let mut found = Found::default();
        for part in answers.answers {
            found.merge(part.answer);
            found.truncate(limit);
        }
        Ok((found, answers.missing))
    }

    /// `work`, unless it takes longer than `timeout`.
    pub(crate) async fn within<T>(
        &self,
        timeout: Duration,
        work: impl Future<Output = Result<T, FrontendError>>,
    ) -> Result<T, FrontendError> {
        let late = |_| FrontendError::Timeout { stage: "expression evaluation", timeout };
        tokio::time::timeout(timeout, work).await.map_err(late)?
    }
}

struct LookupQuestion {
    lookup: Lookup,
}

impl Question for LookupQuestion {
    type Answer = Found;

    async fn ask(&self, peer: Peer, sources: &Sources) -> Result<Found, Status> {
        let mut client = ExecutorClient::new(peer)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let request = wire::lookup_to_proto(sources, &self.lookup);
        let mut stream = client.lookup(request).await?.into_inner();
        let mut found = Found::default();
        while let Some(batch) = stream.message().await? {
            let batch = wire::found_from_proto(batch);
            found.merge(batch.map_err(|error| pando_rpc::status(ErrorKind::Internal, error))?);
        }
        Ok(found)
    }
}

//! Exemplars, from blocks and live generations alike.

use std::collections::BTreeMap;

use pando_executor::{Lookup, LookupKind};
use pando_model::{Exemplar, Labels, Matcher, TenantId, TimeRange};

use crate::error::FrontendError;
use crate::frontend::Frontend;

/// Exemplars of one answer; Prometheus keeps as many in all by default.
const EXEMPLARS_MAX: usize = 100_000;

/// Exemplars by series, in the order of their times.
pub(crate) type ExemplarsBySeries = BTreeMap<Labels, Vec<Exemplar>>;

impl Frontend {
    /// The exemplars of `tenant`'s series that pass all matchers of one of `selectors`, with times in `time`.
    pub(crate) async fn exemplars(
        &self,
        tenant: &TenantId,
        selectors: Vec<Vec<Matcher>>,
        time: TimeRange,
    ) -> Result<ExemplarsBySeries, FrontendError> {
        let lookup = Lookup {
            kind: LookupKind::Exemplars,
            label: String::new(),
            matchers: selectors,
            time,
            // One more shows that there are too many.
            limit: EXEMPLARS_MAX + 1,
        };
        let work = self.ask_all(tenant, lookup, false);
        let (found, _) = self.within(self.config().timeout, work).await?;
        let count: usize = found.exemplars.values().map(Vec::len).sum();
        if count > EXEMPLARS_MAX {
            return Err(FrontendError::TooMany { what: "exemplars", limit: EXEMPLARS_MAX });
        }
        Ok(found.exemplars)
    }
}

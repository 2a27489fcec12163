//! Explanations: what a query would ask of whom, or, where it is run, what it has asked.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use pando_catalog::{CatalogView, Role};
use pando_model::{CatalogVersion, NodeId, TenantId};
use pando_promql::{FragmentId, FragmentSpec, Query, QueryParams};

use crate::error::FrontendError;
use crate::fan_out::Scope;
use crate::frontend::Frontend;
use crate::planner::{PlacedFragment, Placement};
use crate::query::{Answer, ExecutedFragment, FragmentRun, QueryOptions};

/// What there is to say of a query.
#[derive(Debug)]
pub struct Explanation {
    /// The query.
    pub query: Arc<Query>,
    /// Its fragments, each over one range of keys and some of its steps, in the order of their numbers, of steps and of
    /// keys.
    pub fragments: Vec<ExplainedFragment>,
    /// What the members among them do.
    pub roles: BTreeMap<NodeId, BTreeSet<Role>>,
    /// The answer, where the query was run; its own list of fragments is empty.
    pub answer: Option<Answer>,
}

/// One fragment over one range of keys and some of its steps.
#[derive(Debug)]
pub struct ExplainedFragment {
    /// Its number in the query.
    pub id: FragmentId,
    /// Which of its steps.
    pub steps: Range<usize>,
    /// Its sources, and who can execute it.
    pub placed: PlacedFragment,
    /// Who has executed it; who would be asked first, where it was not run.
    pub member: Placement,
    /// How it went, where it was run.
    pub run: Option<FragmentRun>,
}

impl Frontend {
    /// Explains the query `text`. With `analyze` it is run as any other query and the fragments are those that have
    /// answered; without, the catalog is pinned and no member is asked. Both wait for a turn as queries do.
    ///
    /// # Errors
    /// As [`Frontend::query_instant`].
    pub async fn explain(
        &self,
        tenant: &TenantId,
        text: &str,
        params: QueryParams,
        options: QueryOptions,
        analyze: bool,
    ) -> Result<Explanation, FrontendError> {
        if !analyze {
            let work = self.place(tenant, (text, params), options);
            return self.within(self.timeout(options), work).await;
        }
        let options = QueryOptions { keep_executed: true, ..options };
        let mut answer = self.query(tenant, text, params, options).await?;
        let executed = std::mem::take(&mut answer.executed).into_iter();
        let fragments: Vec<ExplainedFragment> = executed
            .map(|ExecutedFragment { id, steps, placed, member, run }| ExplainedFragment {
                id,
                steps,
                placed,
                member,
                run: Some(run),
            })
            .collect();
        // For names only: the answer stands without them.
        let view = match fragments.is_empty() {
            true => None,
            false => self.pin(CatalogVersion(0)).await.ok(),
        };
        let roles = view.map(|view| roles(&view, &fragments)).unwrap_or_default();
        let query = answer.query.clone();
        Ok(Explanation { query, fragments, roles, answer: Some(answer) })
    }

    /// Where the fragments of the query `text` would be executed.
    async fn place(
        &self,
        tenant: &TenantId,
        (text, params): (&str, QueryParams),
        options: QueryOptions,
    ) -> Result<Explanation, FrontendError> {
        let _turn = self.gate().enter().await;
        let query = self.parsed(text, params, options).await?;
        let view = match query.fragments().is_empty() {
            true => None,
            false => self.pin_for(tenant).await?,
        };
        let mut fragments = Vec::new();
        if let Some(view) = &view {
            let of = |spec: &FragmentSpec| {
                let id = spec.id;
                self.parts(view, tenant, spec).into_iter().map(move |part| (id, part))
            };
            for (id, part) in query.fragments().iter().flat_map(of) {
                let partial = options.partial_response;
                let scope = Scope { tenant, time: part.time, partial };
                for placed in self.plan(view, scope, pando_model::KeyRange::ALL)? {
                    let first = self.in_order(&placed).first().map(|&member| member.clone());
                    fragments.extend(first.map(|member| ExplainedFragment {
                        id,
                        steps: part.steps.clone(),
                        placed,
                        member,
                        run: None,
                    }));
                }
            }
        }
        let roles = view.map(|view| roles(&view, &fragments)).unwrap_or_default();
        Ok(Explanation { query, fragments, roles, answer: None })
    }
}

fn roles(view: &CatalogView, fragments: &[ExplainedFragment]) -> BTreeMap<NodeId, BTreeSet<Role>> {
    let known = |fragment: &ExplainedFragment| {
        let node = view.routing.node(fragment.member.node)?;
        Some((node.id, node.roles.clone()))
    };
    fragments.iter().filter_map(known).collect()
}

#[cfg(test)]
mod tests;

//! Commands about tenants' limits and retention.

use std::sync::Arc;

use pando_model::TenantId;

use super::{Applied, within};
use crate::catalog::Catalog;
use crate::command::CommandReply;
use crate::error::CommandRefused;
use crate::limits::TENANTS_MAX;
use crate::tenant::{Tenant, TenantLimits};

impl Catalog {
    pub(crate) fn set_tenant_limits(
        &mut self,
        tenant: Option<&TenantId>,
        limits: Option<TenantLimits>,
    ) -> Applied {
        match tenant {
            Some(tenant) => self.change_tenant(tenant, |state| state.limits = limits)?,
            None => {
                self.default_limits = limits.unwrap_or_default();
                self.routing_changes.open.header = true;
            }
        }
        Ok(CommandReply::Done)
    }

    pub(crate) fn set_retention(
        &mut self,
        tenant: Option<&TenantId>,
        retention_ms: Option<u64>,
    ) -> Applied {
        match tenant {
            Some(tenant) => {
                self.change_tenant(tenant, |state| state.retention_ms = retention_ms)?
            }
            None => {
                self.default_retention_ms = retention_ms.unwrap_or(0);
                self.routing_changes.open.header = true;
            }
        }
        Ok(CommandReply::Done)
    }

    fn change_tenant(
        &mut self,
        tenant: &TenantId,
        change: impl FnOnce(&mut Tenant),
    ) -> Result<(), CommandRefused> {
        if !self.tenants.contains_key(tenant) {
            within("tenants", self.tenants.len() + 1, TENANTS_MAX)?;
        }
        let state = self.tenants.entry(tenant.clone());
        let state = state.or_insert_with(|| Arc::new(Tenant::new(tenant.clone())));
        change(Arc::make_mut(state));
        self.routing_changes.open.tenants.insert(tenant.clone());
        Ok(())
    }
}

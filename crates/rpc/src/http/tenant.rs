//! `Tenant`: the tenant of an HTTP request, decoded once.

use axum::extract::FromRequestParts;
use http::request::Parts;
use pando_model::{ErrorKind, TenantId};

use super::envelope::ApiError;

/// The header that names a tenant.
pub const TENANT_HEADER: &str = "x-scope-orgid";

/// The checked tenant of a request; `default` where the header is absent.
#[derive(Clone, Debug)]
pub struct Tenant(pub TenantId);

impl<S: Sync> FromRequestParts<S> for Tenant {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let mut values = parts.headers.get_all(TENANT_HEADER).iter();
        let refused = |why: String| ApiError::new(ErrorKind::Invalid, why);
        let Some(value) = values.next() else {
            return Ok(Tenant(TenantId::default_tenant()));
        };
        if values.next().is_some() {
            return Err(refused("header X-Scope-OrgID is given more than once".to_string()));
        }
        let name = value.to_str().unwrap_or("\u{fffd}");
        TenantId::parse(name).map(Tenant).map_err(|e| refused(e.to_string()))
    }
}

//! `TenantId`: the unit of isolation (INV-9), checked once where a request enters.

use std::fmt;
use std::sync::Arc;

/// The longest tenant name, bytes.
pub const TENANT_BYTES_MAX: usize = 64;

/// A tenant's name: `[A-Za-z0-9_-]{1,64}`. Whoever holds one holds a checked one.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(Arc<str>);

/// A name that is not `[A-Za-z0-9_-]{1,64}`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("tenant name is not [A-Za-z0-9_-]{{1,64}}: name={name:?}")]
pub struct BadTenant {
    /// The offending name, cut after 80 characters.
    pub name: String,
}

impl TenantId {
    /// The tenant of requests that name none: `default`.
    pub fn default_tenant() -> Self {
        TenantId(Arc::from("default"))
    }

    /// Checks `name`.
    pub fn parse(name: &str) -> Result<Self, BadTenant> {
        let ok = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if name.is_empty() || name.len() > TENANT_BYTES_MAX || !name.bytes().all(ok) {
            return Err(BadTenant { name: name.chars().take(80).collect() });
        }
        Ok(TenantId(Arc::from(name)))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_the_alphabet_and_nothing_else() {
        assert!(TenantId::parse("team-1_A").is_ok());
        for bad in ["", "../etc", "a/b", "a b", "é", "%2e%2e", &"x".repeat(65)] {
            assert!(TenantId::parse(bad).is_err(), "{bad}");
        }
    }
}

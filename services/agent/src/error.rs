//! Why an agent does not start.

use pando_model::ErrorKind;
use pando_shipper::BufferError;

/// Why an agent does not start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Its settings make no sense.
    #[error("agent settings are wrong: {0}")]
    Settings(String),
    /// Its disk buffer cannot be opened.
    #[error(transparent)]
    Buffer(#[from] BufferError),
}

impl AgentError {
    /// What the error means.
    pub fn kind(&self) -> ErrorKind {
        match self {
            AgentError::Settings(_) => ErrorKind::Invalid,
            AgentError::Buffer(error) => error.kind(),
        }
    }
}

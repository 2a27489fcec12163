//! `CodecError`: why bytes could not be decoded.
//!
//! It does not know where the bytes came from: callers add the object, shard or peer.

use pando_model::ErrorKind;
use thiserror::Error;

/// Why bytes could not be decoded. `what` names the encoding, such as `axis` or `write block`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum CodecError {
    /// The bytes end inside a field.
    #[error("{what} is cut short: at={at} needed={needed} left={left}")]
    Truncated {
        /// The encoding.
        what: &'static str,
        /// Byte offset of the field.
        at: usize,
        /// Bytes that the field needs.
        needed: usize,
        /// Bytes that are left.
        left: usize,
    },
    /// A version that this process does not know.
    #[error("{what} has an unknown version: found={found} known={known}")]
    Version {
        /// The encoding.
        what: &'static str,
        /// The version in the bytes.
        found: u8,
        /// The newest version that is known here.
        known: u8,
    },
    /// A count or size is above its limit; refused before anything is allocated.
    #[error("{what} exceeds a limit: {limit} found={found} max={max}")]
    Limit {
        /// The encoding.
        what: &'static str,
        /// The name of the limit.
        limit: &'static str,
        /// What the bytes ask for.
        found: u64,
        /// What is allowed.
        max: u64,
    },
    /// The bytes contradict themselves or the format.
    #[error("{what} is malformed: at={at} reason=\"{reason}\"")]
    Malformed {
        /// The encoding.
        what: &'static str,
        /// Byte offset where it shows.
        at: usize,
        /// What is wrong there.
        reason: &'static str,
    },
}

impl CodecError {
    /// What the error means to a caller.
    pub fn kind(&self) -> ErrorKind {
        match self {
            CodecError::Truncated { .. } | CodecError::Malformed { .. } => ErrorKind::Corrupt,
            CodecError::Version { .. } => ErrorKind::Unsupported,
            CodecError::Limit { .. } => ErrorKind::LimitExceeded,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_thing_the_limit_and_the_place() {
        let limit = CodecError::Limit { what: "axis", limit: "samples", found: 9, max: 8 };
        assert_eq!(limit.to_string(), "axis exceeds a limit: samples found=9 max=8");
        assert_eq!(limit.kind(), ErrorKind::LimitExceeded);
        let version = CodecError::Version { what: "axis", found: 7, known: 1 };
        assert_eq!(version.kind(), ErrorKind::Unsupported);
        let cut = CodecError::Truncated { what: "axis", at: 3, needed: 8, left: 1 };
        assert_eq!(cut.to_string(), "axis is cut short: at=3 needed=8 left=1");
        assert_eq!(cut.kind(), ErrorKind::Corrupt);
    }
}

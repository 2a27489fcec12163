//! `ErrorKind`: what an error means to a caller. ONE table maps it to every protocol.

/// What an error means to a caller. Every leaf error of every crate knows its kind.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ErrorKind {
    /// The request itself is wrong and will be as wrong next time.
    Invalid,
    /// The expression cannot be executed (PromQL's `execution`).
    Execution,
    /// The thing asked for does not exist.
    NotFound,
    /// A limit would be exceeded; the message names it.
    LimitExceeded,
    /// A tenant's own rate limit; the only kind that is HTTP 429.
    RateLimited,
    /// Time heals it: no leader, full disk, memory, a peer that is down.
    Unavailable,
    /// The deadline passed.
    Timeout,
    /// The caller went away.
    Canceled,
    /// Stored bytes are not what was written.
    Corrupt,
    /// The caller's view is too old; the message says which version is needed.
    Stale,
    /// A version that this process does not know.
    Unsupported,
    /// The caller may not do this: another cluster's id, a switched-off endpoint.
    Forbidden,
    /// Our own fault.
    Internal,
}

/// One row of the table: how a kind shows in each protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Surface {
    /// gRPC status code, as its number.
    pub grpc: i32,
    /// HTTP status.
    pub http: u16,
    /// Prometheus' `errorType`.
    pub error_type: &'static str,
    /// Whether the same request may succeed later.
    pub retry: bool,
}

impl ErrorKind {
    /// Every kind, in the order of the table.
    pub const ALL: [ErrorKind; 13] = [
        ErrorKind::Invalid,
        ErrorKind::Execution,
        ErrorKind::NotFound,
        ErrorKind::LimitExceeded,
        ErrorKind::RateLimited,
        ErrorKind::Unavailable,
        ErrorKind::Timeout,
        ErrorKind::Canceled,
        ErrorKind::Corrupt,
        ErrorKind::Stale,
        ErrorKind::Unsupported,
        ErrorKind::Forbidden,
        ErrorKind::Internal,
    ];

    /// The row of the table.
    pub fn surface(self) -> Surface {
        let row = |grpc, http, error_type, retry| Surface { grpc, http, error_type, retry };
        match self {
            ErrorKind::Invalid => row(3, 400, "bad_data", false),
            ErrorKind::Execution => row(9, 422, "execution", false),
            ErrorKind::NotFound => row(5, 404, "not_found", false),
            ErrorKind::LimitExceeded => row(11, 422, "execution", false),
            ErrorKind::RateLimited => row(8, 429, "unavailable", true),
            ErrorKind::Unavailable => row(14, 503, "unavailable", true),
            ErrorKind::Timeout => row(4, 503, "timeout", true),
            ErrorKind::Canceled => row(1, 499, "canceled", false),
            ErrorKind::Corrupt => row(15, 500, "internal", false),
            ErrorKind::Stale => row(10, 503, "unavailable", true),
            ErrorKind::Unsupported => row(12, 400, "bad_data", false),
            ErrorKind::Forbidden => row(7, 403, "bad_data", false),
            ErrorKind::Internal => row(13, 500, "internal", false),
        }
    }

    /// The kind that a gRPC status code stands for; unknown codes are `Internal`.
    pub fn from_grpc(code: i32) -> ErrorKind {
        Self::ALL.into_iter().find(|k| k.surface().grpc == code).unwrap_or(ErrorKind::Internal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_codes_are_a_bijection_so_that_a_kind_survives_the_wire() {
        for kind in ErrorKind::ALL {
            assert_eq!(ErrorKind::from_grpc(kind.surface().grpc), kind);
        }
    }
}

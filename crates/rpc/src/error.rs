//! Error kinds on the wire: a kind is a gRPC status code and back.

use pando_model::ErrorKind;
use tonic::{Code, Status};

/// The longest message that travels in a status, bytes: headers have limits.
const MESSAGE_BYTES_MAX: usize = 4096;

/// The status for an error of `kind`.
pub fn status(kind: ErrorKind, message: impl std::fmt::Display) -> Status {
    let mut text = message.to_string();
    if text.len() > MESSAGE_BYTES_MAX {
        let cut = (0..=MESSAGE_BYTES_MAX).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
        text.truncate(cut);
    }
    Status::new(Code::from_i32(kind.surface().grpc), text)
}

/// The kind that a peer's status stands for. A broken connection (tonic's `Unknown` and transport errors) is
/// `Unavailable`, and so is what says nothing: our own always do, and a process that is about to start or to end
/// does not know a service yet, or any more.
pub fn kind_of(status: &Status) -> ErrorKind {
    match status.code() {
        Code::Unknown | Code::Ok => ErrorKind::Unavailable,
        _ if status.message().is_empty() => ErrorKind::Unavailable,
        code => ErrorKind::from_grpc(code as i32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_survives_the_wire_and_what_says_nothing_is_no_verdict() {
        for kind in ErrorKind::ALL {
            assert_eq!(kind_of(&status(kind, "why")), kind);
        }
        // A server that does not have the service yet.
        assert_eq!(kind_of(&Status::new(Code::Unimplemented, "")), ErrorKind::Unavailable);
        assert_eq!(kind_of(&Status::new(Code::Unknown, "transport error")), ErrorKind::Unavailable);
    }
}

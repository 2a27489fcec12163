//! `ByteGate`: a limit on bytes in flight. Waits first, then sheds with an error that names the limit.

use std::sync::Arc;
use std::time::Duration;

use pando_model::ErrorKind;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes are counted in units of 1 KiB, so that a gate of many GiB fits a semaphore.
const UNIT_BYTES: usize = 1024;

/// A named limit on bytes in flight.
#[derive(Clone, Debug)]
pub struct ByteGate {
    name: &'static str,
    units: usize,
    semaphore: Arc<Semaphore>,
    wait: Duration,
}

/// What passed the gate; given back when dropped.
#[derive(Debug)]
pub struct Held(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

/// The gate stayed full.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("too many bytes in flight: limit={name} bytes_max={bytes_max} bytes={bytes}")]
pub struct GateError {
    /// The limit.
    pub name: &'static str,
    /// Its size.
    pub bytes_max: usize,
    /// What was asked for.
    pub bytes: usize,
}

impl GateError {
    /// Time heals it, unless the request alone is larger than the limit.
    pub fn kind(&self) -> ErrorKind {
        if self.bytes > self.bytes_max { ErrorKind::LimitExceeded } else { ErrorKind::Unavailable }
    }
}

impl ByteGate {
    /// A gate for `bytes_max` bytes; callers wait at most `wait`.
    pub fn new(name: &'static str, bytes_max: usize, wait: Duration) -> Self {
        let units = bytes_max.div_ceil(UNIT_BYTES).clamp(1, Semaphore::MAX_PERMITS);
        ByteGate { name, units, semaphore: Arc::new(Semaphore::new(units)), wait }
    }

    /// Waits until `bytes` fit.
    pub async fn acquire(&self, bytes: usize) -> Result<Held, GateError> {
        let refused = || GateError { name: self.name, bytes_max: self.units * UNIT_BYTES, bytes };
        let units = bytes.div_ceil(UNIT_BYTES).max(1);
        let Some(units) = u32::try_from(units).ok().filter(|&u| u as usize <= self.units) else {
            return Err(refused());
        };
        let permit = self.semaphore.clone().acquire_many_owned(units);
        match tokio::time::timeout(self.wait, permit).await {
            Ok(Ok(permit)) => Ok(Held(permit)),
            Ok(Err(_)) | Err(_) => Err(refused()),
        }
    }

    /// Bytes in flight now.
    pub fn in_flight_bytes(&self) -> usize {
        (self.units - self.semaphore.available_permits().min(self.units)) * UNIT_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sheds_when_full_and_opens_again() {
        let gate = ByteGate::new("test", 10 * UNIT_BYTES, Duration::ZERO);
        let held = gate.acquire(10 * UNIT_BYTES).await.expect("empty");
        assert_eq!(gate.acquire(1).await.expect_err("full").kind(), ErrorKind::Unavailable);
        drop(held);
        assert!(gate.acquire(1).await.is_ok());
        let too_much = gate.acquire(11 * UNIT_BYTES).await.expect_err("never fits");
        assert_eq!(too_much.kind(), ErrorKind::LimitExceeded);
    }
}

//! `ReceiverConfig`: how much a receiver takes at once.

use std::time::Duration;

use pando_exposition::remote_write::Limits;

/// How much a receiver takes at once.
#[derive(Clone, Debug)]
pub struct ReceiverConfig {
    /// Bytes of one request as sent. Default: 32 MiB, since no request may be larger when unpacked.
    pub body_bytes_max: usize,
    /// What one request may take when it is unpacked. Default: 32 MiB, 4 Mi items.
    pub decoded: Limits,
    /// Bytes of all requests as sent, while they are read and shipped. Default: 256 MiB.
    pub bodies_in_flight_bytes_max: usize,
    /// Memory for all requests that are unpacked, bytes. Default: 1 GiB.
    pub decoded_in_flight_bytes_max: usize,
    /// How long a request waits for its place before it is told to come again. Default: 2 s.
    pub gate_wait: Duration,
    /// How long a sender may take to send a body: it holds its place meanwhile. Default: 30 s, the
    /// time after which Prometheus' senders give up.
    pub body_timeout: Duration,
}

impl Default for ReceiverConfig {
    fn default() -> Self {
        ReceiverConfig {
            body_bytes_max: 32 << 20,
            decoded: Limits::default(),
            bodies_in_flight_bytes_max: 256 << 20,
            decoded_in_flight_bytes_max: 1 << 30,
            gate_wait: Duration::from_secs(2),
            body_timeout: Duration::from_secs(30),
        }
    }
}

impl ReceiverConfig {
    /// All faults of the configuration.
    pub fn validate(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let (body, bodies) = (self.body_bytes_max, self.bodies_in_flight_bytes_max);
        if body == 0 || body > bodies {
            faults.push(format!(
                "body_bytes_max must be above 0 and fit bodies_in_flight_bytes_max: \
                 body_bytes_max={body} bodies_in_flight_bytes_max={bodies}"
            ));
        }
        let (decoded, all) = (self.decoded.decoded_bytes_max, self.decoded_in_flight_bytes_max);
        if decoded == 0 || decoded > all {
            faults.push(format!(
                "decoded_bytes_max must be above 0 and fit decoded_in_flight_bytes_max: \
                 decoded_bytes_max={decoded} decoded_in_flight_bytes_max={all}"
            ));
        }
        if self.body_timeout.is_zero() {
            faults.push("body_timeout must be above 0".to_string());
        }
        faults
    }
}

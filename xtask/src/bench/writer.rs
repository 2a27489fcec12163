//! `Writer`: a remote write 1.0 sender that waits for each acknowledgement.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};
use pando_exposition::remote_write::{FloatSample, SeriesToWrite, encode_v1};
use pando_model::Labels;

use super::http::Client;

/// Tries of one request that the server refuses for now, and the pause between two: a minute.
const TRIES_MAX: u32 = 300;
const PAUSE: Duration = Duration::from_millis(200);
const HEADERS: [(&str, &str); 3] = [
    ("Content-Type", "application/x-protobuf"),
    ("Content-Encoding", "snappy"),
    ("X-Prometheus-Remote-Write-Version", "0.1.0"),
];

/// Sends to one server, one request after the other.
pub(crate) struct Writer {
    client: Client,
    /// Samples that were acknowledged.
    pub(crate) samples: u64,
}

impl Writer {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Writer { client: Client::new(address), samples: 0 }
    }

    /// Sends one sample of each series; returns when they are acknowledged.
    pub(crate) fn write<'a>(
        &mut self,
        series: impl IntoIterator<Item = (&'a Labels, &'a FloatSample)>,
    ) -> Result<()> {
        let series: Vec<SeriesToWrite<'_>> = series
            .into_iter()
            .map(|(labels, sample)| SeriesToWrite {
                labels,
                samples: std::slice::from_ref(sample),
                histograms: &[],
                exemplars: &[],
                metadata: None,
            })
            .collect();
        let body = encode_v1(&series, &[])?;
        for _ in 0..TRIES_MAX {
            let response = self.client.ask("POST", "/api/v1/write", &HEADERS, &body)?;
            match response.status {
                200..300 => {
                    self.samples += series.len() as u64;
                    return Ok(());
                }
                429 | 500.. => thread::sleep(PAUSE),
                status => bail!("remote write is refused: status={status} {}", response.text()),
            }
        }
        bail!("remote write is refused again and again: tries={TRIES_MAX}")
    }
}

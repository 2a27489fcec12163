//! `Body`: a request's bytes, unpacked within limits, and which message they are.

use crate::format::media_type;

use super::error::RemoteWriteError;
use super::request::WriteRequest;
use super::{v1, v2};

/// What a request may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes after decompression. Default: 32 MiB, as in Prometheus.
    pub decoded_bytes_max: usize,
    /// Labels, samples, buckets, exemplars, symbols and series together. A message of two bytes becomes a
    /// record of tens, so that bytes alone do not bound memory. Default: 4 Mi, at most some 200 MiB.
    pub decoded_items_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { decoded_bytes_max: 32 << 20, decoded_items_max: 4 << 20 }
    }
}

/// The message that a request is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Version {
    /// `prometheus.WriteRequest`
    V1,
    /// `io.prometheus.write.v2.Request`
    V2,
}

impl Version {
    /// The version that `content_type` names; without a header, or without `proto=`, it is 1.0.
    fn from_content_type(content_type: &str) -> Result<Version, RemoteWriteError> {
        let unsupported = || RemoteWriteError::UnsupportedMediaType(content_type.to_string());
        if content_type.trim().is_empty() {
            return Ok(Version::V1);
        }
        if media_type(content_type).as_deref() != Some("application/x-protobuf") {
            return Err(unsupported());
        }
        for parameter in content_type.split(';').skip(1) {
            let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            if key.trim().eq_ignore_ascii_case("proto") {
                return match value.trim().trim_matches('"') {
                    "prometheus.WriteRequest" => Ok(Version::V1),
                    "io.prometheus.write.v2.Request" => Ok(Version::V2),
                    _ => Err(unsupported()),
                };
            }
        }
        Ok(Version::V1)
    }
}

/// A request's body, decompressed. [`Body::decode`] borrows from it.
#[derive(Clone, Debug)]
pub struct Body {
    version: Version,
    bytes: Vec<u8>,
    limits: Limits,
}

impl Body {
    /// Unpacks `body` under the two headers that say what it is; `""` stands for an absent one.
    pub fn open(
        content_type: &str,
        content_encoding: &str,
        body: &[u8],
        limits: Limits,
    ) -> Result<Body, RemoteWriteError> {
        let version = Version::from_content_type(content_type)?;
        let encoding = content_encoding.trim();
        if !encoding.is_empty() && !encoding.eq_ignore_ascii_case(super::CONTENT_ENCODING) {
            let encoding = format!("content-encoding={encoding}, only snappy is accepted");
            return Err(RemoteWriteError::UnsupportedMediaType(encoding));
        }
        let snappy = |e: snap::Error| RemoteWriteError::Snappy(e.to_string());
        let length = snap::raw::decompress_len(body).map_err(snappy)?;
        if length > limits.decoded_bytes_max {
            return Err(RemoteWriteError::TooLarge {
                what: "decoded_bytes_max",
                have: length as u64,
                limit: limits.decoded_bytes_max as u64,
            });
        }
        let bytes = snap::raw::Decoder::new().decompress_vec(body).map_err(snappy)?;
        Ok(Body { version, bytes, limits })
    }

    /// The message that the body is.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Reads the message.
    pub fn decode(&self) -> Result<WriteRequest<'_>, RemoteWriteError> {
        match self.version {
            Version::V1 => v1::decode(&self.bytes, self.limits),
            Version::V2 => v2::decode(&self.bytes, self.limits),
        }
    }
}

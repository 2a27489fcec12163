//! `cluster.json`: the object that makes a bucket a cluster's. Made once, never changed.
//!
//! ```json
//! {"format":2,"cluster":"00c0ffee00c0ffee","created_ms":1700000000000,
//!  "voters":[{"node":"0123456789abcdef","address":"pando-0:9095"}],"check":"0f1e2d3c4b5a6978"}
//! ```
//!
//! The check is xxh3 of the same text without it, fields in this order: a field more is a format more. Format 1 had
//! no check, and was in no release.

use bytes::Bytes;
use pando_model::{ClusterId, NodeId};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::CatalogError;

/// The version that this build writes, and the newest that it reads.
pub const CLUSTER_FILE_FORMAT: u32 = 2;

/// Who founded the cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClusterFile {
    /// The cluster's id: random.
    pub cluster: ClusterId,
    /// When it was founded, ms, by the founder's clock.
    pub created_ms: i64,
    /// The first voters on the catalog: all of them begin with the same list, or there are two
    /// clusters.
    pub voters: Vec<Voter>,
}

/// A controller.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Voter {
    /// Its node.
    pub node: NodeId,
    /// Where its gRPC services listen, `host:port`.
    pub address: String,
}

#[derive(Serialize, Deserialize)]
struct Json {
    format: u32,
    cluster: String,
    created_ms: i64,
    voters: Vec<JsonVoter>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    check: String,
}

impl Json {
    fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers and texts always have a JSON form")
    }

    fn sealed(mut self) -> Self {
        self.check.clear();
        self.check = format!("{:016x}", xxh3_64(&self.to_bytes()));
        self
    }
}

#[derive(Serialize, Deserialize)]
struct JsonVoter {
    node: String,
    address: String,
}

/// Read first, so that a later format is named instead of called damage.
#[derive(Deserialize)]
struct JsonFormat {
    format: u32,
}

impl ClusterFile {
    /// The object's bytes.
    pub fn encode(&self) -> Bytes {
        let voters = self.voters.iter().map(|voter| JsonVoter {
            node: voter.node.to_string(),
            address: voter.address.clone(),
        });
        let json = Json {
            format: CLUSTER_FILE_FORMAT,
            cluster: self.cluster.to_string(),
            created_ms: self.created_ms,
            voters: voters.collect(),
            check: String::new(),
        };
        json.sealed().to_bytes().into()
    }

    /// Reads what [`ClusterFile::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, CatalogError> {
        let damaged = |detail: String| CatalogError::corrupt("cluster.json", detail);
        let JsonFormat { format } =
            serde_json::from_slice(bytes).map_err(|e| damaged(e.to_string()))?;
        if format != CLUSTER_FILE_FORMAT {
            return Err(CatalogError::Unsupported {
                what: "cluster.json",
                version: format,
                known: CLUSTER_FILE_FORMAT,
            });
        }
        let json: Json = serde_json::from_slice(bytes).map_err(|e| damaged(e.to_string()))?;
        let check = json.check.clone();
        let json = json.sealed();
        if json.check != check {
            return Err(damaged(format!("its check is another: found={check:?}")));
        }
        let cluster = ClusterId::parse(&json.cluster)
            .ok_or_else(|| damaged(format!("bad id: cluster={:?}", json.cluster)))?;
        let voters = json.voters.into_iter().map(|voter| {
            let node = NodeId::parse(&voter.node)
                .ok_or_else(|| damaged(format!("bad id: node={:?}", voter.node)))?;
            Ok(Voter { node, address: voter.address })
        });
        let voters = voters.collect::<Result<_, CatalogError>>()?;
        Ok(ClusterFile { cluster, created_ms: json.created_ms, voters })
    }
}

#[cfg(test)]
mod tests {
    use pando_model::ErrorKind;

    use super::*;

    #[test]
    fn its_bytes_are_pinned() {
        let file = ClusterFile {
            cluster: ClusterId(0xc0_ffee),
            created_ms: 1_700_000_000_000,
            voters: vec![Voter { node: NodeId(0xab), address: "pando-0:9095".into() }],
        };
        let text = concat!(
            r#"{"format":2,"cluster":"0000000000c0ffee","created_ms":1700000000000,"#,
            r#""voters":[{"node":"00000000000000ab","address":"pando-0:9095"}],"check":"083ec0c0e5143b92"}"#,
        );
        assert_eq!(file.encode(), text.as_bytes());
    }

    #[test]
    fn round_trips_and_names_later_formats() {
        let file = ClusterFile {
            cluster: ClusterId(0xc0_ffee),
            created_ms: 1,
            voters: vec![Voter { node: NodeId(u64::MAX), address: "a:1".into() }],
        };
        assert_eq!(ClusterFile::decode(&file.encode()).expect("decodes"), file);
        let kind = |bytes: &[u8]| ClusterFile::decode(bytes).expect_err("refused").kind();
        assert_eq!(kind(br#"{"format":3,"other":1}"#), ErrorKind::Unsupported);
        assert_eq!(kind(b"{}"), ErrorKind::Corrupt);
        let text = String::from_utf8(file.encode().to_vec()).expect("JSON");
        assert_eq!(kind(text.replace("c0ffee", "c0ffef").as_bytes()), ErrorKind::Corrupt);
        assert_eq!(kind(text.replace("a:1", "a:2").as_bytes()), ErrorKind::Corrupt);
    }
}

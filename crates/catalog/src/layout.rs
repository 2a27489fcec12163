//! Names of objects in the bucket. Nothing of a tenant is in a name.
//!
//! ```text
//! cluster.json                        the cluster, made once
//! catalog/<20 digits>.snapshot        the catalog at a version
//! blocks/<xx>/<ulid>.parquet          a block (`BlockId::object_path`)
//! probe/<32 hex digits>               what a start-up probe wrote, and removes
//! ```

use object_store::path::Path;
use pando_model::{BlockId, CatalogVersion};

/// What every block's name begins with.
pub const BLOCKS_PREFIX: &str = "blocks";

/// What every snapshot's name begins with.
pub const SNAPSHOTS_PREFIX: &str = "catalog";

/// The object that makes a bucket a cluster's.
pub fn cluster_path() -> Path {
    Path::from("cluster.json")
}

/// The snapshot at `version`: names sort as versions do.
pub fn snapshot_path(version: CatalogVersion) -> Path {
    Path::from(format!("{SNAPSHOTS_PREFIX}/{:020}.snapshot", version.0))
}

/// The version in a snapshot's name; `None` for any other object.
pub fn parse_snapshot_path(path: &Path) -> Option<CatalogVersion> {
    let name = path.as_ref().strip_prefix(SNAPSHOTS_PREFIX)?.strip_prefix('/')?;
    let digits = name.strip_suffix(".snapshot")?;
    let right = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
    right.then(|| digits.parse().ok().map(CatalogVersion)).flatten()
}

/// The object of a block.
pub fn block_path(block: BlockId) -> Path {
    Path::from(block.object_path())
}

/// The block in an object's name; `None` for any other object, and for one that lies where it does
/// not belong.
pub fn parse_block_path(path: &Path) -> Option<BlockId> {
    let id = BlockId::parse(path.filename()?.strip_suffix(".parquet")?)?;
    (block_path(id) == *path).then_some(id)
}

/// An object that nobody has named before.
pub fn probe_path(random: u128) -> Path {
    Path::from(format!("probe/{random:032x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_strangers_are_not_taken() {
        let version = CatalogVersion(42);
        assert_eq!(snapshot_path(version).as_ref(), "catalog/00000000000000000042.snapshot");
        assert_eq!(parse_snapshot_path(&snapshot_path(version)), Some(version));
        for bad in ["catalog/42.snapshot", "catalog/x.snapshot", "catalog/00000000000000000042"] {
            assert_eq!(parse_snapshot_path(&Path::from(bad)), None, "{bad}");
        }
        let block = BlockId::new(1_700_000_000_000, 5);
        assert_eq!(parse_block_path(&block_path(block)), Some(block));
        assert_eq!(parse_block_path(&Path::from(format!("blocks/zz/{block}.parquet"))), None);
    }
}

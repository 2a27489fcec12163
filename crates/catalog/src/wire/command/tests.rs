//! Every command survives its bytes.

use std::collections::BTreeSet;

use bytes::Bytes;
use pando_model::{
    BlockId, ClusterId, Cut, Digest, Epoch, ErrorKind, KeyRange, MatchOp, Matcher, NodeId,
    SeriesKey, ShardId, TimeRange,
};
use pando_proto::v1;
use prost::Message;

use super::{decode_command, encode_command};
use crate::testdata::{node, output, record, tenant};
use crate::{
    Command, CommitGeneration, Grant, NewDelete, ReplaceBlocks, SealResult, Successor,
    TenantLimits, WorkEnd, WorkKind, WorkSpec,
};

/// One of every command, and of every shape that has an absent part.
fn samples() -> Vec<Command> {
    let time = TimeRange { min_ms: -1, max_ms: 9 };
    let (holder, epoch) = (NodeId(3), Epoch(2));
    let (a, b) = (record(1, 1, 1, "a"), record(2, 1, 2, "a"));
    let spec = WorkSpec {
        kind: WorkKind::Rewrite,
        inputs: vec![BlockId(1), BlockId(2)],
        window: time,
        level: 3,
    };
    let commit = |record| CommitGeneration {
        shard: ShardId(1),
        cut: Cut(2),
        term: 3,
        record,
        reports: vec![(holder, Digest { samples: 1, sum: 2 })],
    };
    let matchers = vec![
        Matcher::equal("a", "b"),
        Matcher::new("c", MatchOp::NotEqual, "").expect("no pattern"),
        Matcher::new("d", MatchOp::Regex, "x.*").expect("a pattern"),
        Matcher::new("e", MatchOp::NotRegex, "y").expect("a pattern"),
    ];
    let limits = TenantLimits { series_max: 4, ..TenantLimits::default() };
    vec![
        Command::InitCluster { cluster: ClusterId(u64::MAX), feature_level: 2 },
        Command::RegisterNode { node: node(4), now_ms: -4 },
        Command::RemoveNode { node: holder },
        Command::RaiseFeatureLevel { level: 9 },
        Command::OpenShards { members: vec![vec![holder], vec![NodeId(1), holder]], now_ms: 1 },
        Command::AssignTenant { tenant: tenant("a"), route: vec![(SeriesKey(5), ShardId(6))] },
        Command::SealShards {
            seals: vec![SealResult {
                shard: ShardId(1),
                term: 4,
                last_cut: Cut(7),
                answer: Bytes::from_static(b"answer"),
            }],
            successors: vec![Successor {
                members: vec![holder],
                ranges: vec![(tenant("a"), KeyRange::ALL)],
            }],
            now_ms: 3,
        },
        Command::CloseShard { shard: ShardId(4), now_ms: 1 },
        Command::ForgetShards { shards: vec![ShardId(4), ShardId(5)] },
        Command::CommitGeneration(Box::new(commit(Some(a.clone())))),
        Command::CommitGeneration(Box::new(commit(None))),
        Command::ReplaceBlocks(Box::new(ReplaceBlocks {
            work: 8,
            holder,
            epoch,
            removed: vec![BlockId(1), BlockId(2)],
            added: vec![output(9, 8, &[&a, &b])],
            kept: Digest { samples: 3, sum: 1 << 127 },
            now_ms: 4,
        })),
        Command::ExpireBlocks { blocks: vec![BlockId(1)], now_ms: 3 },
        Command::GrantLease { grant: Grant::New(spec), holder, now_ms: 1 },
        Command::GrantLease { grant: Grant::Again { work: 7, epoch }, holder, now_ms: 1 },
        Command::RenewLease { work: 7, holder, epoch, now_ms: 1 },
        Command::ReleaseLease { work: 7, holder, epoch, end: WorkEnd::NothingToDo },
        Command::ReleaseLease { work: 7, holder, epoch, end: WorkEnd::GivenBack },
        Command::ReleaseLease { work: 7, holder, epoch, end: WorkEnd::Failed },
        Command::DropWork { work: 7 },
        Command::RefuseBlock { block: BlockId(u128::MAX), now_ms: 9 },
        Command::SetRetentionSize { bytes: 7 },
        Command::ForgetObjects { blocks: vec![BlockId(4)] },
        Command::SetTenantLimits { tenant: None, limits: None },
        Command::SetTenantLimits { tenant: Some(tenant("a")), limits: Some(limits) },
        Command::SetRetention { tenant: None, retention_ms: Some(0) },
        Command::SetRetention { tenant: Some(tenant("a")), retention_ms: None },
        Command::AddDelete(NewDelete {
            tenant: tenant("a"),
            matchers,
            time,
            fences: vec![(ShardId(1), Cut(2))],
            now_ms: 9,
        }),
        Command::ForgetDeletes { numbers: vec![1, 2] },
    ]
}

#[test]
fn every_command_round_trips() {
    let mut kinds = BTreeSet::new();
    for command in samples() {
        let bytes = encode_command(&command);
        let message = v1::CatalogCommand::decode(&bytes[..]).expect("a message");
        kinds.insert(format!("{:?}", message.command).chars().take(24).collect::<String>());
        assert_eq!(decode_command(&bytes).expect("decodes"), command);
    }
    assert_eq!(kinds.len(), 23, "each kind of command is among the samples: {kinds:?}");
}

#[test]
fn what_a_later_version_wrote_is_refused_as_such() {
    let later = v1::CatalogCommand { version: 2, command: None }.encode_to_vec();
    assert_eq!(decode_command(&later).expect_err("later").kind(), ErrorKind::Unsupported);
    let unknown = v1::CatalogCommand { version: 1, command: None }.encode_to_vec();
    assert_eq!(decode_command(&unknown).expect_err("unknown").kind(), ErrorKind::Unsupported);
    assert_eq!(decode_command(b"\xff\xff").expect_err("garbage").kind(), ErrorKind::Corrupt);
}

#[test]
fn cut_off_bytes_never_panic() {
    for command in samples() {
        let bytes = encode_command(&command);
        for length in 0..bytes.len() {
            let _ = decode_command(&bytes[..length]);
        }
    }
}

/// Commands stand in logs: what was once written must be read for ever. A changed hash is a changed
/// format: it takes a new [`crate::wire::MESSAGE_VERSION`].
#[test]
fn version_one_is_pinned() {
    let bytes: Vec<u8> = samples().iter().flat_map(encode_command).collect();
    assert_eq!(
        xxhash_rust::xxh3::xxh3_64(&bytes),
        12_510_643_278_983_505_407,
        "bytes={}",
        bytes.len()
    );
}

//! Commands as entries of the controllers' log.

use pando_model::{ClusterId, Cut, Epoch, NodeId, ShardId, TimeRange};
use pando_proto::record::{
    block_id_from_proto, block_id_to_proto, digest_from_proto, digest_to_proto, record_from_proto,
    record_to_proto,
};
use pando_proto::v1;
use pando_proto::v1::catalog_command::Command as Wire;
use prost::Message;

use super::records::{
    cuts_from, entries_from, entries_to, limits_from, limits_to, matchers_from, matchers_to,
    node_from, node_to, spec_from, spec_to, tenant_range_from, tenant_range_to,
};
use super::{
    MESSAGE_VERSION, Result, all, blocks_from, blocks_to, check_version, name_of, nodes_from,
    nodes_to, parse, required, shards_from, shards_to, tenant_from, tenant_or_none,
};
use crate::command::{
    Command, CommitGeneration, Grant, NewDelete, ReplaceBlocks, SealResult, Successor, WorkEnd,
};
use crate::error::CatalogError;

/// The bytes of `command`.
pub fn encode_command(command: &Command) -> Vec<u8> {
    let command = Some(to_wire(command));
    v1::CatalogCommand { version: MESSAGE_VERSION, command }.encode_to_vec()
}

/// Reads what [`encode_command`] wrote. A command of a later version is refused as unsupported.
pub fn decode_command(bytes: &[u8]) -> Result<Command> {
    let message: v1::CatalogCommand = parse("command", bytes)?;
    check_version("command", message.version)?;
    match &message.command {
        Some(command) => from_wire(command),
        // A field that this build does not know: a command that a later one added.
        None => Err(CatalogError::Unsupported {
            what: "command",
            version: MESSAGE_VERSION + 1,
            known: MESSAGE_VERSION,
        }),
    }
}

fn to_wire(command: &Command) -> Wire {
    match command {
        Command::InitCluster { cluster, feature_level } => {
            let (cluster, feature_level) = (cluster.0, *feature_level);
            Wire::InitCluster(v1::InitClusterCommand { cluster, feature_level })
        }
        Command::RegisterNode { node, now_ms } => {
            let (node, now_ms) = (Some(node_to(node)), *now_ms);
            Wire::RegisterNode(v1::RegisterNodeCommand { node, now_ms })
        }
        Command::RemoveNode { node } => Wire::RemoveNode(v1::RemoveNodeCommand { node: node.0 }),
        Command::RaiseFeatureLevel { level } => {
            Wire::RaiseFeatureLevel(v1::RaiseFeatureLevelCommand { level: *level })
        }
        Command::OpenShards { members, now_ms } => {
            let shards = members.iter().map(|m| v1::MemberList { members: nodes_to(m) });
            Wire::OpenShards(v1::OpenShardsCommand { shards: shards.collect(), now_ms: *now_ms })
        }
        Command::AssignTenant { tenant, route } => {
            let (tenant, route) = (name_of(tenant), entries_to(route));
            Wire::AssignTenant(v1::AssignTenantCommand { tenant, route })
        }
        Command::SealShards { seals, successors, now_ms } => {
            let seals = seals.iter().map(seal_to).collect();
            let successors = successors.iter().map(successor_to).collect();
            Wire::SealShards(v1::SealShardsCommand { seals, successors, now_ms: *now_ms })
        }
        Command::CloseShard { shard, now_ms } => {
            Wire::CloseShard(v1::CloseShardCommand { shard: shard.0, now_ms: *now_ms })
        }
        Command::ForgetShards { shards } => {
            Wire::ForgetShards(v1::ForgetShardsCommand { shards: shards_to(shards) })
        }
        Command::CommitGeneration(commit) => Wire::CommitGeneration(commit_to(commit)),
        Command::ReplaceBlocks(replace) => Wire::ReplaceBlocks(replace_to(replace)),
        Command::ExpireBlocks { blocks, now_ms } => {
            let (blocks, now_ms) = (blocks_to(blocks), *now_ms);
            Wire::ExpireBlocks(v1::ExpireBlocksCommand { blocks, now_ms })
        }
        Command::GrantLease { grant, holder, now_ms } => {
            Wire::GrantLease(grant_to(grant, *holder, *now_ms))
        }
        Command::RenewLease { work, holder, epoch, now_ms } => {
            let (work, holder, epoch, now_ms) = (*work, holder.0, epoch.0, *now_ms);
            Wire::RenewLease(v1::RenewLeaseCommand { work, holder, epoch, now_ms })
        }
        Command::ReleaseLease { work, holder, epoch, end } => {
            let (work, holder, epoch, end) = (*work, holder.0, epoch.0, end_to(*end).into());
            Wire::ReleaseLease(v1::ReleaseLeaseCommand { work, holder, epoch, end })
        }
        Command::DropWork { work } => Wire::DropWork(v1::DropWorkCommand { work: *work }),
        Command::RefuseBlock { block, now_ms } => {
            let (block, now_ms) = (block_id_to_proto(*block), *now_ms);
            Wire::RefuseBlock(v1::RefuseBlockCommand { block, now_ms })
        }
        Command::ForgetObjects { blocks } => {
            Wire::ForgetObjects(v1::ForgetObjectsCommand { blocks: blocks_to(blocks) })
        }
        Command::SetTenantLimits { tenant, limits } => {
            let tenant = tenant.as_ref().map(name_of).unwrap_or_default();
            let limits = limits.as_ref().map(limits_to);
            Wire::SetTenantLimits(v1::SetTenantLimitsCommand { tenant, limits })
        }
        Command::SetRetention { tenant, retention_ms } => {
            let tenant = tenant.as_ref().map(name_of).unwrap_or_default();
            Wire::SetRetention(v1::SetRetentionCommand { tenant, retention_ms: *retention_ms })
        }
        Command::SetRetentionSize { bytes } => {
            Wire::SetRetentionSize(v1::SetRetentionSizeCommand { bytes: *bytes })
        }
        Command::AddDelete(delete) => Wire::AddDelete(delete_to(delete)),
        Command::ForgetDeletes { numbers } => {
            Wire::ForgetDeletes(v1::ForgetDeletesCommand { numbers: numbers.clone() })
        }
    }
}

fn grant_to(grant: &Grant, holder: NodeId, now_ms: i64) -> v1::GrantLeaseCommand {
    use v1::grant_lease_command::Grant as WireGrant;
    let grant = match grant {
        Grant::New(spec) => WireGrant::Fresh(spec_to(spec)),
        Grant::Again { work, epoch } => {
            WireGrant::Again(v1::WorkAgain { work: *work, epoch: epoch.0 })
        }
    };
    v1::GrantLeaseCommand { grant: Some(grant), holder: holder.0, now_ms }
}

fn end_to(end: WorkEnd) -> v1::WorkEnd {
    match end {
        WorkEnd::NothingToDo => v1::WorkEnd::NothingToDo,
        WorkEnd::GivenBack => v1::WorkEnd::GivenBack,
        WorkEnd::Failed => v1::WorkEnd::Failed,
    }
}

fn from_wire(command: &Wire) -> Result<Command> {
    Ok(match command {
        Wire::InitCluster(c) => {
            let (cluster, feature_level) = (ClusterId(c.cluster), c.feature_level);
            Command::InitCluster { cluster, feature_level }
        }
        Wire::RegisterNode(c) => {
            let node = node_from(required("command", c.node.as_ref())?)?;
            Command::RegisterNode { node, now_ms: c.now_ms }
        }
        Wire::RemoveNode(c) => Command::RemoveNode { node: NodeId(c.node) },
        Wire::RaiseFeatureLevel(c) => Command::RaiseFeatureLevel { level: c.level },
        Wire::OpenShards(c) => {
            let members = c.shards.iter().map(|list| nodes_from(&list.members)).collect();
            Command::OpenShards { members, now_ms: c.now_ms }
        }
        Wire::AssignTenant(c) => {
            let (tenant, route) = (tenant_from(&c.tenant)?, entries_from(&c.route));
            Command::AssignTenant { tenant, route }
        }
        Wire::SealShards(c) => Command::SealShards {
            seals: c.seals.iter().map(seal_from).collect(),
            successors: all(&c.successors, successor_from)?,
            now_ms: c.now_ms,
        },
        Wire::CloseShard(c) => Command::CloseShard { shard: ShardId(c.shard), now_ms: c.now_ms },
        Wire::ForgetShards(c) => Command::ForgetShards { shards: shards_from(&c.shards) },
        Wire::CommitGeneration(c) => Command::CommitGeneration(Box::new(commit_from(c)?)),
        Wire::ReplaceBlocks(c) => Command::ReplaceBlocks(Box::new(replace_from(c)?)),
        Wire::ExpireBlocks(c) => {
            Command::ExpireBlocks { blocks: blocks_from(&c.blocks)?, now_ms: c.now_ms }
        }
        Wire::GrantLease(c) => grant_from(c)?,
        Wire::RenewLease(c) => {
            let (work, holder, epoch) = (c.work, NodeId(c.holder), Epoch(c.epoch));
            Command::RenewLease { work, holder, epoch, now_ms: c.now_ms }
        }
        Wire::ReleaseLease(c) => release_from(c)?,
        Wire::DropWork(c) => Command::DropWork { work: c.work },
        Wire::RefuseBlock(c) => {
            Command::RefuseBlock { block: block_id_from_proto(&c.block)?, now_ms: c.now_ms }
        }
        Wire::ForgetObjects(c) => Command::ForgetObjects { blocks: blocks_from(&c.blocks)? },
        Wire::SetTenantLimits(c) => {
            let limits = c.limits.as_ref().map(limits_from);
            Command::SetTenantLimits { tenant: tenant_or_none(&c.tenant)?, limits }
        }
        Wire::SetRetention(c) => {
            let tenant = tenant_or_none(&c.tenant)?;
            Command::SetRetention { tenant, retention_ms: c.retention_ms }
        }
        Wire::SetRetentionSize(c) => Command::SetRetentionSize { bytes: c.bytes },
        Wire::AddDelete(c) => Command::AddDelete(delete_from(c)?),
        Wire::ForgetDeletes(c) => Command::ForgetDeletes { numbers: c.numbers.clone() },
    })
}

fn seal_to(seal: &SealResult) -> v1::SealedShard {
    v1::SealedShard {
        shard: seal.shard.0,
        term: seal.term,
        last_cut: seal.last_cut.0,
        answer: seal.answer.clone(),
    }
}

fn seal_from(seal: &v1::SealedShard) -> SealResult {
    SealResult {
        shard: ShardId(seal.shard),
        term: seal.term,
        last_cut: Cut(seal.last_cut),
        answer: seal.answer.clone(),
    }
}

fn successor_to(successor: &Successor) -> v1::SuccessorShard {
    let ranges = successor.ranges.iter().map(|(tenant, keys)| tenant_range_to(tenant, *keys));
    v1::SuccessorShard { members: nodes_to(&successor.members), ranges: ranges.collect() }
}

fn successor_from(successor: &v1::SuccessorShard) -> Result<Successor> {
    Ok(Successor {
        members: nodes_from(&successor.members),
        ranges: all(&successor.ranges, tenant_range_from)?,
    })
}

fn commit_to(commit: &CommitGeneration) -> v1::CommitGenerationCommand {
    let reports = commit.reports.iter().map(|(node, digest)| v1::MemberDigest {
        node: node.0,
        digest: Some(digest_to_proto(*digest)),
    });
    v1::CommitGenerationCommand {
        shard: commit.shard.0,
        cut: commit.cut.0,
        term: commit.term,
        record: commit.record.as_ref().map(record_to_proto),
        reports: reports.collect(),
    }
}

fn commit_from(commit: &v1::CommitGenerationCommand) -> Result<CommitGeneration> {
    let record = commit.record.as_ref().map(record_from_proto).transpose()?;
    let reports = all(&commit.reports, |report| {
        Ok((NodeId(report.node), digest_from_proto(report.digest.as_ref())?))
    })?;
    let (shard, cut, term) = (ShardId(commit.shard), Cut(commit.cut), commit.term);
    Ok(CommitGeneration { shard, cut, term, record, reports })
}

fn replace_to(replace: &ReplaceBlocks) -> v1::ReplaceBlocksCommand {
    v1::ReplaceBlocksCommand {
        work: replace.work,
        holder: replace.holder.0,
        epoch: replace.epoch.0,
        removed: blocks_to(&replace.removed),
        added: replace.added.iter().map(record_to_proto).collect(),
        kept: Some(digest_to_proto(replace.kept)),
        now_ms: replace.now_ms,
    }
}

fn replace_from(replace: &v1::ReplaceBlocksCommand) -> Result<ReplaceBlocks> {
    Ok(ReplaceBlocks {
        work: replace.work,
        holder: NodeId(replace.holder),
        epoch: Epoch(replace.epoch),
        removed: blocks_from(&replace.removed)?,
        added: all(&replace.added, |record| Ok(record_from_proto(record)?))?,
        kept: digest_from_proto(replace.kept.as_ref())?,
        now_ms: replace.now_ms,
    })
}

fn grant_from(c: &v1::GrantLeaseCommand) -> Result<Command> {
    use v1::grant_lease_command::Grant as WireGrant;
    let grant = match required("grant", c.grant.as_ref())? {
        WireGrant::Fresh(spec) => Grant::New(spec_from(spec)?),
        WireGrant::Again(again) => Grant::Again { work: again.work, epoch: Epoch(again.epoch) },
    };
    Ok(Command::GrantLease { grant, holder: NodeId(c.holder), now_ms: c.now_ms })
}

fn release_from(c: &v1::ReleaseLeaseCommand) -> Result<Command> {
    let end = match c.end() {
        v1::WorkEnd::NothingToDo => WorkEnd::NothingToDo,
        v1::WorkEnd::GivenBack => WorkEnd::GivenBack,
        v1::WorkEnd::Failed => WorkEnd::Failed,
        v1::WorkEnd::Unspecified => {
            return Err(CatalogError::corrupt("command", format!("unknown end={}", c.end)));
        }
    };
    let (work, holder, epoch) = (c.work, NodeId(c.holder), Epoch(c.epoch));
    Ok(Command::ReleaseLease { work, holder, epoch, end })
}

fn delete_to(delete: &NewDelete) -> v1::AddDeleteCommand {
    let fences = delete.fences.iter();
    v1::AddDeleteCommand {
        tenant: name_of(&delete.tenant),
        matchers: matchers_to(&delete.matchers),
        min_ms: delete.time.min_ms,
        max_ms: delete.time.max_ms,
        fences: fences.map(|(s, c)| v1::ShardCut { shard: s.0, cut: c.0 }).collect(),
        now_ms: delete.now_ms,
    }
}

fn delete_from(delete: &v1::AddDeleteCommand) -> Result<NewDelete> {
    Ok(NewDelete {
        tenant: tenant_from(&delete.tenant)?,
        matchers: matchers_from(&delete.matchers)?,
        time: TimeRange { min_ms: delete.min_ms, max_ms: delete.max_ms },
        fences: cuts_from(&delete.fences),
        now_ms: delete.now_ms,
    })
}

#[cfg(test)]
mod tests;

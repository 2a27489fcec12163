//! Commands about leases. A grant moves the epoch, and every later command about the work carries
//! it: who lost the lease changes nothing any more (INV-8), however late it wakes up.

use pando_model::{Epoch, NodeId};

use super::{Applied, refuse, within};
use crate::catalog::Catalog;
use crate::command::{CommandReply, Grant, WorkEnd};
use crate::error::CommandRefused;
use crate::limits::{BLOCKS_PER_COMMAND_MAX, WORK_ITEMS_MAX};
use crate::work::{Lease, WorkItem, WorkSpec};

impl Catalog {
    pub(crate) fn grant_lease(&mut self, grant: &Grant, holder: NodeId, now_ms: i64) -> Applied {
        if !self.nodes.contains_key(&holder) {
            refuse!(UnknownNode, "no such node: node={holder}");
        }
        let mut lease = match grant {
            Grant::New(spec) => self.new_lease(spec)?,
            Grant::Again { work, epoch } => {
                let Some(lease) = self.leases.get(work) else {
                    refuse!(UnknownWork, "no such work item: work={work}");
                };
                if lease.epoch != *epoch {
                    let now = lease.epoch;
                    refuse!(
                        LeaseLost,
                        "leased again meanwhile: work={work} epoch={epoch} now={now}"
                    );
                }
                if lease.is_quarantined() {
                    let failures = lease.failures;
                    refuse!(Quarantined, "work is quarantined: work={work} failures={failures}");
                }
                lease.clone()
            }
        };
        lease.holder = Some(holder);
        lease.epoch = lease.epoch.next();
        lease.granted = self.version();
        lease.renewed_ms = now_ms;
        let reply = CommandReply::Leased { item: lease.item.clone(), epoch: lease.epoch };
        self.next_work = self.next_work.max(lease.item.id + 1);
        self.leases.insert(lease.item.id, lease);
        Ok(reply)
    }

    pub(crate) fn renew_lease(
        &mut self,
        work: u64,
        holder: NodeId,
        epoch: Epoch,
        now_ms: i64,
    ) -> Applied {
        self.expect_lease(work, holder, epoch)?;
        self.leases.entry(work).and_modify(|lease| lease.renewed_ms = now_ms);
        Ok(CommandReply::Done)
    }

    pub(crate) fn release_lease(
        &mut self,
        work: u64,
        holder: NodeId,
        epoch: Epoch,
        end: WorkEnd,
    ) -> Applied {
        self.expect_lease(work, holder, epoch)?;
        if end == WorkEnd::NothingToDo {
            self.leases.remove(&work);
            return Ok(CommandReply::Done);
        }
        self.leases.entry(work).and_modify(|lease| {
            lease.holder = None;
            lease.failures += u32::from(end == WorkEnd::Failed);
        });
        Ok(CommandReply::Done)
    }

    pub(crate) fn drop_work(&mut self, work: u64) -> Applied {
        match self.leases.get(&work) {
            None => refuse!(UnknownWork, "no such work item: work={work}"),
            Some(lease) if lease.holder.is_some() => {
                refuse!(BadCommand, "work is leased: work={work} epoch={}", lease.epoch)
            }
            Some(_) => {
                self.leases.remove(&work);
                Ok(CommandReply::Done)
            }
        }
    }

    /// The lease of `work`, if `holder` has it under `epoch`.
    pub(crate) fn expect_lease(
        &self,
        work: u64,
        holder: NodeId,
        epoch: Epoch,
    ) -> Result<&Lease, CommandRefused> {
        let Some(lease) = self.leases.get(&work) else {
            refuse!(UnknownWork, "no such work item: work={work}");
        };
        if lease.holder != Some(holder) || lease.epoch != epoch {
            let now = lease.epoch;
            refuse!(LeaseLost, "lease is lost: work={work} node={holder} epoch={epoch} now={now}");
        }
        Ok(lease)
    }

    fn new_lease(&self, spec: &WorkSpec) -> Result<Lease, CommandRefused> {
        within("work items", self.leases.len() + 1, WORK_ITEMS_MAX)?;
        within("inputs of a work item", spec.inputs.len(), BLOCKS_PER_COMMAND_MAX)?;
        if spec.inputs.is_empty() || !spec.inputs.windows(2).all(|pair| pair[0] < pair[1]) {
            refuse!(BadCommand, "inputs must ascend: inputs={}", spec.inputs.len());
        }
        let resolution_ms = self.resolution_of(&spec.inputs);
        for id in &spec.inputs {
            match self.blocks.get(id) {
                None => refuse!(UnknownBlock, "no such block: block={id}"),
                Some(entry) if entry.record.resolution_ms != resolution_ms => {
                    refuse!(BadCommand, "inputs of several resolutions: block={id}")
                }
                Some(_) => {}
            }
        }
        let overlaps = |lease: &&Lease| {
            lease.item.spec.inputs.iter().any(|id| spec.inputs.binary_search(id).is_ok())
        };
        if let Some(other) = self.leases.values().find(overlaps) {
            refuse!(WorkOverlaps, "another work item has an input: work={}", other.item.id);
        }
        Ok(Lease {
            item: WorkItem {
                id: self.next_work,
                spec: spec.clone(),
                deletes_upto: self.next_delete - 1,
            },
            holder: None,
            epoch: Epoch(0),
            granted: self.version(),
            renewed_ms: 0,
            failures: 0,
        })
    }
}

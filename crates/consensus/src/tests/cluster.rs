//! A cluster of members that can be killed, cut off and started again, and a journal that remembers everything.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pando_model::{ClusterId, NodeId};
use pando_runtime::disk::{SimDisk, Tear};
use pando_runtime::{Rng, SystemClock, Tasks};
use parking_lot::Mutex;

use crate::{Group, Host, HostConfig, LocalNetwork, Member, ProposeError, StateMachine};

pub(super) const GROUP: u64 = 3;
/// Far longer than anything takes; a test that reaches it has hung.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// The entry that no journal can read.
pub(super) const UNREADABLE: &[u8] = b"\xff";

/// Remembers entries in the order in which they are applied.
#[derive(Default)]
pub(super) struct Journal(Mutex<Vec<String>>);

impl Journal {
    pub(super) fn lines(&self) -> Vec<String> {
        self.0.lock().clone()
    }
}

impl StateMachine for Journal {
    fn apply(&self, _: u64, entry: &[u8]) -> Result<Vec<u8>, String> {
        if entry == UNREADABLE {
            return Err("line cannot be read".to_string());
        }
        let mut lines = self.0.lock();
        lines.push(String::from_utf8_lossy(entry).into_owned());
        Ok(lines.len().to_string().into_bytes())
    }

    fn snapshot(&self) -> Vec<u8> {
        self.0.lock().join("\n").into_bytes()
    }

    fn restore(&self, bytes: &[u8]) -> Result<(), String> {
        let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
        *self.0.lock() = text.lines().map(str::to_string).collect();
        Ok(())
    }
}

pub(super) struct Running {
    pub(super) host: Host,
    pub(super) group: Group,
    pub(super) journal: Arc<Journal>,
    pub(super) tasks: Tasks,
}

pub(super) struct Node {
    pub(super) disk: SimDisk,
    pub(super) running: Option<Running>,
}

pub(super) struct Cluster {
    pub(super) network: LocalNetwork,
    pub(super) rng: Rng,
    pub(super) nodes: Vec<Node>,
    /// Acknowledged, in this order.
    pub(super) acknowledged: Vec<String>,
    next: u64,
}

pub(super) fn member(i: usize) -> Member {
    Member { node: NodeId(i as u64 + 1), address: format!("node-{i}:1") }
}

pub(super) fn config(i: usize) -> HostConfig {
    HostConfig {
        heartbeat_ms: 15,
        election_timeout_ms: 80,
        propose_timeout_ms: 500,
        snapshot_piece_bytes: 1_000,
        entries_kept: 20,
        segment_bytes: 4_000,
        cache_bytes_max: 500,
        ..HostConfig::new(member(i).node, ClusterId(9), PathBuf::from("/raft"))
    }
}

impl Cluster {
    pub(super) async fn new(size: usize, seed: u64) -> Self {
        let rng = Rng::seeded(seed);
        let nodes = (0..size).map(|_| Node { disk: SimDisk::new(), running: None }).collect();
        let network = LocalNetwork::new(rng.clone());
        let mut cluster = Cluster { network, rng, nodes, acknowledged: Vec::new(), next: 0 };
        for i in 0..size {
            cluster.start(i).await;
        }
        cluster
    }

    pub(super) async fn start(&mut self, i: usize) {
        let node = member(i).node;
        let tasks = Tasks::new();
        let disk = self.nodes[i].disk.shared();
        let (transport, clock) = (self.network.transport(node), SystemClock::shared());
        let host = Host::open(config(i), disk, transport, clock, self.rng.clone(), &tasks);
        let host = host.expect("log is whole");
        let journal = Arc::new(Journal::default());
        let group = if host.stored_groups().contains(&GROUP) {
            host.open_group(GROUP, journal.clone()).await
        } else {
            let members = (0..self.nodes.len()).map(member).collect();
            host.create_group(GROUP, members, journal.clone()).await
        };
        let group = group.expect("group opens");
        self.network.connect(node, &host);
        self.nodes[i].running = Some(Running { host, group, journal, tasks });
    }

    /// The process dies; with `power_loss` the disk loses what was not synced.
    pub(super) async fn kill(&mut self, i: usize, power_loss: bool) {
        self.network.disconnect(member(i).node);
        if power_loss {
            self.nodes[i].disk = self.nodes[i].disk.crash(&self.rng, Tear::Part);
        }
        if let Some(running) = self.nodes[i].running.take() {
            running.host.shutdown().await;
            let laggards = running.tasks.shutdown(PATIENCE).await;
            assert!(laggards.is_empty(), "{laggards:?}");
        }
    }

    pub(super) fn group(&self, i: usize) -> &Group {
        &self.running(i).group
    }

    pub(super) fn running(&self, i: usize) -> &Running {
        self.nodes[i].running.as_ref().expect("member runs")
    }

    fn alive(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|i| self.nodes[*i].running.is_some()).collect()
    }

    /// The member that leads and can prove it.
    pub(super) async fn leader(&self) -> usize {
        let found = async {
            loop {
                for i in self.alive() {
                    if self.group(i).is_leader() && self.group(i).read_index().await.is_ok() {
                        return i;
                    }
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, found).await.expect("a leader is found in time")
    }

    /// Proposes until a leader acknowledges. An entry whose outcome is unknown is not proposed again: another one
    /// takes its place, so that nothing may be in the journal twice.
    pub(super) async fn propose(&mut self) {
        let deadline = tokio::time::sleep(PATIENCE);
        tokio::pin!(deadline);
        loop {
            for i in self.alive() {
                let text = format!("entry-{}", self.next);
                let tried = tokio::select! {
                    tried = self.group(i).propose(text.clone().into_bytes()) => tried,
                    () = &mut deadline => panic!("no leader acknowledges in time"),
                };
                match tried {
                    Ok(_) => {
                        self.acknowledged.push(text);
                        self.next += 1;
                        return;
                    }
                    Err(ProposeError::NotLeader { .. }) => {}
                    Err(ProposeError::Unavailable(_) | ProposeError::Fatal(_)) => self.next += 1,
                    Err(error) => panic!("{error}"),
                }
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub(super) async fn propose_many(&mut self, count: usize) {
        for _ in 0..count {
            self.propose().await;
        }
    }

    /// Waits until member `i` has all that is committed.
    pub(super) async fn read(&self, i: usize) {
        let read = async {
            while self.group(i).read_index().await.is_err() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, read).await.expect("a leader confirms in time");
    }

    /// What the running members hold, each once it has applied all that is committed.
    pub(super) async fn journals(&self) -> Vec<Vec<String>> {
        let mut journals = Vec::new();
        for i in self.alive() {
            self.read(i).await;
            journals.push(self.running(i).journal.lines());
        }
        journals
    }

    /// Nothing acknowledged is missing, nothing is doubled, everything is in its order, everywhere.
    pub(super) async fn check(&self) {
        for (at, lines) in self.journals().await.iter().enumerate() {
            verify(lines, &self.acknowledged)
                .unwrap_or_else(|fault| panic!("member {at}: {fault}"));
        }
    }
}

pub(super) fn verify(lines: &[String], acknowledged: &[String]) -> Result<(), String> {
    let distinct: BTreeSet<&String> = lines.iter().collect();
    if distinct.len() != lines.len() {
        return Err(format!("doubled: {lines:?}"));
    }
    let mut rest = lines.iter();
    for text in acknowledged {
        if !rest.any(|line| line == text) {
            return Err(format!("missing or out of order: {text} in {lines:?}"));
        }
    }
    Ok(())
}

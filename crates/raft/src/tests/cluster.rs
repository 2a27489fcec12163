//! Three members: kills, power cuts, partitions. Nothing acknowledged is missing or doubled.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pando_model::{ClusterId, NodeId};
use pando_runtime::disk::{SimDisk, Tear};
use pando_runtime::{Rng, SystemClock, Tasks};
use parking_lot::Mutex;

use crate::{Group, Host, HostConfig, LocalTransport, Member, ProposeError, StateMachine};

const GROUP: u64 = 3;
const PATIENCE: Duration = Duration::from_secs(60);

/// Remembers entries in the order of their application.
#[derive(Default)]
struct Journal(Mutex<Vec<String>>);

impl StateMachine for Journal {
    fn apply(&self, _: u64, entry: &[u8]) -> Vec<u8> {
        let mut journal = self.0.lock();
        journal.push(String::from_utf8_lossy(entry).into_owned());
        journal.len().to_string().into_bytes()
    }

    fn snapshot(&self) -> Vec<u8> {
        self.0.lock().join("\n").into_bytes()
    }

    fn restore(&self, bytes: &[u8]) -> Result<(), String> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        *self.0.lock() = text.lines().map(str::to_string).collect();
        Ok(())
    }
}

struct Node {
    disk: SimDisk,
    running: Option<(Host, Group, Arc<Journal>, Tasks)>,
}

struct Cluster {
    transport: LocalTransport,
    rng: Rng,
    nodes: Vec<Node>,
}

fn member(i: usize) -> Member {
    Member { node: NodeId(i as u64 + 1), address: format!("node-{i}") }
}

impl Cluster {
    async fn new(size: usize, seed: u64) -> Self {
        let nodes = (0..size).map(|_| Node { disk: SimDisk::new(), running: None }).collect();
        let mut cluster =
            Cluster { transport: LocalTransport::default(), rng: Rng::seeded(seed), nodes };
        for i in 0..size {
            cluster.start(i).await;
        }
        cluster
    }

    async fn start(&mut self, i: usize) {
        let node = member(i).node;
        let mut config = HostConfig::new(node, ClusterId(9), PathBuf::from("/raft"));
        config.heartbeat = Duration::from_millis(25);
        config.lease = Duration::from_millis(150);
        let tasks = Tasks::new();
        let disk = Arc::new(self.nodes[i].disk.clone());
        let transport = Arc::new(self.transport.of(node));
        let (clock, rng) = (SystemClock::shared(), self.rng.clone());
        let host = Host::open(config, disk, transport, clock, rng, &tasks).expect("log is whole");
        self.transport.attach(node, host.clone());
        let journal = Arc::new(Journal::default());
        let members = (0..self.nodes.len()).map(member).collect();
        let group = host.create_group(GROUP, members, journal.clone()).await.expect("opens");
        self.nodes[i].running = Some((host, group, journal, tasks));
    }

    async fn stop(&mut self, i: usize, power_loss: bool) {
        self.transport.detach(member(i).node);
        if power_loss {
            self.nodes[i].disk = self.nodes[i].disk.crash(&self.rng, Tear::Part);
        }
        if let Some((host, ..)) = self.nodes[i].running.take() {
            host.shutdown().await;
        }
    }

    fn groups(&self) -> Vec<Group> {
        self.nodes.iter().filter_map(|n| n.running.as_ref().map(|r| r.1.clone())).collect()
    }

    /// Proposes until a leader acknowledges; an unknown outcome may leave the entry twice.
    async fn propose(&self, text: &str) {
        let proposed = async {
            loop {
                for group in self.groups() {
                    let tried = group.propose(text.as_bytes().to_vec());
                    match tokio::time::timeout(Duration::from_secs(2), tried).await {
                        Ok(Ok(_)) => return,
                        Ok(Err(ProposeError::NotLeader { .. } | ProposeError::Unavailable(_)))
                        | Err(_) => {}
                    }
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, proposed).await.expect("a leader acknowledges in time");
    }

    /// The journal of every running member, once all have what was committed.
    async fn journals(&self) -> Vec<Vec<String>> {
        let mut journals = Vec::new();
        for node in &self.nodes {
            let Some((_, group, journal, _)) = &node.running else { continue };
            let read = async {
                while group.read_index().await.is_err() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(PATIENCE, read).await.expect("a leader confirms in time");
            journals.push(journal.0.lock().clone());
        }
        journals
    }
}

fn check(journals: &[Vec<String>], acknowledged: &[String]) {
    for journal in journals {
        assert_eq!(journal, &journals[0], "replicas differ");
        let mut rest = journal.iter();
        for text in acknowledged {
            assert!(
                rest.any(|found| found == text),
                "acknowledged {text} is missing or out of order"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_member_goes_on_after_a_power_cut_and_a_checkpoint() {
    let mut cluster = Cluster::new(1, 1).await;
    let mut acknowledged = Vec::new();
    for round in 0..4 {
        for n in 0..20 {
            let text = format!("{round}-{n}");
            cluster.propose(&text).await;
            acknowledged.push(text);
        }
        if round == 1 {
            cluster.groups()[0].checkpoint().await.expect("written");
        }
        cluster.stop(0, true).await;
        cluster.start(0).await;
    }
    check(&cluster.journals().await, &acknowledged);
}

#[tokio::test(flavor = "multi_thread")]
async fn any_member_may_die_while_entries_are_written() {
    let mut cluster = Cluster::new(3, 2).await;
    let mut acknowledged = Vec::new();
    for round in 0..12 {
        let victim = match round % 3 {
            // The leader, every third time.
            0 => {
                (0..3).find(|i| cluster.nodes[*i].running.as_ref().is_some_and(|r| r.1.is_leader()))
            }
            _ => Some(cluster.rng.range(0, 3) as usize),
        };
        let victim = victim.unwrap_or(0);
        cluster.stop(victim, round % 2 == 0).await;
        for n in 0..10 {
            let text = format!("{round}-{n}");
            cluster.propose(&text).await;
            acknowledged.push(text);
        }
        if round % 4 == 1 {
            for group in cluster.groups() {
                group.checkpoint().await.expect("written");
            }
        }
        cluster.start(victim).await;
    }
    check(&cluster.journals().await, &acknowledged);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_of_all_members_loses_nothing_acknowledged() {
    let mut cluster = Cluster::new(3, 3).await;
    let mut acknowledged = Vec::new();
    for round in 0..6 {
        for n in 0..10 {
            let text = format!("{round}-{n}");
            cluster.propose(&text).await;
            acknowledged.push(text);
        }
        for i in 0..3 {
            cluster.stop(i, true).await;
        }
        for i in 0..3 {
            cluster.start(i).await;
        }
    }
    check(&cluster.journals().await, &acknowledged);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_fell_behind_the_log_gets_a_checkpoint() {
    let mut cluster = Cluster::new(3, 4).await;
    cluster.propose("first").await;
    cluster.stop(2, false).await;
    let mut acknowledged = vec!["first".to_string()];
    for n in 0..600 {
        let text = format!("n-{n}");
        cluster.propose(&text).await;
        acknowledged.push(text);
    }
    for group in cluster.groups() {
        group.checkpoint().await.expect("written");
    }
    cluster.start(2).await;
    check(&cluster.journals().await, &acknowledged);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_without_majority_confirms_nothing() {
    let cluster = Cluster::new(3, 5).await;
    cluster.propose("before").await;
    let leader = cluster.groups().iter().position(Group::is_leader).unwrap_or(0);
    for other in (0..3).filter(|other| *other != leader) {
        cluster.transport.cut(member(leader).node, member(other).node, true);
    }
    assert!(cluster.groups()[leader].read_index().await.is_err(), "a deposed leader reads");
    for other in (0..3).filter(|other| *other != leader) {
        cluster.transport.cut(member(leader).node, member(other).node, false);
    }
    cluster.propose("after").await;
    check(&cluster.journals().await, &["before".to_string(), "after".to_string()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_fsync_a_power_cut_loses_what_was_acknowledged() {
    let mut cluster = Cluster::new(1, 6).await;
    cluster.nodes[0].disk.ignore_sync(true);
    for n in 0..20 {
        cluster.propose(&format!("n-{n}")).await;
    }
    cluster.nodes[0].disk = cluster.nodes[0].disk.crash(&cluster.rng, Tear::Nothing);
    cluster.stop(0, false).await;
    cluster.start(0).await;
    let journals = cluster.journals().await;
    assert!(journals[0].len() < 20, "the disk that lies about syncing lost nothing");
}

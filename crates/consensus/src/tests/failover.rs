//! Leaders die, again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pando_model::{ErrorKind, NodeId};
use pando_runtime::{SystemClock, Tasks};

use super::cluster::{Cluster, GROUP, Journal, PATIENCE, UNREADABLE, config, member};
use crate::{Group, Host, HostConfig, ProposeError};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_while_leaders_die() {
    let mut cluster = Cluster::new(3, 1).await;
    for round in 0..50 {
        cluster.propose_many(3).await;
        let leader = cluster.leader().await;
        cluster.kill(leader, round % 2 == 0).await;
        cluster.propose_many(2).await;
        cluster.start(leader).await;
        if round % 7 == 3 {
            cluster.group(leader).checkpoint().await.expect("written");
        }
    }
    cluster.check().await;
}

/// Vote latency makes equal draws meet; a timer that is drawn once would get stuck here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_is_found_although_votes_are_slow() {
    let mut cluster = Cluster::new(3, 2).await;
    cluster.network.set_delay_ms(5, 15);
    for _ in 0..12 {
        let leader = cluster.leader().await;
        cluster.kill(leader, false).await;
        cluster.leader().await;
        cluster.start(leader).await;
    }
    cluster.propose().await;
    cluster.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_leaders_answers_are_all_kept() {
    let mut cluster = Cluster::new(3, 3).await;
    for _ in 0..4 {
        let leader = cluster.leader().await;
        let group = cluster.group(leader).clone();
        // Proposals race with the kill: some are answered, some not.
        let count = Arc::new(AtomicUsize::new(0));
        let writer = {
            let (group, count) = (group.clone(), count.clone());
            let seed = cluster.rng.range(0, 1 << 40);
            async move {
                let mut answered = Vec::new();
                for n in 0..10_000 {
                    let text = format!("race-{seed}-{n}");
                    if group.propose(text.clone().into_bytes()).await.is_err() {
                        break;
                    }
                    answered.push(text);
                    count.store(answered.len(), Ordering::Relaxed);
                }
                answered
            }
        };
        let kill = async {
            while count.load(Ordering::Relaxed) < 20 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            cluster.kill(leader, true).await;
        };
        let (answered, ()) = tokio::join!(writer, kill);
        cluster.acknowledged.extend(answered);
        cluster.propose().await;
        cluster.start(leader).await;
        cluster.check().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_of_one_leads_at_once_and_goes_on() {
    let mut cluster = Cluster::new(1, 4).await;
    for round in 0..6 {
        cluster.propose_many(20).await;
        if round % 2 == 0 {
            let index = cluster.group(0).checkpoint().await.expect("written");
            assert!(index > 0);
        }
        cluster.kill(0, true).await;
        cluster.start(0).await;
        cluster.check().await;
    }
    let leadership = cluster.group(0).watch().borrow().clone();
    assert!(leadership.is_leader && leadership.leader == Some(member(0)));
    assert_eq!(leadership.term, cluster.group(0).term());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_lead_says_who_does() {
    let mut cluster = Cluster::new(3, 5).await;
    cluster.propose().await;
    let leader = cluster.leader().await;
    let mut watch = cluster.group((leader + 1) % 3).watch();
    let known = watch.wait_for(|l| l.leader.is_some() && !l.is_leader);
    let known =
        tokio::time::timeout(PATIENCE, known).await.expect("in time").expect("runs").clone();
    let refused = cluster.group((leader + 1) % 3).propose(b"x".to_vec()).await;
    assert_eq!(refused, Err(ProposeError::NotLeader { leader: known.leader }));
    let too_large =
        vec![0; HostConfig::new(NodeId(1), Default::default(), "/".into()).entry_bytes_max + 1];
    let refused = cluster.group(leader).propose(too_large).await.expect_err("too large");
    assert_eq!(refused.kind(), ErrorKind::LimitExceeded);
    cluster.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_are_created_once_and_removed_for_good() {
    let mut cluster = Cluster::new(1, 6).await;
    cluster.propose().await;
    let host = cluster.running(0).host.clone();
    let journal = Arc::new(Journal::default());
    let other = host.create_group(8, vec![member(0)], journal.clone()).await.expect("created");
    while other.propose(b"other".to_vec()).await.is_err() {}
    other.checkpoint().await.expect("written");
    assert_eq!(host.stored_groups(), [3, 8]);
    let moved = crate::Member { address: "elsewhere:1".to_string(), ..member(0) };
    host.create_group(8, vec![moved], journal.clone()).await.expect("a known one may have moved");
    let strangers = host.create_group(8, vec![member(0), member(1)], journal.clone()).await;
    assert_eq!(strangers.err().map(|error| error.kind()), Some(ErrorKind::Invalid));
    let without = host.create_group(9, vec![member(1)], journal.clone()).await;
    assert_eq!(without.err().map(|error| error.kind()), Some(ErrorKind::Invalid));
    host.remove_group(8).await.expect("removed");
    host.remove_group(8).await.expect("again");
    assert!(other.propose(b"late".to_vec()).await.is_err());
    cluster.kill(0, true).await;
    cluster.start(0).await;
    let host = &cluster.running(0).host;
    assert_eq!(host.stored_groups(), [3]);
    let gone = host.open_group(8, journal).await;
    assert_eq!(gone.err().map(|error| error.kind()), Some(ErrorKind::NotFound));
    cluster.check().await;
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused() {
    let faults: [fn(&mut HostConfig); 4] = [
        |c| c.node = NodeId(0),
        |c| c.heartbeat_ms = c.election_timeout_ms,
        |c| c.election_timeout_ms = 0,
        |c| c.groups_max = 1 << 20,
    ];
    for fault in faults {
        let mut config = config(0);
        fault(&mut config);
        let rng = pando_runtime::Rng::seeded(1);
        let network = crate::LocalNetwork::new(rng.clone());
        let opened = crate::Host::open(
            config,
            pando_runtime::disk::SimDisk::new().shared(),
            network.transport(NodeId(1)),
            pando_runtime::SystemClock::shared(),
            rng,
            &pando_runtime::Tasks::new(),
        );
        assert_eq!(opened.err().map(|error| error.kind()), Some(ErrorKind::Invalid));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_cannot_be_read_stops_its_group_and_fails_the_process() {
    let mut cluster = Cluster::new(1, 5).await;
    cluster.propose().await;
    let group = cluster.group(0).clone();
    let answer = group.propose(UNREADABLE).await;
    assert!(answer.is_err(), "{answer:?}");
    let why = tokio::time::timeout(PATIENCE, cluster.running(0).tasks.failed()).await;
    let why = why.expect("the process is told");
    assert!(why.contains("line cannot be read"), "{why}");
    assert!(group.failure().is_some());
    assert!(group.propose(b"behind it".to_vec()).await.is_err());
    assert_eq!(cluster.running(0).journal.lines(), cluster.acknowledged, "nothing was skipped");
    cluster.kill(0, false).await;

    // It stops there again, whenever it is started.
    let (tasks, disk) = (Tasks::new(), cluster.nodes[0].disk.shared());
    let (transport, clock) = (cluster.network.transport(member(0).node), SystemClock::shared());
    let host = Host::open(config(0), disk, transport, clock, cluster.rng.clone(), &tasks);
    let host = host.expect("log is whole");
    let opened = host.open_group(GROUP, Arc::new(Journal::default())).await;
    assert!(opened.is_err());
    assert!(tasks.failure().is_some_and(|why| why.contains("line cannot be read")));
    host.shutdown().await;
    assert_eq!(tasks.shutdown(PATIENCE).await, [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_unfit_gives_up_the_lead_and_leads_only_where_nobody_else_can() {
    let mut cluster = Cluster::new(3, 6).await;
    for _ in 0..3 {
        cluster.propose().await;
        let unfit = cluster.leader().await;
        cluster.group(unfit).set_unfit(true);
        // Where the others have no time to elect one of them, it leads on, and has to offer the lead again.
        let given_up = async {
            while cluster.leader().await == unfit {
                offer_lead(cluster.group(unfit)).await;
            }
        };
        tokio::time::timeout(PATIENCE, given_up).await.expect("another leads in time");
        cluster.propose().await;
        cluster.group(unfit).set_unfit(false);
    }
    cluster.check().await;
    // All are: one of them leads.
    let leader = cluster.leader().await;
    (0..3).for_each(|i| cluster.group(i).set_unfit(true));
    cluster.group(leader).give_up_lead();
    cluster.propose().await;
    cluster.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_gave_up_a_lead_speaks_when_it_leads_again() {
    let mut cluster = Cluster::new(3, 7).await;
    let mut silent = std::collections::BTreeSet::new();
    while silent.len() < 3 {
        cluster.propose().await;
        let leader = cluster.leader().await;
        let group = cluster.group(leader);
        group.inner.contact.be_silent(group.term(), PATIENCE * 2);
        silent.insert(leader);
    }
    cluster.propose().await;
    cluster.check().await;
}

/// Gives up the lead. A leader that does says nothing.
async fn offer_lead(group: &Group) {
    let term = group.term();
    group.give_up_lead();
    let read = group.read_index().await;
    if group.is_leader() && group.term() == term && group.is_silent() {
        assert!(read.is_err(), "it led, silent, before the read and after it");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_whose_core_panics_fails_the_process() {
    let mut cluster = Cluster::new(1, 8).await;
    cluster.propose().await;
    let group = cluster.group(0).clone();
    assert_eq!(group.failure(), None);
    let panics = group.inner.raft.with_raft_state(|_| panic!("told to")).await;
    assert!(panics.is_err());
    let why = tokio::time::timeout(PATIENCE, cluster.running(0).tasks.failed()).await;
    let why = why.expect("the process is told");
    assert!(why.contains("panicked"), "{why}");
    assert!(group.failure().is_some_and(|why| why.contains("panicked")));
    cluster.kill(0, false).await;
    cluster.start(0).await;
    let group = cluster.group(0).clone();
    cluster.propose().await;
    cluster.kill(0, false).await;
    assert_eq!(group.failure(), None, "it was shut down");
}

/// A member that comes back with an older copy of its disk has forgotten what it told the leader. That may end a
/// process (openraft asserts in debug builds that it does not happen); started again, all go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_with_an_old_disk_does_no_lasting_harm() {
    let mut cluster = Cluster::new(3, 8).await;
    cluster.propose_many(5).await;
    let old = (cluster.leader().await + 1) % 3;
    cluster.kill(old, false).await;
    let backup = cluster.nodes[old].disk.copy();
    cluster.start(old).await;
    cluster.propose_many(30).await;
    cluster.check().await;
    cluster.kill(old, false).await;
    cluster.nodes[old].disk = backup;
    cluster.start(old).await;
    let healed = async {
        loop {
            for i in 0..3 {
                if cluster.running(i).tasks.failure().is_some() {
                    cluster.kill(i, false).await;
                    cluster.start(i).await;
                }
            }
            let lines = cluster.running(old).journal.lines();
            if lines == cluster.acknowledged {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, healed).await.expect("it hears of all that it forgot");
    cluster.propose_many(5).await;
    cluster.check().await;
}

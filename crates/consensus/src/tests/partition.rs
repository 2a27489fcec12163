//! The network breaks.

use pando_model::{ClusterId, NodeId};

use super::cluster::{Cluster, GROUP, member};
use crate::message::{Reply, Request};
use crate::{ProposeError, RaftRequest};

fn nodes() -> Vec<NodeId> {
    (0..3).map(|i| member(i).node).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_without_majority_confirms_nothing_and_comes_back() {
    let mut cluster = Cluster::new(3, 21).await;
    cluster.propose_many(3).await;
    for _ in 0..3 {
        let leader = cluster.leader().await;
        cluster.network.isolate(member(leader).node, &nodes());
        assert!(cluster.group(leader).read_index().await.is_err(), "a cut off leader reads");
        let alone = cluster.group(leader).clone();
        let others: Vec<usize> = (0..3).filter(|i| *i != leader).collect();
        let text = format!("majority-{}", cluster.acknowledged.len());
        // The majority goes on.
        let majority = async {
            loop {
                for i in &others {
                    if cluster.group(*i).propose(text.clone().into_bytes()).await.is_ok() {
                        return;
                    }
                }
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        };
        let (lonely, ()) = tokio::join!(alone.propose(b"alone".to_vec()), majority);
        assert!(matches!(lonely, Err(ProposeError::Unavailable(_))), "{lonely:?}");
        cluster.acknowledged.push(text);
        cluster.network.heal();
        cluster.check().await;
        for lines in cluster.journals().await {
            assert!(!lines.contains(&"alone".to_string()), "{lines:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_is_cut_off_reads_nothing_old() {
    let mut cluster = Cluster::new(3, 22).await;
    cluster.propose().await;
    let leader = cluster.leader().await;
    let follower = (leader + 1) % 3;
    cluster.read(follower).await;
    cluster.network.isolate(member(follower).node, &nodes());
    cluster.propose_many(3).await;
    assert!(cluster.group(follower).read_index().await.is_err());
    cluster.network.heal();
    cluster.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_readers_share_a_question() {
    let mut cluster = Cluster::new(3, 23).await;
    cluster.propose_many(2).await;
    let leader = cluster.leader().await;
    cluster.read((leader + 1) % 3).await;
    let group = cluster.group((leader + 1) % 3);
    let reads = futures::future::join_all((0..200).map(|_| group.read_index())).await;
    // All share the outcome of two rounds at most: were a leader lost meanwhile, all of a round would fail.
    let failed = reads.iter().filter(|read| read.is_err()).count();
    assert!(failed < 200, "failed={failed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_and_late_messages_only_cost_time() {
    let mut cluster = Cluster::new(3, 24).await;
    cluster.propose().await;
    cluster.network.set_loss_percent(10);
    cluster.network.set_delay_ms(0, 6);
    cluster.propose_many(30).await;
    cluster.network.heal();
    cluster.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_one_way_cut_is_survived() {
    let mut cluster = Cluster::new(3, 25).await;
    cluster.propose().await;
    let leader = cluster.leader().await;
    // Its words do not arrive; others' do.
    for other in nodes() {
        cluster.network.cut(member(leader).node, other);
    }
    cluster.propose_many(3).await;
    cluster.network.heal();
    cluster.propose_many(2).await;
    cluster.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_refused_naming_both_sides() {
    let mut cluster = Cluster::new(1, 26).await;
    cluster.propose().await;
    let host = &cluster.running(0).host;
    let ask = |cluster, target| {
        let request = RaftRequest { cluster, target, body: Request::ReadIndex };
        host.handle(GROUP, request)
    };
    assert!(matches!(ask(ClusterId(9), NodeId(1)).await.body, Reply::ReadIndex(Some(_))));
    for (id, target) in [(ClusterId(8), NodeId(1)), (ClusterId(9), NodeId(2))] {
        let Reply::Refused(text) = ask(id, target).await.body else {
            panic!("a stranger is served")
        };
        assert!(text.contains(&id.to_string()) && text.contains(&target.to_string()), "{text}");
        assert!(text.contains("own_cluster=0000000000000009 own_node=0000000000000001"), "{text}");
    }
    let unknown =
        RaftRequest { cluster: ClusterId(9), target: NodeId(1), body: Request::ReadIndex };
    assert!(matches!(host.handle(99, unknown).await.body, Reply::Refused(_)));
}

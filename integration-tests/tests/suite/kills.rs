//! `kill -9` of members under write load: of any one, the leaders too, and of all at once. Writes and queries go
//! on, and what was acknowledged is there once, checked by a ledger of the acknowledged samples.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use pando_integration_tests::cluster::Cluster;
use pando_integration_tests::load::{Load, check_ledger};
use pando_integration_tests::writer::Ledger;
use pando_integration_tests::{long, now_ms, peers};
use pando_runtime::Rng;

/// Rounds of all tests here together are 50, in the long version 1,000.
const LONG_FACTOR: usize = 20;
/// Rounds after which a new load begins, so that a check does not grow with the rounds before.
const ROUNDS_PER_LOAD: usize = 20;
/// Requests of each sender that have to be acknowledged for writes to go on.
pub(super) const GOES_ON: usize = 3;

/// Generations, blocks, what is dropped from memory and what is merged come fast, so that kills meet them.
const FAST_CUTS: [&str; 2] = ["--ingester.cut-interval=3s", "--ingester.query-timeout=5s"];
pub(super) const FAST: [&str; 3] = [FAST_CUTS[0], FAST_CUTS[1], "--compactor.min-block-age=10s"];
/// What says that a member leads the catalog, and that it leads a shard.
const LEADS: [&str; 2] = ["pando_controller_leader", "pando_ingester_shards_led"];
const SHARDS: [&str; 2] = ["--controller.shards=2", "--controller.tenant-ranges=4"];

/// Who is killed in a round.
#[derive(Clone, Copy)]
pub(super) enum Victim {
    One,
    All,
}

/// A cluster under attack.
pub(super) struct Arena {
    pub(super) cluster: Cluster,
    /// Names of the members that take writes.
    receivers: Vec<String>,
    /// Names of the members that answer queries.
    frontends: Vec<String>,
    /// Names of the controllers and ingesters.
    victims: Vec<String>,
    /// How many of those that were killed led the catalog, and how many a shard.
    leaders_killed: [usize; 2],
    rng: Rng,
}

impl Arena {
    /// Three controllers, three ingesters, and one of every other role but the agent.
    async fn of_roles(objstore: Option<PathBuf>) -> Result<Self> {
        let mut cluster = Cluster::new()?;
        let objstore = match objstore {
            Some(file) => file,
            None => cluster.local_bucket()?,
        };
        let flag = format!("--objstore.config-file={}", objstore.display());
        for n in 0..3 {
            let controller = cluster.add("controller", &format!("controller-{n}"));
            controller.flags.push(flag.clone());
            controller.flags.extend(SHARDS.map(String::from));
            controller.flags.push(FAST[2].to_string());
        }
        cluster.found();
        for n in 0..3 {
            let ingester = cluster.add("ingester", &format!("ingester-{n}"));
            ingester.flags.push(flag.clone());
            ingester.flags.extend(FAST_CUTS.map(String::from));
        }
        cluster.add("store-gateway", "store-gateway").flags.push(flag.clone());
        cluster.add("compactor", "compactor").flags.push(flag);
        cluster.add("receiver", "receiver");
        cluster.add("query-frontend", "query-frontend");
        let groups = ["controller", "ingester"];
        let victims = cluster.members.iter().filter(|m| groups.contains(&&*m.role));
        let victims = victims.map(|m| m.name.clone()).collect();
        let arena = Arena {
            cluster,
            receivers: vec!["receiver".to_string()],
            frontends: vec!["query-frontend".to_string()],
            victims,
            leaders_killed: [0; 2],
            rng: rng(),
        };
        arena.begin().await
    }

    /// Three `pando all` that form one cluster, with these flags and this environment.
    pub(super) async fn of_equals(flags: &[&str], envs: &[(&str, &str)]) -> Result<Self> {
        let mut cluster = Cluster::new()?;
        let objstore = cluster.local_bucket()?;
        cluster.add_equals(3, &objstore)?;
        cluster.give("all", &SHARDS);
        cluster.give("all", flags);
        cluster.set_envs(envs);
        let names: Vec<String> = cluster.members.iter().map(|m| m.name.clone()).collect();
        let arena = Arena {
            cluster,
            receivers: names.clone(),
            frontends: names.clone(),
            victims: names,
            leaders_killed: [0; 2],
            rng: rng(),
        };
        arena.begin().await
    }

    async fn begin(mut self) -> Result<Self> {
        // Nobody operates these clusters: they run as they are shipped.
        self.cluster.flags.clear();
        self.cluster.start()?;
        self.cluster.ready().await?;
        Ok(self)
    }

    fn base(&self, name: &str) -> String {
        self.cluster.url(name, "")
    }

    pub(super) fn load(&self, name: &str) -> Load {
        Load::start(self.receivers.iter().map(|name| self.base(name)).collect(), name)
    }

    /// A member that answers queries and runs.
    pub(super) fn frontend(&self) -> Result<String> {
        let mut names = self.frontends.iter();
        let name = names.find(|name| self.cluster.named(name).process.is_some());
        Ok(self.base(name.context("nobody answers queries")?))
    }

    /// The rounds of one test.
    pub(super) async fn rounds(mut self, victim: Victim, rounds: usize) -> Result<()> {
        let rounds = if long() { rounds * LONG_FACTOR } else { rounds };
        let mut ledgers: Vec<(String, Ledger)> = Vec::new();
        for first in (0..rounds).step_by(ROUNDS_PER_LOAD) {
            let name = format!("load-{first}");
            let load = self.load(&name);
            load.goes_on(GOES_ON).await.with_context(|| self.cluster.log_tails())?;
            for round in first..rounds.min(first + ROUNDS_PER_LOAD) {
                let begun_ms = now_ms();
                let done = match victim {
                    Victim::One => self.kill_one(&load, round).await,
                    Victim::All => self.kill_all(&load).await,
                };
                let done = done.with_context(|| format!("round={round}"));
                let samples = done.with_context(|| self.cluster.log_tails())?;
                println!("round={round} samples={samples} took_ms={}", now_ms() - begun_ms);
            }
            ledgers.push((name, load.end().await?));
        }
        if matches!(victim, Victim::One) {
            // Each kind every fourth round; a leader may have lost its lead just then.
            let killed = self.leaders_killed;
            let enough = killed.iter().all(|killed| *killed >= rounds / 8);
            ensure!(enough, "leaders that were killed: {killed:?} rounds={rounds}");
        }
        for (name, ledger) in &ledgers {
            check_ledger(&self.frontend()?, name, ledger).await.context("at the end")?;
        }
        Ok(())
    }

    async fn kill_one(&mut self, load: &Load, round: usize) -> Result<usize> {
        let name = self.pick(round).await;
        println!("kill -9 {name}");
        self.cluster.member(&name).kill();
        let down = async {
            load.goes_on(GOES_ON).await?;
            load.check(&self.frontend()?).await
        };
        let samples = down.await.with_context(|| format!("while {name} is down"))?;
        self.cluster.start()?;
        self.cluster.named(&name).ready().await?;
        Ok(samples)
    }

    async fn kill_all(&mut self, load: &Load) -> Result<usize> {
        load.goes_on(self.rng.range(1, 2 * GOES_ON as u64) as usize).await?;
        self.cluster.kill_all();
        self.cluster.start()?;
        self.cluster.ready().await?;
        load.goes_on(GOES_ON).await?;
        load.check(&self.frontend()?).await
    }

    /// A member to kill: in turn one that leads the catalog, any, one that leads a shard, and any.
    async fn pick(&mut self, round: usize) -> String {
        let mut leaders = [Vec::new(), Vec::new()];
        for name in &self.victims {
            for (leaders, metric) in leaders.iter_mut().zip(LEADS) {
                let value = self.cluster.named(name).metric(metric).await;
                if value.is_ok_and(|value| value > 0.0) {
                    leaders.push(name.clone());
                }
            }
        }
        let wanted = [&leaders[0], &self.victims, &leaders[1], &self.victims][round % 4];
        let names = if wanted.is_empty() { &self.victims } else { wanted };
        let name = names[self.rng.range(0, names.len() as u64) as usize].clone();
        for (killed, leaders) in self.leaders_killed.iter_mut().zip(&leaders) {
            *killed += usize::from(leaders.contains(&name));
        }
        name
    }
}

fn rng() -> Rng {
    let given = std::env::var("PANDO_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or(now_ms() as u64);
    println!("PANDO_TEST_SEED={seed}");
    Rng::seeded(seed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_role_is_killed_and_nobody_notices() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let Some(s3) = peers::start_s3(folder.path()).await? else { return Ok(()) };
    Arena::of_roles(Some(s3.config.clone())).await?.rounds(Victim::One, 15).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_roles_are_killed_and_nothing_is_lost() -> Result<()> {
    Arena::of_roles(None).await?.rounds(Victim::All, 8).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_equals_is_killed_and_nobody_notices() -> Result<()> {
    Arena::of_equals(&FAST, &[]).await?.rounds(Victim::One, 17).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_equals_are_killed_and_nothing_is_lost() -> Result<()> {
    Arena::of_equals(&FAST, &[]).await?.rounds(Victim::All, 10).await
}

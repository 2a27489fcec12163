//! `Manager`: keeps scrape loops in step with scrape configs, discovery and the ring of agents.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use pando_cluster::TargetRing;
use pando_config::{Config, ScrapeConfig, TargetGroup};
use pando_model::{Labels, NodeId, TenantId};
use pando_runtime::Tasks;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::api::PoolView;
use crate::client::HttpClient;
use crate::discovery::{Discovery, RunningSource};
use crate::pool::{Stage, Step, plan};
use crate::roster::Roster;
use crate::scrape::pacing::Pacing;
use crate::scrape::scrape_loop::{Order, ScrapeLoop};
use crate::scrape::scraper::{ScrapeContext, Scraper, TargetStatus};
use crate::scrape::settings::ScrapeSettings;
use crate::target::Target;
use crate::targets::{TargetSet, targets};

/// How often the ring of agents and ended loops are looked at.
const TICK: Duration = Duration::from_secs(1);
/// News of discovery that come within this time are taken in together.
const GATHER: Duration = Duration::from_millis(100);

/// What is to be scraped, as the configuration says.
#[derive(Debug)]
pub(crate) struct Scraping {
    scrape_configs: Vec<ScrapeConfig>,
    external_labels: Vec<(String, String)>,
}

impl Scraping {
    pub(crate) fn new(config: &Config) -> Self {
        let external = config.global.external_labels.iter();
        Scraping {
            scrape_configs: config.scrape_configs.clone(),
            external_labels: external.map(|(n, v)| (n.clone(), v.clone())).collect(),
        }
    }
}

/// See the module.
pub(crate) struct Manager {
    pub(crate) tenant: TenantId,
    pub(crate) context: ScrapeContext,
    pub(crate) roster: Arc<dyn Roster>,
    pub(crate) discovery: Discovery,
    pub(crate) tasks: Tasks,
    pub(crate) views: Arc<ArcSwap<Vec<PoolView>>>,
    pub(crate) pools: BTreeMap<String, Pool>,
}

/// One scrape config and its loops.
pub(crate) struct Pool {
    config: ScrapeConfig,
    /// Shared with the loops, which take over what a reload changes.
    settings: Arc<ArcSwap<ScrapeSettings>>,
    sources: Vec<Arc<RunningSource>>,
    /// What `set` was made of.
    seen: Vec<Arc<Vec<TargetGroup>>>,
    set: TargetSet,
    /// The labels of the targets in `set`.
    in_use: Arc<Mutex<HashSet<Labels>>>,
    /// The targets in `set`, and whether they are this agent's by `ring`.
    wanted: BTreeMap<u128, bool>,
    own: BTreeMap<u128, Arc<Target>>,
    ring: Option<Arc<TargetRing>>,
    loops: BTreeMap<u128, LoopHandle>,
    /// The config is gone; the pool ends with its last loop.
    removed: bool,
    /// Something is to be shown anew.
    changed: bool,
}

struct LoopHandle {
    target: Arc<Target>,
    orders: watch::Sender<Order>,
    status: Arc<Mutex<TargetStatus>>,
    ended: Arc<AtomicBool>,
}

impl Manager {
    /// Runs for ever. Dropping it anywhere is safe.
    pub(crate) async fn run(
        mut self,
        mut config: watch::Receiver<Arc<Scraping>>,
        news: Arc<Notify>,
    ) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let first = config.borrow_and_update().clone();
        self.reload(&first);
        loop {
            self.sync();
            tokio::select! {
                changed = config.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let next = config.borrow_and_update().clone();
                    self.reload(&next);
                }
                () = news.notified() => tokio::time::sleep(GATHER).await,
                _ = tick.tick() => {}
            }
        }
    }

    fn reload(&mut self, scraping: &Scraping) {
        for config in &scraping.scrape_configs {
            let sources = self.discovery.sources_of(config);
            let client = HttpClient::new(config.http.clone(), self.context.clock.clone());
            let external = scraping.external_labels.clone();
            let settings =
                ScrapeSettings::new(config.clone(), external, self.tenant.clone(), client);
            let job = config.job_name.clone();
            match self.pools.get_mut(&job) {
                Some(pool) => pool.reload(config.clone(), settings, sources),
                None => {
                    self.pools.insert(job, Pool::new(config.clone(), settings, sources));
                }
            }
        }
        let jobs: BTreeSet<&str> = scraping.scrape_configs.iter().map(|c| &*c.job_name).collect();
        for pool in self.pools.values_mut() {
            if !jobs.contains(pool.config.job_name.as_str()) {
                pool.remove();
            }
        }
        self.discovery.forget_unused();
    }

    /// Brings loops in step, and shows what there is.
    fn sync(&mut self) {
        let (ring, me) = (self.roster.ring(), self.roster.me());
        for pool in self.pools.values_mut() {
            pool.find_targets(&self.context);
            pool.find_own(&ring, me);
            pool.loops.retain(|_, one| !one.ended.load(Ordering::SeqCst));
            let steps = pool.plan();
            pool.changed |= !steps.is_empty();
            for step in steps {
                pool.take(step, &self.context, &self.roster, &self.tasks);
            }
            let (entries, bytes) = pool.metadata_size();
            self.context.metrics.metadata(&pool.config.job_name, entries, bytes);
        }
        let before = self.pools.len();
        self.pools.retain(|job, pool| {
            let gone = pool.removed && pool.loops.is_empty();
            if gone {
                self.context.metrics.forget_job(job);
            }
            !gone
        });
        if self.pools.len() != before || self.pools.values().any(|pool| pool.changed) {
            self.show(me);
        }
    }

    fn show(&mut self, me: NodeId) {
        for pool in self.pools.values_mut() {
            pool.changed = false;
            let faults = pool.set.faults.len();
            let limit = pool.settings.load().config.limits.targets;
            self.context.metrics.pool(&pool.config.job_name, pool.active().count(), limit, faults);
        }
        let shown = self.pools.values().filter(|pool| !pool.removed);
        self.views.store(Arc::new(shown.map(|pool| pool.view(me)).collect()));
    }
}

impl Pool {
    fn new(
        config: ScrapeConfig,
        settings: ScrapeSettings,
        sources: Vec<Arc<RunningSource>>,
    ) -> Self {
        let mut pool = Pool {
            config: config.clone(),
            settings: Arc::new(ArcSwap::from_pointee(settings)),
            sources: Vec::new(),
            seen: Vec::new(),
            set: TargetSet::default(),
            in_use: Arc::default(),
            wanted: BTreeMap::new(),
            own: BTreeMap::new(),
            ring: None,
            loops: BTreeMap::new(),
            removed: false,
            changed: true,
        };
        pool.adopt(config, sources);
        pool
    }

    fn reload(
        &mut self,
        config: ScrapeConfig,
        settings: ScrapeSettings,
        sources: Vec<Arc<RunningSource>>,
    ) {
        let is_back = std::mem::take(&mut self.removed);
        let is_new = !settings.scrapes_like(&self.settings.load());
        if is_new {
            self.settings.store(Arc::new(settings));
        }
        if is_back || is_new || config != self.config {
            self.adopt(config, sources);
        }
    }

    /// The config is gone: so are its targets.
    fn remove(&mut self) {
        self.removed = true;
        self.sources.clear();
        self.seen.clear();
        self.set = TargetSet::default();
        self.in_use.lock().clear();
        self.ring = None;
    }

    fn adopt(&mut self, config: ScrapeConfig, sources: Vec<Arc<RunningSource>>) {
        self.config = config;
        self.sources = sources;
        self.set = TargetSet::default();
        self.ring = None;
        self.seen.clear();
        // Makes the next look find a difference, also where there is no source.
        self.seen.push(Arc::default());
        self.seen.push(Arc::default());
    }

    /// Makes the targets anew where discovery has changed.
    fn find_targets(&mut self, context: &ScrapeContext) {
        let found: Vec<_> = self.sources.iter().map(|source| source.groups()).collect();
        let same = found.len() == self.seen.len()
            && found.iter().zip(&self.seen).all(|(a, b)| Arc::ptr_eq(a, b));
        if same {
            return;
        }
        let begin = context.clock.monotonic();
        let fixed = self.config.static_configs().iter();
        self.set = targets(&self.config, fixed.chain(found.iter().flat_map(|g| g.iter())));
        self.seen = found;
        self.ring = None;
        let labels = self.set.active.iter().map(|target| target.public_labels.clone());
        *self.in_use.lock() = labels.collect();
        let job = &self.config.job_name;
        if let Some(first) = self.set.faults.first() {
            let count = self.set.faults.len();
            tracing::warn!(job, count, first, "targets cannot be scraped");
        }
        let took = context.clock.monotonic().saturating_sub(begin);
        context.metrics.synced(job, took, self.set.faults.len());
        context.metrics.discovered(job, self.set.active.len() + self.set.dropped_count);
        self.check_limit(context);
    }

    fn check_limit(&self, context: &ScrapeContext) {
        let (found, limit) = (self.set.active.len(), self.settings.load().config.limits.targets);
        let over = limit > 0 && found as u64 > limit;
        if over {
            context.metrics.pool_exceeded_target_limit.inc();
        }
        let why = format!("target_limit exceeded (number of targets: {found}, limit: {limit})");
        *self.settings.load().forced_error.lock() = over.then(|| why.into());
    }

    /// Finds out which targets are this agent's where the ring or the targets have changed.
    fn find_own(&mut self, ring: &Arc<TargetRing>, me: NodeId) {
        if self.ring.as_ref().is_some_and(|known| Arc::ptr_eq(known, ring)) {
            return;
        }
        self.ring = Some(ring.clone());
        let own = |target: &Target| ring.owner(target.identity()) == Some(me);
        self.wanted.clear();
        self.own.clear();
        for target in &self.set.active {
            let (id, is_own) = (target.id(), own(target));
            self.wanted.insert(id, is_own);
            if is_own {
                self.own.insert(id, target.clone());
            }
        }
        self.changed = true;
    }

    fn plan(&self) -> Vec<Step> {
        let stage = |one: &LoopHandle| match *one.orders.borrow() {
            Order::Scrape => Stage::Scraping,
            Order::Retire | Order::Leave => Stage::Retiring,
        };
        let running = self.loops.iter().map(|(id, one)| (*id, stage(one))).collect();
        plan(&running, &self.wanted)
    }

    fn take(
        &mut self,
        step: Step,
        context: &ScrapeContext,
        roster: &Arc<dyn Roster>,
        tasks: &Tasks,
    ) {
        let order = |id: u128, order: Order| {
            if let Some(one) = self.loops.get(&id) {
                one.orders.send_replace(order);
            }
        };
        match step {
            Step::Resume(id) => order(id, Order::Scrape),
            Step::Retire(id) => order(id, Order::Retire),
            Step::Leave(id) => {
                order(id, Order::Leave);
                self.loops.remove(&id);
            }
            Step::Start(id) => {
                if let Some(target) = self.own.get(&id) {
                    let one = self.start(target.clone(), context, roster, tasks);
                    self.loops.insert(id, one);
                }
            }
        }
    }

    fn start(
        &self,
        target: Arc<Target>,
        context: &ScrapeContext,
        roster: &Arc<dyn Roster>,
        tasks: &Tasks,
    ) -> LoopHandle {
        let (orders, ordered) = watch::channel(Order::Scrape);
        let status = Arc::new(Mutex::new(TargetStatus::default()));
        let ended = Arc::new(AtomicBool::new(false));
        let seed = roster.offset_seed();
        let in_use = self.in_use.clone();
        let (settings, seen) = (self.settings.clone(), status.clone());
        let one = ScrapeLoop {
            pacing: Pacing::new(target.interval_ms, target.offset_hash(), seed),
            scraper: Scraper::new(target.clone(), settings, context.clone(), seen),
            context: context.clone(),
            roster: roster.clone(),
            orders: ordered,
            is_in_use: Arc::new(move |labels| in_use.lock().contains(labels)),
            ended: ended.clone(),
        };
        tasks.spawn_until_stopped("scrape loop", one.run());
        LoopHandle { target, orders, status, ended }
    }

    /// The loops that scrape.
    fn active(&self) -> impl Iterator<Item = &LoopHandle> {
        self.loops.values().filter(|one| *one.orders.borrow() == Order::Scrape)
    }

    /// Metric families whose metadata the loops remember, and their bytes.
    fn metadata_size(&self) -> (usize, usize) {
        let sizes = self.loops.values().map(|one| one.status.lock().metadata);
        sizes.fold((0, 0), |(entries, bytes), more| (entries + more.0, bytes + more.1))
    }

    fn view(&self, me: NodeId) -> PoolView {
        let mut active: Vec<_> =
            self.active().map(|one| (one.target.clone(), one.status.clone())).collect();
        active.sort_by(|(a, _), (b, _)| a.identity().cmp(b.identity()));
        let job = self.config.job_name.clone();
        let ring = self.ring.as_ref();
        let own = |identity: Vec<u8>| ring.and_then(|ring| ring.owner(&identity)) == Some(me);
        let dropped: Vec<_> =
            self.set.dropped.iter().filter(|t| own(t.identity(&job))).cloned().collect();
        // Those that were not kept are shown by nobody, and counted by whoever has the config's own identity.
        let unkept = self.set.dropped_count - self.set.dropped.len();
        let dropped_count = dropped.len() + if own(job.clone().into_bytes()) { unkept } else { 0 };
        PoolView { job, active, dropped, dropped_count }
    }
}

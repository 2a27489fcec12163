//! `Load`: senders that never rest, as remote writers of a real cluster do, and the check that what was
//! acknowledged to them is what queries answer.
//!
//! It does not know who is killed meanwhile.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::sync::{RwLock, RwLockWriteGuard};
use tokio::task::JoinSet;

use crate::writer::{Ledger, Writer, Written, raw_samples};
use crate::{PATIENCE, eventually, http, now_ms};

/// Senders.
const SENDERS: usize = 2;
/// Series of each sender: two targets with five each.
const SERIES: usize = 10;
/// Between two requests of a sender.
const PAUSE: Duration = Duration::from_millis(20);
/// Before a request that failed is sent again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Senders that run until this is dropped.
pub struct Load {
    shared: Arc<Shared>,
    name: String,
    _senders: JoinSet<()>,
}

struct Shared {
    bases: Vec<String>,
    writers: Vec<Writer>,
    /// Requests that were acknowledged, by sender.
    acknowledged: Vec<AtomicUsize>,
    /// Held while a request is under way, and alone while the senders have to be still.
    gate: RwLock<()>,
    /// Why a request was refused: none of them deserves it.
    refused: Mutex<Option<String>>,
    /// How far behind the clock the samples' times are, ms.
    behind_ms: i64,
}

impl Load {
    /// Begins to send series with the label `load="<name>"` to the receivers at `bases` (`http://host:port`); a
    /// sender that gets no answer turns to the next.
    pub fn start(bases: Vec<String>, name: &str) -> Self {
        Self::start_behind(bases, name, 0)
    }

    /// [`Load::start`] with times that are `behind_ms` behind the clock.
    pub fn start_behind(bases: Vec<String>, name: &str, behind_ms: i64) -> Self {
        let first = bases.first().cloned().unwrap_or_default();
        let shared = Arc::new(Shared {
            bases,
            writers: (0..SENDERS).map(|_| Writer::new(&first, "default")).collect(),
            acknowledged: (0..SENDERS).map(|_| AtomicUsize::new(0)).collect(),
            gate: RwLock::new(()),
            refused: Mutex::default(),
            behind_ms,
        });
        let mut senders = JoinSet::new();
        for sender in 0..SENDERS {
            let (shared, name) = (shared.clone(), name.to_string());
            senders.spawn(async move { shared.send(&name, sender).await });
        }
        Load { shared, name: name.to_string(), _senders: senders }
    }

    /// Waits until every sender has had `requests` more acknowledged.
    ///
    /// # Errors
    /// Patience ends, or a request was refused for good.
    pub async fn goes_on(&self, requests: usize) -> Result<()> {
        let counts = || self.shared.acknowledged.iter().map(|count| count.load(Ordering::SeqCst));
        let before: Vec<usize> = counts().collect();
        eventually("writes go on", || async {
            let more = counts().zip(&before).all(|(now, before)| now >= before + requests);
            Ok((more || self.refused().is_some()).then_some(()))
        })
        .await?;
        self.refused().map_or(Ok(()), |why| Err(anyhow::anyhow!(why)))
    }

    /// Ends the senders once what is under way has ended, and returns what was written.
    ///
    /// # Errors
    /// Patience ends before a request does.
    pub async fn end(self) -> Result<Ledger> {
        let _still = self.still().await?;
        Ok(self.ledger())
    }

    /// Lets requests that are under way end, and holds the senders until the guard is dropped.
    ///
    /// # Errors
    /// Patience ends before a request does.
    pub async fn still(&self) -> Result<RwLockWriteGuard<'_, ()>> {
        let still = tokio::time::timeout(PATIENCE, self.shared.gate.write()).await;
        still.context("requests that are under way do not end")
    }

    /// What was written so far, of all senders.
    fn ledger(&self) -> Ledger {
        let mut ledger = Ledger::default();
        self.shared.writers.iter().for_each(|writer| ledger.absorb(&writer.ledger()));
        ledger
    }

    /// Stops the senders for a moment, asks `base` for everything that was written, and compares: nothing that was
    /// acknowledged is missing, nothing comes twice. Returns how many samples that are.
    ///
    /// # Errors
    /// No answer within patience, or one that is not what was acknowledged.
    pub async fn check(&self, base: &str) -> Result<usize> {
        if let Some(why) = self.refused() {
            bail!(why);
        }
        let _still = self.still().await?;
        check_ledger(base, &self.name, &self.ledger()).await
    }

    fn refused(&self) -> Option<String> {
        self.shared.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Compares what `base` answers for the series of the load `name` with its ledger.
///
/// # Errors
/// As [`Load::check`].
pub async fn check_ledger(base: &str, name: &str, ledger: &Ledger) -> Result<usize> {
    let Some((first_ms, last_ms)) = ledger.bounds_ms() else { return Ok(0) };
    let selector = format!("load{{load=\"{name}\"}}");
    // A query may have to wait for a new leader. What it answers then has to be right at once.
    let answer = eventually("a query is answered", || async {
        raw_samples(base, "default", &selector, first_ms, last_ms).await.map(Some)
    })
    .await?;
    ledger.check_against(std::slice::from_ref(&answer))?;
    let series = answer["result"].as_array().context("a matrix has a result")?;
    let found: usize = series.iter().map(|s| s["values"].as_array().map_or(0, Vec::len)).sum();
    // Counted where the data is: there a sample could be counted twice that a list shows once.
    let query = format!("sum(count_over_time({selector}[{}ms]))", last_ms - first_ms + 1);
    let time = format!("{}.{:03}", last_ms / 1000, last_ms % 1000);
    let url = format!("{base}/api/v1/query");
    let counted = eventually("a count is answered", || async {
        http::data(&url, &[("query", &query), ("time", &time)]).await.map(Some)
    })
    .await?;
    let counted = counted["result"][0]["value"][1].as_str().unwrap_or("0").to_string();
    ensure!(
        counted == found.to_string(),
        "samples are counted wrong: count={counted} list={found}"
    );
    Ok(found)
}

impl Shared {
    async fn send(&self, name: &str, sender: usize) {
        let mut base = sender;
        let mut last_ms = 0;
        for turn in 0u64.. {
            last_ms = (now_ms() - self.behind_ms).max(last_ms + 1);
            let batch = batch(name, sender, last_ms, turn);
            let _under_way = self.gate.read().await;
            loop {
                let writer = &self.writers[sender];
                // Both protocols, and both have to be safe to repeat.
                let outcome = match turn % 2 {
                    0 => writer.write_v1(&batch).await,
                    _ => writer.write_v2(&batch).await,
                };
                if outcome.is_acknowledged() {
                    self.acknowledged[sender].fetch_add(1, Ordering::SeqCst);
                    break;
                }
                if !outcome.is_in_doubt() && outcome.status != 429 {
                    let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
                    refused.get_or_insert(format!("write is refused: {outcome:?}"));
                    return;
                }
                base += 1;
                writer.redirect(&self.bases[base % self.bases.len()]);
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            drop(_under_way);
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// One sample of each series of a sender.
fn batch(name: &str, sender: usize, timestamp_ms: i64, turn: u64) -> Vec<Written> {
    let series = (0..SERIES).map(|i| {
        let instance = format!("sender-{sender}-{}", i / 5);
        let series = i.to_string();
        let pairs =
            [("load", name), ("job", "load"), ("instance", instance.as_str()), ("series", &series)];
        // A counter, a constant, and something without a pattern.
        let value = match i % 3 {
            0 => turn as f64,
            1 => i as f64,
            _ => (turn.wrapping_mul(2_654_435_761) % 1000) as f64 / 7.0,
        };
        Written::new("load", &pairs, timestamp_ms, value)
    });
    series.collect()
}

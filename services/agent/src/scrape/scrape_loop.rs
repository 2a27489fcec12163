//! The loop that scrapes one target until it is told otherwise.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pando_model::Labels;
use tokio::sync::watch;

use super::pacing::Pacing;
use super::scraper::{ScrapeContext, Scraper};
use crate::roster::Roster;

/// What a loop is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Order {
    /// Scrape.
    Scrape,
    /// The target is gone: write its stale markers, unless it comes back.
    Retire,
    /// End, and write nothing: the target is another agent's now.
    Leave,
}

/// Tells whether any target writes series with these labels now.
pub(crate) type IsInUse = Arc<dyn Fn(&Labels) -> bool + Send + Sync>;

/// One loop.
pub(crate) struct ScrapeLoop {
    pub(crate) scraper: Scraper,
    pub(crate) pacing: Pacing,
    pub(crate) context: ScrapeContext,
    pub(crate) roster: Arc<dyn Roster>,
    pub(crate) orders: watch::Receiver<Order>,
    pub(crate) is_in_use: IsInUse,
    /// Set when the loop has ended.
    pub(crate) ended: Arc<AtomicBool>,
}

impl ScrapeLoop {
    /// Runs until it is told to leave or the target has gone for good. Dropping it anywhere is safe.
    pub(crate) async fn run(mut self) {
        let _ended = Ended(self.ended.clone());
        self.scraper.warm_up().await;
        loop {
            match self.scrape_until_ordered().await {
                Order::Scrape => {}
                Order::Leave => return,
                Order::Retire => {
                    if self.retire().await {
                        return;
                    }
                }
            }
        }
    }

    /// Scrapes until there is another order.
    async fn scrape_until_ordered(&mut self) -> Order {
        let mut due_ms = self.pacing.next_after(self.now_ms());
        loop {
            if let Some(order) = self.wait_until(due_ms, Order::Scrape).await {
                return order;
            }
            // Another agent may have taken over where this one is not counted on any more.
            if self.roster.is_alive() {
                let at_ms = self.pacing.stamp(self.now_ms());
                let mut orders = self.orders.clone();
                let left = orders.wait_for(|order| *order == Order::Leave);
                tokio::select! {
                    () = self.scraper.scrape(at_ms) => {}
                    _ = left => return Order::Leave,
                }
            }
            due_ms = self.pacing.due_after(due_ms, self.now_ms());
        }
    }

    /// Waits whether the target comes back; if not, ends its series. Whether the loop is over.
    async fn retire(&mut self) -> bool {
        if !self.scraper.has_scraped() {
            return true;
        }
        let interval_ms = self.scraper.target().interval_ms;
        let missed_ms = self.pacing.next_after(self.now_ms());
        // Were the target back under another identity, its first samples would have come by then.
        let end_ms = missed_ms + interval_ms + interval_ms / 10;
        match self.wait_until(end_ms, Order::Retire).await {
            Some(order) => return order == Order::Leave,
            None if !self.roster.is_alive() => return true,
            None => {}
        }
        if !(self.is_in_use)(&self.scraper.target().public_labels) {
            self.scraper.end(missed_ms);
        }
        true
    }

    /// Sleeps until `due_ms`, unless the order changes from `order`.
    async fn wait_until(&mut self, due_ms: i64, order: Order) -> Option<Order> {
        let wait_ms = u64::try_from(due_ms - self.now_ms()).unwrap_or(0);
        let other = self.orders.wait_for(|now| *now != order);
        match tokio::time::timeout(Duration::from_millis(wait_ms), other).await {
            Ok(Ok(order)) => Some(*order),
            // Whoever gave orders is gone.
            Ok(Err(_)) => Some(Order::Leave),
            Err(_) => None,
        }
    }

    fn now_ms(&self) -> i64 {
        self.context.clock.now_ms()
    }
}

struct Ended(Arc<AtomicBool>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

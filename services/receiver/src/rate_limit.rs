//! `RateLimits`: one token bucket per tenant with a limit. Pure: whoever asks says what time it is.

use std::collections::BTreeMap;
use std::time::Duration;

use pando_model::TenantId;

/// Seconds of the limit that a tenant may save up: senders are bursty, and come back with a backlog
/// after each restart.
const BURST_S: f64 = 10.0;
/// Buckets that are kept. Beyond it, full ones are forgotten, which changes nothing for anybody.
const BUCKETS_MAX: usize = 16_384;

/// The buckets of all tenants with a limit.
#[derive(Debug, Default)]
pub(crate) struct RateLimits {
    buckets: BTreeMap<TenantId, Bucket>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Samples that may come at once. Below 0 after a request that was larger than what was left.
    tokens: f64,
    /// When `tokens` was right, monotonic time.
    at: Duration,
    /// What fills it, samples a second.
    rate: f64,
}

impl Bucket {
    fn fill(&mut self, rate: f64, now: Duration) {
        let passed_s = now.saturating_sub(self.at).as_secs_f64();
        (self.at, self.rate) = (now, rate);
        self.tokens = (self.tokens + passed_s * rate).min(rate * BURST_S);
    }

    fn is_full_at(mut self, now: Duration) -> bool {
        self.fill(self.rate, now);
        self.tokens >= self.rate * BURST_S
    }
}

/// A tenant sends faster than its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooFast {
    /// When it may come again.
    pub(crate) retry_after: Duration,
}

impl RateLimits {
    /// Takes `samples` of `tenant`, whose limit is `samples_per_s` (0: none). A request passes whole
    /// or not at all; one that is larger than what is left passes too, and the next ones wait for
    /// it, so that no size of request is shut out for ever.
    pub(crate) fn take(
        &mut self,
        tenant: &TenantId,
        samples_per_s: u64,
        samples: u64,
        now: Duration,
    ) -> Result<(), TooFast> {
        if samples_per_s == 0 {
            self.buckets.remove(tenant);
            return Ok(());
        }
        let rate = samples_per_s as f64;
        if self.buckets.len() >= BUCKETS_MAX && !self.buckets.contains_key(tenant) {
            self.buckets.retain(|_, bucket| !bucket.is_full_at(now));
            if self.buckets.len() >= BUCKETS_MAX {
                // Better too much from some than nothing from a tenant that did no wrong.
                self.buckets.clear();
            }
        }
        let full = Bucket { tokens: rate * BURST_S, at: now, rate };
        let bucket = self.buckets.entry(tenant.clone()).or_insert(full);
        bucket.fill(rate, now);
        if bucket.tokens <= 0.0 {
            let wait_s = (1.0 - bucket.tokens) / rate;
            return Err(TooFast { retry_after: Duration::from_secs_f64(wait_s.min(3_600.0)) });
        }
        bucket.tokens -= samples as f64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).expect("a good name")
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_tenant_may_burst_and_then_waits_for_its_rate() {
        let mut limits = RateLimits::default();
        let (a, b) = (tenant("a"), tenant("b"));
        assert_eq!(limits.take(&a, 100, 1_000, at(0)), Ok(()), "the whole burst");
        let refused = limits.take(&a, 100, 1, at(0)).expect_err("nothing is left");
        assert!(refused.retry_after <= at(1) && refused.retry_after > Duration::ZERO);
        assert_eq!(limits.take(&b, 100, 1, at(0)), Ok(()), "another tenant's bucket is its own");
        assert_eq!(limits.take(&a, 100, 100, at(1)), Ok(()));
        assert!(limits.take(&a, 100, 1, at(1)).is_err());
        assert_eq!(limits.take(&a, 0, 1 << 40, at(1)), Ok(()), "no limit any more");
    }

    #[test]
    fn a_request_above_the_burst_passes_and_is_paid_for_later() {
        let mut limits = RateLimits::default();
        let a = tenant("a");
        assert_eq!(limits.take(&a, 10, 1_100, at(5)), Ok(()));
        assert_eq!(
            limits.take(&a, 10, 1, at(104)),
            Err(TooFast { retry_after: Duration::from_millis(1_100) })
        );
        assert_eq!(limits.take(&a, 10, 1, at(106)), Ok(()));
    }

    #[test]
    fn the_number_of_buckets_is_bounded() {
        let mut limits = RateLimits::default();
        for n in 0..BUCKETS_MAX + 10 {
            assert_eq!(limits.take(&tenant(&format!("t{n}")), 1, 1, at(n as u64)), Ok(()));
        }
        assert!(limits.buckets.len() <= BUCKETS_MAX);
    }
}

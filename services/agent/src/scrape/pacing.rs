//! When a target is scraped, and which time its samples bear. Pure.
//!
//! A target's scrapes lie on a grid of its interval, shifted by its offset: a hash of the target and the cluster,
//! so that targets spread over the interval and each keeps its place when another agent takes it over.

/// A scrape that is this late at most bears the time of the grid, ms: equal distances compress to nothing.
const TOLERANCE_MS: i64 = 2;

/// The grid of one target.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pacing {
    interval_ms: i64,
    offset_ms: i64,
}

impl Pacing {
    /// The grid of a target with this hash in the cluster with this seed.
    pub(crate) fn new(interval_ms: i64, target: u64, seed: u64) -> Self {
        let interval_ms = interval_ms.max(1);
        let offset_ms = ((target ^ seed) % interval_ms as u64) as i64;
        Pacing { interval_ms, offset_ms }
    }

    /// The first time of the grid after `now_ms`.
    pub(crate) fn next_after(self, now_ms: i64) -> i64 {
        self.floor(now_ms) + self.interval_ms
    }

    /// When the scrape after the one that was due at `due_ms` is due, at `now_ms`: at the next time of the grid, or at
    /// once where one has passed meanwhile, as when a target took all of its interval to answer. Of several that have
    /// passed one is made up for. A clock that was set back must not stop the scrapes.
    pub(crate) fn due_after(self, due_ms: i64, now_ms: i64) -> i64 {
        let passed_ms = self.floor(now_ms);
        if passed_ms > due_ms {
            return passed_ms;
        }
        let next_ms = self.next_after(now_ms);
        if next_ms == due_ms { self.next_after(due_ms) } else { next_ms }
    }

    /// The time that a scrape which begins at `now_ms` bears.
    pub(crate) fn stamp(self, now_ms: i64) -> i64 {
        let late = now_ms - self.floor(now_ms);
        let tolerance = TOLERANCE_MS.min(self.interval_ms / 100);
        if late <= tolerance {
            now_ms - late
        } else if self.interval_ms - late <= tolerance {
            now_ms - late + self.interval_ms
        } else {
            now_ms
        }
    }

    /// The last time of the grid that is not after `now_ms`.
    fn floor(self, now_ms: i64) -> i64 {
        now_ms - (now_ms - self.offset_ms).rem_euclid(self.interval_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grid_is_a_function_of_target_and_cluster() {
        let pacing = Pacing::new(15_000, 40_123, 0);
        assert_eq!(pacing.next_after(0), 10_123);
        assert_eq!(pacing.next_after(10_122), 10_123);
        assert_eq!(pacing.next_after(10_123), 25_123);
        assert_eq!(pacing.next_after(-20_000), -19_877);
        let other = Pacing::new(15_000, 40_123, 77);
        assert_ne!(other.next_after(0), pacing.next_after(0));
    }

    #[test]
    fn a_scrape_that_took_its_whole_interval_is_followed_at_once() {
        let pacing = Pacing::new(5_000, 0, 0);
        let due = |now_ms| pacing.due_after(10_000, now_ms);
        assert_eq!((due(10_020), due(14_999)), (15_000, 15_000));
        assert_eq!((due(15_000), due(15_003)), (15_000, 15_000), "its time has come meanwhile");
        assert_eq!(due(31_000), 30_000, "one for all that were missed");
        assert_eq!(due(9_999), 15_000, "it was early");
        assert_eq!(due(2_000), 5_000, "the clock was set back");
    }

    #[test]
    fn a_scrape_that_is_hardly_late_bears_the_time_of_the_grid() {
        let pacing = Pacing::new(15_000, 0, 0);
        let stamps = [(30_000, 30_000), (30_002, 30_000), (30_003, 30_003), (29_998, 30_000)];
        for (now_ms, stamp_ms) in stamps {
            assert_eq!(pacing.stamp(now_ms), stamp_ms);
        }
        // 1 % of a short interval is less than 2 ms.
        assert_eq!(Pacing::new(100, 0, 0).stamp(1_001), 1_000);
        assert_eq!(Pacing::new(100, 0, 0).stamp(1_002), 1_002);
        assert_eq!(Pacing::new(50, 0, 0).stamp(1_001), 1_001);
    }
}

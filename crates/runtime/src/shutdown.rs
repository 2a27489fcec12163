//! `Lifecycle`: a process starts, is ready, and ends in phases: unready, drain, flush, stop.

use tokio::sync::watch;

/// Where a process is in its life. Phases only go forward.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Phase {
    /// Not yet able to serve.
    Starting,
    /// Serving.
    Ready,
    /// Told to end: load balancers shall look elsewhere, requests are still served.
    Unready,
    /// No new requests; those under way end.
    Draining,
    /// What is in memory goes to disk or to peers.
    Flushing,
    /// Everything ends.
    Stopped,
}

/// The phase of a process, to be watched. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    phase: watch::Sender<Phase>,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new()
    }
}

impl Lifecycle {
    /// A process that is starting.
    pub fn new() -> Self {
        Lifecycle { phase: watch::Sender::new(Phase::Starting) }
    }

    /// The phase now.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Goes on to `phase`; going back is not possible and changes nothing.
    pub fn advance(&self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            let forward = phase > *now;
            if forward {
                *now = phase;
            }
            forward
        });
    }

    /// Waits until the process is in `phase` or beyond.
    pub async fn reached(&self, phase: Phase) {
        let mut watch = self.phase.subscribe();
        // The sender lives in `self`: the wait cannot fail.
        let _ = watch.wait_for(|now| *now >= phase).await;
    }

    /// Whether requests are welcome.
    pub fn is_ready(&self) -> bool {
        self.phase() == Phase::Ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn never_goes_back() {
        let life = Lifecycle::new();
        life.advance(Phase::Draining);
        life.advance(Phase::Ready);
        assert_eq!(life.phase(), Phase::Draining);
        life.reached(Phase::Unready).await;
    }
}

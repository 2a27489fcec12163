//! `Rng`: chance, handed in so that tests can replay it.

use std::sync::Arc;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng};

/// A shared random generator.
#[derive(Clone, Debug)]
pub struct Rng(Arc<Mutex<StdRng>>);

impl Rng {
    /// Seeded by the operating system.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the chance that everything else is handed"
    )]
    pub fn system() -> Self {
        Rng(Arc::new(Mutex::new(StdRng::from_rng(&mut rand::rng()))))
    }

    /// Seeded by `seed`: the same numbers every time.
    pub fn seeded(seed: u64) -> Self {
        Rng(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// 64 random bits, never 0 (ids use 0 for "none").
    pub fn id(&self) -> u64 {
        self.0.lock().random_range(1..=u64::MAX)
    }

    /// 128 random bits.
    pub fn u128(&self) -> u128 {
        let mut rng = self.0.lock();
        (u128::from(rng.next_u64()) << 64) | u128::from(rng.next_u64())
    }

    /// A number in `[low, high)`; `low` where the range is empty.
    pub fn range(&self, low: u64, high: u64) -> u64 {
        if low >= high { low } else { self.0.lock().random_range(low..high) }
    }
}

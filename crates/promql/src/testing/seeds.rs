//! Which cases a test runs: few always, many where `PANDO_TEST_LONG` asks for them, one where a failure is run again.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// How many times as many cases the long run has, most times.
const LONG: u64 = 100;

fn number_of(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or(1))
}

/// The seeds to run: `few`, or `many` in the long run, or the one that `PANDO_TEST_SEED` names.
pub fn seeds(few: u64, many: u64) -> Range<u64> {
    match (number_of("PANDO_TEST_SEED"), number_of("PANDO_TEST_LONG")) {
        (Some(seed), _) => seed..seed + 1,
        (None, Some(times)) => 0..many * times.max(1),
        (None, None) => 0..few,
    }
}

/// Runs `check` with `few` seeds; says which one failed.
pub fn each_seed(few: u64, mut check: impl FnMut(u64)) {
    for seed in seeds(few, few * LONG) {
        let outcome = catch_unwind(AssertUnwindSafe(|| check(seed)));
        if let Err(panic) = outcome {
            println!("failed with PANDO_TEST_SEED={seed}");
            resume_unwind(panic);
        }
    }
}

/// Whether all cases are run, so that what they have in common can be asked for.
pub fn all_cases() -> bool {
    number_of("PANDO_TEST_SEED").is_none()
}

//! Which cases a test runs: few always, many where `PANDO_TEST_LONG` asks for them, one where a failure is run again.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// How many times as many cases the long run has.
const LONG: u64 = 100;

fn number_of(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or(1))
}

/// Runs `check` with `few` seeds; says which one failed.
pub(crate) fn each_seed(few: u64, mut check: impl FnMut(u64)) {
    let seeds = match (number_of("PANDO_TEST_SEED"), number_of("PANDO_TEST_LONG")) {
        (Some(seed), _) => seed..seed + 1,
        (None, Some(times)) => 0..few * LONG * times.max(1),
        (None, None) => 0..few,
    };
    for seed in seeds {
        let outcome = catch_unwind(AssertUnwindSafe(|| check(seed)));
        if let Err(panic) = outcome {
            println!("failed with PANDO_TEST_SEED={seed}");
            resume_unwind(panic);
        }
    }
}

/// Whether all cases are run, so that what they have in common can be asked for.
pub(crate) fn all_cases() -> bool {
    number_of("PANDO_TEST_SEED").is_none()
}

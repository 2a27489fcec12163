//! What a process runs on: clock, chance, owned tasks, ordered shutdown, byte-counted gates, the metrics
//! registry, the process' own numbers and the disk.
//!
//! Everything here is handed to a component, never reached for: two members live in one process in tests.
//! This is the only crate that reads the system's clocks, draws system randomness or spawns.

pub mod clock;
pub mod disk;
pub mod gate;
pub mod metrics;
pub mod process;
pub mod rng;
pub mod shutdown;
pub mod summary;
pub mod tasks;

pub use clock::{Clock, ManualClock, SharedClock, SystemClock};
pub use gate::{ByteGate, GateError, Held};
pub use metrics::MetricsRegistry;
pub use rng::Rng;
pub use shutdown::{Lifecycle, Phase};
pub use summary::SummaryFamily;
pub use tasks::Tasks;

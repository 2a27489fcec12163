//! The store gateway: executes fragments over blocks in the object store. It has no state but
//! caches, reads nothing at start, and is ready at once, however many blocks there are.
//!
//! It does not follow the catalog: a fragment names its blocks with their records. Live generations
//! are fetched from the ingesters that the fragment names, unless one is in the same process.

mod counted;
mod gateway;
mod metrics;

pub use gateway::StoreGateway;

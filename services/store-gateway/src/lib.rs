//! The store gateway: executes fragments over blocks in the object store. It has no state but
//! caches, reads nothing at start, and is ready at once, however many blocks there are.
//!
//! It does not follow the catalog: a fragment names its blocks with their records. Live generations
//! it fetches from the ingesters that the fragment names.

mod counted;
mod gateway;
mod metrics;

pub use gateway::StoreGateway;

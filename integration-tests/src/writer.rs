//! A remote-write client that records what was acknowledged.

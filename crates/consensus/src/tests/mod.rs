//! Whole groups: members in one process, on simulated disks, over a network that tests can break.

mod cluster;
mod failover;
mod lagging;
mod partition;
mod power;
mod suite;

//! Tests of hosted groups: members in one process, on simulated disks.

mod cluster;
mod log;
mod suite;

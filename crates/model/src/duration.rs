//! Prometheus durations.

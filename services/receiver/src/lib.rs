//! services/receiver

//! services/compactor

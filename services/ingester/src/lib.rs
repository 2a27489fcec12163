//! services/ingester

//! services/store-gateway

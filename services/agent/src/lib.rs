//! services/agent

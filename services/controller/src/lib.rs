//! services/controller

//! services/query-frontend

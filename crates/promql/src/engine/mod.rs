//! The engine: columns of step values, and the functions, aggregations and operators on them. Knows series and
//! steps; knows neither where samples come from nor how a query was split.

pub(crate) mod aggregate;
pub(crate) mod binary;
pub mod bitmap;
pub(crate) mod functions;
pub mod histogram;
pub(crate) mod info;
pub(crate) mod kahan;
pub(crate) mod labelset;
pub(crate) mod names;
mod quantile;
pub(crate) mod queryable;
pub mod range;
pub(crate) mod samples;
pub(crate) mod select;
pub(crate) mod smoothed;
pub mod vector;
pub(crate) mod window;

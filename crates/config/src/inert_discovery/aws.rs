//! Amazon: one kind with a role, and a kind for each of the roles.

use super::{FILTER, HTTP, Kind, address, kind, port, refresh, secret, text, texts};
use crate::inert::{Shown, Type, row};
use crate::section::{Findings, Section};

/// A kind with the keys that all kinds of Amazon have, and `more`.
macro_rules! amazon {
    ($key:literal, $type_name:literal, [$($more:expr),* $(,)?]) => {
        kind($key, $type_name, &[
            text("region"),
            address("endpoint"),
            text("access_key"),
            secret("secret_key"),
            text("profile"),
            text("role_arn"),
            text("external_id"),
            port("80"),
            refresh("1m"),
            HTTP,
            $($more,)*
        ])
    };
}

const FILTERS: crate::inert::Row = row("filters", Type::Sections(&FILTER), "");
const CLUSTERS: crate::inert::Row = texts("clusters");
const CONCURRENCY: crate::inert::Row = row("request_concurrency", Type::Int, "10");
const ROLES: &[&str] = &["ec2", "ecs", "elasticache", "lightsail", "msk", "rds"];

pub(super) static KINDS: [Kind; 7] = [
    amazon!(
        "aws_sd_configs",
        "aws.SDConfig",
        [
            row("role", Type::Word(ROLES), ""),
            FILTERS,
            CLUSTERS,
            row("request_concurrency", Type::Int, ""),
        ]
    )
    .requires(&["role"]),
    amazon!("ec2_sd_configs", "aws.EC2SDConfig", [FILTERS]).checked_by(check_ec2),
    amazon!(
        "ecs_sd_configs",
        "aws.ECSSDConfig",
        [CLUSTERS, row("request_concurrency", Type::Int, "20")]
    ),
    amazon!("elasticache_sd_configs", "aws.ElasticacheSDConfig", [CLUSTERS, CONCURRENCY]),
    amazon!("lightsail_sd_configs", "aws.LightsailSDConfig", []),
    amazon!("msk_sd_configs", "aws.MSKSDConfig", [CLUSTERS, CONCURRENCY]),
    amazon!("rds_sd_configs", "aws.RDSSDConfig", [CLUSTERS, CONCURRENCY, FILTERS]),
];

fn check_ec2(s: &mut Section<'_>, _: &Shown, cx: &mut Findings) {
    // Wrong types are faults already.
    let mut quiet = Findings::default();
    for filter in s.items("filters", &mut quiet) {
        if filter.section(&mut quiet, "Filter").strings("values", &mut quiet).is_empty() {
            filter.fault(cx, "a filter needs values");
        }
    }
}

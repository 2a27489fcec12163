//! Whole-cluster tests: real `pando` processes and real peers, one binary for all suites.
#![allow(clippy::print_stdout, reason = "tests say what they skip")]

mod suite {
    mod azure;
    mod bad_input;
    mod bench_tiny;
    mod canceled;
    mod chart;
    mod demo;
    mod demo_path;
    mod differential;
    mod evaluation_interval;
    mod explained;
    mod foreign_readers;
    mod harness;
    mod image;
    mod kills;
    mod lost_commit;
    mod openapi;
    mod oracle;
    mod power_loss;
    mod promql_scripts;
    mod scrape_oracle;
    mod steady_answers;
    mod tenants;
}

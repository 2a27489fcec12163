//! Whole-cluster tests: real `pando` processes and real peers, one binary for all suites.
#![allow(clippy::print_stdout, reason = "tests say what they skip")]

mod suite {
    mod demo_path;
    mod scrape_oracle;
}

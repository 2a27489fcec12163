//! Selectors, ranges, subqueries, and what modifies them.

use super::Expressions;
use crate::testing::data::{
    CUSTOM, DOTTED, EXPONENTIAL, FLOATS, INFOS, MIXED, NATIVE, ORIGIN_MS, SPAN_MS,
};

/// The functions that `anchored` and `smoothed` go with.
const ANCHORED: [&str; 5] = ["resets", "changes", "rate", "increase", "delta"];
const SMOOTHED: [&str; 3] = ["rate", "increase", "delta"];

impl Expressions<'_> {
    pub(super) fn instant_selector(&mut self) -> String {
        let selector = self.selector();
        let extended = match self.chance.below(16) {
            0 => " smoothed",
            1 => " anchored",
            _ => "",
        };
        format!("{selector}{extended}{}", self.when())
    }

    /// Series of histograms, most times.
    pub(super) fn histograms(&mut self) -> String {
        let name = self.chance.pick(&NATIVE);
        format!("{name}{}{}", self.matchers(), self.when())
    }

    fn selector(&mut self) -> String {
        if self.native {
            return format!("{}{}", self.chance.pick(&NATIVE), self.matchers());
        }
        let floats = self.chance.below(20);
        let name = match floats {
            0 => {
                let several = ["requests_total|load", ".*_total", "load|sizes", "latency_.*"];
                let several = self.chance.pick(&several);
                return format!("{{__name__=~\"{several}\"{}}}", self.more_matchers());
            }
            1 => {
                let name = self.chance.pick(&[DOTTED, "load", "requests_total"]);
                return format!("{{\"{name}\"{}}}", self.more_matchers());
            }
            2 => return "{job=\"a\",instance=\"1\"}".to_string(),
            3 => "nothing",
            4 => self.chance.pick(&INFOS),
            5 | 6 => self.chance.pick(&EXPONENTIAL),
            7 => self.chance.pick(&CUSTOM),
            8 => self.chance.pick(&MIXED),
            _ => self.chance.pick(&FLOATS),
        };
        format!("{name}{}", self.matchers())
    }

    fn matchers(&mut self) -> String {
        let matchers =
            ["", "", "", "", "{job=\"a\"}", "{instance!=\"2\"}", "{instance=~\"1|2\"}", "{}"];
        let rare = ["{job!~\"b.*\",instance=\"1\"}", "{le=\"+Inf\"}", "{\"job\"='b',}"];
        match self.chance.below(8) {
            0 => self.chance.pick(&rare).to_string(),
            _ => self.chance.pick(&matchers).to_string(),
        }
    }

    fn more_matchers(&mut self) -> String {
        self.chance.pick(&["", ",job=\"a\"", ", instance=~\"[12]\"", ",job!=\"a\","]).to_string()
    }

    /// The labels that `info` is asked to add.
    pub(super) fn info_matchers(&mut self) -> String {
        let matchers = [
            "{}",
            "{version=~\".+\"}",
            "{version!~\"1.*\"}",
            "{__name__=\"build_info\"}",
            "{__name__=~\".+_info\", commit=~\".*\"}",
            "{__name__!=\"target_info\"}",
        ];
        self.chance.pick(&matchers).to_string()
    }

    /// A range vector that `function` takes.
    pub(super) fn matrix(&mut self, depth: usize, function: &str) -> String {
        if depth > 0 && self.chance.one_in(4) {
            return self.subquery(depth - 1);
        }
        let (selector, range) = (self.selector(), self.range());
        let extended = match self.chance.below(8) {
            0 | 1 if ANCHORED.contains(&function) => " anchored",
            2 | 3 if SMOOTHED.contains(&function) => " smoothed",
            4 if self.chance.one_in(12) => self.chance.pick(&[" anchored", " smoothed"]),
            _ => "",
        };
        format!("{selector}[{range}]{extended}{}", self.when())
    }

    fn subquery(&mut self, depth: usize) -> String {
        let inner = self.vector(depth);
        let range = self.chance.pick(&["1m", "2m", "3m + 20s", "300", "100ms"]);
        let step = self.chance.pick(&["", "30s", "17s", "1m", "step() + 20s", "max_of(20s, 5)"]);
        // What is no operand on its own would take the range for its last part.
        format!("({inner})[{range}:{step}]{}", self.when())
    }

    fn range(&mut self) -> String {
        let plain = ["1m", "90s", "2m30s", "5m", "300", "45s", "10m"];
        let computed = [
            "2 * 1m",
            "step() + 1m",
            "max_of(step(), 1m)",
            "min_of(5m, 2m + step())",
            "range() + 30s",
            "(1m)",
            "-(-1m)",
            "4m / 2",
            "7m % 4m",
            "2 ^ 6",
            "3m - -1m",
            "+90",
            "min_of(90, 100)",
        ];
        match self.chance.below(5) {
            0 => self.chance.pick(&computed).to_string(),
            _ => self.chance.pick(&plain).to_string(),
        }
    }

    /// `offset` and `@`, in either order.
    fn when(&mut self) -> String {
        let offset = match self.chance.below(6) {
            0 => {
                let offsets = [
                    "30s",
                    "-1m",
                    "2m",
                    "90",
                    "-(30s - 2 * 45s)",
                    "-step()",
                    "min_of(1m, 20)",
                    "0",
                ];
                format!(" offset {}", self.chance.pick(&offsets))
            }
            _ => String::new(),
        };
        let at = match self.chance.below(16) {
            0 => " @ start()".to_string(),
            1 => " @ end()".to_string(),
            2 => {
                let t = ORIGIN_MS + self.chance.within(0, SPAN_MS);
                format!(" @ {}.{:03}", t / 1000, t % 1000)
            }
            _ => String::new(),
        };
        if self.chance.one_in(2) { format!("{offset}{at}") } else { format!("{at}{offset}") }
    }
}

//! Calls, by the signatures in the table of functions.

use crate::ValueType;
use crate::syntax::functions::{FUNCTIONS, Function};

use super::Expressions;

impl Expressions<'_> {
    pub(super) fn vector_call(&mut self, depth: usize) -> String {
        self.call_to(ValueType::Vector, depth)
    }

    pub(super) fn scalar_call(&mut self, depth: usize) -> String {
        self.call_to(ValueType::Scalar, depth)
    }

    fn call_to(&mut self, returns: ValueType, depth: usize) -> String {
        let all: Vec<&Function> = FUNCTIONS.iter().filter(|f| f.returns == returns).collect();
        // Functions of ranges and histograms have more code of their own than those of numbers.
        let mut function = self.chance.pick(&all);
        if function.args == [ValueType::Vector] && self.chance.one_in(2) {
            function = self.chance.pick(&all);
        }
        self.call(function, depth)
    }

    /// A call of `function`.
    pub(crate) fn call(&mut self, function: &Function, depth: usize) -> String {
        let args = match function.name {
            "label_replace" => self.label_replace(depth),
            "info" => {
                let base = self.vector(depth);
                match self.chance.one_in(3) {
                    true => base,
                    false => format!("{base}, {}", self.info_matchers()),
                }
            }
            "double_exponential_smoothing" => {
                let factors = self.chance.pick(&["0.5, 0.5", "0.1, 0.9", "0.3, 0.2", "1, 0.5"]);
                format!("{}, {factors}", self.matrix(depth, function.name))
            }
            "quantile_over_time" => {
                let range = self.matrix(depth, function.name);
                format!("{}, {range}", self.quantile(depth))
            }
            "histogram_quantile" => {
                let quantile = self.quantile(depth);
                format!("{quantile}, {}", self.histogram_vector(depth))
            }
            "histogram_quantiles" => {
                let many = 1 + self.chance.below(3);
                let quantiles: Vec<String> = (0..many).map(|_| self.quantile(0)).collect();
                format!("{}, \"q\", {}", self.histogram_vector(depth), quantiles.join(", "))
            }
            _ => self.arguments(function, depth),
        };
        format!("{}({args})", function.name)
    }

    /// As many arguments of the signature's types as it allows.
    fn arguments(&mut self, function: &Function, depth: usize) -> String {
        let wanted = function.args.len();
        let count = match function.variadic {
            0 => wanted,
            _ if self.chance.one_in(3) => wanted - 1,
            1 => wanted,
            _ => wanted + self.chance.below(2),
        };
        let histograms = function.name.starts_with("histogram_");
        let mut args = Vec::new();
        for i in 0..count {
            args.push(match function.args[i.min(wanted - 1)] {
                ValueType::Scalar => self.argument(depth),
                ValueType::String => self.label_name(),
                ValueType::Matrix => self.matrix(depth, function.name),
                ValueType::Vector if histograms => self.histogram_vector(depth),
                ValueType::Vector => self.vector(depth),
            });
        }
        args.join(", ")
    }

    /// A scalar that is a number, most times.
    pub(super) fn argument(&mut self, depth: usize) -> String {
        if self.chance.one_in(4) { self.scalar(depth) } else { self.number() }
    }

    pub(super) fn quantile(&mut self, depth: usize) -> String {
        match self.chance.below(8) {
            0 => self.argument(depth),
            _ => self.chance.pick(&["0.5", "0.9", "0", "1", "0.25", "0.999"]).to_string(),
        }
    }

    fn histogram_vector(&mut self, depth: usize) -> String {
        let classic = "latency_bucket";
        let form = if self.native { [0, 4, 5][self.chance.below(3)] } else { self.chance.below(6) };
        match form {
            0 => self.vector(depth),
            1 => format!("rate({classic}[5m])"),
            2 => classic.to_string(),
            3 => format!("sum by (le, job) (rate({classic}[3m]))"),
            4 => {
                let function = self.chance.pick(&["rate", "increase", "sum_over_time", "delta"]);
                format!("{function}({}[3m])", self.chance.pick(&crate::testing::data::NATIVE))
            }
            _ => self.histograms(),
        }
    }

    fn label_name(&mut self) -> String {
        let names =
            ["\"job\"", "\"instance\"", "'new'", "\"le\"", "`x.y`", "\"__name__\"", "\"-\""];
        self.chance.pick(&names).to_string()
    }

    fn label_replace(&mut self, depth: usize) -> String {
        let vector = self.vector(depth);
        let rest = [
            "\"new\", \"x-$1\", \"instance\", \"(.*)\"",
            "\"job\", \"$1$2\", \"job\", \"(a)|(b)\"",
            "\"instance\", \"\", \"instance\", \".+\"",
            "\"__name__\", \"renamed\", \"\", \"\"",
            "\"new\", \"${n}\", \"le\", \"(?P<n>[0-9]).*\"",
        ];
        format!("{vector}, {}", self.chance.pick(&rest))
    }
}

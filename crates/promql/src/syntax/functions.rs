//! The table of PromQL functions: names, argument types, result, and whether they are experimental. What they
//! compute is the engine's matter.

use super::ast::ValueType;

/// The signature of a function.
#[derive(Debug)]
pub struct Function {
    /// The name.
    pub name: &'static str,
    /// The types of its arguments; of the last one there may be more, or none (see `variadic`).
    pub args: &'static [ValueType],
    /// 0: exactly `args`; n > 0: the last argument may be left away or be given up to `n` times; -1: or any
    /// number of times.
    pub variadic: i8,
    /// The type of its result.
    pub returns: ValueType,
    /// Whether it needs the experimental switch.
    pub experimental: bool,
}

impl Function {
    /// Whether it is [`REFUSED`].
    pub(super) fn is_refused(&self) -> bool {
        self.name.is_empty()
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// Stands in the tree of a text that is refused, where something was written that has no meaning: its arguments are
/// what there is of it, its type is not known. No tree with it leaves the parser.
pub(super) static REFUSED: Function =
    Function { name: "", args: &[], variadic: 0, returns: V, experimental: false };

/// The function called `name`.
pub fn function(name: &str) -> Option<&'static Function> {
    FUNCTIONS.binary_search_by(|f| f.name.cmp(name)).ok().map(|i| &FUNCTIONS[i])
}

const S: ValueType = ValueType::Scalar;
const T: ValueType = ValueType::String;
const V: ValueType = ValueType::Vector;
const M: ValueType = ValueType::Matrix;

const fn stable(name: &'static str, args: &'static [ValueType], returns: ValueType) -> Function {
    Function { name, args, variadic: 0, returns, experimental: false }
}

const fn new(name: &'static str, args: &'static [ValueType], returns: ValueType) -> Function {
    Function { name, args, variadic: 0, returns, experimental: true }
}

const fn variadic(variadic: i8, mut function: Function) -> Function {
    function.variadic = variadic;
    function
}

/// All functions, sorted by name.
pub static FUNCTIONS: [Function; 90] = [
    stable("abs", &[V], V),
    stable("absent", &[V], V),
    stable("absent_over_time", &[M], V),
    stable("acos", &[V], V),
    stable("acosh", &[V], V),
    stable("asin", &[V], V),
    stable("asinh", &[V], V),
    stable("atan", &[V], V),
    stable("atanh", &[V], V),
    stable("avg_over_time", &[M], V),
    stable("ceil", &[V], V),
    stable("changes", &[M], V),
    stable("clamp", &[V, S, S], V),
    stable("clamp_max", &[V, S], V),
    stable("clamp_min", &[V, S], V),
    stable("cos", &[V], V),
    stable("cosh", &[V], V),
    stable("count_over_time", &[M], V),
    variadic(1, stable("day_of_month", &[V], V)),
    variadic(1, stable("day_of_week", &[V], V)),
    variadic(1, stable("day_of_year", &[V], V)),
    variadic(1, stable("days_in_month", &[V], V)),
    stable("deg", &[V], V),
    stable("delta", &[M], V),
    stable("deriv", &[M], V),
    new("double_exponential_smoothing", &[M, S, S], V),
    new("end", &[], S),
    stable("exp", &[V], V),
    stable("first_over_time", &[M], V),
    stable("floor", &[V], V),
    stable("histogram_avg", &[V], V),
    stable("histogram_count", &[V], V),
    stable("histogram_fraction", &[S, S, V], V),
    stable("histogram_quantile", &[S, V], V),
    variadic(9, new("histogram_quantiles", &[V, T, S, S], V)),
    stable("histogram_stddev", &[V], V),
    stable("histogram_stdvar", &[V], V),
    stable("histogram_sum", &[V], V),
    variadic(1, stable("hour", &[V], V)),
    stable("idelta", &[M], V),
    stable("increase", &[M], V),
    variadic(1, new("info", &[V, V], V)),
    stable("irate", &[M], V),
    variadic(-1, stable("label_join", &[V, T, T, T], V)),
    stable("label_replace", &[V, T, T, T, T], V),
    stable("last_over_time", &[M], V),
    stable("ln", &[V], V),
    stable("log10", &[V], V),
    stable("log2", &[V], V),
    new("mad_over_time", &[M], V),
    new("max_of", &[S, S], S),
    stable("max_over_time", &[M], V),
    new("min_of", &[S, S], S),
    stable("min_over_time", &[M], V),
    variadic(1, stable("minute", &[V], V)),
    variadic(1, stable("month", &[V], V)),
    stable("pi", &[], S),
    stable("predict_linear", &[M, S], V),
    stable("present_over_time", &[M], V),
    stable("quantile_over_time", &[S, M], V),
    stable("rad", &[V], V),
    new("range", &[], S),
    stable("rate", &[M], V),
    stable("resets", &[M], V),
    variadic(1, stable("round", &[V, S], V)),
    stable("scalar", &[V], S),
    stable("sgn", &[V], V),
    stable("sin", &[V], V),
    stable("sinh", &[V], V),
    stable("sort", &[V], V),
    variadic(-1, new("sort_by_label", &[V, T], V)),
    variadic(-1, new("sort_by_label_desc", &[V, T], V)),
    stable("sort_desc", &[V], V),
    stable("sqrt", &[V], V),
    new("start", &[], S),
    new("start_timestamp", &[V], V),
    stable("stddev_over_time", &[M], V),
    stable("stdvar_over_time", &[M], V),
    new("step", &[], S),
    stable("sum_over_time", &[M], V),
    stable("tan", &[V], V),
    stable("tanh", &[V], V),
    stable("time", &[], S),
    stable("timestamp", &[V], V),
    new("ts_of_first_over_time", &[M], V),
    new("ts_of_last_over_time", &[M], V),
    new("ts_of_max_over_time", &[M], V),
    new("ts_of_min_over_time", &[M], V),
    stable("vector", &[S], V),
    variadic(1, stable("year", &[V], V)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_complete() {
        assert!(FUNCTIONS.windows(2).all(|w| w[0].name < w[1].name));
        assert_eq!(FUNCTIONS.iter().filter(|f| !f.experimental).count(), 73);
        assert!(FUNCTIONS.iter().all(|f| function(f.name) == Some(f)));
        assert!(function("holt_winters").is_none());
    }
}

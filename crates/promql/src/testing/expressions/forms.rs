//! Each binary operator in each of its forms: the kinds of its operands, `bool`, how they are matched and filled.

use super::Expressions;
use super::operators::{ARITHMETIC, COMPARISONS, SETS, TRIMS};

/// Forms of what computes or compares, as words: `vector`, `histograms`, `scalar` and `info` stand for operands, `same` for
/// one that is on both sides, and `op` for the operator.
const NUMBERS: [&str; 19] = [
    "vector op scalar",
    "scalar op vector",
    "histograms op scalar",
    "scalar op histograms",
    "same op same",
    "vector op vector",
    "histograms op histograms",
    "histograms op vector",
    "vector op on (job, instance) vector",
    "vector op on () vector",
    "vector op ignoring (le, version) vector",
    "vector op on (job, instance) group_left () info",
    "vector op on (job, instance) group_left (version, region) info",
    "vector op ignoring (version, region, commit) group_left (\"region\") info",
    "info op on (instance, job) group_right () vector",
    "info op ignoring (version, region, commit) group_right (version) vector",
    "vector op fill (0) vector",
    "vector op on (job, instance) fill_left (-1.5) histograms",
    "vector op on (job, instance) group_left () fill_right (NaN) fill_left (2) info",
];
/// Of what may stand between numbers.
const SCALARS: &str = "scalar op scalar";
/// Forms of `and`, `or`, `unless`.
const OF_SETS: [&str; 5] = [
    "vector op vector",
    "vector op histograms",
    "vector op on (job) vector",
    "vector op ignoring (le, instance) vector",
    "info op on () vector",
];
/// Forms of what cuts histograms.
const OF_TRIMS: [&str; 4] = [
    "histograms op scalar",
    "vector op scalar",
    "histograms op on (job, instance) vector",
    "histograms op ignoring (le) group_left () histograms",
];

/// Every operator, those that compare with and without `bool`, with each of its forms.
pub(crate) fn operations() -> Vec<(String, &'static str)> {
    let each = |ops: &[&str], after: &str, forms: &[&'static str]| {
        let mut pairs = Vec::new();
        for op in ops {
            pairs.extend(forms.iter().map(|form| (format!("{op}{after}"), *form)));
        }
        pairs
    };
    let numbers = [&NUMBERS[..], &[SCALARS]].concat();
    [
        each(&ARITHMETIC, "", &numbers),
        each(&COMPARISONS, "", &NUMBERS),
        each(&COMPARISONS, " bool", &numbers),
        each(&SETS, "", &OF_SETS),
        each(&TRIMS, "", &OF_TRIMS),
    ]
    .concat()
}

impl Expressions<'_> {
    /// An expression of the operator `op` in a form.
    pub(crate) fn operation(&mut self, op: &str, form: &str) -> String {
        let same = self.vector(0);
        let words = form.split(' ').map(|word| match word {
            "op" => op.to_string(),
            "same" => same.clone(),
            "vector" => self.vector(0),
            "histograms" => self.histograms(),
            "scalar" => self.scalar(0),
            "info" => self.chance.pick(&crate::testing::data::INFOS).to_string(),
            word => word.to_string(),
        });
        words.collect::<Vec<_>>().join(" ")
    }
}

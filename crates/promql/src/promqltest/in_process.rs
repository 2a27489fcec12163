//! `InProcess`: the engine of this process over samples in memory.

use pando_model::SampleValue;

use super::hints;
use super::storage::MemorySource;
use super::subject::{
    Answer, AnswerValue, EvalTimes, LoadedSeries, Rows, Seen, Subject, SubjectError,
};
use crate::budget::Budget;
use crate::error::QueryError;
use crate::local::evaluate_local;
use crate::query::{Features, MatrixSeries, Query, QueryOutput, QueryParams, QueryValue};

/// How a script's expressions are evaluated.
#[derive(Clone, Copy, Debug)]
pub struct Engine {
    /// Switches.
    pub features: Features,
    /// See [`QueryParams::push_down`].
    pub push_down: bool,
}

impl Engine {
    /// What scripts expect, as of Prometheus' own test engine: everything experimental on, names dropped late.
    pub const OF_SCRIPTS: Engine = Engine {
        features: Features {
            experimental_functions: true,
            extended_range_selectors: true,
            fill_modifiers: true,
            delayed_name_removal: true,
            start_timestamps: true,
        },
        push_down: true,
    };
}

/// An engine and its samples.
#[derive(Clone, Debug)]
pub struct InProcess {
    engine: Engine,
    source: MemorySource,
}

impl InProcess {
    /// An `engine` without samples.
    pub fn new(engine: Engine) -> Self {
        InProcess { engine, source: MemorySource::new() }
    }

    fn evaluate(&self, expr: &str, times: EvalTimes) -> Result<QueryOutput, QueryError> {
        let base = match times {
            EvalTimes::Instant { t_ms } => QueryParams::instant(t_ms),
            EvalTimes::Range { start_ms, end_ms, step_ms } => {
                QueryParams::range(start_ms, end_ms, step_ms)?
            }
        };
        let params = QueryParams { push_down: self.engine.push_down, ..base };
        let query = Query::parse(expr, params.with_features(self.engine.features))?;
        evaluate_local(&query, &self.source, Budget::default())
    }
}

impl Subject for InProcess {
    fn clear(&mut self) -> Result<(), SubjectError> {
        self.source = MemorySource::new();
        Ok(())
    }

    fn load(&mut self, series: Vec<LoadedSeries>) -> Result<(), SubjectError> {
        for mut one in series {
            hints::as_stored(one.samples.iter_mut().map(|sample| &mut sample.value));
            for sample in one.samples {
                self.source.add_with_start(&one.labels, sample.t_ms, sample.value, sample.start_ms);
            }
        }
        Ok(())
    }

    fn ask(&mut self, expr: &str, times: EvalTimes) -> Result<Answer, SubjectError> {
        let output =
            self.evaluate(expr, times).map_err(|e| SubjectError::Refused(e.to_string()))?;
        let QueryOutput { value, warnings, infos, stats: _ } = output;
        Ok(Answer { value: seen(value), warnings, infos })
    }
}

fn seen(value: QueryValue) -> AnswerValue {
    match value {
        QueryValue::Scalar { value, .. } => AnswerValue::Scalar(value),
        QueryValue::String { text, .. } => AnswerValue::String(text),
        QueryValue::Vector(vector) => {
            let rows =
                vector.into_iter().map(|s| (s.labels, vec![(s.t_ms, Seen::Sample(s.value))]));
            AnswerValue::Vector(rows.collect())
        }
        QueryValue::Matrix(matrix) => AnswerValue::Matrix(rows(matrix)),
    }
}

fn rows(matrix: Vec<MatrixSeries>) -> Rows {
    let row = |series: MatrixSeries| {
        let floats = series.floats.into_iter().map(|(t, v)| (t, SampleValue::Float(v)));
        let histograms = series.histograms.into_iter().map(|(t, h)| (t, SampleValue::Histogram(h)));
        let both = floats.chain(histograms);
        let mut points: Vec<_> = both.map(|(t, value)| (t, Seen::Sample(value))).collect();
        points.sort_by_key(|(t, _)| *t);
        (series.labels, points)
    };
    matrix.into_iter().map(row).collect()
}

//! `Table`: what was measured, and how Pando stands to its peers.

use std::fmt;

use serde_json::{Value, json};

/// Which way a figure is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    More,
    Less,
}

/// One figure for each system.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Stable, for programs.
    pub(crate) id: &'static str,
    /// What was done, for people.
    pub(crate) work: String,
    /// Unit of the figures.
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
    /// Figures in the order Pando, Prometheus, VictoriaMetrics; `None` where none was measured.
    pub(crate) figures: [Option<f64>; 3],
    /// What Pando's figure has to be.
    pub(crate) asked: Option<Asked>,
}

/// What Pando has to come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Asked {
    /// So many times better than Prometheus and than VictoriaMetrics, at least.
    Times([f64; 2]),
    /// This figure at most.
    Most(f64),
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Asked::Times([prometheus, victoria_metrics]) => {
                write!(f, "{prometheus}x, {victoria_metrics}x")
            }
            Asked::Most(figure) => write!(f, "<= {figure}"),
        }
    }
}

impl Row {
    /// Whether Pando comes to what is asked; `None` where nothing is, or it is not known.
    fn is_met(&self) -> Option<bool> {
        let enough = match self.asked? {
            Asked::Times(least) => {
                [1, 2].map(|at| self.ratio(at).map(|ratio| ratio >= least[at - 1]))
            }
            Asked::Most(figure) => [self.figures[0].map(|ours| ours <= figure); 2],
        };
        match enough {
            [Some(false), _] | [_, Some(false)] => Some(false),
            [Some(true), Some(true)] => Some(true),
            _ => None,
        }
    }

    /// The same for people.
    fn judged(&self) -> String {
        match (self.asked, self.is_met()) {
            (None, _) => "-".to_string(),
            (Some(asked), Some(true)) => format!("{asked}: met"),
            (Some(asked), Some(false)) => format!("{asked}: MISSED"),
            (Some(asked), None) => format!("{asked}: not known"),
        }
    }

    /// How many times better Pando is than the system of `column`; below 1 it is worse.
    fn ratio(&self, column: usize) -> Option<f64> {
        let (ours, theirs) = (self.figures[0]?, self.figures[column]?);
        let (above, below) = match self.better {
            Better::More => (ours, theirs),
            Better::Less => (theirs, ours),
        };
        (below > 0.0).then_some(above / below)
    }
}

/// All rows of a run.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// How much data it was.
    pub(crate) scale: &'static str,
    /// What each system calls its version.
    pub(crate) versions: [String; 3],
    pub(crate) rows: Vec<Row>,
    /// What a reader has to know about single figures.
    pub(crate) notes: Vec<String>,
}

impl Table {
    /// Whether Pando has a figure in every row.
    pub(crate) fn is_whole(&self) -> bool {
        self.rows.iter().all(|row| row.figures[0].is_some())
    }

    /// The rows in which Pando does not come to what is asked.
    pub(crate) fn missed(&self) -> Vec<&'static str> {
        self.rows.iter().filter(|row| row.is_met() == Some(false)).map(|row| row.id).collect()
    }

    /// For programs.
    pub(crate) fn to_json(&self) -> Value {
        let rows: Vec<Value> = self.rows.iter().map(row_json).collect();
        let [pando, prometheus, victoria_metrics] = &self.versions;
        json!({
            "scale": self.scale,
            "cores": cores(),
            "versions": {
                "pando": pando, "prometheus": prometheus, "victoria_metrics": victoria_metrics,
            },
            "rows": rows,
            "notes": self.notes,
        })
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(0, usize::from)
}

fn row_json(row: &Row) -> Value {
    let [pando, prometheus, victoria_metrics] = row.figures;
    json!({
        "id": row.id,
        "work": row.work,
        "unit": row.unit,
        "better": if row.better == Better::More { "more" } else { "less" },
        "pando": pando,
        "prometheus": prometheus,
        "victoria_metrics": victoria_metrics,
        "times_better_than_prometheus": row.ratio(1),
        "times_better_than_victoria_metrics": row.ratio(2),
        "asked": row.asked.map(|asked| asked.to_string()),
        "met": row.is_met(),
    })
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head =
            ["work", "unit", "Pando", "Prometheus", "VictoriaMetrics", "vs Prom", "vs VM", "asked"];
        let mut lines: Vec<Vec<String>> = vec![head.iter().map(ToString::to_string).collect()];
        for row in &self.rows {
            let mut line = vec![row.work.clone(), row.unit.to_string()];
            line.extend(row.figures.iter().map(|figure| shown(*figure)));
            line.extend([1, 2].map(|column| times(row.ratio(column))));
            line.push(row.judged());
            lines.push(line);
        }
        let width = |column: usize| {
            lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        writeln!(f, "scale: {}; cores: {}", self.scale, cores())?;
        for (name, version) in ["Pando", "Prometheus", "VictoriaMetrics"].iter().zip(&self.versions)
        {
            writeln!(f, "{name}: {version}")?;
        }
        for line in &lines {
            let mut text = String::new();
            for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
                text += &match column {
                    0 | 1 => format!("{cell:<width$}  "),
                    _ => format!("{cell:>width$}  "),
                };
            }
            writeln!(f, "{}", text.trim_end())?;
        }
        writeln!(f, "x times better than the peer; processor time and bytes, no time on the wall")?;
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        Ok(())
    }
}

/// Three significant digits, thousands grouped.
fn shown(figure: Option<f64>) -> String {
    let Some(figure) = figure else { return "-".to_string() };
    if figure >= 1_000.0 {
        let digits = format!("{figure:.0}");
        let mut grouped = String::new();
        for (i, digit) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i).is_multiple_of(3) {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        return grouped;
    }
    match figure {
        f if f >= 100.0 => format!("{f:.0}"),
        f if f >= 10.0 => format!("{f:.1}"),
        f if f >= 1.0 => format!("{f:.2}"),
        f => format!("{f:.3}"),
    }
}

fn times(ratio: Option<f64>) -> String {
    ratio.map_or("-".to_string(), |ratio| format!("{}x", shown(Some(ratio))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(better: Better, figures: [Option<f64>; 3]) -> Row {
        Row { id: "r", work: "w".to_string(), unit: "u", better, figures, asked: None }
    }

    #[test]
    fn what_is_asked_is_judged() {
        let judged = |asked, figures| Row { asked, ..row(Better::Less, figures) }.judged();
        let twice = Some(Asked::Times([2.0, 4.0]));
        let figures = |pando| [Some(pando), Some(20.0), Some(40.0)];
        assert_eq!(judged(None, figures(1.0)), "-");
        assert_eq!(judged(twice, figures(10.0)), "2x, 4x: met");
        assert_eq!(judged(twice, figures(10.1)), "2x, 4x: MISSED");
        assert_eq!(judged(twice, [Some(1.0), Some(20.0), None]), "2x, 4x: not known");
        assert_eq!(judged(twice, [Some(11.0), None, Some(40.0)]), "2x, 4x: MISSED");
        assert_eq!(judged(Some(Asked::Most(120.0)), figures(120.0)), "<= 120: met");
        assert_eq!(judged(Some(Asked::Most(120.0)), figures(121.0)), "<= 120: MISSED");
    }

    #[test]
    fn what_is_missed_is_named() {
        let asked = |id, most| {
            let figures = [Some(2.0), None, None];
            Row { id, asked: most, ..row(Better::Less, figures) }
        };
        let rows = vec![
            asked("met", Some(Asked::Most(2.0))),
            asked("missed", Some(Asked::Most(1.0))),
            asked("not known", Some(Asked::Times([2.0, 2.0]))),
            asked("not asked", None),
        ];
        let versions = ["pando", "prometheus", "victoria-metrics"].map(str::to_string);
        let table = Table { scale: "full", versions, rows, notes: Vec::new() };
        assert_eq!(table.missed(), ["missed"]);
    }

    #[test]
    fn a_ratio_above_one_is_always_good() {
        assert_eq!(row(Better::More, [Some(6.0), Some(2.0), None]).ratio(1), Some(3.0));
        assert_eq!(row(Better::Less, [Some(2.0), Some(6.0), None]).ratio(1), Some(3.0));
        assert_eq!(row(Better::Less, [Some(2.0), Some(6.0), None]).ratio(2), None);
        assert_eq!(row(Better::More, [Some(2.0), Some(0.0), None]).ratio(1), None);
    }

    #[test]
    fn figures_are_short() {
        let figures = [1_234_567.4, 218.0, 20.04, 2.049, 0.0304];
        let texts: Vec<String> = figures.iter().map(|f| shown(Some(*f))).collect();
        assert_eq!(texts, ["1,234,567", "218", "20.0", "2.05", "0.030"]);
        assert_eq!(shown(None), "-");
    }
}

//! Random queries over random data, asked of a Pando and of a real Prometheus that were written the same: the answers
//! have to be the same, with status, kind and text of errors, warnings and infos.
//!
//! Pando's roles are processes of their own, and half of the data lies in blocks. The peer is Prometheus 3.5 or later:
//! what it does not know is not asked ([`constructs`]), and where it is known to differ from 3.14 that is named
//! ([`differences`]). Expressions and data are those of the property tests of `pando-promql`:
//!
//! ```text
//! PANDO_TEST_SEED=1234   asks the query of this seed alone
//! PANDO_TEST_LONG=1      asks 10,000 queries
//! ```

mod compare;
mod constructs;
mod differences;
mod sides;

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use pando_promql::testing::{
    Chance, Expressions, FAULTS, SYNTAX, all_cases, data, is_ordered, params, parts, seeds,
};
use pando_promql::{QueryParams, parse};

use self::constructs::Construct;
use self::differences::{Seen, explanation};
use self::sides::{Answer, Pair, SHARDS, Sides};

/// Queries, and in the long run.
const QUERIES: u64 = 300;
const QUERIES_LONG: u64 = 10_000;
/// Queries that are asked about the same data.
const QUERIES_PER_DATA: u64 = 60;
/// Expressions that are drawn before one is without what the peer does not know: a few, most times.
const DRAWS_MAX: usize = 1_000;
/// Differences that a failure spells out.
const DIFFERENCES_MAX: usize = 12;

/// What became of the queries.
#[derive(Debug, Default)]
struct Tally {
    asked: usize,
    /// Those that were answered alike.
    alike: usize,
    /// Of them, those with a point, and those that were refused.
    with_points: usize,
    refused: usize,
    /// Of them, those with warnings or infos.
    with_notes: usize,
    /// Expressions that were not asked, by what the peer does not know.
    left_out: BTreeMap<&'static str, usize>,
    /// Queries that were answered differently for a known reason.
    explained: BTreeMap<&'static str, usize>,
}

impl Tally {
    fn alike(&mut self, answer: &Answer) {
        self.alike += 1;
        self.refused += usize::from(!answer.kind.is_empty());
        // The result of a scalar is a point without a list.
        let lists = matches!(answer.data["resultType"].as_str(), Some("vector" | "matrix"));
        let result = answer.data["result"].as_array().filter(|_| lists);
        self.with_points += usize::from(result.is_some_and(|result| !result.is_empty()));
        self.with_notes += usize::from(!answer.warnings.is_empty() || !answer.infos.is_empty());
    }
}

/// A query.
struct Case {
    text: String,
    params: QueryParams,
}

impl Case {
    /// The query of `seed`: the first expression that the peer knows.
    fn of(seed: u64, unknown: &[&'static Construct], tally: &mut Tally) -> Result<Self> {
        let mut chance = Chance::new(seed, "differential");
        let instant = chance.one_in(2);
        let params = params(&mut chance, instant);
        for _ in 0..DRAWS_MAX {
            let text = Expressions::new(&mut chance).query(instant);
            let tree = parse(&text, &SYNTAX).with_context(|| text.clone())?;
            match unknown.iter().find(|construct| construct.is_in(&tree)) {
                None => return Ok(Case { text, params }),
                Some(construct) => *tally.left_out.entry(construct.name).or_default() += 1,
            }
        }
        bail!("the peer knows nothing: seed={seed}")
    }
}

/// Two answers to a query that are not the same.
struct Different {
    text: String,
    ours: Answer,
    theirs: Answer,
    why: String,
}

/// Asks both sides: the answer that they agree on, or two.
async fn ask(
    pair: &Pair,
    text: &str,
    params: &QueryParams,
) -> Result<Result<Answer, Box<Different>>> {
    let asked = tokio::try_join!(pair.ours.ask(text, params), pair.theirs.ask(text, params));
    let (ours, theirs) = asked.with_context(|| text.to_string())?;
    let ordered = params.instant && is_ordered(text);
    Ok(match compare::difference(&ours, &theirs, ordered) {
        None => Ok(ours),
        Some(why) => Err(Box::new(Different { text: text.to_string(), ours, theirs, why })),
    })
}

/// The smallest part of a query that is answered differently.
async fn smallest(
    pair: &Pair,
    mut different: Box<Different>,
    params: &QueryParams,
) -> Result<Box<Different>> {
    'smaller: loop {
        for part in parts(&different.text) {
            if let Err(smaller) = ask(pair, &part, params).await? {
                different = smaller;
                continue 'smaller;
            }
        }
        return Ok(different);
    }
}

#[tokio::test]
async fn random_queries_are_answered_as_prometheus_answers_them() -> Result<()> {
    let Some(sides) = Sides::start().await? else { return Ok(()) };
    let mut tally = Tally::default();
    let mut differences = Vec::new();
    let mut held: Option<(u64, Pair)> = None;
    let mut peer = None;
    for seed in seeds(QUERIES, QUERIES_LONG) {
        let of = seed / QUERIES_PER_DATA;
        if held.as_ref().is_none_or(|(held, _)| *held != of) {
            if let Some((_, pair)) = held.take() {
                pair.end()?;
            }
            let (name, series) = (format!("data-{of}"), data::series(of));
            let middle_ms = data::ORIGIN_MS + data::SPAN_MS / 2;
            // Names are removed late in every other data.
            held = Some((of, sides.hold(&name, &series, middle_ms, of % 2 == 1).await?));
        }
        let Some((_, pair)) = &held else { continue };
        if peer.is_none() {
            let version = pair.theirs.version().await?;
            peer = Some((version, constructs::unknown_to(&pair.theirs).await?));
        }
        let Some((version, unknown)) = &peer else { continue };
        let Case { text, params } = Case::of(seed, unknown, &mut tally)?;
        tally.asked += 1;
        let different = match ask(pair, &text, &params).await? {
            Ok(answer) => {
                tally.alike(&answer);
                continue;
            }
            Err(different) => smallest(pair, different, &params).await?,
        };
        let tree = parse(&different.text, &SYNTAX)?;
        let Different { text: part, ours, theirs, why } = &*different;
        let seen = Seen { tree: &tree, params: &params, ours, theirs };
        if let Some(name) = explanation(&seen, *version) {
            *tally.explained.entry(name).or_default() += 1;
            continue;
        }
        println!("PANDO_TEST_SEED={seed}: {text}\n  {part}\n  {params:?}\n  {why:.600}");
        if !all_cases() {
            println!("  ours: {}\n  theirs: {}", ours.data, theirs.data);
        }
        differences.push(format!("PANDO_TEST_SEED={seed}: {part}: {why:.600}"));
    }
    let (fragments, shards) = sides.counts().await?;
    println!("{tally:#?}\nfragments={fragments} shards with blocks={shards}");
    let count = differences.len();
    differences.truncate(DIFFERENCES_MAX);
    ensure!(count == 0, "{count} differences:\n{}", differences.join("\n"));
    if all_cases() {
        // A generator whose queries fail or find nothing would prove nothing, and neither would one whose every
        // difference is explained.
        ensure!(tally.alike * 10 >= tally.asked * 8, "few queries are alike: {tally:#?}");
        ensure!(tally.with_points * 2 > tally.asked, "few queries have points: {tally:#?}");
        ensure!(tally.refused > 0 && tally.with_notes > 0, "nothing is refused: {tally:#?}");
        ensure!(shards >= SHARDS, "blocks are of too few shards: {shards}");
        // Eight key ranges are asked for each selector.
        let least = 4 * tally.asked;
        ensure!(fragments > least as f64, "fragments={fragments}: {}", sides.log_tails());
        let most = tally.explained.values().max().copied().unwrap_or_default();
        ensure!(most * 20 <= tally.asked, "one reason explains too much: {tally:#?}");
    }
    Ok(())
}

/// Texts of which an earlier Prometheus than 3.14 says something else: it has other durations, keywords and functions.
const OF_LATER_VERSIONS: [&str; 8] = [
    "a[5m b]",
    "a[(5m]",
    "(a[5m:)]",
    "a offset (5m) / b",
    "a + b fill (0)",
    "a step()",
    "START()",
    "sum(max_of(1, 2))",
];

/// What is no PromQL is refused in Prometheus' words, at its places.
#[tokio::test]
async fn faults_of_texts_are_told_as_prometheus_tells_them() -> Result<()> {
    let Some(sides) = Sides::start().await? else { return Ok(()) };
    let middle_ms = data::ORIGIN_MS + data::SPAN_MS / 2;
    let pair = sides.hold("faults", &data::series(0), middle_ms, false).await?;
    let later = pair.theirs.version().await? < (3, 14);
    let mut different = Vec::new();
    for (text, _) in FAULTS {
        let at = QueryParams::instant(middle_ms);
        let (ours, theirs) =
            tokio::try_join!(pair.ours.ask(text, &at), pair.theirs.ask(text, &at))?;
        let said = [&ours, &theirs].map(|a| format!("{} {} {}", a.status, a.kind, a.error));
        if said[0] != said[1] && !(later && OF_LATER_VERSIONS.contains(text)) {
            different.push(format!("{text}: {said:#?}"));
        }
    }
    pair.end()?;
    ensure!(different.is_empty(), "{different:#?}");
    Ok(())
}

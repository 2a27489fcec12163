//! Damaged texts through lexer, parser, printer and planner.

use crate::syntax::lexer::Lexer;
use crate::syntax::token::TokenKind;
use crate::syntax::{SyntaxFeatures, parse};
use crate::{Query, QueryParams, parse_matchers};

use super::corpus;
use super::damage::damaged;
use crate::properties::printing::assert_printed;
use crate::testing::{Chance, FEATURES, SYNTAX, all_cases, each_seed};

const CASES: u64 = 6_000;

/// What damage puts in: words and signs of the language, at the edges of what is allowed.
const WORDS: [&str; 40] = [
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    "[5m:",
    ":",
    ",",
    "\"",
    "'",
    "`",
    "\\",
    "#",
    "-",
    "^",
    "@",
    "</",
    " by (a) ",
    " on (b) ",
    " group_left ",
    " bool ",
    " offset ",
    "step()",
    "Inf",
    "0x",
    "1e",
    "9h",
    "_",
    "é",
    "\u{0}",
    "=~",
    "{{",
    "fill(",
    "99999999999999999999",
    "\n",
    "\r",
    "- +",
    " offset (5m)",
    " smoothed",
];

fn damaged_text(chance: &mut Chance, corpus: &[String]) -> String {
    let words = WORDS.map(str::as_bytes);
    let (good, other) = (&corpus[chance.below(corpus.len())], &corpus[chance.below(corpus.len())]);
    let bytes = damaged(chance, good.as_bytes(), other.as_bytes(), &words);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Tokens come one behind the other, each at a boundary of characters, and end: no text makes more of them than it has bytes.
#[test]
fn damaged_texts_are_cut_into_tokens() {
    let corpus = corpus::expressions();
    each_seed(CASES, |seed| {
        let text = damaged_text(&mut Chance::new(seed, "tokens"), &corpus);
        let (mut lexer, mut end) = (Lexer::new(&text), 0);
        loop {
            let token = lexer.token();
            assert!(lexer.tokens() <= text.len() + 1, "{text:?}");
            let (from, upto) = (token.pos.start as usize, token.pos.end as usize);
            assert!(end <= from && from <= upto, "{text:?}: {token:?}");
            assert!(text.get(from..upto).is_some(), "{text:?}: {token:?}");
            assert_eq!(token.error.is_some(), token.kind == TokenKind::Error, "{text:?}");
            if token.kind.is_last() {
                break;
            }
            assert!(from < upto, "{text:?}: {token:?}");
            end = upto;
        }
    });
}

#[test]
fn damaged_texts_are_refused_or_read_faithfully() {
    let corpus = corpus::expressions();
    let (mut read, mut asked) = (0, 0);
    each_seed(CASES, |seed| {
        let text = damaged_text(&mut Chance::new(seed, "texts"), &corpus);
        asked += 1;
        match parse(&text, &SYNTAX) {
            Ok(_) => {
                read += 1;
                assert_printed(&text);
                plan(&text);
            }
            Err(error) => {
                let (start, end) = (error.pos.start as usize, error.pos.end as usize);
                assert!(start <= end && end <= text.len(), "{text:?}: {error:?}");
                // Not in long runs: promql-parser checks less (types of `+` and of parameters, ranges of numbers,
                // patterns, repeated names), and panics at times that are too large. A form feed is a blank to it, and
                // the replacement character a character.
                if seed < CASES && promql_parser::parser::parse(&text).is_ok() {
                    assert!(text.contains(['\u{c}', '\u{fffd}']), "{text:?}: {error}");
                }
            }
        }
        let _ = parse(&text, &SyntaxFeatures::default());
        let _ = parse_matchers(&text);
    });
    // Damage that nothing survives would test the lexer alone.
    assert!(!all_cases() || (read * 50 > asked && read < asked), "read={read} asked={asked}");
}

/// Plans as instant and as range query; nobody executes it.
fn plan(text: &str) {
    let instant = QueryParams::instant(1_000_000);
    let range = QueryParams::range(1_000_000, 2_000_000, 100_000).expect("eleven steps");
    for params in [instant, range] {
        let _ = Query::parse(text, params.with_features(FEATURES));
    }
}

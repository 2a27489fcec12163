use std::collections::HashMap;

use pando_model::Labels;

use super::*;
use crate::parser::Event;

/// A caller as the agent is one: it names series by their labels.
#[derive(Default)]
struct Caller {
    slots: HashMap<Labels, u32>,
    unwanted: Option<&'static str>,
    misses: usize,
    meta: usize,
}

/// What a scrape gave: samples as text, and the outcome.
#[derive(Debug, PartialEq, Default)]
struct Scraped {
    samples: Vec<String>,
    count: u64,
    appeared: Vec<u32>,
    vanished: Vec<u32>,
    released: Vec<u32>,
}

impl Caller {
    fn scrape(&mut self, cache: &mut LineCache, format: ScrapeFormat, body: &str) -> Scraped {
        let mut scrape = cache.begin(format, body.as_bytes());
        let mut samples = Vec::new();
        (self.misses, self.meta) = (0, 0);
        while let Some(line) = scrape.next() {
            match line.expect("a valid body") {
                Line::Known(known) => samples.push(format!(
                    "{} {} {:?} {:?} {:?}",
                    known.slot,
                    known.value,
                    known.timestamp_ms,
                    known.start_ms,
                    known.exemplar.map(|e| e.value)
                )),
                Line::New(sample) => {
                    self.misses += 1;
                    let labels = sample.labels().expect("labels");
                    if self.unwanted == Some(labels.metric_name()) {
                        scrape.drop_series();
                        continue;
                    }
                    let next = self.slots.len() as u32;
                    let slot = *self.slots.entry(labels).or_insert(next);
                    scrape.assign(slot);
                    samples.push(format!(
                        "{slot} {} {:?} {:?} {:?}",
                        sample.value,
                        sample.timestamp_ms,
                        sample.start_ms,
                        sample.exemplar.map(|e| e.value)
                    ));
                }
                Line::Meta(_) => self.meta += 1,
            }
        }
        let outcome = scrape.finish();
        Scraped {
            samples,
            count: outcome.samples,
            appeared: outcome.appeared.to_vec(),
            vanished: outcome.vanished.to_vec(),
            released: outcome.released.to_vec(),
        }
    }

    fn text(&mut self, cache: &mut LineCache, body: &str) -> Scraped {
        self.scrape(cache, ScrapeFormat::Text, body)
    }
}

fn pair() -> (Caller, LineCache) {
    (Caller::default(), LineCache::new(LineCacheOptions::default()))
}

const BODY: &str = "# HELP a it\n# TYPE a gauge\na{x=\"1\"} 1\na{x=\"2\"} 2\n# TYPE b gauge\nb 3\n";

#[test]
fn a_steady_scrape_asks_nothing() {
    let (mut caller, mut cache) = pair();
    let first = caller.text(&mut cache, BODY);
    assert_eq!((caller.misses, caller.meta, first.count), (3, 3, 3));
    assert_eq!(first.appeared, [0, 1, 2]);
    let heap_bytes = cache.heap_bytes();
    for value in ["2", "2.5", "NaN", "1795332015.0340001"] {
        let body = BODY.replace("} 2", &format!("}} {value}"));
        let next = caller.text(&mut cache, &body);
        let value: f64 = value.parse().expect("a float");
        let expected = ["0 1".to_string(), format!("1 {value}"), "2 3".to_string()];
        assert_eq!(next.samples, expected.map(|s| s + " None None None"));
        assert_eq!((caller.misses, caller.meta, next.count), (0, 0, 3));
        assert!(next.appeared.is_empty() && next.vanished.is_empty() && next.released.is_empty());
    }
    assert_eq!(cache.heap_bytes(), heap_bytes, "a steady scrape takes no memory");
}

#[test]
fn a_name_that_begins_like_another_is_not_taken_for_it() {
    let (mut caller, mut cache) = pair();
    caller.text(&mut cache, "a 1\nab 2\n");
    let next = caller.text(&mut cache, "ab 3\na{x=\"1\"} 4\na 5\na 6 7\n");
    assert_eq!(caller.misses, 1);
    assert_eq!(
        next.samples,
        ["1 3 None None None", "2 4 None None None", "0 5 None None None", "0 6 Some(7) None None"]
    );
}

#[test]
fn lines_that_move_are_found_again() {
    let (mut caller, mut cache) = pair();
    caller.text(&mut cache, BODY);
    let lines: Vec<&str> = BODY.lines().collect();
    let moved = [lines[4], lines[5], "c 9", lines[1], lines[3], lines[2]].join("\n") + "\n";
    let next = caller.text(&mut cache, &moved);
    assert_eq!((caller.misses, caller.meta), (1, 0));
    assert_eq!(next.samples.len(), 4);
    assert_eq!((next.appeared, next.vanished), (vec![3], vec![]));
    let again = caller.text(&mut cache, &moved);
    assert_eq!(again.samples, next.samples);
    assert_eq!(caller.misses, 0);
}

#[test]
fn what_vanishes_is_told_once_and_released_when_its_lines_are_gone() {
    let (mut caller, mut cache) = pair();
    caller.text(&mut cache, BODY);
    let shorter = BODY.replace("a{x=\"1\"} 1\n", "");
    assert_eq!(caller.text(&mut cache, &shorter).vanished, [0]);
    let next = caller.text(&mut cache, &shorter);
    assert_eq!((next.vanished, next.released), (vec![], vec![0]));
    assert_eq!(cache.lines(), 5);
    let back = caller.text(&mut cache, BODY);
    assert_eq!((caller.misses, back.appeared), (1, vec![0]));
}

#[test]
fn two_spellings_of_a_series_are_one_series() {
    let (mut caller, mut cache) = pair();
    caller.text(&mut cache, "a{x=\"1\",y=\"2\"} 1\n");
    let next = caller.text(&mut cache, "a{y=\"2\",x=\"1\"} 1\n");
    assert_eq!((caller.misses, next.vanished.len(), next.appeared.len()), (1, 0, 0));
    let third = caller.text(&mut cache, "a{y=\"2\",x=\"1\"} 1\n");
    assert!(third.released.is_empty(), "one of its lines is left");
}

#[test]
fn a_failed_scrape_has_seen_nothing() {
    let (mut caller, mut cache) = pair();
    caller.text(&mut cache, BODY);
    let mut scrape = cache.begin(ScrapeFormat::Text, b"a{x=\"1\"} 1\nnew 1\nb x\n");
    while let Some(line) = scrape.next() {
        match line {
            Ok(Line::New(_)) => scrape.assign(9),
            Ok(_) => {}
            Err(e) => assert_eq!(e.line, 3),
        }
    }
    assert_eq!(cache.fail().vanished, [0, 1, 2]);
    assert!(cache.fail().vanished.is_empty());
    let back = caller.text(&mut cache, BODY);
    assert_eq!((caller.misses, back.appeared), (0, vec![0, 1, 2]));
    assert!(!back.vanished.contains(&9), "what a failed scrape saw was never stored");
}

#[test]
fn dropped_lines_are_counted_and_not_asked_for_again() {
    let (mut caller, mut cache) = pair();
    caller.unwanted = Some("b");
    caller.text(&mut cache, BODY);
    let next = caller.text(&mut cache, BODY);
    assert_eq!((caller.misses, next.count, next.samples.len()), (0, 3, 2));
}

#[test]
fn samples_with_timestamps_go_stale_only_where_asked() {
    for (track_timestamped, vanished) in [(false, vec![]), (true, vec![0])] {
        let options = LineCacheOptions { track_timestamped, ..Default::default() };
        let (mut caller, mut cache) = (Caller::default(), LineCache::new(options));
        for _ in 0..2 {
            let scraped = caller.text(&mut cache, "a 1 5\nb 1\n");
            assert_eq!(scraped.samples[0], "0 1 Some(5) None None");
        }
        assert_eq!(caller.text(&mut cache, "b 1\n").vanished, vanished);
    }
}

#[test]
fn changed_metadata_is_told_again() {
    let (mut caller, mut cache) = pair();
    caller.text(&mut cache, "# HELP a one\na 1\n");
    for (help, told) in [("two", 1), ("two", 0), ("one", 1), ("one", 0)] {
        caller.text(&mut cache, &format!("# HELP a {help}\na 1\n"));
        assert_eq!(caller.meta, told, "{help}");
    }
}

#[test]
fn types_of_skipped_lines_still_count_for_new_ones() {
    let (mut caller, mut cache) = pair();
    let body = "# TYPE a summary\na{quantile=\"1\"} 1\n";
    caller.text(&mut cache, body);
    caller.text(&mut cache, &format!("{body}a{{quantile=\"2\"}} 2\n"));
    let labels = Labels::from_pairs([("__name__", "a"), ("quantile", "2.0")]);
    assert_eq!(caller.slots.get(&labels), Some(&1));
}

#[test]
fn starts_follow_their_lines() {
    let options = LineCacheOptions { created: CreatedLines::AsStart, ..Default::default() };
    let (mut caller, mut cache) = (Caller::default(), LineCache::new(options));
    let body = |start: &str| {
        format!("# TYPE a counter\na_total{{x=\"1\"}} 7\na_created{{x=\"1\"}} {start}\n# EOF\n")
    };
    for (start, expected) in [("1", 1000), ("1", 1000), ("2.5", 2500), ("2.5", 2500)] {
        let scraped = caller.scrape(&mut cache, ScrapeFormat::OpenMetrics, &body(start));
        assert_eq!(scraped.samples, [format!("0 7 None Some({expected}) None")]);
        assert_eq!(scraped.count, 1);
    }
    let without = "# TYPE a counter\na_total{x=\"1\"} 7\n# EOF\n";
    let scraped = caller.scrape(&mut cache, ScrapeFormat::OpenMetrics, without);
    assert_eq!(scraped.samples, ["0 7 None None None"]);
}

#[test]
fn lines_beyond_the_limit_are_new_every_time_and_still_go_stale() {
    let options = LineCacheOptions { line_bytes_max: 220, ..Default::default() };
    let (mut caller, mut cache) = (Caller::default(), LineCache::new(options));
    for _ in 0..3 {
        let scraped = caller.text(&mut cache, "aaaa 1\nbbbb 2\ncccc 3\n");
        assert_eq!(scraped.samples.len(), 3);
        assert_eq!(scraped.released.len(), 0);
    }
    assert_eq!((caller.misses, cache.lines()), (1, 2));
    assert_eq!(caller.text(&mut cache, "aaaa 1\nbbbb 2\n").vanished, [2]);
    assert_eq!(caller.text(&mut cache, "aaaa 1\nbbbb 2\n").released, [2]);
}

/// Whatever a target sends, the cache says what a parser without memory says.
#[test]
fn the_cache_agrees_with_the_parser() {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut below = |n: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % n as u64) as usize
    };
    let options = LineCacheOptions { created: CreatedLines::AsStart, ..Default::default() };
    for format in [ScrapeFormat::Text, ScrapeFormat::OpenMetrics] {
        let mut cache = LineCache::new(options);
        let mut slots: HashMap<Labels, u32> = HashMap::new();
        let mut lines: Vec<String> = Vec::new();
        for round in 0..400 {
            for _ in 0..1 + below(6) {
                let (name, label) = (["a", "ab", "b_total", "b_created"][below(4)], below(6));
                let value = ["1", "2.5", "NaN", "1e3", "12345678901234567890"][below(5)];
                let line = match below(8) {
                    0 => format!("# HELP {name} text {label}"),
                    1 => "# TYPE b counter".to_string(),
                    2 => format!("{name} {value}"),
                    3 => format!("{name}{{x=\"{label}\"}} {value} 17"),
                    4 if format == ScrapeFormat::Text => {
                        format!("  {name} {{x=\"{label}\"}}\t{value}")
                    }
                    5 if format == ScrapeFormat::Text => String::new(),
                    6 if below(10) == 0 => "bad".to_string(),
                    _ => format!("{name}{{x=\"{label}\"}} {value}"),
                };
                let at = below(lines.len() + 1);
                match below(3) {
                    0 if at < lines.len() => lines[at] = line,
                    1 if at < lines.len() => drop(lines.remove(at)),
                    _ => lines.insert(at, line),
                }
            }
            let mut body = lines.join("\n");
            body.push_str(if round % 7 == 0 { "" } else { "\n" });
            if format == ScrapeFormat::OpenMetrics {
                body.push_str(if body.ends_with('\n') { "# EOF" } else { "\n# EOF\n" });
            }
            let mut expected = Vec::new();
            for event in crate::Parser::with_created(format, body.as_bytes(), options.created) {
                match event {
                    Ok(Event::Sample(s)) => {
                        let next = slots.len() as u32;
                        let slot = *slots.entry(s.labels().expect("labels")).or_insert(next);
                        expected.push(format!(
                            "{slot} {} {:?} {:?}",
                            s.value, s.timestamp_ms, s.start_ms
                        ));
                    }
                    Ok(_) => {}
                    Err(e) => expected.push(e.to_string()),
                }
            }
            let mut found = Vec::new();
            let mut scrape = cache.begin(format, body.as_bytes());
            let mut failed = false;
            while let Some(line) = scrape.next() {
                match line {
                    Ok(Line::Known(s)) => {
                        found.push(format!(
                            "{} {} {:?} {:?}",
                            s.slot, s.value, s.timestamp_ms, s.start_ms
                        ));
                    }
                    Ok(Line::New(s)) => {
                        let slot = slots[&s.labels().expect("labels")];
                        scrape.assign(slot);
                        found.push(format!(
                            "{slot} {} {:?} {:?}",
                            s.value, s.timestamp_ms, s.start_ms
                        ));
                    }
                    Ok(Line::Meta(_)) => {}
                    Err(e) => {
                        failed = true;
                        found.push(e.to_string());
                    }
                }
            }
            assert_eq!(found, expected, "{body}");
            if failed {
                cache.fail();
                lines.retain(|line| line != "bad");
            } else {
                scrape.finish();
            }
        }
    }
}

//! Measures.
#![allow(clippy::all, clippy::pedantic, clippy::disallowed_methods, clippy::unwrap_used, clippy::print_stdout, missing_docs)]
use std::collections::HashMap;
use std::time::Instant;
use pando_codec::floats;

fn main() {
    let path = std::env::args().nth(1).unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    let mut series: HashMap<String, Vec<(i64, f64)>> = HashMap::new();
    let mut job = "";
    let mut t = 0i64;
    for line in text.lines() {
        if let Some(h) = line.strip_prefix("@@ ") {
            let (j, ms) = h.split_once(' ').unwrap();
            job = j;
            t = ms.trim().parse().unwrap();
            continue;
        }
        if line.starts_with('#') || line.is_empty() { continue; }
        let (k, v) = line.rsplit_once(' ').unwrap();
        let v: f64 = match v { "+Inf" => f64::INFINITY, "-Inf" => f64::NEG_INFINITY, "NaN" => f64::from_bits(0x7ff8000000000001), v => v.parse().unwrap() };
        series.entry(format!("{job} {k}")).or_default().push((t, v));
    }
    let mut names: Vec<_> = series.keys().cloned().collect();
    names.sort();
    let a: Vec<Vec<f64>> = names.iter().map(|n| series[n].iter().map(|x| x.1).collect()).collect();
    let b: Vec<Vec<f64>> = a.iter().map(|v| v.iter().step_by(3).copied().collect()).collect();
    let c = synthetic();
    let d: Vec<Vec<f64>> = a.iter().flat_map(|v| v.chunks(32).map(|c| c.to_vec())).collect();
    let e: Vec<Vec<f64>> = b.iter().flat_map(|v| v.chunks(40).map(|c| c.to_vec())).collect();
    for (what, cols) in [("A 5s", &a), ("B 15s", &b), ("C synth", &c), ("A chunks of 32", &d), ("B chunks of 40", &e)] {
        let n: usize = cols.iter().map(Vec::len).sum();
        let mut enc = vec![];
        let t0 = Instant::now();
        for col in cols.iter() { let mut o = vec![]; floats::encode_floats(col, &mut o); enc.push(o); }
        let te = t0.elapsed().as_secs_f64();
        let bytes: usize = enc.iter().map(Vec::len).sum();
        let mut out = vec![];
        let t0 = Instant::now();
        for _ in 0..5 { for e in &enc { out.clear(); floats::decode_floats(e, &mut out).unwrap(); } }
        let td = t0.elapsed().as_secs_f64() / 5.0;
        for (e, c) in enc.iter().zip(cols) { out.clear(); floats::decode_floats(e, &mut out).unwrap(); assert!(out.iter().map(|v|v.to_bits()).eq(c.iter().map(|v|v.to_bits()))); }
        let (mut nn, mut en) = (0, vec![]);
        for (e, c) in enc.iter().zip(cols) { if !c.iter().all(|v| v.to_bits() == c[0].to_bits()) { nn += c.len(); en.push(e); } }
        let t0 = Instant::now();
        for _ in 0..5 { for e in &en { out.clear(); floats::decode_floats(e, &mut out).unwrap(); } }
        let tn = t0.elapsed().as_secs_f64() / 5.0;
        println!("{what}: series={} samples={n} bits/sample={:.3} encode={:.0} M/s decode={:.0} M/s nonconst={:.0} M/s ({:.0}%)", cols.len(), bytes as f64 * 8.0 / n as f64, n as f64 / te / 1e6, n as f64 / td / 1e6, nn as f64 / tn / 1e6, nn as f64*100.0/n as f64);
    }
    if std::env::var("TOP").is_ok() {
        let mut tops: Vec<(usize, &str)> = names.iter().zip(&a).map(|(n, c)| { let mut o = vec![]; floats::encode_floats(c, &mut o); (o.len(), n.as_str()) }).collect();
        tops.sort(); tops.reverse();
        let total: usize = tops.iter().map(|t| t.0).sum();
        let mut acc = 0;
        for (i, (l, n)) in tops.iter().take(300).enumerate() { acc += l; let s = &series[*n]; if i < 60 || i % 10 == 0 { println!("{l} {:.1}% bits/s={:.1} {n} {:?} {:?} {:?}", acc as f64 * 100.0 / total as f64, *l as f64*8.0/s.len() as f64, s[0].1, s[s.len()/2].1, s[s.len()-1].1); } }
    }
}
fn synthetic() -> Vec<Vec<f64>> {
    let mut seed = 88172645463325252u64;
    let mut rnd = move |n: u64| { seed ^= seed << 13; seed ^= seed >> 7; seed ^= seed << 17; (seed >> 11) % n };
    (0..1000).map(|i| { let mut v = rnd(1_000_000); (0..4320).map(|_| { v += match i % 10 { 0..=3 => 0, 4..=7 => rnd(5), _ => rnd(2000) }; v as f64 }).collect() }).collect()
}

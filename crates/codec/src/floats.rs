//! DEC-PFOR128 prototype
use crate::bits::BLOCK_VALUES;
use crate::error::CodecError;
use crate::ints::{IntBlocks, encode_ints};
use crate::limits::SAMPLES_PER_CHUNK_MAX;
use crate::varint::{Reader, put_varint, put_zigzag};

const WHAT: &str = "floats";
const VERSION: u8 = 1;

const BITS: u8 = 19;
const CONST: u8 = 0x20;
const EXC: u8 = 0x40;
const LAST: u8 = 0x80;
const P10: [f64; 19] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18,
];

fn to_decimal(v: f64, e: u8) -> Option<i64> {
    let x = v * P10[e as usize];
    let m = if x.abs() < 4.5e15 { (x + 0.5f64.copysign(x)) as i64 } else { x as i64 };
    let ok = from_decimal(m, e).to_bits() == v.to_bits() && (e == 0 || m.unsigned_abs() < 1 << 53);
    ok.then_some(m)
}
fn from_decimal(m: i64, e: u8) -> f64 {
    m as f64 / P10[e as usize]
}
fn ordered(v: f64) -> i64 {
    let b = v.to_bits() as i64;
    b ^ (((b >> 63) as u64) >> 1) as i64
}
fn unordered(b: i64) -> f64 {
    f64::from_bits((b ^ (((b >> 63) as u64) >> 1) as i64) as u64)
}

pub fn run_max() -> usize {
    std::env::var("RUN").ok().and_then(|k| k.parse().ok()).unwrap_or(1024)
}

pub fn encode_floats(values: &[f64], out: &mut Vec<u8>) {
    out.push(VERSION);
    put_varint(out, values.len() as u64);
    let mut rest = values;
    while !rest.is_empty() {
        let v0 = rest[0].to_bits();
        let same = rest.iter().take_while(|v| v.to_bits() == v0).count();
        let n = if same >= 128 || same == rest.len() { same } else { rest.len().min(run_max()) };
        let (run, r) = rest.split_at(n);
        rest = r;
        let last = if rest.is_empty() { LAST } else { 0 };
        let len = |out: &mut Vec<u8>| {
            if last == 0 {
                put_varint(out, n as u64);
            }
        };
        if same == n {
            // constant
            let v = run[0];
            if let Some((e, m)) = (0..=15).find_map(|e| to_decimal(v, e).map(|m| (e, m))) {
                out.push(e | CONST | last);
                len(out);
                put_zigzag(out, m);
            } else {
                out.push(BITS | CONST | last);
                len(out);
                out.extend(v.to_bits().to_le_bytes());
            }
            continue;
        }
        // minimal exponents
        let mut hist = [0usize; 17];
        let mut hint = 0u8;
        let mut exps = Vec::with_capacity(n);
        for &v in run {
            let mut e = hint;
            let mut found = to_decimal(v, e);
            if found.is_none() {
                for c in 0..=15 {
                    if let Some(m) = to_decimal(v, c) {
                        found = Some(m);
                        e = c;
                        break;
                    }
                }
            }
            if let Some(mut m) = found {
                while e > 0 && m % 10 == 0 {
                    m /= 10;
                    e -= 1;
                }
                if e > hint && e < 10 {
                    hint = e;
                }
                hist[e as usize] += 1;
                exps.push(e);
            } else {
                hist[16] += 1;
                exps.push(16);
            }
        }
        let mut above: usize = n;
        let mut best = (usize::MAX, 0u8);
        for e in 0..=15u8 {
            above -= hist[e as usize];
            let cost = above * 72 + n * (e as usize) * 10 / 3;
            if cost < best.0 {
                best = (cost, e);
            }
        }
        let e = best.1;
        let mut bits = Vec::new();
        {
            let b: Vec<i64> = run.iter().map(|v| ordered(*v)).collect();
            bits.push(BITS | last);
            len(&mut bits);
            encode_ints(&b, &mut bits);
        }
        let mut dec = Vec::new();
        {
            let mut exc: Vec<(usize, f64)> = vec![];
            let mut ints = Vec::with_capacity(n);
            let mut prev = run.iter().find_map(|v| to_decimal(*v, e)).unwrap_or(0);
            for (i, v) in run.iter().enumerate() {
                if let Some(m) = to_decimal(*v, e) {
                    ints.push(m);
                    prev = m;
                } else {
                    exc.push((i, *v));
                    ints.push(prev);
                }
            }
            dec.push(e | if exc.is_empty() { 0 } else { EXC } | last);
            len(&mut dec);
            if !exc.is_empty() {
                put_varint(&mut dec, exc.len() as u64);
                for (i, v) in exc {
                    put_varint(&mut dec, i as u64);
                    dec.extend(v.to_bits().to_le_bytes());
                }
            }
            encode_ints(&ints, &mut dec);
        }
        out.extend(if bits.len() < dec.len() { bits } else { dec });
    }
}

pub fn decode_floats(bytes: &[u8], out: &mut Vec<f64>) -> Result<(), CodecError> {
    let mut r = Reader::new(WHAT, bytes);
    r.version(VERSION)?;
    let mut left = r.count("samples", SAMPLES_PER_CHUNK_MAX)?;
    out.reserve(left);
    while left > 0 {
        let head = r.u8()?;
        let n = if head & LAST != 0 { left } else { r.count("samples", left)? };
        left -= n;
        let e = head & 0x1f;
        if head & CONST != 0 {
            let v = if e == BITS { r.f64()? } else { from_decimal(r.zigzag()?, e) };
            out.resize(out.len() + n, v);
            continue;
        }
        let start = out.len();
        let mut exc = vec![];
        if head & EXC != 0 {
            let c = r.varint()?;
            for _ in 0..c {
                let i = r.varint()? as usize;
                exc.push((i, r.f64()?));
            }
        }
        let mut col = IntBlocks::new(&mut r, n)?;
        let mut b = [0i64; BLOCK_VALUES];
        let mut f = [0f64; BLOCK_VALUES];
        loop {
            let got = col.next(&mut r, &mut b)?;
            if got == 0 {
                break;
            }
            if e == BITS {
                for (f, b) in f.iter_mut().zip(&b) {
                    *f = unordered(*b);
                }
            } else if e == 0 {
                for (f, b) in f.iter_mut().zip(&b) {
                    *f = *b as f64;
                }
            } else {
                let p = P10[e as usize];
                for (f, b) in f.iter_mut().zip(&b) {
                    *f = *b as f64 / p;
                }
            }
            out.extend_from_slice(&f[..got]);
        }
        for (i, v) in exc {
            out[start + i] = v;
        }
    }
    r.finish()
}

//! `Remote`: a server with Prometheus' API as the subject of test scripts. Samples go in by remote write 2.0, at the
//! times that scripts give them, which begin at the epoch; expressions are asked over HTTP.
//!
//! A script is cleared in one of two ways: by a tenant that nobody had before (Pando), or by a command that empties the
//! server. The runner asks from one thread and waits for each answer, so this waits for its futures in place.

use std::future::Future;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use pando_exposition::remote_write::{
    self, FloatSample, HistogramToWrite, SeriesToWrite, encode_v2,
};
use pando_model::SampleValue;
use pando_promql::promqltest::{
    Answer, EvalTimes, LoadedSample, LoadedSeries, Subject, SubjectError,
};
use pando_runtime::Clock as _;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::Value;
use tokio::runtime::Handle;

use super::answer;
use crate::tools::base;

/// How long a server may take to take the connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the whole answer may take: more than the two minutes that a query may run by default.
const TIMEOUT: Duration = Duration::from_secs(150);
/// Between two attempts at a server that is not able to right now: a new tenant has to get its place first.
const PAUSE: Duration = Duration::from_millis(500);
/// How many attempts there are: 30 s of pauses.
const ATTEMPTS: usize = 61;
/// Samples of one request. Floats are some 12 bytes each, so that a request stays well below the 32 MiB or less that
/// servers take.
const SAMPLES_MAX: usize = 10_000;
/// What scripts expect, whatever the server's default is.
const LOOKBACK: &str = "5m";

/// A server.
pub(super) struct Remote {
    client: Client,
    url: String,
    write_url: String,
    reset: Reset,
    /// What is run between the halves of a load.
    cut_cmd: Option<String>,
    runtime: Handle,
    /// Between two attempts at a server that is not able to right now.
    pause: Duration,
    /// How many attempts there are.
    attempts: usize,
}

/// How samples are forgotten.
enum Reset {
    /// The tenant `{run}-{count}` has none.
    Tenant { run: String, count: usize },
    /// This command empties the server.
    Command(String),
}

impl Remote {
    /// The server at `url`; without a command each script and each `clear` has a tenant of its own.
    pub(super) fn new(url: &str, reset_cmd: Option<&str>) -> Result<Self> {
        let url = base(url)?;
        let reset = match reset_cmd {
            Some(command) => Reset::Command(command.to_string()),
            None => {
                let now_ms = pando_runtime::SystemClock::new().now_ms();
                let run = format!("promqltest-{now_ms}-{}", std::process::id());
                Reset::Tenant { run, count: 0 }
            }
        };
        let client = Client::builder().connect_timeout(CONNECT_TIMEOUT).timeout(TIMEOUT).build()?;
        let runtime = Handle::try_current().context("remote scripts need a runtime")?;
        Ok(Remote {
            client,
            write_url: url.clone(),
            url,
            reset,
            cut_cmd: None,
            runtime,
            pause: PAUSE,
            attempts: ATTEMPTS,
        })
    }

    /// Writes to the server at `url` from now on, where one is named.
    pub(super) fn write_to(&mut self, url: Option<&str>) -> Result<()> {
        if let Some(url) = url {
            self.write_url = base(url)?;
        }
        Ok(())
    }

    /// Runs `command` between the halves of each load from now on.
    pub(super) fn cut_between_halves(&mut self, command: Option<String>) {
        self.cut_cmd = command;
    }

    /// A request to the server at `base`.
    fn post(&self, base: &str, path: &str) -> RequestBuilder {
        let request = self.client.post(format!("{base}/api/v1/{path}"));
        match &self.reset {
            Reset::Tenant { run, count } => {
                request.header("X-Scope-OrgID", format!("{run}-{count}"))
            }
            Reset::Command(_) => request,
        }
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        tokio::task::block_in_place(|| self.runtime.block_on(future))
    }

    /// Sends until the server is able to answer; `patient` also where there is no server yet.
    fn send(
        &self,
        request: &dyn Fn() -> RequestBuilder,
        patient: bool,
    ) -> Result<(StatusCode, String), SubjectError> {
        self.wait(async {
            let mut trouble = String::new();
            for attempt in 0..self.attempts {
                if attempt > 0 {
                    tokio::time::sleep(self.pause).await;
                }
                let response = match request().send().await {
                    Ok(response) => response,
                    Err(error) if patient && error.is_connect() => {
                        trouble = format!("{:#}", anyhow::Error::new(error));
                        continue;
                    }
                    Err(error) => return Err(broken(error)),
                };
                let status = response.status();
                let text = response.text().await.map_err(broken)?;
                let busy = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
                if !busy.contains(&status) {
                    return Ok((status, text));
                }
                trouble = format!("{status}: {}", text.trim());
            }
            Err(SubjectError::Broken(trouble))
        })
    }

    fn asked(
        &self,
        path: &str,
        form: &[(&str, String)],
        patient: bool,
    ) -> Result<Answer, SubjectError> {
        let (status, text) = self.send(&|| self.post(&self.url, path).form(form), patient)?;
        let body: Value = serde_json::from_str(&text).map_err(|_| {
            let why = format!("not an answer of Prometheus' API: status={status} body={text:.200}");
            SubjectError::Broken(why)
        })?;
        answer::read(&body)
    }

    /// Writes all, as far as it is taken.
    fn write_all(&self, series: &[LoadedSeries]) -> Result<(), SubjectError> {
        let mut outcome = Ok(());
        for part in parts(series, SAMPLES_MAX) {
            match self.write(encode(&part)?) {
                Err(SubjectError::Refused(why)) if outcome.is_ok() => {
                    outcome = Err(SubjectError::Refused(why));
                }
                Ok(()) | Err(SubjectError::Refused(_)) => {}
                broken @ Err(SubjectError::Broken(_)) => return broken,
            }
        }
        outcome
    }

    fn write(&self, body: Vec<u8>) -> Result<(), SubjectError> {
        let body = bytes::Bytes::from(body);
        let request = || {
            let request = self.post(&self.write_url, "write").body(body.clone());
            request
                .header("Content-Type", remote_write::CONTENT_TYPE_V2)
                .header("Content-Encoding", remote_write::CONTENT_ENCODING)
                .header(remote_write::VERSION_HEADER, "2.0.0")
        };
        let (status, text) = self.send(&request, false)?;
        let said = || format!("remote write: {status}: {}", text.trim());
        match status {
            _ if status.is_success() => Ok(()),
            StatusCode::BAD_REQUEST => Err(SubjectError::Refused(said())),
            _ => Err(SubjectError::Broken(said())),
        }
    }
}

/// Runs the command of a flag to its end; what it leaves running may go on. It writes where our own complaints go: our
/// output is for the results.
fn run(flag: &str, command: &str) -> Result<(), SubjectError> {
    let broken = |why: String| SubjectError::Broken(format!("{flag}: {why}"));
    let status = Command::new("sh").arg("-c").arg(command).stdout(std::io::stderr()).status();
    let status = status.map_err(|error| broken(error.to_string()))?;
    if status.success() { Ok(()) } else { Err(broken(status.to_string())) }
}

fn broken(error: reqwest::Error) -> SubjectError {
    SubjectError::Broken(format!("{:#}", anyhow::Error::new(error)))
}

impl Subject for Remote {
    fn clear(&mut self) -> Result<(), SubjectError> {
        let command = match &mut self.reset {
            Reset::Tenant { count, .. } => {
                *count += 1;
                return Ok(());
            }
            Reset::Command(command) => command,
        };
        run("--reset-cmd", command)?;
        // The command may have started the server anew.
        self.asked("query", &[("query", "1".to_string())], true).map(|_| ())
    }

    /// What is refused does not keep the rest from being written; the first refusal is told.
    fn load(&mut self, series: Vec<LoadedSeries>) -> Result<(), SubjectError> {
        let Some(command) = &self.cut_cmd else { return self.write_all(&series) };
        let (first, second) = halves(series);
        let outcome = self.write_all(&first);
        if let broken @ Err(SubjectError::Broken(_)) = outcome {
            return broken;
        }
        run("--cut-cmd", command)?;
        match self.write_all(&second) {
            broken @ Err(SubjectError::Broken(_)) => broken,
            taken => outcome.and(taken),
        }
    }

    fn ask(&mut self, expr: &str, times: EvalTimes) -> Result<Answer, SubjectError> {
        let seconds = |ms: i64| (ms as f64 / 1000.0).to_string();
        let (path, times) = match times {
            EvalTimes::Instant { t_ms } => ("query", vec![("time", seconds(t_ms))]),
            EvalTimes::Range { start_ms, end_ms, step_ms } => {
                let times = [("start", start_ms), ("end", end_ms), ("step", step_ms)];
                ("query_range", times.map(|(name, ms)| (name, seconds(ms))).to_vec())
            }
        };
        let mut form = vec![("query", expr.to_string()), ("lookback_delta", LOOKBACK.to_string())];
        form.extend(times);
        self.asked(path, &form, false)
    }
}

/// Each series in two halves. Where one has an odd sample, that is in the first half of every other series.
fn halves(mut series: Vec<LoadedSeries>) -> (Vec<LoadedSeries>, Vec<LoadedSeries>) {
    let second = series.iter_mut().enumerate().map(|(at, one)| {
        let samples = one.samples.split_off((one.samples.len() + at % 2) / 2);
        LoadedSeries { labels: one.labels.clone(), samples }
    });
    let second = second.collect();
    (series, second)
}

/// A series and some of its samples.
type Part<'a> = (&'a LoadedSeries, &'a [LoadedSample]);

/// The samples in requests of at most `max`, series by series.
fn parts(series: &[LoadedSeries], max: usize) -> Vec<Vec<Part<'_>>> {
    let mut out: Vec<Vec<Part<'_>>> = Vec::new();
    let mut room = 0;
    for one in series {
        let mut rest = one.samples.as_slice();
        while !rest.is_empty() {
            if room == 0 {
                out.push(Vec::new());
                room = max;
            }
            let (now, later) = rest.split_at(rest.len().min(room));
            room -= now.len();
            rest = later;
            if let Some(last) = out.last_mut() {
                last.push((one, now));
            }
        }
    }
    out
}

fn encode(part: &[Part<'_>]) -> Result<Vec<u8>, SubjectError> {
    let split = |(_, samples): &Part<'_>| {
        let (mut floats, mut histograms) = (Vec::new(), Vec::new());
        for LoadedSample { t_ms, start_ms, value } in *samples {
            let (timestamp_ms, start_ms) = (*t_ms, *start_ms);
            match value {
                SampleValue::Float(value) => {
                    floats.push(FloatSample { timestamp_ms, start_ms, value: *value });
                }
                SampleValue::Histogram(h) => {
                    histograms.push((timestamp_ms, start_ms, h.clone()));
                }
            }
        }
        (floats, histograms)
    };
    let values: Vec<_> = part.iter().map(split).collect();
    let histograms: Vec<Vec<HistogramToWrite<'_>>> = values
        .iter()
        .map(|(_, histograms)| {
            let one = histograms.iter().map(|(timestamp_ms, start_ms, histogram)| {
                HistogramToWrite { timestamp_ms: *timestamp_ms, start_ms: *start_ms, histogram }
            });
            one.collect()
        })
        .collect();
    let series: Vec<SeriesToWrite<'_>> = part
        .iter()
        .zip(values.iter().zip(&histograms))
        .map(|((series, _), ((samples, _), histograms))| SeriesToWrite {
            labels: &series.labels,
            samples,
            histograms,
            exemplars: &[],
            metadata: None,
        })
        .collect();
    encode_v2(&series).map_err(|e| SubjectError::Broken(e.to_string()))
}

#[cfg(test)]
#[path = "remote_tests.rs"]
mod tests;

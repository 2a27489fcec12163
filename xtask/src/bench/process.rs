//! `Process`: a measured child. What it costs is read from /proc; it is ended by its id when dropped.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::clock;

/// A running program, its output in a file.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program`; its output goes to `log`.
    pub(crate) fn start(
        program: &Path,
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
        log: PathBuf,
    ) -> Result<Self> {
        let output = File::options().create(true).append(true).open(&log)?;
        let child = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Process { child, log })
    }

    /// Fails, with the end of its output, where it has ended by itself.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("it has ended: {status}\n{}", self.log_tail()),
            None => Ok(()),
        }
    }

    /// Waits until it has ended by itself, and fails where it did not end well in time.
    pub(crate) fn wait(mut self, patience: Duration) -> Result<()> {
        let status = clock::eventually("its end", patience, || Ok(self.child.try_wait()?))?;
        if !status.success() {
            bail!("{status}\n{}", self.log_tail());
        }
        Ok(())
    }

    /// Asks it to end and waits until it has: what it still has to write is written.
    pub(crate) fn end(&mut self, patience: Duration) -> Result<()> {
        let asked = Command::new("kill").arg(self.child.id().to_string()).status()?;
        ensure!(asked.success(), "it cannot be asked to end: {asked}");
        clock::eventually("its end", patience, || Ok(self.child.try_wait()?))?;
        Ok(())
    }

    /// The last lines of its output.
    pub(crate) fn log_tail(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }

    /// Processor time of all its threads since its start, user and system, seconds in steps of [`tick_s`].
    pub(crate) fn cpu_s(&self) -> Result<f64> {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let ticks = cpu_ticks(&text).context("/proc/PID/stat has another form")?;
        Ok(ticks as f64 * tick_s())
    }

    /// Lets the most resident bytes be counted from now on.
    pub(crate) fn forget_most(&self) -> Result<()> {
        let path = format!("/proc/{}/clear_refs", self.child.id());
        fs::write(&path, "5").with_context(|| format!("cannot write {path}"))
    }

    /// Resident bytes: now, and the most there ever were.
    pub(crate) fn resident_bytes(&self) -> Result<(u64, u64)> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let bytes = |name| status_bytes(&text, name).with_context(|| format!("no {name}"));
        Ok((bytes("VmRSS:")?, bytes("VmHWM:")?))
    }
}

impl Drop for Process {
    /// Nothing that it could still write is wanted.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The steps in which the kernel counts processor time, seconds.
pub(crate) fn tick_s() -> f64 {
    static TICK_S: OnceLock<f64> = OnceLock::new();
    *TICK_S.get_or_init(|| {
        let output = Command::new("getconf").arg("CLK_TCK").output();
        let text = output.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_string());
        let per_second = text.ok().and_then(|text| text.parse::<f64>().ok());
        1.0 / per_second.filter(|n| *n > 0.0).unwrap_or(100.0)
    })
}

/// utime + stime of a /proc/PID/stat. The name before them may hold blanks and parentheses.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn status_bytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_behind_any_name() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 100 0 0 0 21 4 900 900 20 0 9 0 55 1 2";
        assert_eq!(cpu_ticks(stat), Some(25));
        assert_eq!(cpu_ticks("7 (a"), None);
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(status_bytes(status, "VmRSS:"), Some(1 << 20));
        assert_eq!(status_bytes(status, "VmHWM:"), Some(2 << 20));
        assert_eq!(status_bytes(status, "VmSwap:"), None);
    }

    #[test]
    fn the_own_process_has_used_time_and_memory() {
        let process =
            Process::start(Path::new("sleep"), ["30"], "/dev/null".into()).expect("sleep");
        assert!(process.cpu_s().is_ok());
        let (now, most) = process.resident_bytes().expect("status");
        assert!(now > 0 && most >= now);
    }
}

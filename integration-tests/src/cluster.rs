//! Clusters of real `pando` processes.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::process::Process;
use crate::{eventually, http, peers};

/// One pando process with ports and a data directory of its own, which survive restarts.
pub struct Member {
    /// Subcommand.
    pub role: String,
    /// A name for logs, unique in its cluster.
    pub name: String,
    /// Port of the HTTP side.
    pub http_port: u16,
    /// Port of the gRPC side.
    pub grpc_port: u16,
    /// Its folder.
    pub folder: PathBuf,
    /// Flags beyond ports, path and controllers.
    pub flags: Vec<String>,
    /// Environment.
    pub envs: Vec<(String, String)>,
    /// The process, while it runs.
    pub process: Option<Process>,
}

impl Member {
    /// A member that is not started yet.
    pub fn new(role: &str, name: &str, folder: &Path) -> Self {
        Member {
            role: role.to_string(),
            name: name.to_string(),
            http_port: peers::free_port(),
            grpc_port: peers::free_port(),
            folder: folder.join(name),
            flags: Vec::new(),
            envs: Vec::new(),
            process: None,
        }
    }

    /// Its gRPC address.
    pub fn grpc_address(&self) -> String {
        format!("127.0.0.1:{}", self.grpc_port)
    }

    /// A URL of its HTTP side.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.http_port)
    }

    /// Starts the process; `more` are flags of the whole cluster.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&mut self, controllers: &str, more: &[String]) -> Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        let mut args = vec![
            self.role.clone(),
            format!("--web.listen-address=127.0.0.1:{}", self.http_port),
            format!("--grpc.listen-address=127.0.0.1:{}", self.grpc_port),
            format!("--storage.tsdb.path={}", self.folder.join("data").display()),
        ];
        if !controllers.is_empty() {
            args.push(format!("--cluster.controllers={controllers}"));
        }
        args.extend(more.iter().cloned());
        args.extend(self.flags.iter().cloned());
        let log = self.folder.join("log");
        self.process = Some(Process::start(&peers::pando(), args, &self.envs, log)?);
        Ok(())
    }

    /// Kills it without a word.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        self.process.as_ref().map(Process::log_tail).unwrap_or_default()
    }

    /// The sum of its metrics whose line begins with `series`, such as `name_total` or `name{reason="x"}`.
    ///
    /// # Errors
    /// It does not answer, or has no such metric: a name that is mistyped is not 0.
    pub async fn metric(&self, series: &str) -> Result<f64> {
        let text = http::client().get(self.url("/metrics")).send().await?.text().await?;
        sum_of(&text, series).with_context(|| format!("{} has no metric {series}", self.name))
    }

    /// Waits until `/-/ready` says so.
    ///
    /// # Errors
    /// It never does; with the end of its log.
    pub async fn ready(&self) -> Result<()> {
        let url = self.url("/-/ready");
        eventually(&format!("{} is ready", self.name), || async { http::ok(&url).await })
            .await
            .with_context(|| self.log_tail())
    }
}

/// The sum of what an exposition says of `series` (see [`Member::metric`]); `None` where it says nothing.
pub fn sum_of(exposition: &str, series: &str) -> Option<f64> {
    let values = exposition.lines().filter_map(|line| {
        let rest = line.strip_prefix(series)?;
        // Another metric whose name is longer is another metric.
        let value = match rest.strip_prefix('{') {
            Some(labels) => labels.rsplit_once("} ")?.1,
            None => rest.strip_prefix(' ')?,
        };
        value.split(' ').next()?.parse::<f64>().ok()
    });
    values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

/// Members that form one cluster, in a temporary folder.
pub struct Cluster {
    /// All members, controllers first.
    pub members: Vec<Member>,
    /// Addresses of the controllers, as the flag takes them; empty for a single process.
    pub controllers: String,
    /// Flags of every member: [`Cluster::admin`] needs one that is off by default.
    pub flags: Vec<String>,
    /// The folder of everything.
    pub folder: tempfile::TempDir,
}

impl Cluster {
    /// A temporary folder without members.
    ///
    /// # Errors
    /// No folder can be made.
    pub fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("pando-test-").tempdir()?;
        let flags = vec!["--web.enable-admin-api".to_string()];
        Ok(Cluster { members: Vec::new(), controllers: String::new(), flags, folder })
    }

    /// Adds a member and returns it.
    pub fn add(&mut self, role: &str, name: &str) -> &mut Member {
        self.members.push(Member::new(role, name, self.folder.path()));
        let last = self.members.len() - 1;
        &mut self.members[last]
    }

    /// Adds one controller and every other role but the agent, each a process of its own, `ingesters` of them
    /// ingesters; not started yet. Names are the roles'; ingesters are `ingester-0` and so on.
    pub fn add_roles(&mut self, ingesters: usize, objstore: &Path) {
        let objstore = format!("--objstore.config-file={}", objstore.display());
        self.add("controller", "controller").flags.push(objstore.clone());
        self.found();
        for n in 0..ingesters {
            self.add("ingester", &format!("ingester-{n}")).flags.push(objstore.clone());
        }
        for role in ["store-gateway", "compactor"] {
            self.add(role, role).flags.push(objstore.clone());
        }
        for role in ["receiver", "query-frontend"] {
            self.add(role, role);
        }
    }

    /// Three equal `pando all` with `flags` and a bucket that is a folder, ready.
    ///
    /// # Errors
    /// They do not start, or are not ready in time.
    pub async fn three_equals(flags: &[&str]) -> Result<Self> {
        let mut cluster = Cluster::new()?;
        let objstore = cluster.local_bucket()?;
        cluster.add_equals(3, &objstore)?;
        cluster.give("all", flags);
        cluster.start()?;
        cluster.ready().await?;
        Ok(cluster)
    }

    /// Adds `count` equal `pando all` that form one cluster, with an empty prometheus.yml; not started yet. Their
    /// names are `all-0` and so on.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add_equals(&mut self, count: usize, objstore: &Path) -> Result<()> {
        let config = self.folder.path().join("prometheus.yml");
        std::fs::write(&config, "global: {}\n")?;
        for n in 0..count {
            let member = self.add("all", &format!("all-{n}"));
            member.flags.push(format!("--config.file={}", config.display()));
            member.flags.push(format!("--objstore.config-file={}", objstore.display()));
        }
        self.found();
        Ok(())
    }

    /// Gives every member this environment, from its next start on.
    pub fn set_envs(&mut self, envs: &[(&str, &str)]) {
        for member in &mut self.members {
            member.envs = envs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        }
    }

    /// Kills all members at once, without a word.
    pub fn kill_all(&mut self) {
        // All get their signal before the first is waited for.
        for member in &self.members {
            if let Some(process) = &member.process {
                let _ = process.signal("KILL");
            }
        }
        self.members.iter_mut().for_each(Member::kill);
    }

    /// The sum of a metric over all members of a role that run.
    ///
    /// # Errors
    /// As [`Member::metric`].
    pub async fn metric_of(&self, role: &str, series: &str) -> Result<f64> {
        let mut sum = 0.0;
        for member in self.members.iter().filter(|m| m.role == role && m.process.is_some()) {
            sum += member.metric(series).await?;
        }
        Ok(sum)
    }

    /// The ends of all members' logs.
    pub fn log_tails(&self) -> String {
        let tails = self.members.iter().map(|m| format!("--- {}\n{}\n", m.name, m.log_tail()));
        tails.collect()
    }

    /// Gives flags to every member of a role.
    pub fn give(&mut self, role: &str, flags: &[&str]) {
        for member in self.members.iter_mut().filter(|m| m.role == role) {
            member.flags.extend(flags.iter().map(|flag| flag.to_string()));
        }
    }

    /// The folder of the bucket that [`Cluster::local_bucket`] describes.
    pub fn bucket(&self) -> PathBuf {
        self.folder.path().join("bucket")
    }

    /// Writes an objstore.yml for a folder that all members reach, and returns its path.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn local_bucket(&self) -> Result<PathBuf> {
        let file = self.folder.path().join("objstore.yml");
        let text =
            format!("type: FILESYSTEM\nconfig: {{directory: {}}}\n", self.bucket().display());
        std::fs::write(&file, text)?;
        Ok(file)
    }

    /// Takes the members that are there now as the controllers.
    pub fn found(&mut self) {
        let addresses: Vec<String> = self.members.iter().map(Member::grpc_address).collect();
        self.controllers = addresses.join(",");
    }

    /// Starts all members that do not run.
    ///
    /// # Errors
    /// One cannot be started.
    pub fn start(&mut self) -> Result<()> {
        for member in self.members.iter_mut().filter(|m| m.process.is_none()) {
            member.start(&self.controllers, &self.flags)?;
        }
        Ok(())
    }

    /// Waits until all members are ready.
    ///
    /// # Errors
    /// One never is.
    pub async fn ready(&self) -> Result<()> {
        for member in &self.members {
            member.ready().await?;
        }
        Ok(())
    }

    /// The first member with this name, to look at.
    ///
    /// # Panics
    /// Where there is none.
    pub fn named(&self, name: &str) -> &Member {
        self.members.iter().find(|m| m.name == name).expect("a member of that name")
    }

    /// A URL of the HTTP side of the first member with this name.
    ///
    /// # Panics
    /// Where there is none.
    pub fn url(&self, name: &str, path: &str) -> String {
        self.named(name).url(path)
    }

    /// The first member with this name.
    ///
    /// # Panics
    /// Where there is none.
    pub fn member(&mut self, name: &str) -> &mut Member {
        self.members.iter_mut().find(|m| m.name == name).expect("a member of that name")
    }

    /// Runs `pando admin ARGS` against the first controller to its end and returns what it printed. While a shard
    /// has no leader the tool says so and is run again.
    ///
    /// # Errors
    /// It fails; with what it printed.
    pub async fn admin(&self, args: &[&str]) -> Result<String> {
        let controller = self.members.first().context("a cluster has a controller")?;
        let address = format!("--controller={}", controller.grpc_address());
        let printed = eventually("pando admin finds leaders", || async {
            let mut command = tokio::process::Command::new(peers::pando());
            let output = command.arg("admin").args(args).arg(&address).output().await?;
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let (out, trouble) = (text(&output.stdout), text(&output.stderr));
            let failed = format!("pando admin {args:?}: {out} {trouble}");
            match output.status.success() {
                true => Ok(Some(Ok(out))),
                false if trouble.contains("leader=unknown") => anyhow::bail!(failed),
                false => Ok(Some(Err(failed))),
            }
        });
        printed.await?.map_err(anyhow::Error::msg)
    }

    /// Runs a `pando` tool to its end and returns its standard output.
    ///
    /// # Errors
    /// It fails; with what it printed.
    pub fn tool(&self, args: &[&str]) -> Result<String> {
        let output = std::process::Command::new(peers::pando()).args(args).output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        anyhow::ensure!(
            output.status.success(),
            "pando {args:?}: {} {}",
            text(&output.stdout),
            text(&output.stderr)
        );
        Ok(text(&output.stdout))
    }
}

//! Fetches real peers and tools into a cache directory, without root: Debian packages of the unstable suite,
//! unpacked, Python packages in a virtual environment, and a package of npm.
//!
//! Layout of the cache directory (`PANDO_CACHE_DIR`, else `pando` in the user's cache):
//!
//! ```text
//! root/     unpacked packages: root/usr/bin/prometheus ...
//! venv/     Python packages: venv/bin/moto_server ...
//! npm/      packages of npm: npm/node_modules/.bin/azurite-blob
//! apt/      package lists and archives
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run;

/// Debian packages and a file that each one brings.
const DEBIAN: [(&str, &str); 5] = [
    ("prometheus", "usr/bin/prometheus"),
    ("promtool", "usr/bin/promtool"),
    ("prometheus-node-exporter", "usr/bin/prometheus-node-exporter"),
    ("prometheus-alertmanager", "usr/bin/prometheus-alertmanager"),
    ("victoria-metrics", "usr/bin/victoria-metrics"),
];

/// Python packages and a file that each one brings.
const PYTHON: [(&str, &str); 7] = [
    ("moto[server,s3]==5.2.5", "bin/moto_server"),
    ("pyarrow==26.0.1", "lib/python*/site-packages/pyarrow"),
    ("duckdb==2.0.1", "lib/python*/site-packages/duckdb"),
    ("helm-python-sdk==0.2.2", "lib/python*/site-packages/helm*"),
    ("PyYAML==6.0.4", "lib/python*/site-packages/yaml"),
    ("jsonschema==4.26.0", "lib/python*/site-packages/jsonschema"),
    ("kubernetes-validate==1.37.0", "bin/kubernetes-validate"),
];

/// The Azure server, of which only npm has a package, and a file that it brings.
const AZURITE: (&str, &str) = ("azurite@3.35.0", "npm/node_modules/.bin/azurite-blob");

/// Where peers and tools are kept between runs.
pub(crate) fn cache_dir() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("PANDO_CACHE_DIR") {
        return Ok(PathBuf::from(dir));
    }
    if let Some(dir) = std::env::var_os("XDG_CACHE_HOME") {
        return Ok(PathBuf::from(dir).join("pando"));
    }
    let home = std::env::var_os("HOME").context("neither PANDO_CACHE_DIR nor HOME is set")?;
    Ok(PathBuf::from(home).join(".cache/pando"))
}

/// Fetches everything; returns the names of what is not to be had.
pub(crate) fn fetch_all() -> Result<Vec<String>> {
    let cache = cache_dir()?;
    fs::create_dir_all(&cache)?;
    let mut missing = fetch_debian(&cache, &DEBIAN)?;
    missing.extend(fetch_python(&cache)?);
    missing.extend(fetch_azurite(&cache));
    Ok(missing)
}

/// Fetches node_exporter alone, for the demo; `None` where it is not to be had.
pub(crate) fn node_exporter() -> Result<Option<PathBuf>> {
    let cache = cache_dir()?;
    fs::create_dir_all(&cache)?;
    let wanted = DEBIAN[2];
    let missing = fetch_debian(&cache, &[wanted])?;
    Ok(missing.is_empty().then(|| cache.join("root").join(wanted.1)))
}

fn fetch_debian(cache: &Path, wanted: &[(&str, &str)]) -> Result<Vec<String>> {
    let root = cache.join("root");
    let absent = |root: &Path| -> Vec<String> {
        let gone = wanted.iter().filter(|(_, file)| !root.join(file).exists());
        gone.map(|(name, _)| (*name).to_string()).collect()
    };
    let names = absent(&root);
    if names.is_empty() {
        return Ok(names);
    }
    if let Err(error) = unpack_debian(&cache.join("apt"), &root, &names) {
        eprintln!("debian packages: {error:#}");
    }
    Ok(absent(&root))
}

/// Downloads packages of the unstable suite with a package list of our own and unpacks them, so that nothing
/// of the machine's own system is touched.
fn unpack_debian(apt: &Path, root: &Path, names: &[String]) -> Result<()> {
    let uri = debian_uri()?;
    for folder in ["lists/partial", "cache/archives/partial", "packages"] {
        fs::create_dir_all(apt.join(folder))?;
    }
    let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let list = apt.join("sources.list");
    fs::write(&list, format!("deb [signed-by={keyring}] {uri} sid main\n"))?;
    let packages = apt.join("packages");
    let apt_get = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        let option = |name: &str, path: &Path| format!("{name}={}", path.display());
        for setting in [
            option("Dir::Etc::sourcelist", &list),
            "Dir::Etc::sourceparts=-".to_string(),
            option("Dir::State::lists", &apt.join("lists")),
            option("Dir::Cache", &apt.join("cache")),
            "APT::Sandbox::User=root".to_string(),
        ] {
            command.args(["-o", &setting]);
        }
        command.arg("-qq").args(args).current_dir(&packages);
        command
    };
    run(&mut apt_get(&["update"]))?;
    for name in names {
        if let Err(error) = run(&mut apt_get(&["download", name])) {
            eprintln!("debian package {name}: {error:#}");
        }
    }
    fs::create_dir_all(root)?;
    for entry in fs::read_dir(&packages)? {
        let file = entry?.path();
        if file.extension().is_some_and(|e| e == "deb") {
            run(Command::new("dpkg").arg("-x").arg(&file).arg(root))?;
            let shown = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            println!("unpacked {shown}");
            fs::remove_file(&file)?;
        }
    }
    Ok(())
}

/// The archive that this machine's own release comes from.
fn debian_uri() -> Result<String> {
    let ask = || -> Result<Option<String>> {
        let output = Command::new("apt-get")
            .args(["indextargets", "--format", "$(RELEASE) $(REPO_URI)"])
            .output()
            .context("apt-get is needed for the peers")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let own = text.lines().filter_map(|line| line.split_once(' '));
        let plain = |release: &str| !release.contains('-');
        Ok(own.into_iter().find(|(r, _)| plain(r)).map(|(_, uri)| uri.to_string()))
    };
    if let Some(uri) = ask()? {
        return Ok(uri);
    }
    run(Command::new("apt-get").args(["-qq", "update"]))?;
    ask()?.context("apt-get knows no archive of its own release")
}

fn fetch_python(cache: &Path) -> Result<Vec<String>> {
    let venv = cache.join("venv");
    let python = venv.join("bin/python");
    if !python.exists() {
        let made = run(Command::new("python3").args(["-m", "venv"]).arg(&venv));
        if let Err(error) = made {
            eprintln!("python: {error:#}");
            return Ok(PYTHON.iter().map(|(name, _)| (*name).to_string()).collect());
        }
    }
    let mut missing = Vec::new();
    for (name, file) in PYTHON {
        if has(&venv, file)? {
            continue;
        }
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", name];
        if let Err(error) = run(Command::new(&python).args(pip)) {
            eprintln!("python package {name}: {error:#}");
            missing.push(name.to_string());
        }
    }
    Ok(missing)
}

fn fetch_azurite(cache: &Path) -> Option<String> {
    let (name, file) = AZURITE;
    if cache.join(file).exists() {
        return None;
    }
    // What packages would run when they are installed is not run.
    let args = ["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"];
    let fetched = run(Command::new("npm").args(args).arg(cache.join("npm")).arg(name));
    let error = fetched.err()?;
    eprintln!("npm package {name}: {error:#}");
    Some(name.to_string())
}

/// Whether `pattern` (one `*` a component at most) names something below `folder`.
fn has(folder: &Path, pattern: &str) -> Result<bool> {
    let mut found = vec![folder.to_path_buf()];
    for part in pattern.split('/') {
        let mut next = Vec::new();
        for folder in &found {
            let Some((head, tail)) = part.split_once('*') else {
                next.push(folder.join(part));
                continue;
            };
            if !folder.is_dir() {
                continue;
            }
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.starts_with(head) && name.ends_with(tail) {
                    next.push(entry.path());
                }
            }
        }
        found = next;
    }
    if found.len() > 10_000 {
        bail!("too many files match {pattern}");
    }
    Ok(found.iter().any(|path| path.exists()))
}

//! The object store of a configuration in the form of Thanos' objstore.yml: `type:`, `config:`, `prefix:`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use serde::Deserialize;
use url::Url;

use crate::timed_store::{StoreTimes, TimedStore};

/// A connection is there within this time. What a request may take is the business of [`TimedStore`].
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A request is tried again within this time of its first try.
const RETRY_TIMEOUT: Duration = Duration::from_secs(30);

/// A store, and whether every member of a cluster reaches it.
pub(crate) struct Store {
    pub(crate) store: Arc<dyn ObjectStore>,
    /// False for the default folder below the data directory.
    pub(crate) shared: bool,
    /// For logs: never a secret.
    pub(crate) described: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "type")]
    kind: String,
    config: serde_json::Value,
    #[serde(default)]
    prefix: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct S3 {
    bucket: String,
    #[serde(default)]
    endpoint: String,
    #[serde(default)]
    region: String,
    #[serde(default)]
    access_key: String,
    #[serde(default)]
    secret_key: String,
    #[serde(default)]
    session_token: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    bucket_lookup_type: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Gcs {
    bucket: String,
    #[serde(default)]
    service_account: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Azure {
    storage_account: String,
    #[serde(default)]
    storage_account_key: String,
    container: String,
    #[serde(default)]
    endpoint: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Filesystem {
    directory: String,
}

/// Opens the store of `config_file`, or the folder `bucket` below `data_dir`.
pub(crate) fn open(config_file: Option<&str>, data_dir: &Path) -> Result<Store> {
    let Some(file) = config_file else {
        let directory = data_dir.join("bucket");
        let store = local(&directory)?;
        return Ok(Store { store, shared: false, described: directory.display().to_string() });
    };
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read file={file}"))?;
    parse(&text).with_context(|| format!("objstore configuration file={file}"))
}

/// The store and the path in it that `url` names (s3, gs, az, azure, abfs, http, https, file). Credentials and
/// endpoints come from the environment variables that the stores' own tools know (`AWS_...`, `GOOGLE_...`,
/// `AZURE_...`).
pub(crate) fn open_url(url: &str) -> Result<(Arc<dyn ObjectStore>, object_store::path::Path)> {
    let parsed = Url::parse(url).with_context(|| format!("not a URL: url={url}"))?;
    // The builders take short names, too, which mean other things in an environment: `TOKEN`, `ENDPOINT` ...
    let ours = |name: &str| ["AWS_", "GOOGLE_", "AZURE_"].iter().any(|p| name.starts_with(p));
    let mut options: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| ours(name))
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .collect();
    if parsed.scheme() == "http" {
        options.push(("allow_http".to_string(), "true".to_string()));
    }
    let found = object_store::parse_url_opts(&parsed, options);
    let (store, path) = found.with_context(|| format!("cannot open url={url}"))?;
    Ok((Arc::from(store), path))
}

fn parse(text: &str) -> Result<Store> {
    let file: File = serde_saphyr::from_str(text)?;
    let kind = file.kind.to_uppercase();
    let (mut store, mut described): (Arc<dyn ObjectStore>, String) = match kind.as_str() {
        "S3" => s3(from_value(file.config)?)?,
        "GCS" => gcs(from_value(file.config)?)?,
        "AZURE" => azure(from_value(file.config)?)?,
        "FILESYSTEM" => {
            let config: Filesystem = from_value(file.config)?;
            (local(Path::new(&config.directory))?, config.directory)
        }
        other => bail!("unknown store: type={other} known=S3, GCS, AZURE, FILESYSTEM"),
    };
    if !file.prefix.is_empty() {
        described = format!("{described}/{}", file.prefix);
        store = Arc::new(PrefixStore::new(store, file.prefix));
    }
    if kind != "FILESYSTEM" {
        store = Arc::new(TimedStore::new(store, &described, StoreTimes::default()));
    }
    Ok(Store { store, shared: true, described })
}

fn from_value<T: for<'a> Deserialize<'a>>(value: serde_json::Value) -> Result<T> {
    serde_json::from_value(value).context("config")
}

fn local(directory: &Path) -> Result<Arc<dyn ObjectStore>> {
    std::fs::create_dir_all(directory)
        .with_context(|| format!("cannot make path={}", directory.display()))?;
    Ok(Arc::new(LocalFileSystem::new_with_prefix(directory)?.with_fsync(true)))
}

fn s3(config: S3) -> Result<(Arc<dyn ObjectStore>, String)> {
    if config.bucket.is_empty() {
        bail!("bucket is empty");
    }
    if config.access_key.is_empty() != config.secret_key.is_empty() {
        bail!("access_key and secret_key belong together: one of them is empty");
    }
    let in_environment = |name: &str| std::env::var_os(name).is_some();
    let credentials = ["AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE"];
    if config.access_key.is_empty() && !credentials.into_iter().any(in_environment) {
        tracing::info!(
            "no S3 keys are given: the machine's or the container's role is asked for them"
        );
    }
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(&config.bucket)
        .with_client_options(client_options(config.insecure))
        .with_retry(retry())
        .with_virtual_hosted_style_request(config.bucket_lookup_type == "virtual-hosted");
    if config.endpoint.starts_with("http://") && !config.insecure {
        bail!("plain HTTP has to be asked for with insecure: true: endpoint={}", config.endpoint);
    }
    if !config.endpoint.is_empty() {
        builder = builder.with_endpoint(with_scheme(&config.endpoint, config.insecure));
    }
    builder =
        builder.with_region(if config.region.is_empty() { "us-east-1" } else { &config.region });
    if !config.access_key.is_empty() {
        builder = builder
            .with_access_key_id(&config.access_key)
            .with_secret_access_key(&config.secret_key);
    }
    if !config.session_token.is_empty() {
        builder = builder.with_token(&config.session_token);
    }
    Ok((Arc::new(builder.build()?), format!("s3://{}", config.bucket)))
}

fn gcs(config: Gcs) -> Result<(Arc<dyn ObjectStore>, String)> {
    let mut builder = GoogleCloudStorageBuilder::from_env()
        .with_bucket_name(&config.bucket)
        .with_client_options(client_options(false))
        .with_retry(retry());
    if !config.service_account.is_empty() {
        builder = builder.with_service_account_key(&config.service_account);
    }
    Ok((Arc::new(builder.build()?), format!("gs://{}", config.bucket)))
}

fn azure(config: Azure) -> Result<(Arc<dyn ObjectStore>, String)> {
    let insecure = config.endpoint.starts_with("http://");
    let mut builder = MicrosoftAzureBuilder::from_env()
        .with_account(&config.storage_account)
        .with_container_name(&config.container)
        .with_client_options(client_options(insecure))
        .with_retry(retry());
    if !config.storage_account_key.is_empty() {
        builder = builder.with_access_key(&config.storage_account_key);
    }
    if !config.endpoint.is_empty() {
        builder = builder.with_endpoint(config.endpoint);
    }
    Ok((Arc::new(builder.build()?), format!("azure://{}", config.container)))
}

fn with_scheme(endpoint: &str, insecure: bool) -> String {
    match endpoint.contains("://") {
        true => endpoint.to_string(),
        false => format!("{}://{endpoint}", if insecure { "http" } else { "https" }),
    }
}

fn client_options(allow_http: bool) -> ClientOptions {
    ClientOptions::new()
        .with_allow_http(allow_http)
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_timeout_disabled()
}

/// Few retries here: whoever uses the store knows better what an unknown outcome means.
fn retry() -> RetryConfig {
    RetryConfig { backoff: BackoffConfig::default(), max_retries: 3, retry_timeout: RETRY_TIMEOUT }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_store_and_a_path() {
        pando_rpc::tls::install_provider();
        for url in
            ["s3://b/blocks/x", "gs://b/blocks/x", "http://h:1/blocks/x", "https://h/blocks/x"]
        {
            let (store, path) = open_url(url).expect(url);
            assert_eq!(path.as_ref(), "blocks/x", "{url} {store}");
        }
        assert!(open_url("tape://b/x").is_err());
    }

    #[test]
    fn thanos_files_open_and_faults_are_named() {
        pando_rpc::tls::install_provider();
        let s3 = "type: S3\nconfig:\n  bucket: b\n  endpoint: localhost:9000\n  insecure: true\n  \
                  access_key: a\n  secret_key: s\nprefix: p\n";
        let store = parse(s3).expect("good");
        assert!(store.shared);
        assert_eq!(store.described, "s3://b/p");
        let unknown_type = parse("type: TAPE\nconfig: {}\n").err().expect("unknown").to_string();
        assert!(unknown_type.contains("TAPE"));
        let unknown_key =
            parse("type: S3\nconfig: {bucket: b, buket: c}\n").err().expect("unknown");
        assert!(format!("{unknown_key:#}").contains("buket"));
        for (config, fault) in [
            ("{bucket: ''}", "bucket"),
            ("{bucket: b, access_key: a}", "secret_key"),
            ("{bucket: b, secret_key: s}", "access_key"),
            ("{bucket: b, endpoint: 'http://h:1'}", "insecure"),
        ] {
            let error = parse(&format!("type: S3\nconfig: {config}\n")).err().expect(config);
            assert!(format!("{error:#}").contains(fault), "{config}: {error:#}");
        }
    }
}

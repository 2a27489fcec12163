//! HTTP as the tests speak it.

use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// One client for all tests of the process.
pub fn client() -> &'static reqwest::Client {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    CLIENT.get_or_init(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder().timeout(Duration::from_secs(30)).no_proxy();
        builder.build().expect("a client without special settings")
    })
}

/// `Some` where `url` answers with success: a condition for [`crate::eventually`].
///
/// # Errors
/// No answer.
pub async fn ok(url: &str) -> Result<Option<()>> {
    let response = client().get(url).send().await?;
    Ok(response.status().is_success().then_some(()))
}

/// The JSON that `url` answers with, whatever the status.
///
/// # Errors
/// No answer, or not JSON.
pub async fn json(url: &str, parameters: &[(&str, &str)]) -> Result<Value> {
    json_of("", url, parameters).await
}

/// [`json`] as `tenant`; without a tenant's header where that is empty.
///
/// # Errors
/// No answer, or not JSON.
pub async fn json_of(tenant: &str, url: &str, parameters: &[(&str, &str)]) -> Result<Value> {
    let mut request = client().get(url).query(parameters);
    if !tenant.is_empty() {
        request = request.header("X-Scope-OrgID", tenant);
    }
    let text = request.send().await?.text().await?;
    serde_json::from_str(&text).with_context(|| format!("not JSON: {text:.300}"))
}

/// The `data` of a successful answer of Prometheus' API.
///
/// # Errors
/// No answer, or an error of the API.
pub async fn data(url: &str, parameters: &[(&str, &str)]) -> Result<Value> {
    data_of("", url, parameters).await
}

/// [`data`] as `tenant`.
///
/// # Errors
/// No answer, or an error of the API.
pub async fn data_of(tenant: &str, url: &str, parameters: &[(&str, &str)]) -> Result<Value> {
    let mut answer = json_of(tenant, url, parameters).await?;
    if answer["status"] != "success" {
        bail!("{url} {parameters:?}: {answer}");
    }
    Ok(answer["data"].take())
}

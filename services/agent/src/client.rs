//! `HttpClient`: speaks HTTP as a scrape config says: TLS, credentials, headers, redirects, proxy.
//!
//! Credentials are read from their files at each request; certificates are looked at again twice a minute, so that
//! what rotates them needs no reload.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pando_config::{HttpClientConfig, ProxyConfig, TlsConfig, TlsVersion};
use pando_model::ErrorKind;
use pando_runtime::SharedClock;
use parking_lot::Mutex;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Identity, NoProxy, Proxy, RequestBuilder, tls};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use url::Url;
use xxhash_rust::xxh3::Xxh3;

/// How we call ourselves.
const USER_AGENT: &str = concat!("Pando/", env!("CARGO_PKG_VERSION"));
/// Certificates that are older than this are read again.
const TLS_CHECK_INTERVAL: Duration = Duration::from_secs(30);
/// A target that does not even take the connection is not worth the whole timeout of a slow one.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// A connection that nobody uses is closed, a little later than Prometheus' longest common interval.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// One is enough for a target; a prober is asked for many targets at one place.
const IDLE_PER_HOST_MAX: usize = 4;
const REDIRECTS_MAX: usize = 10;
/// The largest file with a password, token or certificate, bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why no request can be made.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ClientError {
    /// A file with a secret or certificate.
    #[error("unable to read file {path}: {why}")]
    File { path: String, why: String },
    /// The settings cannot be followed.
    #[error("unable to use {what}: {why}")]
    Setting { what: &'static str, why: String },
}

impl ClientError {
    /// What the error means.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            ClientError::File { .. } => ErrorKind::Unavailable,
            ClientError::Setting { .. } => ErrorKind::Invalid,
        }
    }
}

/// See the module.
pub(crate) struct HttpClient {
    config: HttpClientConfig,
    clock: SharedClock,
    built: Mutex<Option<Built>>,
}

#[derive(Clone)]
struct Built {
    client: Client,
    /// What the certificates were, as a hash.
    tls: u64,
    checked: Duration,
}

/// The texts of a `tls_config`, its files read.
#[derive(Default)]
struct TlsTexts {
    ca: String,
    cert: String,
    key: String,
}

impl HttpClient {
    /// A client that is built when it is first used.
    pub(crate) fn new(config: HttpClientConfig, clock: SharedClock) -> Self {
        HttpClient { config, clock, built: Mutex::new(None) }
    }

    /// Builds the client ahead of its first use. Where it cannot be built, that use says why.
    pub(crate) async fn warm_up(&self) {
        let _ = self.client().await;
    }

    /// A GET of `url` with headers and credentials.
    pub(crate) async fn get(&self, url: Url) -> Result<RequestBuilder, ClientError> {
        let mut request = self.client().await?.get(url);
        for (name, header) in &self.config.http_headers {
            for value in &header.values {
                request = request.header(name, value);
            }
            for secret in &header.secrets {
                request = request.header(name, secret_header(secret.expose())?);
            }
            for file in &header.files {
                request = request.header(name, secret_header(&read(file).await?)?);
            }
        }
        if let Some(authorization) = self.authorization().await? {
            request = request.header(AUTHORIZATION, secret_header(&authorization)?);
        }
        Ok(request)
    }

    async fn authorization(&self) -> Result<Option<String>, ClientError> {
        if let Some(auth) = &self.config.basic_auth {
            let user = text_or_file(&auth.username, &auth.username_file).await?;
            let password = text_or_file(auth.password.expose(), &auth.password_file).await?;
            return Ok(Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))));
        }
        let Some(auth) = &self.config.authorization else { return Ok(None) };
        let credentials = text_or_file(auth.credentials.expose(), &auth.credentials_file).await?;
        Ok(Some(format!("{} {credentials}", auth.kind)))
    }

    async fn client(&self) -> Result<Client, ClientError> {
        let now = self.clock.monotonic();
        let built = self.built.lock().clone();
        let fresh = |built: &Built| now.saturating_sub(built.checked) < TLS_CHECK_INTERVAL;
        if let Some(built) = built.as_ref().filter(|built| fresh(built)) {
            return Ok(built.client.clone());
        }
        let texts = TlsTexts::read(&self.config.tls_config).await?;
        let tls = texts.hash();
        // The same certificates: the connections that are open can stay.
        let client = match built.filter(|built| built.tls == tls) {
            Some(built) => built.client,
            None => build(&self.config, &texts)?,
        };
        *self.built.lock() = Some(Built { client: client.clone(), tls, checked: now });
        Ok(client)
    }
}

impl TlsTexts {
    async fn read(config: &TlsConfig) -> Result<Self, ClientError> {
        let raw = |text: &str, file: &str| {
            let (text, file) = (text.to_string(), file.to_string());
            async move { if file.is_empty() { Ok(text) } else { read_file(&file).await } }
        };
        Ok(TlsTexts {
            ca: raw(&config.ca, &config.ca_file).await?,
            cert: raw(&config.cert, &config.cert_file).await?,
            key: raw(config.key.expose(), &config.key_file).await?,
        })
    }

    fn hash(&self) -> u64 {
        let mut hash = Xxh3::new();
        for text in [&self.ca, &self.cert, &self.key] {
            hash.update(&(text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        }
        hash.digest()
    }
}

fn build(config: &HttpClientConfig, texts: &TlsTexts) -> Result<Client, ClientError> {
    pando_rpc::tls::install_provider();
    match builder(config, texts)?.build() {
        Ok(client) => Ok(client),
        // A container without the system's authorities can still scrape over HTTP.
        Err(error) if texts.ca.is_empty() && config.tls_config == TlsConfig::default() => {
            tracing::warn!(%error, "no authorities to trust: https targets will fail");
            let client = builder(config, texts)?.tls_certs_only([]).build();
            client.map_err(|error| setting("tls_config", error))
        }
        Err(error) => Err(setting("tls_config", error)),
    }
}

fn builder(
    config: &HttpClientConfig,
    texts: &TlsTexts,
) -> Result<reqwest::ClientBuilder, ClientError> {
    let redirects =
        if config.follow_redirects { Policy::limited(REDIRECTS_MAX) } else { Policy::none() };
    let mut client = Client::builder()
        .user_agent(USER_AGENT)
        // We unpack ourselves, to keep to the limit of the body.
        .no_gzip()
        .referer(false)
        .redirect(redirects)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_PER_HOST_MAX);
    if !config.enable_http2 {
        client = client.http1_only();
    }
    client = match (&config.proxy.proxy_url, config.proxy.proxy_from_environment) {
        // Left to itself, the library looks into the environment.
        (url, true) if url.is_empty() => client,
        (url, false) if url.is_empty() => client.no_proxy(),
        _ => client.proxy(proxy(&config.proxy)?),
    };
    tls(client, &config.tls_config, texts)
}

fn proxy(config: &ProxyConfig) -> Result<Proxy, ClientError> {
    let proxy = Proxy::all(config.proxy_url.expose()).map_err(|e| setting("proxy_url", e))?;
    let mut headers = HeaderMap::new();
    for (name, values) in &config.proxy_connect_header {
        let name = HeaderName::try_from(name).map_err(|e| setting("proxy_connect_header", e))?;
        for value in values {
            headers.append(&name, secret_header(value.expose())?);
        }
    }
    Ok(proxy.headers(headers).no_proxy(NoProxy::from_string(&config.no_proxy)))
}

fn tls(
    mut client: reqwest::ClientBuilder,
    config: &TlsConfig,
    texts: &TlsTexts,
) -> Result<reqwest::ClientBuilder, ClientError> {
    if !config.server_name.is_empty() && !config.insecure_skip_verify {
        return Ok(client.tls_backend_preconfigured(named_tls(config, texts)?));
    }
    if !texts.ca.is_empty() {
        let authorities = Certificate::from_pem_bundle(texts.ca.as_bytes());
        client = client.tls_certs_only(authorities.map_err(|e| setting("ca", e))?);
    }
    if !texts.cert.is_empty() {
        let pem = format!("{}\n{}", texts.cert.trim_end(), texts.key);
        let identity = Identity::from_pem(pem.as_bytes());
        client = client.identity(identity.map_err(|e| setting("cert and key", e))?);
    }
    // The library speaks 1.2 and 1.3; a lower minimum is met, a lower maximum is not.
    match config.min_version {
        Some(TlsVersion::Tls13) => client = client.tls_version_min(tls::Version::TLS_1_3),
        _ => client = client.tls_version_min(tls::Version::TLS_1_2),
    }
    match config.max_version {
        Some(TlsVersion::Tls12) => client = client.tls_version_max(tls::Version::TLS_1_2),
        Some(version @ (TlsVersion::Tls10 | TlsVersion::Tls11)) => {
            return Err(setting("max_version", format!("{version} is not supported")));
        }
        Some(TlsVersion::Tls13) | None => {}
    }
    Ok(client.tls_danger_accept_invalid_certs(config.insecure_skip_verify))
}

/// TLS that expects `server_name` in the certificate, whatever the target is called.
fn named_tls(config: &TlsConfig, texts: &TlsTexts) -> Result<rustls::ClientConfig, ClientError> {
    let name = ServerName::try_from(config.server_name.clone());
    let named = NamedVerifier {
        name: name.map_err(|error| setting("server_name", error))?,
        verifier: verifier(&texts.ca)?,
    };
    let versions: &[&rustls::SupportedProtocolVersion] =
        match (config.min_version, config.max_version) {
            (Some(TlsVersion::Tls13), _) => &[&rustls::version::TLS13],
            (_, Some(TlsVersion::Tls12)) => &[&rustls::version::TLS12],
            _ => rustls::ALL_VERSIONS,
        };
    let builder = rustls::ClientConfig::builder_with_protocol_versions(versions)
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(named));
    if texts.cert.is_empty() {
        return Ok(builder.with_no_client_auth());
    }
    let key = PrivateKeyDer::from_pem_slice(texts.key.as_bytes());
    let key = key.map_err(|error| setting("key", error))?;
    let own = builder.with_client_auth_cert(certificates(&texts.cert, "cert")?, key);
    own.map_err(|error| setting("cert and key", error))
}

/// Trusts the authorities in `ca`, or the system's.
fn verifier(ca: &str) -> Result<Arc<dyn ServerCertVerifier>, ClientError> {
    if ca.is_empty() {
        let provider = CryptoProvider::get_default().cloned();
        let provider = provider.ok_or_else(|| setting("server_name", "no TLS provider"))?;
        let system = rustls_platform_verifier::Verifier::new(provider);
        return Ok(Arc::new(system.map_err(|error| setting("server_name", error))?));
    }
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca, "ca")? {
        roots.add(certificate).map_err(|error| setting("ca", error))?;
    }
    let verifier = WebPkiServerVerifier::builder(Arc::new(roots)).build();
    Ok(verifier.map_err(|error| setting("ca", error))?)
}

fn certificates(
    pem: &str,
    what: &'static str,
) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    found.map_err(|error| setting(what, error))
}

/// Verifies certificates for one name.
#[derive(Debug)]
struct NamedVerifier {
    name: ServerName<'static>,
    verifier: Arc<dyn ServerCertVerifier>,
}

impl ServerCertVerifier for NamedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let name = &self.name;
        self.verifier.verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

fn setting(what: &'static str, why: impl std::fmt::Display) -> ClientError {
    ClientError::Setting { what, why: why.to_string() }
}

fn secret_header(text: &str) -> Result<HeaderValue, ClientError> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| setting("header", "its value has characters that no header can have"))?;
    value.set_sensitive(true);
    Ok(value)
}

async fn text_or_file(text: &str, file: &str) -> Result<String, ClientError> {
    if file.is_empty() { Ok(text.to_string()) } else { read(file).await }
}

/// A secret: the file without the blanks around it.
async fn read(path: &str) -> Result<String, ClientError> {
    read_file(path).await.map(|text| text.trim().to_string())
}

async fn read_file(path: &str) -> Result<String, ClientError> {
    let failed = |why: String| ClientError::File { path: path.to_string(), why };
    let metadata = tokio::fs::metadata(path).await.map_err(|error| failed(error.to_string()))?;
    if metadata.len() > FILE_BYTES_MAX {
        let bytes = metadata.len();
        return Err(failed(format!("file too large: bytes={bytes} limit={FILE_BYTES_MAX}")));
    }
    tokio::fs::read_to_string(path).await.map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests;

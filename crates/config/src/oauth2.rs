//! `oauth2`: checked and shown, but not acted on: `HttpClientConfig` lists it as ignored.

use std::collections::BTreeMap;
use std::path::Path;

use crate::http_client::{ProxyConfig, join_dir};
use crate::render::{Fields, Yaml};
use crate::secret::{RedactedUrl, Secret};
use crate::section::{Findings, Value};
use crate::tls::TlsConfig;

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// Credentials for a token endpoint.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OAuth2 {
    /// Who we are.
    pub client_id: String,
    /// Our secret.
    pub client_secret: Secret,
    /// File with it.
    pub client_secret_file: String,
    /// Identifies the key that signs, for the grant `jwt-bearer`.
    pub client_certificate_key_id: String,
    /// The key that signs.
    pub client_certificate_key: Secret,
    /// File with it.
    pub client_certificate_key_file: String,
    /// `client_credentials` (also when empty) or `urn:ietf:params:oauth:grant-type:jwt-bearer`.
    pub grant_type: String,
    /// `RS256` (also when empty), `RS384` or `RS512`.
    pub signature_algorithm: String,
    /// The issuer that the token names; empty: the client id.
    pub iss: String,
    /// The audience that the token names; empty: the token URL.
    pub audience: String,
    /// What to ask for.
    pub scopes: Vec<String>,
    /// Where to ask.
    pub token_url: RedactedUrl,
    /// More parameters of the request.
    pub endpoint_params: BTreeMap<String, String>,
    /// How to speak TLS with the endpoint.
    pub tls_config: TlsConfig,
    /// How to reach the endpoint.
    pub proxy: ProxyConfig,
    /// More claims of the token, as they are shown.
    claims: Option<Yaml>,
}

impl OAuth2 {
    pub(crate) fn read(value: &Value<'_>, cx: &mut Findings) -> Self {
        let mut s = value.section(cx, "config.OAuth2");
        let oauth2 = OAuth2 {
            client_id: s.text("client_id", cx),
            client_secret: s.secret("client_secret", cx),
            client_secret_file: s.text("client_secret_file", cx),
            client_certificate_key_id: s.text("client_certificate_key_id", cx),
            client_certificate_key: s.secret("client_certificate_key", cx),
            client_certificate_key_file: s.text("client_certificate_key_file", cx),
            grant_type: s.text("grant_type", cx),
            signature_algorithm: s.text("signature_algorithm", cx),
            iss: s.text("iss", cx),
            audience: s.text("audience", cx),
            scopes: s.strings("scopes", cx),
            token_url: s.take("token_url").and_then(|url| url.url(cx)).unwrap_or_default(),
            endpoint_params: s.string_map("endpoint_params", cx).into_iter().collect(),
            tls_config: s
                .take("tls_config")
                .map(|tls| TlsConfig::read(&tls, cx))
                .unwrap_or_default(),
            proxy: ProxyConfig::read(&mut s, cx),
            claims: s.given("claims").map(|claims| Yaml::of_node(claims.node)),
        };
        for key in ["client_secret_ref", "client_certificate_key_ref"] {
            if let Some(reference) = s.given(key) {
                reference.fault(cx, "no secret manager is configured");
            }
        }
        if oauth2.client_id.is_empty() {
            s.fault(cx, "oauth2 client_id must be configured");
        }
        if oauth2.token_url.is_empty() {
            s.fault(cx, "oauth2 token_url must be configured");
        }
        let two = |text: &Secret, file: &String| !text.is_empty() && !file.is_empty();
        if oauth2.grant_type == JWT_BEARER {
            if two(&oauth2.client_certificate_key, &oauth2.client_certificate_key_file) {
                s.fault(
                    cx,
                    "at most one of oauth2 client_certificate_key, client_certificate_key_file & \
                     client_certificate_key_ref must be configured using \
                     grant-type=urn:ietf:params:oauth:grant-type:jwt-bearer",
                );
            }
            if !["", "RS256", "RS384", "RS512"].contains(&oauth2.signature_algorithm.as_str()) {
                let message = "valid signature algorithms are RS256, RS384 and RS512";
                s.fault_at(cx, "signature_algorithm", message);
            }
        } else if two(&oauth2.client_secret, &oauth2.client_secret_file) {
            s.fault(
                cx,
                "at most one of oauth2 client_secret, client_secret_file & client_secret_ref must \
                 be configured using grant-type=client_credentials",
            );
        }
        s.finish(cx);
        oauth2
    }

    pub(crate) fn set_directory(&mut self, dir: &Path) {
        join_dir(dir, &mut self.client_secret_file);
        self.tls_config.set_directory(dir);
    }

    pub(crate) fn fields(&self) -> Fields {
        let mut fields = Fields::default();
        fields.text("client_id", &self.client_id);
        fields.text("client_secret", self.client_secret.shown());
        fields.text("client_secret_file", &self.client_secret_file);
        fields.text("client_certificate_key_id", &self.client_certificate_key_id);
        fields.text("client_certificate_key", self.client_certificate_key.shown());
        fields.text("client_certificate_key_file", &self.client_certificate_key_file);
        fields.text("grant_type", &self.grant_type);
        fields.text("signature_algorithm", &self.signature_algorithm);
        fields.text("iss", &self.iss);
        fields.text("audience", &self.audience);
        if let Some(claims) = &self.claims {
            fields.put("claims", claims.clone());
        }
        fields.texts("scopes", &self.scopes);
        fields.text("token_url", &self.token_url.to_string());
        fields.map("endpoint_params", &self.endpoint_params);
        let tls = self.tls_config.fields();
        if !tls.0.is_empty() {
            fields.put("tls_config", Yaml::Map(tls));
        }
        self.proxy.put_fields(&mut fields);
        fields
    }
}

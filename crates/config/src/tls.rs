//! `tls_config`: whom to trust, and who we are.

use std::fmt;
use std::path::Path;

use crate::http_client::join_dir;
use crate::render::Fields;
use crate::secret::Secret;
use crate::section::{Findings, Value};

/// A version of TLS. Versions below 1.2 are valid in Prometheus' configuration; a client may refuse
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// `TLS10`
    Tls10,
    /// `TLS11`
    Tls11,
    /// `TLS12`
    Tls12,
    /// `TLS13`
    Tls13,
}

impl TlsVersion {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "TLS10" => Ok(TlsVersion::Tls10),
            "TLS11" => Ok(TlsVersion::Tls11),
            "TLS12" => Ok(TlsVersion::Tls12),
            "TLS13" => Ok(TlsVersion::Tls13),
            _ => Err(format!("unknown TLS version: {text}")),
        }
    }
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TlsVersion::Tls10 => "TLS10",
            TlsVersion::Tls11 => "TLS11",
            TlsVersion::Tls12 => "TLS12",
            TlsVersion::Tls13 => "TLS13",
        })
    }
}

/// `tls_config`. Of each pair of a text and a file at most one is set; a certificate comes with a
/// key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// PEM text of the authorities to trust; empty: the system's.
    pub ca: String,
    /// File with them.
    pub ca_file: String,
    /// PEM text of our certificate.
    pub cert: String,
    /// File with it.
    pub cert_file: String,
    /// PEM text of our key.
    pub key: Secret,
    /// File with it.
    pub key_file: String,
    /// The name that the server's certificate must bear; empty: the target's host.
    pub server_name: String,
    /// Trust anybody.
    pub insecure_skip_verify: bool,
    /// The lowest version to speak; `None`: the library's default (1.2).
    pub min_version: Option<TlsVersion>,
    /// The highest version to speak.
    pub max_version: Option<TlsVersion>,
}

impl TlsConfig {
    pub(crate) fn read(value: &Value<'_>, cx: &mut Findings) -> Self {
        let mut s = value.section(cx, "config.TLSConfig");
        let version = |value: Option<Value<'_>>, cx: &mut Findings| {
            value?.parse(cx, "config.TLSVersion", TlsVersion::parse)
        };
        let tls = TlsConfig {
            ca: s.text("ca", cx),
            ca_file: s.text("ca_file", cx),
            cert: s.text("cert", cx),
            cert_file: s.text("cert_file", cx),
            key: s.secret("key", cx),
            key_file: s.text("key_file", cx),
            server_name: s.text("server_name", cx),
            insecure_skip_verify: s.bool("insecure_skip_verify", cx).unwrap_or(false),
            min_version: version(s.take("min_version"), cx),
            max_version: version(s.take("max_version"), cx),
        };
        for key in ["ca_ref", "cert_ref", "key_ref"] {
            if let Some(reference) = s.given(key) {
                reference.fault(cx, "no secret manager is configured");
            }
        }
        if !tls.ca.is_empty() && !tls.ca_file.is_empty() {
            s.fault(cx, "at most one of ca, ca_file & ca_ref must be configured");
        }
        if !tls.cert.is_empty() && !tls.cert_file.is_empty() {
            s.fault(cx, "at most one of cert, cert_file & cert_ref must be configured");
        }
        if !tls.key.is_empty() && !tls.key_file.is_empty() {
            s.fault(cx, "at most one of key and key_file must be configured");
        }
        let has_cert = !tls.cert.is_empty() || !tls.cert_file.is_empty();
        let has_key = !tls.key.is_empty() || !tls.key_file.is_empty();
        let missing = match (has_cert, has_key) {
            (true, false) => Some(("key or key_file", "certificate")),
            (false, true) => Some(("cert or cert_file", "key")),
            _ => None,
        };
        if let Some((wanted, present)) = missing {
            let what = format!("a client {present} is configured");
            s.fault(cx, format!("exactly one of {wanted} must be configured when {what}"));
        }
        s.finish(cx);
        tls
    }

    pub(crate) fn set_directory(&mut self, dir: &Path) {
        for file in [&mut self.ca_file, &mut self.cert_file, &mut self.key_file] {
            join_dir(dir, file);
        }
    }

    /// The keys; none at all where nothing is set.
    pub(crate) fn fields(&self) -> Fields {
        let mut fields = Fields::default();
        if *self == TlsConfig::default() {
            return fields;
        }
        fields.text("ca", &self.ca);
        fields.text("cert", &self.cert);
        fields.text("key", self.key.shown());
        fields.text("ca_file", &self.ca_file);
        fields.text("cert_file", &self.cert_file);
        fields.text("key_file", &self.key_file);
        fields.text("server_name", &self.server_name);
        fields.raw("insecure_skip_verify", self.insecure_skip_verify);
        for (key, version) in [("min_version", self.min_version), ("max_version", self.max_version)]
        {
            if let Some(version) = version {
                fields.raw(key, version);
            }
        }
        fields
    }
}

//! Credentials, and TLS against a server whose certificate is for `exporter.test` alone.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use pando_runtime::ManualClock;

use pando_runtime::Tasks;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::*;

fn client(config: HttpClientConfig) -> HttpClient {
    HttpClient::new(config, ManualClock::at(0))
}

#[tokio::test]
async fn a_missing_file_fails_the_request_and_is_looked_for_again() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("password");
    let auth = pando_config::BasicAuth {
        username: "me".to_string(),
        password_file: file.to_string_lossy().into_owned(),
        ..Default::default()
    };
    let client = client(HttpClientConfig { basic_auth: Some(auth), ..Default::default() });
    let url = Url::parse("http://localhost/").expect("url");
    let error = client.get(url.clone()).await.expect_err("no file");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    std::fs::write(&file, "secret\n").expect("writes");
    let request = client.get(url).await.expect("file").build().expect("request");
    let authorization = request.headers().get(AUTHORIZATION).expect("header");
    assert_eq!(authorization, &format!("Basic {}", STANDARD.encode("me:secret")));
}

#[tokio::test]
async fn tls_that_makes_no_sense_is_said() {
    for tls_config in [
        TlsConfig { server_name: "not a name".to_string(), ..Default::default() },
        TlsConfig { ca: "no PEM".to_string(), server_name: "x".to_string(), ..Default::default() },
        TlsConfig { max_version: Some(TlsVersion::Tls11), ..Default::default() },
    ] {
        let client = client(HttpClientConfig { tls_config, ..Default::default() });
        let error = client.client().await.expect_err("makes no sense");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
}

const AUTHORITY: &str = include_str!("testdata/authority.pem");
const CERTIFICATE: &str = include_str!("testdata/exporter.pem");
/// Made for this test, and good for nothing else.
const KEY: &str = include_str!("testdata/exporter.key");

/// A server that speaks TLS and answers every request on a connection of its own.
fn tls_server(tasks: &Tasks) -> SocketAddr {
    pando_rpc::tls::install_provider();
    let chain = certificates(CERTIFICATE, "cert").expect("PEM");
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).expect("PEM");
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
    let config = Arc::new(config.expect("fits"));
    let listener = TcpListener::bind("127.0.0.1:0").expect("port");
    let address = listener.local_addr().expect("address");
    tasks.spawn_thread("tls server", move || {
        for socket in listener.incoming() {
            // Clients that do not trust us hang up.
            let _ = socket.and_then(|socket| answer(config.clone(), socket));
        }
    });
    address
}

fn answer(config: Arc<ServerConfig>, socket: TcpStream) -> std::io::Result<()> {
    let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut stream = StreamOwned::new(connection, socket);
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        request.extend(byte);
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi")?;
    stream.conn.send_close_notify();
    stream.flush()
}

#[tokio::test]
async fn certificates_are_trusted_as_the_config_says() {
    let tasks = Tasks::new();
    let address = tls_server(&tasks);
    let url = Url::parse(&format!("https://{address}/")).expect("url");
    let ca = AUTHORITY.to_string();
    let named = |ca: &str, name: &str| TlsConfig {
        ca: ca.to_string(),
        server_name: name.to_string(),
        ..Default::default()
    };
    let careless = TlsConfig { insecure_skip_verify: true, ..Default::default() };
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, AUTHORITY).expect("writes");
    let ca_file = file.to_string_lossy().into_owned();
    let from_file = TlsConfig { ca_file, ..named("", "exporter.test") };
    for (tls_config, trusted) in [
        (named(&ca, "exporter.test"), true),
        (from_file, true),
        (careless, true),
        (named(&ca, "other.test"), false),
        // The address is not in the certificate.
        (named(&ca, ""), false),
        // The system does not know the authority.
        (TlsConfig::default(), false),
        (named("", "exporter.test"), false),
    ] {
        let shown = format!("{tls_config:?}");
        let client = client(HttpClientConfig { tls_config, ..Default::default() });
        let answer = client.get(url.clone()).await.expect("builds").send().await;
        assert_eq!(answer.is_ok(), trusted, "{shown}: {answer:?}");
    }
}

#[tokio::test]
async fn a_proxy_is_asked_instead_of_the_target() {
    let proxy = crate::testing::Exporter::start().await;
    let mut config = HttpClientConfig::default();
    config.proxy.proxy_url = pando_config::RedactedUrl::new(format!("http://{}", proxy.address));
    config.proxy.no_proxy = "direct.test".to_string();
    let client = client(config);
    let url = Url::parse("http://exporter.test/metrics").expect("url");
    let answer = client.get(url).await.expect("builds").send().await.expect("the proxy answers");
    assert_eq!(answer.status(), 200);
    assert_eq!(proxy.last_request().1["host"], "exporter.test");
    let direct = Url::parse("http://direct.test/metrics").expect("url");
    assert!(client.get(direct).await.expect("builds").send().await.is_err());
    assert_eq!(proxy.requests(), 1);
}

#[tokio::test]
async fn a_proxy_is_sent_its_own_headers() {
    use tokio::io::AsyncReadExt as _;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("port");
    let address = listener.local_addr().expect("address");
    let mut config = HttpClientConfig::default();
    config.proxy.proxy_url = pando_config::RedactedUrl::new(format!("http://{address}"));
    let values = vec![pando_config::Secret::new("secret")];
    config.proxy.proxy_connect_header.insert("X-Key".to_string(), values);
    let client = client(config);
    let url = Url::parse("https://exporter.test/").expect("url");
    let request = client.get(url).await.expect("builds").send();
    let proxy = async {
        let (mut socket, _) = listener.accept().await.expect("is asked");
        let mut seen = vec![0; 4096];
        let read = socket.read(&mut seen).await.expect("reads");
        String::from_utf8_lossy(&seen[..read]).to_lowercase()
    };
    let (answer, seen) = tokio::join!(request, proxy);
    assert!(answer.is_err(), "the proxy hangs up");
    assert!(seen.starts_with("connect exporter.test:443 "), "{seen}");
    assert!(seen.contains("\r\nx-key: secret\r\n"), "{seen}");
}

//! `Client`: HTTP/1.1 over one connection, as much of it as the measured systems' answers need. Blocking and
//! by hand, so that xtask stays quick to build.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// The longest that one answer may take: a cut or a snapshot of everything.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);
/// The largest answer that is read.
const BODY_BYTES_MAX: usize = 256 << 20;
/// The longest line of a head.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// An answer.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The body, where the status is a good one.
    pub(crate) fn good(self) -> Result<Vec<u8>> {
        if !(200..300).contains(&self.status) {
            bail!("status={} {}", self.status, self.text());
        }
        Ok(self.body)
    }

    /// The beginning of the body, for messages.
    pub(crate) fn text(&self) -> String {
        let end = self.body.len().min(300);
        String::from_utf8_lossy(&self.body[..end]).into_owned()
    }
}

/// A client of one server. It keeps its connection and makes a new one where the server has closed it.
pub(crate) struct Client {
    address: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Client { address, stream: None }
    }

    /// Asks and waits for the whole answer. Safe for requests only that may be sent twice: a server may close
    /// an idle connection at the moment in which it is used again.
    pub(crate) fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("Content-Length: {}\r\n\r\n", body.len());
        if let Some(stream) = self.stream.take()
            && let Ok(response) = self.exchange(stream, head.as_bytes(), body)
        {
            return Ok(response);
        }
        let stream = TcpStream::connect_timeout(&self.address, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        let answer = self.exchange(BufReader::new(stream), head.as_bytes(), body);
        answer.with_context(|| format!("{method} {}{path:.100}", self.address))
    }

    /// The body of a good answer to GET.
    pub(crate) fn get(&mut self, path: &str) -> Result<Vec<u8>> {
        self.ask("GET", path, &[], &[])?.good().with_context(|| format!("GET {path:.200}"))
    }

    /// The `data` of a good answer of Prometheus' API.
    pub(crate) fn data(&mut self, method: &str, path: &str) -> Result<Value> {
        let response = self.ask(method, path, &[], &[])?;
        let text = response.text();
        let answer: Value = serde_json::from_slice(&response.body)
            .with_context(|| format!("{path:.200}: not JSON: {text}"))?;
        ensure!(answer["status"] == "success", "{path:.200}: {text}");
        Ok(answer["data"].clone())
    }

    fn exchange(
        &mut self,
        mut stream: BufReader<TcpStream>,
        head: &[u8],
        body: &[u8],
    ) -> Result<Response> {
        stream.get_mut().write_all(head)?;
        stream.get_mut().write_all(body)?;
        let status = read_line(&mut stream)?;
        let status = status.split(' ').nth(1).and_then(|s| s.parse().ok());
        let status = status.context("no status")?;
        let (mut length, mut chunked, mut close) = (0, false, false);
        loop {
            let line = read_line(&mut stream)?;
            let Some((name, value)) = line.split_once(':') else { break };
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse()?,
                "transfer-encoding" => chunked = value.eq_ignore_ascii_case("chunked"),
                "connection" => close = value.eq_ignore_ascii_case("close"),
                _ => {}
            }
        }
        let mut body = Vec::new();
        if chunked {
            read_chunks(&mut stream, &mut body)?;
        } else {
            read_exactly(&mut stream, length, &mut body)?;
        }
        if !close {
            self.stream = Some(stream);
        }
        Ok(Response { status, body })
    }
}

fn read_line(stream: &mut BufReader<TcpStream>) -> Result<String> {
    let mut line = String::new();
    stream.by_ref().take(LINE_BYTES_MAX).read_line(&mut line)?;
    ensure!(line.ends_with('\n'), "the connection ended within the head");
    Ok(line.trim_end().to_string())
}

fn read_exactly(
    stream: &mut BufReader<TcpStream>,
    length: usize,
    body: &mut Vec<u8>,
) -> Result<()> {
    let size = body.len().saturating_add(length);
    ensure!(size <= BODY_BYTES_MAX, "answer too large: bytes={size} limit={BODY_BYTES_MAX}");
    let read = stream.by_ref().take(length as u64).read_to_end(body)?;
    ensure!(read == length, "the connection ended within the body");
    Ok(())
}

fn read_chunks(stream: &mut BufReader<TcpStream>, body: &mut Vec<u8>) -> Result<()> {
    loop {
        let line = read_line(stream)?;
        let length = usize::from_str_radix(line.split(';').next().unwrap_or_default(), 16)?;
        read_exactly(stream, length, body)?;
        // The end of the chunk, or of the trailers, which nobody here sends.
        read_line(stream)?;
        if length == 0 {
            return Ok(());
        }
    }
}

/// `text` for a query string.
pub(crate) fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => out.push(byte as char),
            _ => out += &format!("%{byte:02X}"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A server that gives one answer for each request of one connection.
    fn server(answers: Vec<&'static str>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("bound");
        std::thread::spawn(move || {
            for answer in answers {
                let (stream, _) = listener.accept().expect("a connection");
                let mut stream = BufReader::new(stream);
                while read_line(&mut stream).is_ok_and(|line| !line.is_empty()) {}
                stream.get_mut().write_all(answer.as_bytes()).expect("written");
            }
        });
        address
    }

    #[test]
    fn both_kinds_of_length_are_read_and_a_closed_connection_is_made_anew() {
        let address = server(vec![
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
            "HTTP/1.1 503 no\r\nContent-Length: 2\r\n\r\nno",
        ]);
        let mut client = Client::new(address);
        assert_eq!(client.get("/").expect("chunked"), b"abcde");
        let second = client.ask("GET", "/", &[], &[]).expect("a new connection");
        assert_eq!((second.status, second.text()), (503, "no".to_string()));
        assert!(second.good().is_err());
    }

    #[test]
    fn a_cut_body_is_an_error() {
        let address = server(vec!["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc"]);
        assert!(Client::new(address).get("/").is_err());
    }

    #[test]
    fn an_expression_survives_a_query_string() {
        assert_eq!(percent_encoded("a{b=\"c\"}[5m]"), "a%7Bb%3D%22c%22%7D%5B5m%5D");
    }
}

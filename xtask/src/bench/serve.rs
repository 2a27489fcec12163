//! `Server`: a small HTTP/1.1 server on loopback for the exporter and the sink of remote write, one thread a
//! connection. It counts every byte that arrives.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, bail, ensure};

/// Connections at a time: one for each target of the full scale, twice. What comes above is closed.
const CONNECTIONS_MAX: usize = 2_048;
/// A head above this is no head.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// The largest body that is taken.
const BODY_BYTES_MAX: usize = 64 << 20;
/// Handlers keep their buffers on the heap.
const STACK_BYTES: usize = 128 << 10;

/// What a server answers.
pub(crate) trait Answers: Send + Sync + 'static {
    /// Writes the body of the answer to a request for `path` into `body` and returns its status.
    fn answer(&self, path: &str, body: &mut Vec<u8>) -> u16;
}

/// A server that runs until it is dropped; connections end when their clients end.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    ended: AtomicBool,
    connections: AtomicUsize,
    received_bytes: AtomicU64,
}

impl Server {
    /// Begins to serve on a port of its own.
    pub(crate) fn start(answers: Arc<dyn Answers>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            ended: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            received_bytes: AtomicU64::new(0),
        });
        let of_thread = shared.clone();
        thread::Builder::new().name("server".into()).spawn(move || {
            accept(&listener, &answers, &of_thread);
        })?;
        Ok(Server { address, shared })
    }

    /// Bytes that clients have sent: heads and bodies.
    pub(crate) fn received_bytes(&self) -> u64 {
        self.shared.received_bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

fn accept(listener: &TcpListener, answers: &Arc<dyn Answers>, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.ended.load(Ordering::Relaxed) {
            return;
        }
        let Ok(stream) = stream else { continue };
        if shared.connections.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS_MAX {
            shared.connections.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let (answers, of_thread) = (answers.clone(), shared.clone());
        let thread = thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
            // A client that goes away, or talks nonsense, is its own trouble.
            let _ = connection(stream, answers.as_ref(), &of_thread);
            of_thread.connections.fetch_sub(1, Ordering::Relaxed);
        });
        if thread.is_err() {
            shared.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn connection(mut stream: TcpStream, answers: &dyn Answers, shared: &Shared) -> Result<()> {
    stream.set_nodelay(true)?;
    let (mut received, mut body, mut out) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        let Some(head) = read_head(&mut stream, &mut received, shared)? else { return Ok(()) };
        let end = head.bytes.checked_add(head.body_bytes).context("length")?;
        while received.len() < end {
            if read_more(&mut stream, &mut received, shared)? == 0 {
                bail!("the connection ended within a body");
            }
        }
        received.drain(..end);
        body.clear();
        let status = answers.answer(&head.path, &mut body);
        out.clear();
        write!(
            out,
            "HTTP/1.1 {status} -\r\nContent-Type: text/plain; version=0.0.4\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        )?;
        out.extend_from_slice(&body);
        stream.write_all(&out)?;
    }
}

struct Head {
    bytes: usize,
    path: String,
    body_bytes: usize,
}

/// Reads until a whole head is there; `None` where the client is done.
fn read_head(
    stream: &mut TcpStream,
    received: &mut Vec<u8>,
    shared: &Shared,
) -> Result<Option<Head>> {
    loop {
        if let Some(at) = received.windows(4).position(|four| four == b"\r\n\r\n") {
            return parse_head(&received[..at], at + 4).map(Some);
        }
        ensure!(received.len() <= HEAD_BYTES_MAX, "head too large: limit={HEAD_BYTES_MAX}");
        if read_more(stream, received, shared)? == 0 {
            return Ok(None);
        }
    }
}

fn parse_head(head: &[u8], bytes: usize) -> Result<Head> {
    let head = std::str::from_utf8(head)?;
    let mut lines = head.split("\r\n");
    let path = lines.next().and_then(|line| line.split(' ').nth(1)).context("no request line")?;
    let mut body_bytes = 0;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            body_bytes = value.trim().parse()?;
        }
        if name.eq_ignore_ascii_case("transfer-encoding") {
            bail!("a body without a length is not expected");
        }
    }
    ensure!(body_bytes <= BODY_BYTES_MAX, "body too large: limit={BODY_BYTES_MAX}");
    Ok(Head { bytes, path: path.to_string(), body_bytes })
}

fn read_more(stream: &mut TcpStream, received: &mut Vec<u8>, shared: &Shared) -> Result<usize> {
    let have = received.len();
    received.resize(have + (16 << 10), 0);
    let read = stream.read(&mut received[have..]);
    received.truncate(have + *read.as_ref().unwrap_or(&0));
    let read = read?;
    shared.received_bytes.fetch_add(read as u64, Ordering::Relaxed);
    Ok(read)
}

/// Takes everything and keeps nothing: the far end of a remote write.
pub(crate) struct Sink;

impl Answers for Sink {
    fn answer(&self, _path: &str, _body: &mut Vec<u8>) -> u16 {
        204
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::http::Client;

    struct Echo;

    impl Answers for Echo {
        fn answer(&self, path: &str, body: &mut Vec<u8>) -> u16 {
            body.extend_from_slice(path.as_bytes());
            200
        }
    }

    #[test]
    fn a_connection_takes_many_requests_and_counts_their_bytes() {
        let server = Server::start(Arc::new(Echo)).expect("loopback");
        let mut client = Client::new(server.address);
        assert_eq!(client.get("/a").expect("answer"), b"/a");
        let before = server.received_bytes();
        let answer = client.ask("POST", "/b", &[("X", "y")], &[7; 100_000]).expect("answer");
        assert_eq!((answer.status, answer.body), (200, b"/b".to_vec()));
        let bytes = server.received_bytes() - before;
        assert!((100_000..101_000).contains(&bytes), "{bytes}");
    }
}

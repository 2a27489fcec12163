//! `Proxy`: a TCP connection passed on, its bytes counted. Placed before an ingester it says what an agent puts
//! on the wire, whatever the protocol is.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use anyhow::Result;

/// Connections at a time; gRPC needs one for each client.
const CONNECTIONS_MAX: usize = 64;

/// A proxy that runs until it is dropped; connections end with their ends.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    ended: AtomicBool,
    connections: AtomicUsize,
    up_bytes: AtomicU64,
}

impl Proxy {
    /// Begins to pass connections on to `target`.
    pub(crate) fn start(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            ended: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            up_bytes: AtomicU64::new(0),
        });
        let of_thread = shared.clone();
        thread::Builder::new().name("proxy".into()).spawn(move || {
            for stream in listener.incoming() {
                if of_thread.ended.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                if of_thread.connections.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS_MAX
                    || begin(stream, target, &of_thread).is_err()
                {
                    of_thread.connections.fetch_sub(1, Ordering::Relaxed);
                }
            }
        })?;
        Ok(Proxy { address, shared })
    }

    /// Bytes that clients have sent to the target.
    pub(crate) fn up_bytes(&self) -> u64 {
        self.shared.up_bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

/// Passes one connection on, a thread for each direction.
fn begin(client: TcpStream, target: SocketAddr, shared: &Arc<Shared>) -> Result<()> {
    let server = TcpStream::connect(target)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = (client.try_clone()?, client);
    let (from_server, to_server) = (server.try_clone()?, server);
    let of_up = shared.clone();
    thread::Builder::new().spawn(move || {
        pass(from_client, to_server, |bytes| {
            of_up.up_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        });
        of_up.connections.fetch_sub(1, Ordering::Relaxed);
    })?;
    // Without its second thread the connection would only hang: both ends are closed by dropping them.
    let _ = thread::Builder::new().spawn(move || pass(from_server, to_client, |_| {}));
    Ok(())
}

fn pass(mut from: TcpStream, mut to: TcpStream, count: impl Fn(usize)) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        count(read);
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::http::Client;
    use crate::bench::serve::{Server, Sink};

    #[test]
    fn it_counts_what_the_client_sends() {
        let server = Server::start(Arc::new(Sink)).expect("loopback");
        let proxy = Proxy::start(server.address).expect("loopback");
        let mut client = Client::new(proxy.address);
        let answer = client.ask("POST", "/", &[], &[1; 5_000]).expect("passed on");
        assert_eq!(answer.status, 204);
        assert!(proxy.up_bytes() > 5_000);
        assert_eq!(proxy.up_bytes(), server.received_bytes());
    }
}

//! `Door`: a TCP way to a server that can be closed, so that the server is unreachable without losing what it has.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A way to a server. Dropping it closes it for good.
pub struct Door {
    /// host:port of this side.
    pub address: String,
    open: watch::Sender<bool>,
    was_asked: Arc<AtomicBool>,
    _listener: JoinSet<()>,
}

impl Door {
    /// An open way to `target` (host:port).
    ///
    /// # Errors
    /// Loopback has no port.
    pub async fn to(target: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let (open, state) = watch::channel(true);
        let was_asked = Arc::new(AtomicBool::new(false));
        let (target, asked) = (target.to_string(), was_asked.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut passing = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                if !*state.borrow() {
                    asked.store(true, Ordering::SeqCst);
                    continue;
                }
                passing.spawn(pass(stream, target.clone(), state.clone()));
                while passing.try_join_next().is_some() {}
            }
        });
        Ok(Door { address, open, was_asked, _listener: tasks })
    }

    /// Breaks all connections, and every new one at once.
    pub fn close(&self) {
        self.was_asked.store(false, Ordering::SeqCst);
        self.open.send_replace(false);
    }

    /// Lets connections through again.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// Whether somebody knocked since it was closed.
    pub fn was_asked(&self) -> bool {
        self.was_asked.load(Ordering::SeqCst)
    }
}

async fn pass(mut from: TcpStream, target: String, mut open: watch::Receiver<bool>) {
    let Ok(mut to) = TcpStream::connect(target).await else { return };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut from, &mut to) => {}
        _ = open.wait_for(|open| !open) => {}
    }
}

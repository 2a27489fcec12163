//! `Door`: a TCP way to a server that can be closed, so that the server is unreachable without losing what it has, or
//! that can lead nowhere, so that whoever asks waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What a door does with those who come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Closed,
    /// Takes connections and says nothing.
    Mute,
}

/// A way to a server. Dropping it closes it for good.
pub struct Door {
    /// host:port of this side.
    pub address: String,
    state: watch::Sender<State>,
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
        let (sender, state) = watch::channel(State::Open);
        let was_asked = Arc::new(AtomicBool::new(false));
        let (target, asked) = (target.to_string(), was_asked.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut passing = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let now = *state.borrow();
                match now {
                    State::Open => {
                        passing.spawn(pass(stream, target.clone(), state.clone()));
                    }
                    State::Closed => asked.store(true, Ordering::SeqCst),
                    State::Mute => {
                        passing.spawn(keep(stream, state.clone()));
                    }
                }
                while passing.try_join_next().is_some() {}
            }
        });
        Ok(Door { address, state: sender, was_asked, _listener: tasks })
    }

    /// Breaks all connections, and every new one at once.
    pub fn close(&self) {
        self.was_asked.store(false, Ordering::SeqCst);
        self.state.send_replace(State::Closed);
    }

    /// Breaks all connections; new ones are taken, and nobody answers there.
    pub fn mute(&self) {
        self.state.send_replace(State::Mute);
    }

    /// Lets connections through again.
    pub fn open(&self) {
        self.state.send_replace(State::Open);
    }

    /// Whether somebody knocked since it was closed.
    pub fn was_asked(&self) -> bool {
        self.was_asked.load(Ordering::SeqCst)
    }
}

/// Keeps a connection for as long as the door is mute.
async fn keep(_stream: TcpStream, mut state: watch::Receiver<State>) {
    let _ = state.wait_for(|state| *state != State::Mute).await;
}

async fn pass(mut from: TcpStream, target: String, mut state: watch::Receiver<State>) {
    let Ok(mut to) = TcpStream::connect(target).await else { return };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut from, &mut to) => {}
        _ = state.wait_for(|state| *state != State::Open) => {}
    }
}

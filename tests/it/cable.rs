//! The network between a node and PostgreSQL, which can be cut and mended.

use std::path::PathBuf;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How the network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// As it should be.
    Whole,
    /// Connections are closed, and new ones are not answered but closed.
    Cut,
    /// Nothing arrives, and nobody is told.
    Silent,
}

/// A TCP port that leads to a Unix socket.
pub struct Cable {
    port: u16,
    network: watch::Sender<Network>,
    task: JoinHandle<()>,
}

impl Cable {
    pub async fn to(socket: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (network, state) = watch::channel(Network::Whole);
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (state, socket) = (state.clone(), socket.clone());
                tokio::spawn(async move {
                    let Ok(far) = UnixStream::connect(&socket).await else { return };
                    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
                    tokio::select! {
                        () = pass(near_read, far_write, state.clone()) => {}
                        () = pass(far_read, near_write, state) => {}
                    }
                });
            }
        });
        Self { port, network, task }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn set(&self, network: Network) {
        self.network.send_replace(network);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One direction, until it ends or is cut.
async fn pass(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut state: watch::Receiver<Network>) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let network = *state.borrow_and_update();
        match network {
            Network::Cut => return,
            Network::Silent => {
                if state.changed().await.is_err() {
                    return;
                }
            }
            Network::Whole => tokio::select! { biased;
                changed = state.changed() => if changed.is_err() { return },
                read = from.read(&mut buffer) => {
                    let Ok(read @ 1..) = read else { return };
                    if to.write_all(&buffer[..read]).await.is_err() {
                        return;
                    }
                }
            },
        }
    }
}

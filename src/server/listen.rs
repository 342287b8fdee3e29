//! The sockets that the gateway listens on, and what happens on them.

use super::accept::Reception;
use crate::config::Server;
use crate::error::Fault;
use futures_util::future::join_all;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

/// How many connections may wait to be accepted; the kernel bounds it by net.core.somaxconn.
const BACKLOG: i32 = 4096;

/// Sockets that are bound already, so that the port is known before anything is built.
pub struct Bound {
    sockets: Vec<Socket>,
    addresses: Vec<SocketAddr>,
    admin: Option<Socket>,
    /// Plain HTTP beside TLS.
    plain: Option<Socket>,
}

/// One of them.
pub(super) struct Socket {
    /// As the configuration has it, perhaps with port 0.
    pub(super) asked: SocketAddr,
    pub(super) listener: TcpListener,
}

impl Bound {
    /// Binds every address.
    ///
    /// # Errors
    /// Naming the address, and what to do when it is in use or not allowed.
    pub fn bind(addresses: &[SocketAddr]) -> Result<Self, Fault> {
        Self::listening(addresses, &mut Vec::new())
    }

    /// The same, with those beside them, and with sockets of the process before this one where they are for the same
    /// address.
    pub(super) fn take_over(server: &Server, mut inherited: Vec<Socket>) -> Result<Self, Fault> {
        let mut bound = Self::listening(&server.listen, &mut inherited)?;
        bound.add_others(server, &mut inherited)?;
        Ok(bound)
    }

    fn listening(addresses: &[SocketAddr], inherited: &mut Vec<Socket>) -> Result<Self, Fault> {
        let mut bound = Self { sockets: Vec::new(), addresses: Vec::new(), admin: None, plain: None };
        for address in addresses {
            let socket = Socket::take_or_bind(*address, inherited, "server.listen")?;
            bound.addresses.push(socket.listener.local_addr().map_err(Fault::gateway)?);
            bound.sockets.push(socket);
        }
        Ok(bound)
    }

    /// Binds the one for metrics and probes, and the one for plain HTTP, unless they are there already.
    pub(super) fn add_others(&mut self, server: &Server, inherited: &mut Vec<Socket>) -> Result<(), Fault> {
        if let (Some(address), None) = (server.admin_listen, &self.admin) {
            self.admin = Some(Socket::take_or_bind(address, inherited, "server.admin_listen")?);
        }
        if let (Some(address), None) = (server.http_listen, &self.plain) {
            self.plain = Some(Socket::take_or_bind(address, inherited, "server.http_listen")?);
        }
        Ok(())
    }

    /// The addresses in use, port 0 replaced by the chosen one.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// A second handle to every socket, for handing them over later.
    pub(super) fn duplicate(&self) -> Result<Vec<Socket>, Fault> {
        let all = self.sockets.iter().chain(&self.admin).chain(&self.plain).map(Socket::duplicate);
        all.collect::<io::Result<_>>().map_err(Fault::gateway)
    }

    pub(super) fn take_admin(&mut self) -> Option<TcpListener> {
        self.admin.take().map(|socket| socket.listener)
    }

    pub(super) fn take_plain(&mut self) -> Option<TcpListener> {
        self.plain.take().map(|socket| socket.listener)
    }
}

impl Socket {
    fn take_or_bind(address: SocketAddr, inherited: &mut Vec<Socket>, key: &str) -> Result<Self, Fault> {
        if let Some(position) = inherited.iter().position(|socket| socket.asked == address) {
            return Ok(inherited.remove(position));
        }
        match listen(address) {
            Ok(listener) => Ok(Self { asked: address, listener }),
            Err(error) => Err(Fault::gateway(explain(address, &error, key))),
        }
    }

    fn duplicate(&self) -> io::Result<Self> {
        Ok(Self { asked: self.asked, listener: self.listener.try_clone()? })
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    // The standard library asks for 128: in a flood, others would wait a second for their SYN to be sent again.
    rustix::net::listen(&listener, BACKLOG)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn explain(address: SocketAddr, error: &io::Error, key: &str) -> String {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => "another program listens there: stop it, or choose another address in",
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need the capability CAP_NET_BIND_SERVICE, or choose another port in"
        }
        io::ErrorKind::AddrNotAvailable => "this machine has no such address: mend",
        _ => "mend",
    };
    format!("cannot listen on {address}: {error}; {advice} {key}")
}

/// Serves on every socket; the future ends when the last of them is closed.
pub(super) fn serve_connections(
    reception: Arc<Reception>,
    bound: Bound,
) -> Result<impl Future<Output = ()> + use<>, Fault> {
    let listeners = bound.sockets.into_iter().map(|socket| tokio::net::TcpListener::from_std(socket.listener));
    let listeners = listeners.collect::<io::Result<Vec<_>>>().map_err(Fault::gateway)?;
    let serving: Vec<_> =
        listeners.into_iter().map(|listener| tokio::spawn(reception.clone().serve(listener))).collect();
    Ok(async move { drop(join_all(serving).await) })
}

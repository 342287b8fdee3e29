//! Sockets that the service manager has bound for us (sd_listen_fds(3)): ports below 1024 without a capability, and
//! connections that wait instead of being refused while nobody runs.

use super::super::listen::Socket;
use crate::error::Fault;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::sockopt;
use rustix::net::{AddressFamily, SocketType};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};

/// The sockets among those given to this process that are for an address of the configuration, with that address. Others are
/// closed and named in the log: nobody would answer there. To be called once in a process.
///
/// # Errors
/// When the variables make no sense, or the system refuses.
pub(in crate::server) fn sockets(configured: &[SocketAddr]) -> Result<Vec<Socket>, Fault> {
    let given = sd_listen_fds::get().map_err(|_| {
        Fault::gateway("LISTEN_PID and LISTEN_FDS are no numbers: remove both, or give what sd_listen_fds(3) says")
    })?;
    let mut given = given.into_iter().map(|(name, descriptor)| (name, descriptor.into_std())).collect::<Vec<_>>();
    // No program that we start may hold a port of ours open.
    given.iter().try_for_each(|(_, descriptor)| fcntl_setfd(descriptor, FdFlags::CLOEXEC)).map_err(|error| {
        Fault::gateway(format!("LISTEN_FDS counts descriptors that there are not ({error}): remove the variable"))
    })?;
    let mut taken = Vec::new();
    // Whoever is for exactly one address goes there before one that is for many takes its place.
    for exact in [true, false] {
        let mut left = Vec::new();
        for (name, descriptor) in given {
            let free: Vec<_> = configured.iter().filter(|address| !has(&taken, **address)).copied().collect();
            match Offer::of(&descriptor).and_then(|offer| offer.fits(&free, exact)) {
                Some(asked) => taken.push(Socket { asked, listener: listener(descriptor).map_err(Fault::gateway)? }),
                None => left.push((name, descriptor)),
            }
        }
        given = left;
    }
    for (name, descriptor) in &given {
        warn(name.as_deref().unwrap_or("no name"), descriptor, configured);
    }
    Ok(taken)
}

fn has(sockets: &[Socket], address: SocketAddr) -> bool {
    sockets.iter().any(|socket| socket.asked == address)
}

fn listener(descriptor: OwnedFd) -> io::Result<TcpListener> {
    let listener = TcpListener::from(descriptor);
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// A TCP socket that listens.
#[derive(Clone, Copy)]
struct Offer {
    address: SocketAddr,
    /// Whether IPv4 comes in as well (systemd.socket(5), `BindIPv6Only`).
    both_families: bool,
}

impl Offer {
    /// `None` for anything else.
    fn of(descriptor: &OwnedFd) -> Option<Self> {
        let is_stream = sockopt::socket_type(descriptor).ok()? == SocketType::STREAM;
        let family = sockopt::socket_domain(descriptor).ok()?;
        let is_internet = matches!(family, AddressFamily::INET | AddressFamily::INET6);
        if !is_stream || !is_internet || !sockopt::socket_acceptconn(descriptor).ok()? {
            return None;
        }
        let address = SocketAddr::try_from(rustix::net::getsockname(descriptor.as_fd()).ok()?).ok()?;
        let both_families = address.is_ipv6() && !sockopt::ipv6_v6only(descriptor).ok()?;
        Some(Self { address, both_families })
    }

    /// The address that this is for: the very same, or, with the same port, all of IPv4 where this is all of both.
    fn fits(self, addresses: &[SocketAddr], exact: bool) -> Option<SocketAddr> {
        let everything = self.both_families && self.address.ip().is_unspecified();
        let fits = |address: &&SocketAddr| match exact {
            true => **address == self.address,
            false => {
                everything
                    && address.port() == self.address.port()
                    && matches!(address.ip(), IpAddr::V4(ip) if ip.is_unspecified())
            }
        };
        addresses.iter().find(fits).copied()
    }
}

fn warn(name: &str, descriptor: &OwnedFd, configured: &[SocketAddr]) {
    let configured = configured.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ");
    match Offer::of(descriptor) {
        Some(Offer { address, .. }) => tracing::warn!(
            name,
            %address,
            configured,
            "the socket unit gives a socket that no address of the configuration asks for, and nobody will answer there: \
             write the same address into ListenStream= and server.listen"
        ),
        None => {
            tracing::warn!(name, "the socket unit gives something that is not a listening TCP socket; it is not used")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listening(address: &str) -> OwnedFd {
        TcpListener::bind(address).unwrap().into()
    }

    #[test]
    fn a_socket_is_for_its_own_address() {
        let descriptor = listening("127.0.0.1:0");
        let offer = Offer::of(&descriptor).unwrap();
        let others = ["127.0.0.1:1".parse().unwrap(), SocketAddr::from(([0, 0, 0, 0], offer.address.port()))];
        assert_eq!(offer.fits(&others, true), None);
        assert_eq!(offer.fits(&others, false), None);
        assert_eq!(offer.fits(&[others[0], offer.address], true), Some(offer.address));
    }

    #[test]
    fn a_socket_for_both_families_is_for_all_of_ipv4_too() {
        let address = "[::]:443".parse().unwrap();
        let asked = ["0.0.0.0:80".parse().unwrap(), "0.0.0.0:443".parse().unwrap()];
        let offer = |both_families| Offer { address, both_families };
        assert_eq!(offer(true).fits(&asked, true), None);
        assert_eq!(offer(true).fits(&asked, false), Some(asked[1]));
        assert_eq!(offer(false).fits(&asked, false), None);
    }

    #[test]
    fn nothing_but_listening_tcp_sockets_is_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connected = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(Offer::of(&one.into()).is_none());
        assert!(Offer::of(&connected.into()).is_none());
        assert!(Offer::of(&std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into()).is_none());
        assert!(Offer::of(&listener.into()).is_some());
    }
}

//! How many connections there may be: in all, and from one address. Counted from accepting to closing.

use crate::overload::Overload;
use crate::telemetry::Metrics;
use arc_swap::ArcSwap;
use ipnet::IpNet;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// About what a connection takes that has shaken hands, in bytes.
const CONNECTION: u64 = 32 * 1024;

/// All seats of a gateway.
pub(super) struct Seats {
    limits: ArcSwap<Limits>,
    taken: AtomicUsize,
    by_address: Mutex<HashMap<IpAddr, u32>>,
    overload: Arc<Overload>,
    metrics: Arc<Metrics>,
}

struct Limits {
    total: usize,
    per_address: u32,
    /// Whose many connections are many people's.
    trusted: Vec<IpNet>,
}

impl Seats {
    /// `total` seats, of which one address may have `per_address`, unless it is a trusted proxy's.
    pub(super) fn new(
        total: usize,
        per_address: u32,
        trusted: Vec<IpNet>,
        overload: Arc<Overload>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let limits = ArcSwap::from_pointee(Limits { total, per_address, trusted });
        let (taken, by_address) = (AtomicUsize::new(0), Mutex::default());
        Arc::new(Self { limits, taken, by_address, overload, metrics })
    }

    /// Other limits for connections that come from now on; nobody has to leave.
    pub(super) fn rearrange(&self, total: usize, per_address: u32, trusted: Vec<IpNet>) {
        self.limits.store(Arc::new(Limits { total, per_address, trusted }));
    }

    /// A seat for a connection of which nothing is known yet; `None` when all are taken, or there is no memory for one more.
    pub(super) fn take(self: &Arc<Self>) -> Option<Seat> {
        if !self.overload.has_room_for_connection(CONNECTION) {
            return self.refuse("limits.memory");
        }
        if self.taken.fetch_add(1, Ordering::Relaxed) >= self.limits.load().total {
            self.taken.fetch_sub(1, Ordering::Relaxed);
            return self.refuse("limits.connections");
        }
        self.metrics.connections.inc();
        Some(Seat { seats: self.clone(), address: None })
    }

    fn refuse<T>(&self, limit: &str) -> Option<T> {
        self.metrics.connections_refused.inc();
        tracing::debug!(limit, "a connection was refused");
        None
    }
}

/// The place of one open connection; given back when dropped.
pub(super) struct Seat {
    seats: Arc<Seats>,
    address: Option<IpAddr>,
}

impl Seat {
    /// Counts the connection for `client`; false when that address has too many. A trusted proxy is not counted: what it
    /// says about its own clients is (call this again with it).
    pub(super) fn belongs_to(&mut self, client: IpAddr) -> bool {
        self.forget_address();
        let client = client.to_canonical();
        let limits = self.seats.limits.load();
        if limits.trusted.iter().any(|network| network.contains(&client)) {
            return true;
        }
        let key = customer(client);
        let mut by_address = self.seats.by_address.lock();
        let count = by_address.entry(key).or_default();
        if *count >= limits.per_address {
            drop(by_address);
            return self.seats.refuse::<()>("limits.connections_per_ip").is_some();
        }
        *count += 1;
        drop(by_address);
        self.address = Some(key);
        true
    }

    fn forget_address(&mut self) {
        let Some(key) = self.address.take() else { return };
        let mut by_address = self.seats.by_address.lock();
        if let Some(count) = by_address.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&key);
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.forget_address();
        self.seats.taken.fetch_sub(1, Ordering::Relaxed);
        self.seats.metrics.connections.dec();
    }
}

/// An IPv6 customer has a /64 at least, so it counts as one.
fn customer(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seats(total: usize, per_address: u32) -> Arc<Seats> {
        let overload = Arc::new(Overload::new(None, Arc::default()));
        Seats::new(total, per_address, vec!["10.0.0.0/8".parse().unwrap()], overload, Arc::default())
    }

    fn sit(seats: &Arc<Seats>, address: &str) -> Option<Seat> {
        let mut seat = seats.take()?;
        seat.belongs_to(address.parse().unwrap()).then_some(seat)
    }

    #[test]
    fn seats_are_limited_and_given_back() {
        let seats = seats(3, 2);
        let first = sit(&seats, "192.0.2.1").unwrap();
        let _second = sit(&seats, "192.0.2.1").unwrap();
        assert!(sit(&seats, "::ffff:192.0.2.1").is_none(), "the third of one address");
        let _other = sit(&seats, "192.0.2.2").unwrap();
        assert!(sit(&seats, "192.0.2.3").is_none(), "the fourth in all");
        drop(first);
        assert!(sit(&seats, "192.0.2.1").is_some());
        assert_eq!(seats.metrics.connections_refused.get(), 2);
    }

    #[test]
    fn one_network_of_ipv6_is_one_customer_and_a_trusted_proxy_is_many() {
        let seats = seats(100, 1);
        let _first = sit(&seats, "2001:db8::1").unwrap();
        assert!(sit(&seats, "2001:db8::2").is_none());
        assert!(sit(&seats, "2001:db8:0:1::1").is_some());
        let proxied: Vec<_> = (0..50).map(|_| sit(&seats, "10.0.0.1").unwrap()).collect();
        assert_eq!(proxied.len(), 50);
    }

    #[test]
    fn a_seat_can_change_hands_and_nothing_is_left_behind() {
        let seats = seats(10, 1);
        let mut seat = sit(&seats, "192.0.2.1").unwrap();
        assert!(seat.belongs_to("192.0.2.2".parse().unwrap()));
        assert!(sit(&seats, "192.0.2.1").is_some());
        drop(seat);
        assert!(seats.by_address.lock().is_empty());
        assert_eq!((seats.taken.load(Ordering::Relaxed), seats.metrics.connections.get()), (0, 0));
    }
}

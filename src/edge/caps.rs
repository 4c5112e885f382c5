//! Places: how many connections a listener, and one address, may hold.

use super::limits::EdgeLimits;
use super::meters::Refusal;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// Counts places.
#[derive(Debug)]
pub(super) struct Caps {
    connections_max: usize,
    per_address_max: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A place that is given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    caps: Arc<Caps>,
    address: IpAddr,
}

impl Caps {
    pub(super) fn new(limits: &EdgeLimits) -> Arc<Self> {
        Arc::new(Self {
            connections_max: limits.connections_max,
            per_address_max: limits.connections_per_address_max,
            taken: Mutex::default(),
        })
    }

    /// Takes a place, or says which cap is reached. Who is refused is closed at once: waiting in line would let
    /// silent peers hold up honest ones.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Place, Refusal> {
        let address = neighbourhood(address);
        let mut taken = self.taken.lock();
        if taken.all >= self.connections_max {
            return Err(Refusal::TooManyConnections);
        }
        let here = taken.by_address.entry(address).or_default();
        if *here >= self.per_address_max {
            return Err(Refusal::TooManyFromAddress);
        }
        *here += 1;
        taken.all += 1;
        Ok(Place { caps: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.caps.taken.lock();
        taken.all -= 1;
        if let Some(here) = taken.by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                taken.by_address.remove(&self.address);
            }
        }
    }
}

/// One IPv4 address, or the /64 that one IPv6 customer usually holds.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_by_address_and_given_back() {
        let limits = EdgeLimits { connections_max: 3, connections_per_address_max: 2, ..EdgeLimits::default() };
        let caps = Caps::new(&limits);
        let enter = |a: &str| caps.enter(a.parse().unwrap());
        let first = enter("192.0.2.1").unwrap();
        let second = enter("::ffff:192.0.2.1").unwrap();
        assert_eq!(enter("192.0.2.1").unwrap_err(), Refusal::TooManyFromAddress);
        let third = enter("2001:db8::1").unwrap();
        assert_eq!(enter("2001:db8:1::").unwrap_err(), Refusal::TooManyConnections);
        drop(second);
        let fourth = enter("2001:db8::ffff:2").unwrap();
        drop(first);
        assert_eq!(enter("2001:db8::3").unwrap_err(), Refusal::TooManyFromAddress);
        drop((third, fourth));
        assert!(caps.taken.lock().by_address.is_empty() && caps.taken.lock().all == 0);
    }
}

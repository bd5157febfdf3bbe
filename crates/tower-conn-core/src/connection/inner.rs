//! What all handles of one connection share, kept small: servers hold very many of them.

use std::any::Any;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::Version;
use tokio::time::Instant;

use super::builder::ConnectionBuilder;
use crate::observe::Observer;
use crate::state::State;
use crate::{Side, StampSlot};

pub(super) type Attachment = Arc<dyn Any + Send + Sync>;

pub(super) struct Inner {
    pub(super) state: State,
    pub(super) id: u64,
    pub(super) received: Bytes,
    pub(super) sent: Bytes,
    opened: Opened,
    place: Place,
    peer: Peer,
}

/// A count of bytes with one writer.
#[derive(Default)]
pub(super) struct Bytes(AtomicU64);

/// Where the beginning of idleness is noted, and what few connections have.
enum Place {
    Slot(StampSlot),
    Own(Box<Own>),
}

struct Own {
    stamp: Stamp,
    local_addr: Option<SocketAddr>,
    attachment: Option<Attachment>,
    observer: Option<Observer>,
}

enum Stamp {
    /// Microseconds since the connection was opened, plus one; 0 while busy.
    Clock(AtomicU64),
    Slot(StampSlot),
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

// ===== impl Inner =====

impl Inner {
    pub(super) fn new(options: ConnectionBuilder) -> Self {
        let ConnectionBuilder {
            side,
            local_addr,
            peer_addr,
            slot,
            attachment,
            observer,
        } = options;
        let place = match slot {
            Some(slot) if local_addr.is_none() && attachment.is_none() && observer.is_none() => {
                Place::Slot(slot)
            }
            slot => Place::Own(Box::new(Own {
                stamp: slot.map_or_else(|| Stamp::Clock(AtomicU64::new(0)), Stamp::Slot),
                local_addr,
                attachment,
                observer,
            })),
        };
        let inner = Self {
            state: State::new(),
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            received: Bytes::default(),
            sent: Bytes::default(),
            opened: Opened::at(Instant::now()),
            place,
            peer: Peer::new(side, peer_addr),
        };
        inner.stamp_idle();
        inner
    }

    pub(super) fn opened(&self) -> Instant {
        self.opened.instant()
    }

    pub(super) const fn side(&self) -> Side {
        self.peer.ends.side()
    }

    pub(super) fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer.addr()
    }

    pub(super) fn local_addr(&self) -> Option<SocketAddr> {
        match &self.place {
            Place::Slot(_) => None,
            Place::Own(own) => own.local_addr,
        }
    }

    pub(super) fn version(&self) -> &AtomicU8 {
        &self.peer.version
    }

    #[inline]
    pub(super) fn slot(&self) -> Option<&StampSlot> {
        match &self.place {
            Place::Slot(slot) => Some(slot),
            Place::Own(own) => match &own.stamp {
                Stamp::Slot(slot) => Some(slot),
                Stamp::Clock(_) => None,
            },
        }
    }

    pub(super) fn attachment(&self) -> Option<&Attachment> {
        let of_table = || self.slot()?.table().attached();
        match &self.place {
            Place::Slot(_) => of_table(),
            Place::Own(own) => own.attachment.as_ref().or_else(of_table),
        }
    }

    #[inline]
    pub(super) fn observer(&self) -> Option<&Observer> {
        match &self.place {
            Place::Slot(_) => None,
            Place::Own(own) => own.observer.as_ref(),
        }
    }

    #[inline]
    pub(super) fn stamp_busy(&self) {
        match &self.place {
            Place::Slot(slot) => slot.set_busy(),
            Place::Own(own) => match &own.stamp {
                Stamp::Slot(slot) => slot.set_busy(),
                Stamp::Clock(micros) => micros.store(0, Ordering::Relaxed),
            },
        }
    }

    #[inline]
    pub(super) fn stamp_idle(&self) {
        match &self.place {
            Place::Slot(slot) => slot.set_idle(),
            Place::Own(own) => match &own.stamp {
                Stamp::Slot(slot) => slot.set_idle(),
                Stamp::Clock(micros) => {
                    let since = self.age().as_micros();
                    let since = u64::try_from(since).unwrap_or(u64::MAX - 1);
                    micros.store(since + 1, Ordering::Relaxed);
                }
            },
        }
    }

    pub(super) fn idle_for(&self) -> Option<Duration> {
        let of_slot = |slot: &StampSlot| {
            let table = slot.table();
            let since = table.idle_since(slot.index())?;
            Some(table.tick() * table.now().get().saturating_sub(since.get()))
        };
        match &self.place {
            Place::Slot(slot) => of_slot(slot),
            Place::Own(own) => match &own.stamp {
                Stamp::Slot(slot) => of_slot(slot),
                Stamp::Clock(micros) => {
                    let since = micros.load(Ordering::Relaxed).checked_sub(1)?;
                    Some(self.age().saturating_sub(Duration::from_micros(since)))
                }
            },
        }
    }

    pub(super) fn age(&self) -> Duration {
        Instant::now().saturating_duration_since(self.opened())
    }
}

impl Bytes {
    #[inline]
    pub(super) fn load(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn add(&self, n: usize) {
        self.0.store(self.load() + n as u64, Ordering::Relaxed);
    }
}

/// An instant in half the space, in nanoseconds from one that the process has in common.
#[derive(Clone, Copy)]
struct Opened(i64);

impl Opened {
    fn origin() -> Instant {
        static ORIGIN: OnceLock<Instant> = OnceLock::new();
        *ORIGIN.get_or_init(Instant::now)
    }

    fn at(instant: Instant) -> Self {
        let nanos = |d: Duration| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX);
        let origin = Self::origin();
        // Clocks that are paused in tests may stand before the origin.
        match instant.checked_duration_since(origin) {
            Some(after) => Self(nanos(after)),
            None => Self(-nanos(origin.saturating_duration_since(instant))),
        }
    }

    fn instant(self) -> Instant {
        let origin = Self::origin();
        let distance = Duration::from_nanos(self.0.unsigned_abs());
        let instant = if self.0 < 0 {
            origin.checked_sub(distance)
        } else {
            origin.checked_add(distance)
        };
        instant.unwrap_or(origin)
    }
}

/// The peer, and what else fits beside it: all but the flow information of an IPv6 address.
struct Peer {
    ip: [u8; 16],
    scope: u32,
    port: u16,
    ends: Ends,
    /// The version last seen, as a number; 0 for none.
    version: AtomicU8,
}

#[derive(Clone, Copy)]
enum Family {
    Unknown,
    V4,
    V6,
}

/// A side and a family in one byte.
#[derive(Clone, Copy)]
struct Ends(u8);

impl Ends {
    const SERVER: u8 = 4;

    const fn new(side: Side, family: Family) -> Self {
        match side {
            Side::Client => Self(family as u8),
            Side::Server => Self(family as u8 | Self::SERVER),
        }
    }

    const fn side(self) -> Side {
        if self.0 & Self::SERVER == 0 {
            Side::Client
        } else {
            Side::Server
        }
    }

    const fn family(self) -> Family {
        match self.0 & !Self::SERVER {
            1 => Family::V4,
            2 => Family::V6,
            _ => Family::Unknown,
        }
    }
}

impl Peer {
    fn new(side: Side, addr: Option<SocketAddr>) -> Self {
        let mut peer = Self {
            ip: [0; 16],
            scope: 0,
            port: 0,
            ends: Ends::new(side, Family::Unknown),
            version: AtomicU8::new(0),
        };
        if let Some(addr) = addr {
            peer.port = addr.port();
            match addr {
                SocketAddr::V4(v4) => {
                    peer.ends = Ends::new(side, Family::V4);
                    peer.ip[..4].copy_from_slice(&v4.ip().octets());
                }
                SocketAddr::V6(v6) => {
                    peer.ends = Ends::new(side, Family::V6);
                    peer.ip = v6.ip().octets();
                    peer.scope = v6.scope_id();
                }
            }
        }
        peer
    }

    fn addr(&self) -> Option<SocketAddr> {
        match self.ends.family() {
            Family::Unknown => None,
            Family::V4 => {
                let [a, b, c, d, ..] = self.ip;
                let ip = IpAddr::V4(Ipv4Addr::new(a, b, c, d));
                Some(SocketAddr::new(ip, self.port))
            }
            Family::V6 => {
                let ip = Ipv6Addr::from(self.ip);
                Some(SocketAddrV6::new(ip, self.port, 0, self.scope).into())
            }
        }
    }
}

/// A number for a version, from 1.
pub(super) const fn version_code(version: Version) -> Option<u8> {
    match version {
        Version::HTTP_09 => Some(9),
        Version::HTTP_10 => Some(10),
        Version::HTTP_11 => Some(11),
        Version::HTTP_2 => Some(20),
        Version::HTTP_3 => Some(30),
        _ => None,
    }
}

pub(super) const fn version_of_code(code: u8) -> Option<Version> {
    match code {
        9 => Some(Version::HTTP_09),
        10 => Some(Version::HTTP_10),
        11 => Some(Version::HTTP_11),
        20 => Some(Version::HTTP_2),
        30 => Some(Version::HTTP_3),
        _ => None,
    }
}

#[cfg(all(test, not(tower_conn_loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_shared_part_is_small() {
        // With the two counts of an `Arc`: 120 bytes.
        assert!(size_of::<Inner>() <= 104, "{}", size_of::<Inner>());
    }

    #[test]
    fn an_address_comes_back_as_it_was() {
        for text in ["192.0.2.1:80", "[2001:db8::1]:443", "[fe80::1%7]:1"] {
            let addr: SocketAddr = text.parse().expect("an address");
            for side in [Side::Client, Side::Server] {
                let peer = Peer::new(side, Some(addr));
                assert_eq!((peer.addr(), peer.ends.side()), (Some(addr), side));
            }
        }
        assert_eq!(Peer::new(Side::Client, None).addr(), None);
    }

    #[test]
    fn an_instant_on_either_side_of_the_origin_comes_back_as_it_was() {
        let origin = Opened::origin();
        let hour = Duration::from_secs(3600);
        let before = origin.checked_sub(Duration::from_nanos(17));
        for at in [origin + hour, origin, before.unwrap_or(origin)] {
            assert_eq!(Opened::at(at).instant(), at);
        }
    }

    #[test]
    fn every_version_survives_its_code() {
        for version in [
            Version::HTTP_09,
            Version::HTTP_10,
            Version::HTTP_11,
            Version::HTTP_2,
            Version::HTTP_3,
        ] {
            assert_eq!(
                version_code(version).and_then(version_of_code),
                Some(version)
            );
        }
        assert_eq!(version_of_code(0), None);
    }
}

//! Sockets in TIME_WAIT, as the system lists them.

/// The local and the remote port of a socket.
pub(crate) type Ports = (u16, u16);

/// The sockets of all connections of a page load. The relay's own stand for the other side of each and
/// are not among them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sockets {
    pub(crate) browser: Vec<Ports>,
    pub(crate) server: Vec<Ports>,
}

/// How many ended connections each side still holds: whoever closed first does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TimeWait {
    pub(crate) browser: usize,
    pub(crate) server: usize,
}

impl TimeWait {
    /// Reads the list; `None` where there is none.
    pub(crate) fn read(sockets: &Sockets) -> Option<Self> {
        let list = std::fs::read_to_string("/proc/net/tcp").ok()?;
        Some(Self::count(&list, sockets))
    }

    fn count(list: &str, sockets: &Sockets) -> Self {
        let held = waiting(list);
        let count = |of: &[Ports]| held.iter().filter(|ports| of.contains(ports)).count();
        Self {
            browser: count(&sockets.browser),
            server: count(&sockets.server),
        }
    }
}

/// The ports of all sockets in TIME_WAIT.
fn waiting(list: &str) -> Vec<Ports> {
    const TIME_WAIT: &str = "06";
    let lines = list.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let ports = (port(fields.next()?)?, port(fields.next()?)?);
        (fields.next()? == TIME_WAIT).then_some(ports)
    });
    lines.collect()
}

/// The port of an address such as `0100007F:1F90`.
fn port(address: &str) -> Option<u16> {
    let (_, port) = address.split_once(':')?;
    u16::from_str_radix(port, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_sockets_count_and_only_in_time_wait() {
        let list = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0
   1: 0100007F:9C41 0100007F:1F90 06 00000000:00000000 03:000012C8 00000000     0
   2: 0100007F:9C42 0100007F:1F90 06 00000000:00000000 03:000012C8 00000000     0
   3: 0100007F:9C43 0100007F:1F90 01 00000000:00000000 03:000012C8 00000000     0
   4: 0100007F:1F90 0100007F:9C44 06 00000000:00000000 03:000012C8 00000000     0
   5: 0100007F:1F91 0100007F:9C45 06 00000000:00000000 03:000012C8 00000000     0
";
        let sockets = Sockets {
            browser: vec![(0x9C41, 0x1F90), (0x9C43, 0x1F90), (0x9C44, 0x1F90)],
            server: vec![(0x1F91, 0x9C45), (0x1F91, 0x9C46)],
        };
        let counts = TimeWait {
            browser: 1,
            server: 1,
        };
        assert_eq!(TimeWait::count(list, &sockets), counts);
    }
}

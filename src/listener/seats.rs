//! How many connections this process may have open: each takes a file descriptor, and so do the spool and Gmail.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Clients that may at the same time wait for a place.
const WAITING_MAX: usize = 256;
/// Connections that may at the same time be in the course of being told that they have no place.
const TURNED_AWAY_MAX: usize = 64;

/// How many connections of clients may be open at the same time, by what they are there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seats {
    /// For those who speak.
    pub places: usize,
    /// For those who wait for a place.
    pub waiting: usize,
    /// For those who are told that there is none.
    pub turned_away: usize,
}

impl Seats {
    /// The seats that `descriptors` are enough for, where `places` are wanted. There is always one place.
    #[must_use]
    pub fn within(descriptors: usize, places: usize) -> Seats {
        let waiting = (descriptors / 4).min(WAITING_MAX);
        let turned_away = (descriptors / 8).min(TURNED_AWAY_MAX);
        let left = descriptors - waiting - turned_away;
        Seats { places: places.min(left).max(1), waiting, turned_away }
    }
}

/// Raises the number of descriptors that this process may have as far as it may go, and returns it: the usual limit is
/// one for programs that cannot deal with more (systemd.exec(5), `LimitNOFILE=`).
#[must_use]
pub fn raise_descriptor_limit() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let limit = if raised.is_ok() { maximum } else { current };
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

/// How many descriptors this process has at the moment, as far as the system tells.
#[must_use]
pub fn open_descriptors() -> usize {
    fs::read_dir("/dev/fd").map_or(0, |open| open.count().saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_fit_into_the_descriptors_and_there_is_always_a_place() {
        let seats = |places, waiting, turned_away| Seats { places, waiting, turned_away };
        assert_eq!(Seats::within(20_000, 500), seats(500, 256, 64));
        assert_eq!(Seats::within(980, 500), seats(500, 245, 64));
        assert_eq!(Seats::within(200, 500), seats(125, 50, 25));
        assert_eq!(Seats::within(8, 500), seats(5, 2, 1));
        assert_eq!(Seats::within(1, 500), seats(1, 0, 0));
        assert_eq!(Seats::within(0, 500), seats(1, 0, 0));
        assert_eq!(Seats::within(usize::MAX, 7), seats(7, 256, 64));
    }

    #[test]
    fn what_is_open_is_counted() {
        let before = open_descriptors();
        let files: Vec<_> = (0..50).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        // Other tests of this process open and close files meanwhile.
        assert!(open_descriptors() > before + 25);
        drop(files);
        assert!(raise_descriptor_limit() >= 64);
    }
}

//! Who may speak now, who waits for a place, and who is told to come back: counted over all clients and for each.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::Seats;
use crate::mail::Refusal;
use crate::policy::Limits;

/// How long a client waits for a place before it hears 421. A crowd is served within this time; RFC 5321 §4.5.3.2.1 lets
/// the greeting take five minutes.
const WAIT: Duration = Duration::from_secs(5);

/// All connections of the relay, counted.
#[derive(Debug)]
pub struct Places {
    all: Arc<Semaphore>,
    /// How many those are.
    limit: usize,
    by_client: Mutex<HashMap<IpAddr, OfClient>>,
    waiting: Arc<Semaphore>,
    /// For telling those why who get no place, until they have read it.
    turned_away: Arc<Semaphore>,
}

/// The places of one client, for as long as it uses any of them.
#[derive(Debug)]
struct OfClient {
    limit: usize,
    free: Weak<Semaphore>,
}

/// What becomes of a connection.
pub enum Turn {
    Speak(Place),
    /// There may be a place soon; the refusal is for where there is none.
    Wait(Seat, Refusal),
    /// It is told why, and has time to hear it.
    Leave(Seat, Refusal),
    /// There are no seats for waiting either.
    Go(Refusal),
}

/// A place taken; free again when dropped.
pub struct Place {
    _of_client: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

/// A seat of somebody who does not speak; free again when dropped.
pub type Seat = OwnedSemaphorePermit;

impl Places {
    pub fn new(seats: Seats) -> Places {
        Places {
            all: Arc::new(Semaphore::new(seats.places)),
            limit: seats.places,
            by_client: Mutex::default(),
            waiting: Arc::new(Semaphore::new(seats.waiting)),
            turned_away: Arc::new(Semaphore::new(seats.turned_away)),
        }
    }

    /// What becomes of a client that has just connected. Strangers take no place and wait for none.
    pub fn turn(&self, ip: IpAddr, stranger: Option<Refusal>, limits: &Limits) -> Turn {
        let admitted = stranger.is_none();
        let refusal = match stranger {
            Some(refusal) => refusal,
            None => match self.take(ip, limits) {
                Ok(place) => return Turn::Speak(place),
                Err(refusal) => refusal,
            },
        };
        if admitted && let Ok(seat) = Arc::clone(&self.waiting).try_acquire_owned() {
            return Turn::Wait(seat, refusal);
        }
        match Arc::clone(&self.turned_away).try_acquire_owned() {
            Ok(seat) => Turn::Leave(seat, refusal),
            Err(_) => Turn::Go(refusal),
        }
    }

    /// Whether nearly all places are taken, so that those who have one should use it: four of five.
    pub fn is_crowded(&self) -> bool {
        self.all.available_permits() < self.limit.div_ceil(5)
    }

    /// A seat for one of whom a proxy has yet to say who it is.
    pub fn seat(&self) -> Option<Seat> {
        Arc::clone(&self.waiting).try_acquire_owned().ok()
    }

    /// How many may speak at the same time.
    pub fn limit(&self) -> usize {
        self.limit
    }

    fn take(&self, ip: IpAddr, limits: &Limits) -> Result<Place, Refusal> {
        let of_client = self.of_client(ip, limits).try_acquire_owned();
        let of_client = of_client.map_err(|_| Refusal::TooManyConnectionsOfClient(limits.connections_per_client))?;
        let of_all = Arc::clone(&self.all).try_acquire_owned();
        let of_all = of_all.map_err(|_| Refusal::TooManyConnections(self.limit))?;
        Ok(Place { _of_client: of_client, _of_all: of_all })
    }

    /// Waits for a place; who came first gets one first. `None`: there was none in time.
    pub async fn wait(&self, ip: IpAddr, limits: &Limits) -> Option<Place> {
        let both = async {
            let of_client = self.of_client(ip, limits).acquire_owned().await.ok()?;
            let of_all = Arc::clone(&self.all).acquire_owned().await.ok()?;
            Some(Place { _of_client: of_client, _of_all: of_all })
        };
        timeout(WAIT, both).await.ok().flatten()
    }

    /// Where the limit was changed, those who are connected no longer count.
    fn of_client(&self, ip: IpAddr, limits: &Limits) -> Arc<Semaphore> {
        let limit = limits.connections_per_client;
        let mut by_client = self.by_client.lock().unwrap_or_else(PoisonError::into_inner);
        let known = by_client.get(&ip).filter(|known| known.limit == limit);
        if let Some(free) = known.and_then(|known| known.free.upgrade()) {
            return free;
        }
        by_client.retain(|_, known| known.free.strong_count() > 0);
        let free = Arc::new(Semaphore::new(limit));
        by_client.insert(ip, OfClient { limit, free: Arc::downgrade(&free) });
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEATS: Seats = Seats { places: 3, waiting: 1, turned_away: 1 };

    fn ip(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    fn limits(connections_per_client: usize) -> Limits {
        Limits { connections_per_client, ..Limits::default() }
    }

    fn speak(turn: Turn) -> Place {
        match turn {
            Turn::Speak(place) => place,
            Turn::Wait(_, refusal) | Turn::Leave(_, refusal) | Turn::Go(refusal) => panic!("{refusal}"),
        }
    }

    #[test]
    fn who_finds_no_place_waits_and_behind_those_who_wait_is_told_why() {
        let (places, limits) = (Places::new(SEATS), limits(2));
        let turn = |last| places.turn(ip(last), None, &limits);
        let first = [speak(turn(1)), speak(turn(1))];
        let Turn::Wait(seat, Refusal::TooManyConnectionsOfClient(2)) = turn(1) else { panic!("the client is full") };
        let other = speak(turn(2));
        let Turn::Leave(_door, Refusal::TooManyConnections(3)) = turn(2) else { panic!("all is full") };
        assert!(matches!(turn(3), Turn::Go(Refusal::TooManyConnections(3))));
        drop((seat, other));
        assert!(matches!(turn(1), Turn::Wait(..)), "the place of another is no place of its own");
        drop(first);
        drop([speak(turn(1)), speak(turn(1)), speak(turn(2))]);
    }

    #[test]
    fn a_stranger_neither_speaks_nor_waits() {
        let (places, limits) = (Places::new(SEATS), limits(2));
        let turn = || places.turn(ip(9), Some(Refusal::ClientNotAllowed(ip(9).to_string())), &limits);
        let Turn::Leave(_door, Refusal::ClientNotAllowed(_)) = turn() else { panic!("a stranger is told so") };
        assert!(matches!(turn(), Turn::Go(Refusal::ClientNotAllowed(_))));
        assert_eq!((places.all.available_permits(), places.waiting.available_permits()), (3, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_gets_the_first_place_that_frees_or_none_in_time() {
        let (places, limits) = (Places::new(SEATS), limits(1));
        let place = speak(places.turn(ip(1), None, &limits));
        let (waited, ()) = tokio::join!(places.wait(ip(1), &limits), async {
            tokio::time::sleep(WAIT / 2).await;
            drop(place);
            let overtaking = places.turn(ip(1), None, &limits);
            assert!(matches!(overtaking, Turn::Wait(..)), "nobody overtakes one who waits");
        });
        let place = waited.expect("a place came free in time");
        assert!(places.wait(ip(1), &limits).await.is_none());
        drop(place);
        assert!(places.wait(ip(1), &limits).await.is_some());
    }

    #[test]
    fn a_client_that_is_gone_is_forgotten_and_a_new_limit_counts_anew() {
        let places = Places::new(SEATS);
        let kept = speak(places.turn(ip(1), None, &limits(1)));
        drop(speak(places.turn(ip(2), None, &limits(1))));
        drop(speak(places.turn(ip(3), None, &limits(1))));
        assert_eq!(places.by_client.lock().unwrap().len(), 2, "the one who is here, and the last one");
        let more = speak(places.turn(ip(1), None, &limits(2)));
        drop((kept, more));
    }
}

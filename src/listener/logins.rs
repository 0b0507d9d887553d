//! Logins that are checked: off the event loop, few at a time, slowly for who fails, and not at all for who fails too
//! often. Everything here is bounded, whoever knocks.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use super::password::{Memory, PasswordHash};
use crate::mail::Refusal;
use crate::smtp::Credentials;

/// Who may log in, by name.
pub type Users = BTreeMap<String, PasswordHash>;

/// Checks at the same time: each takes the memory that its hash asks for, usually 19 MiB.
const AT_ONCE: usize = 2;
/// How long a client waits for its check to begin.
const TURN: Duration = Duration::from_secs(10);
/// How long the answer to a wrong password takes, more than that of the check itself.
const PENALTY: Duration = Duration::from_secs(1);
/// So many failures of one address within this time, and it is not asked again before the time is over.
const FAILURES_MAX: u32 = 20;
const FORGET_AFTER: Duration = Duration::from_mins(10);
/// Addresses remembered.
const ADDRESSES_MAX: usize = 10_000;

/// Checks logins, and remembers who failed.
#[derive(Debug)]
pub struct Logins {
    checks: Arc<Semaphore>,
    /// One for each check that is not under way.
    memory: Arc<Mutex<Vec<Memory>>>,
    failures: Mutex<HashMap<IpAddr, Failures>>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    since: Instant,
}

impl Logins {
    pub fn new() -> Logins {
        Logins { checks: Arc::new(Semaphore::new(AT_ONCE)), memory: Arc::default(), failures: Mutex::default() }
    }

    /// Whether this is one of `users`. A name that none of them has takes as long as a wrong password.
    ///
    /// # Errors
    /// The refusal, after its time.
    pub async fn verify(&self, ip: IpAddr, credentials: Credentials, users: &Arc<Users>) -> Result<(), Refusal> {
        self.ensure_may_try(ip)?;
        let turn = timeout(TURN, Arc::clone(&self.checks).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(Refusal::TooManyLoginsAtOnce) };
        // Those who came at the same time may have failed meanwhile.
        self.ensure_may_try(ip)?;
        let (users, memory) = (Arc::clone(users), Arc::clone(&self.memory));
        let checked = spawn_blocking(move || {
            let mut own = memory.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
            let is_right = check(&credentials, &users, &mut own);
            memory.lock().unwrap_or_else(PoisonError::into_inner).push(own);
            // Also where the client is gone meanwhile, the next check begins when this one is over.
            drop(turn);
            is_right.then_some(()).ok_or(credentials.name)
        });
        let Ok(checked) = checked.await else { return Err(Refusal::TooManyLoginsAtOnce) };
        match checked {
            Ok(()) => {
                self.lock().remove(&source(ip));
                Ok(())
            }
            Err(name) => {
                self.note_failure(ip);
                sleep(PENALTY).await;
                Err(Refusal::LoginFailed(name))
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<IpAddr, Failures>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ensure_may_try(&self, ip: IpAddr) -> Result<(), Refusal> {
        let failed_too_often = |failures: &Failures| failures.is_fresh() && failures.count >= FAILURES_MAX;
        if self.lock().get(&source(ip)).is_some_and(failed_too_often) {
            return Err(Refusal::TooManyLoginsOfClient(FAILURES_MAX, FORGET_AFTER.as_secs() / 60));
        }
        Ok(())
    }

    fn note_failure(&self, ip: IpAddr) {
        let mut failures = self.lock();
        let source = source(ip);
        if failures.len() >= ADDRESSES_MAX && !failures.contains_key(&source) {
            failures.retain(|_, of_one| of_one.is_fresh());
        }
        // Where so many fail at the same time, those who come last are not remembered; each is still slow.
        if failures.len() >= ADDRESSES_MAX && !failures.contains_key(&source) {
            return;
        }
        let of_source = failures.entry(source).or_insert(Failures { count: 0, since: Instant::now() });
        if !of_source.is_fresh() {
            *of_source = Failures { count: 0, since: Instant::now() };
        }
        of_source.count += 1;
    }
}

impl Failures {
    fn is_fresh(&self) -> bool {
        self.since.elapsed() < FORGET_AFTER
    }
}

fn check(credentials: &Credentials, users: &Users, memory: &mut Memory) -> bool {
    let named = users.get(&credentials.name);
    let Some(hash) = named.or_else(|| users.values().next()) else { return false };
    // Both are known before either is looked at.
    hash.is_of(credentials.password.expose_secret(), memory) & named.is_some()
}

/// One address, or one network of IPv6: whoever has one address of it has them all.
fn source(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users() -> Arc<Users> {
        let hash = PasswordHash::parse(&PasswordHash::of(b"right").unwrap()).unwrap();
        Arc::new(Users::from([("scanner".to_owned(), hash)]))
    }

    fn credentials(name: &str, password: &str) -> Credentials {
        Credentials { name: name.to_owned(), password: password.as_bytes().to_vec().into() }
    }

    fn ip(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[tokio::test]
    async fn only_the_right_password_of_a_user_is_taken() {
        let (logins, users) = (Logins::new(), users());
        let login = |name, password| logins.verify(ip(1), credentials(name, password), &users);
        assert_eq!(login("scanner", "right").await, Ok(()));
        assert_eq!(login("scanner", "wrong").await, Err(Refusal::LoginFailed("scanner".to_owned())));
        assert_eq!(login("nobody", "right").await, Err(Refusal::LoginFailed("nobody".to_owned())));
        assert_eq!(login("", "").await, Err(Refusal::LoginFailed(String::new())));
        assert_eq!(login("scanner", "right").await, Ok(()));
        assert!(logins.lock().is_empty(), "who can log in is no stranger");
    }

    #[tokio::test(start_paused = true)]
    async fn who_fails_too_often_is_not_asked_again_for_a_while() {
        let (logins, users) = (Logins::new(), users());
        for _ in 0..FAILURES_MAX {
            logins.note_failure(ip(1));
        }
        let login = |last| logins.verify(ip(last), credentials("scanner", "right"), &users);
        assert!(matches!(login(1).await, Err(Refusal::TooManyLoginsOfClient(..))));
        assert_eq!(login(2).await, Ok(()), "another address is not to blame");
        tokio::time::advance(FORGET_AFTER).await;
        assert_eq!(login(1).await, Ok(()));
    }

    #[test]
    fn the_table_is_bounded_and_a_network_of_ipv6_is_one() {
        let logins = Logins::new();
        for number in 0..2 * u32::try_from(ADDRESSES_MAX).unwrap() {
            logins.note_failure(IpAddr::V4(number.into()));
        }
        assert_eq!(logins.lock().len(), ADDRESSES_MAX);
        let [one, other] = ["2001:db8::1", "2001:db8::ffff:2"].map(|ip| source(ip.parse().unwrap()));
        assert_eq!(one, other);
        assert_eq!(source("::ffff:192.0.2.1".parse().unwrap()), ip(1));
    }
}

//! Mail of accounts that cannot send now, sent through another one.
//!
//! The mail stays that of its own account: it is only claimed by another, which repairs it as its own, counts it, and
//! answers for it in the history. So there is nothing to give back when the first account is well again, and a message
//! cannot be passed round.

use std::sync::Arc;
use std::time::Duration;

use super::Delivery;
use crate::event::{self, Event};
use crate::mail::Timestamp;
use crate::spool::{Claim, Lease};

/// An account whose mail is sent by another one while it cannot.
#[derive(Debug)]
pub struct Ward {
    /// The account itself, then those that stand in for it before we do: nobody of them may be able to.
    pub chain: Vec<Link>,
}

/// One of those who come first.
#[derive(Debug)]
pub struct Link {
    pub delivery: Arc<Delivery>,
    /// Our way is to another server: it may be open where theirs is not.
    pub elsewhere: bool,
}

impl Ward {
    /// Whether its mail is ours to send now.
    fn needs_us(&self) -> bool {
        self.chain.iter().all(|link| link.delivery.account().needs_another(link.elsewhere))
    }

    /// Whose mail it is.
    fn name(&self) -> Option<&str> {
        self.chain.first().map(|link| link.delivery.settings.account.as_str())
    }
}

impl Delivery {
    /// Stands in for these from now on; to be said once.
    pub fn stand_in_for(&self, wards: Vec<Ward>) {
        let _ = self.wards.set(wards);
    }

    /// Accounts that need us now.
    fn needing_us(&self) -> impl Iterator<Item = &str> {
        let wards = self.wards.get().map_or(&[][..], Vec::as_slice);
        wards.iter().filter(|ward| ward.needs_us()).filter_map(Ward::name)
    }

    /// Mail of an account that we stand in for, where some is due.
    pub(super) async fn claim_for_others(&self, now: Timestamp) -> Option<Lease> {
        for account in self.needing_us() {
            match self.spool.claim(account, now).await {
                Ok(Claim::Leased(lease)) => return Some(*lease),
                // Whoever is handed some while it is blocked will not take it; we look again soon.
                Ok(Claim::Nothing { until, .. }) => self.mend_times(until, now).await,
                Err(error) => event::log(&Event::SpoolFailed { reason: &error.to_string() }),
            }
        }
        None
    }

    /// Lets the clocks go on by which mail expires that we would send: our own, and those of accounts that need us.
    pub async fn pass_time(&self, by: Duration) {
        if !self.account().is_working() {
            return;
        }
        for account in std::iter::once(self.settings.account.as_str()).chain(self.needing_us()) {
            if let Err(error) = self.spool.grow_older(account, by).await {
                event::log(&Event::SpoolFailed { reason: &error.to_string() });
            }
        }
    }
}

//! The whole life of mail, simulated: the real spool, the real deliveries, a clock that is turned by hand, and a
//! Gmail that misbehaves. What must hold at the end are the promises of the README.
//!
//! `LIFE_ROUNDS` is the number of lives (each from another seed), `LIFE_SEED` the first seed.

#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does, by panicking")]

mod gmail;
#[path = "../sample/mod.rs"]
mod sample;
mod stepped;
mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;

use gmail::Owed;
use smarthost::mail::{MessageId, ReversePath};
use world::World;

const EVENTS: usize = 300;

fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).map_or(usual, |text| text.parse().expect("a number"))
}

/// Everybody who was accepted, with what became of them.
fn check(world: &World) -> Vec<String> {
    let mut faults = world.faults.clone();
    faults.extend(world.gmail.ledger().faults.iter().cloned());
    for (id, known) in &world.known {
        for place in 0..u32::try_from(known.submission.envelope.recipients.len()).unwrap() {
            faults.extend(check_end(world, (*id, place)));
        }
        faults.extend(check_report(world, *id));
    }
    for (owed, taken) in &world.gmail.ledger().taken {
        // Only the last one can have been told to the relay and stored.
        for early in taken.iter().rev().skip(1) {
            if !early.uncertain && !world.broken_off.contains(&early.attempt) {
                faults.push(format!("{owed:?} was sent again after attempt {} had delivered it", early.attempt));
            }
        }
    }
    faults
}

/// Promises 2 and 3: exactly one end for each recipient, and a true one.
fn check_end(world: &World, owed: Owed) -> Option<String> {
    let known = &world.known[&owed.0];
    let ends = world.settled.get(&owed).map_or(&[][..], Vec::as_slice);
    let [end] = ends else { return Some(format!("{owed:?} ended {} times: {ends:?}", ends.len())) };
    if end == "delivered" {
        let taken = world.gmail.ledger().taken.contains_key(&owed);
        return (!taken).then(|| format!("{owed:?} is called delivered, but Gmail never took it"));
    }
    let to = known.submission.envelope.recipients[owed.1 as usize].address.to_string();
    let told = reports(world).get(&owed.0).is_some_and(|texts| texts.iter().any(|text| text.contains(&to)));
    let must_be_told = known.submission.envelope.reverse_path != ReversePath::Null;
    (told != must_be_told).then(|| format!("{owed:?} {end}: told {told}, to be told {must_be_told}"))
}

/// No report about a report, or about mail from nobody; and no report about nothing.
fn check_report(world: &World, id: MessageId) -> Option<String> {
    let (about, _) = world.known[&id].about.as_ref()?;
    let Some(known) = world.known.get(about) else { return Some(format!("{id} is a report about nothing")) };
    let from_nobody = known.submission.envelope.reverse_path == ReversePath::Null;
    from_nobody.then(|| format!("{id} is a report about {about}, which comes from nobody"))
}

fn reports(world: &World) -> BTreeMap<MessageId, Vec<&str>> {
    let mut reports: BTreeMap<MessageId, Vec<&str>> = BTreeMap::new();
    for (about, text) in world.known.values().filter_map(|known| known.about.as_ref()) {
        reports.entry(*about).or_default().push(text);
    }
    reports
}

/// What a life held, to see that it was a full one.
#[derive(Debug, Default)]
struct Tally {
    messages: usize,
    reports: usize,
    sent_twice: usize,
    broken_off: usize,
    ends: BTreeMap<String, usize>,
}

impl Tally {
    fn add(&mut self, world: &World) {
        self.messages += world.known.len();
        self.reports += world.known.values().filter(|known| known.about.is_some()).count();
        self.sent_twice += world.gmail.ledger().taken.values().filter(|taken| taken.len() > 1).count();
        self.broken_off += world.broken_off.len();
        for end in world.settled.values().flatten() {
            *self.ends.entry(end.clone()).or_default() += 1;
        }
    }

    fn and(mut self, other: Tally) -> Tally {
        self.messages += other.messages;
        self.reports += other.reports;
        self.sent_twice += other.sent_twice;
        self.broken_off += other.broken_off;
        for (end, count) in other.ends {
            *self.ends.entry(end).or_default() += count;
        }
        self
    }
}

/// One life from its seed.
async fn live(seed: u64, tally: &mut Tally) {
    let mut world = World::new(seed).await;
    for _ in 0..EVENTS {
        world.happen().await;
    }
    world.run_out().await;
    let faults = check(&world);
    assert!(faults.is_empty(), "LIFE_SEED={seed} LIFE_ROUNDS=1:\n{}", faults.join("\n"));
    tally.add(&world);
    world.end();
}

/// Lives these lives one after the other.
fn live_all(seeds: impl Iterator<Item = u64>) -> Tally {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let mut tally = Tally::default();
    for seed in seeds {
        let lived = catch_unwind(AssertUnwindSafe(|| runtime.block_on(live(seed, &mut tally))));
        if let Err(panic) = lived {
            println!("LIFE_SEED={seed} LIFE_ROUNDS=1 lives this life again");
            resume_unwind(panic);
        }
    }
    tally
}

#[test]
fn every_life_of_mail_keeps_the_promises() {
    let (first, rounds) = (number("LIFE_SEED", 1), number("LIFE_ROUNDS", 150));
    let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get).min(8);
    let tally = thread::scope(|scope| {
        let seeds = |thread| (first..first + rounds).skip(thread).step_by(threads);
        let lives: Vec<_> = (0..threads).map(|thread| scope.spawn(move || live_all(seeds(thread)))).collect();
        let tallies = lives.into_iter().map(|lived| lived.join().unwrap_or_else(|panic| resume_unwind(panic)));
        tallies.fold(Tally::default(), Tally::and)
    });
    println!("{rounds} lives: {tally:?}");
    if rounds >= 50 {
        let of = |end: &str| tally.ends.get(end).copied().unwrap_or(0);
        let all = [tally.reports, tally.sent_twice, tally.broken_off, of("delivered"), of("refused"), of("expired")];
        assert!(all.iter().all(|count| *count > 0), "these lives were not full: {tally:?}");
    }
}

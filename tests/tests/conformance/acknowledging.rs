//! Dispatches that are acknowledged by hand: a session that is kept goes on after the last of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use shardwright_core::{Event, EventId, ShardFilter};
use shardwright_runtime::{Acknowledge, AcknowledgeError, Options};
use shardwright_testkit::emulator::Emulator;
use shardwright_testkit::server::Target;

use crate::harness::{Harness, cases};
use crate::play::{Play, gateway};

cases![
    a_stop_waits_for_the_last_acknowledgement,
    what_is_not_acknowledged_comes_again,
    only_what_was_given_out_can_be_acknowledged,
];

fn by_hand(options: &mut Options) {
    options.acknowledge = Acknowledge::Manual;
}

/// A bot that has taken three events after READY and has acknowledged none; their ids by name.
fn three(harness: &dyn Harness, emulator: &Emulator) -> (Play, BTreeMap<String, EventId>) {
    let mut play = Play::at(harness, &emulator.api_base(), by_hand);
    play.ready();
    for name in ["ONE", "TWO", "THREE"] {
        emulator.push_event(&Target::All, name, "{}");
    }
    let mut ids = BTreeMap::new();
    play.until("three events", |event| {
        if let Event::Dispatch(event) = event {
            ids.insert(event.name().to_owned(), event.id());
        }
        ids.contains_key("THREE").then_some(())
    });
    (play, ids)
}

/// The last event is acknowledged while the stop is on its way, or before it begins: either way the session
/// goes on after that.
fn a_stop_waits_for_the_last_acknowledgement(harness: &dyn Harness) {
    let emulator = gateway([]).start().expect("an emulator");
    let (mut play, ids) = three(harness, &emulator);
    play.acknowledge(ids["TWO"]).expect("it was given out");
    let known = play.bot.shard_states(ShardFilter::all());
    assert_eq!(known[0].seq, Some(ids["TWO"].seq));
    let bot = Arc::clone(&play.bot);
    let leaving = std::thread::spawn(move || bot.disconnect_keeping_sessions());
    play.acknowledge(ids["THREE"]).expect("it was given out");
    let states = leaving.join().expect("no fault");
    assert_eq!(states[0].seq, Some(ids["THREE"].seq));
    play.ended();
}

/// The stop does not wait for ever; the next bot gets what was left open, and what came meanwhile.
fn what_is_not_acknowledged_comes_again(harness: &dyn Harness) {
    let emulator = gateway([]).start().expect("an emulator");
    let (mut play, ids) = three(harness, &emulator);
    play.acknowledge(ids["ONE"]).expect("it was given out");
    let states = play.bot.disconnect_keeping_sessions();
    assert_eq!(states[0].seq, Some(ids["ONE"].seq));
    play.ended();
    emulator.push_event(&Target::All, "FOUR", "{}");
    let mut next = Play::at(harness, &emulator.api_base(), |options| {
        options.states = states.clone();
    });
    next.going_on_from(&states);
    for name in ["TWO", "THREE", "FOUR"] {
        let again = next.until("a dispatch", |event| match event {
            Event::Dispatch(event) => Some(event.name().to_owned()),
            _ => None,
        });
        assert_eq!(again, name);
    }
    next.bot.disconnect();
    next.ended();
    emulator.with_machine(|machine| assert_eq!(machine.log().identifies(), 1));
}

/// An id from the future, or of a session that never was, is refused, and changes nothing.
fn only_what_was_given_out_can_be_acknowledged(harness: &dyn Harness) {
    let emulator = gateway([]).start().expect("an emulator");
    let (mut play, ids) = three(harness, &emulator);
    let mut later = ids["THREE"];
    later.seq += 1;
    assert_eq!(
        play.acknowledge(later),
        Err(AcknowledgeError::NotGiven(later))
    );
    play.acknowledge(ids["TWO"]).expect("it was given out");
    // One before the last changes nothing.
    play.acknowledge(ids["ONE"]).expect("it was given out");
    let states = play.bot.shard_states(ShardFilter::all());
    assert_eq!(states[0].seq, Some(ids["TWO"].seq));
    play.bot.disconnect();
    play.ended();
}

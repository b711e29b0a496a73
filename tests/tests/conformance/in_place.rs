//! Handlers that get events on the spot.

use std::collections::BTreeMap;
use std::io::Write;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver};

use shardwright_core::{Event, EventId, Problem, ReShardPolicy, ShardId, ShardState};
use shardwright_runtime::{InPlace, Options};
use shardwright_testkit::emulator::{DONE, Emulator};
use shardwright_testkit::scenario::Effect;
use shardwright_testkit::server::Target;
use shardwright_testkit::ws;

use crate::fleet::{fleet, number_of, push_numbered, without_guilds};
use crate::harness::{Harness, cases};
use crate::play::{PATIENCE, Play, no_fault};
use crate::raw::{self, Raw};

cases![
    every_dispatch_comes_in_order_over_a_cut_line,
    a_handler_that_panics_costs_that_event_alone,
    kept_sessions_go_on_after_the_last_event_that_was_handled,
    a_new_layout_takes_over_without_a_gap_or_a_double,
    beats_go_out_in_a_flood,
];

/// What a handler got.
#[derive(Debug)]
enum Got {
    Made(ShardId),
    Dispatch(EventId, String),
    Numbered(u64),
    Resumed,
}

/// Handlers that pass on what they get, and panic at events of the name `PANIC`.
fn telling() -> (InPlace, Receiver<Got>) {
    let (tell, got) = mpsc::channel();
    let in_place = InPlace::new(move |shard| {
        let tell = tell.clone();
        let say = move |got| {
            // The case may have ended.
            let _ = tell.send(got);
        };
        say(Got::Made(shard));
        move |event: Event<'_>| {
            if let Some(n) = number_of(&event) {
                say(Got::Numbered(n));
            }
            match event {
                Event::Dispatch(event) => {
                    say(Got::Dispatch(event.id(), event.name().to_owned()));
                    if event.name() == "PANIC" {
                        // Without a word on the terminal.
                        resume_unwind(Box::new("as it must"));
                    }
                }
                Event::Resumed { .. } => say(Got::Resumed),
                _ => {}
            }
        }
    });
    (in_place, got)
}

fn with(in_place: InPlace) -> impl FnOnce(&mut Options) {
    |options| options.in_place = Some(in_place)
}

/// The last sequence number of each shard; each number comes after the one before it.
#[derive(Debug, Default)]
struct Seqs(BTreeMap<ShardId, u64>);

impl Seqs {
    fn going_on_from(states: &[ShardState]) -> Self {
        let seqs = states
            .iter()
            .map(|state| (state.shard, state.seq.expect("a session")));
        Self(seqs.collect())
    }

    fn add(&mut self, id: EventId) {
        let last = self.0.entry(id.shard).or_default();
        assert_eq!(id.seq, *last + 1, "shard {}", id.shard);
        *last = id.seq;
    }

    /// Takes what handlers got until something is what is wanted, so many times.
    #[track_caller]
    fn until(&mut self, got: &Receiver<Got>, times: usize, wanted: impl Fn(&Got) -> bool) {
        let mut count = 0;
        while count < times {
            let next = got.recv_timeout(PATIENCE);
            let Ok(next) = next else {
                panic!("{count} of {times}; {self:?}")
            };
            if let Got::Dispatch(id, _) = &next {
                self.add(*id);
            }
            count += usize::from(wanted(&next));
        }
    }

    fn rest(&mut self, got: &Receiver<Got>) {
        for got in got.try_iter() {
            if let Got::Dispatch(id, _) = got {
                self.add(id);
            }
        }
    }
}

fn is_dispatch(got: &Got) -> bool {
    matches!(got, Got::Dispatch(..))
}

fn is_done(got: &Got) -> bool {
    matches!(got, Got::Dispatch(_, name) if name == DONE)
}

/// No event of a shard comes as a stream.
fn only_the_bots_own(event: &Event<'_>) {
    let own = matches!(
        event,
        Event::Starting { .. }
            | Event::ConnectedAllShards { .. }
            | Event::Problem { .. }
            | Event::ReShard { .. }
            | Event::Stopped { .. }
    );
    assert!(own, "{event:?}");
}

/// Two shards whose lines are cut in the middle of a flood: the handlers get every event once and in order,
/// and the stream says when all are connected and when the bot has ended.
fn every_dispatch_comes_in_order_over_a_cut_line(harness: &dyn Harness) {
    let (in_place, got) = telling();
    let mut play = Play::with(harness, fleet(2), with(in_place));
    loop {
        let event = play.next();
        only_the_bots_own(&event);
        if matches!(event, Event::ConnectedAllShards { shards: 2 }) {
            break;
        }
    }
    let mut seqs = Seqs::default();
    play.emulator().flood(&Target::All, 3000);
    seqs.until(&got, 200, is_dispatch);
    play.play([Effect::Rst]);
    seqs.until(&got, 2, |got| matches!(got, Got::Resumed));
    play.emulator().push_event(&Target::All, "LAST", "{}");
    seqs.until(
        &got,
        2,
        |got| matches!(got, Got::Dispatch(_, name) if name == "LAST"),
    );
    assert_eq!(seqs.0.len(), 2);
    assert_eq!(play.log(|log| (log.identifies(), log.resumed())), (2, 2));
    let bot = Arc::clone(&play.bot);
    bot.disconnect();
    while let Some(event) = play.take() {
        only_the_bots_own(&event);
    }
    seqs.rest(&got);
    play.well_behaved();
}

/// Its shard is started again with a new handler and goes on after that event.
fn a_handler_that_panics_costs_that_event_alone(harness: &dyn Harness) {
    let (in_place, got) = telling();
    let mut play = Play::with(harness, fleet(2), with(in_place));
    play.connected(2);
    let mut seqs = Seqs::default();
    for round in 1..=2 {
        for name in ["BEFORE", "PANIC", "AFTER"] {
            let shard = Target::Number(0);
            assert_eq!(play.emulator().push_event(&shard, name, "{}"), 1);
        }
        seqs.until(
            &got,
            1,
            |got| matches!(got, Got::Dispatch(_, name) if name == "PANIC"),
        );
        play.problem(|problem| matches!(problem, Problem::DriverEnded { .. }).then_some(()));
        seqs.until(
            &got,
            1,
            |got| matches!(got, Got::Made(shard) if shard.number() == 0),
        );
        seqs.until(
            &got,
            1,
            |got| matches!(got, Got::Dispatch(_, name) if name == "AFTER"),
        );
        assert_eq!(
            play.log(|log| (log.identifies(), log.resumed())),
            (2, round)
        );
    }
    // The other shard lives on, on the same connection.
    play.emulator().push_event(&Target::All, DONE, "{}");
    seqs.until(&got, 2, is_done);
    assert_eq!(play.dials().len(), 4);
    play.end();
}

/// A stop while events flow: what is returned goes on after the last event a handler got.
fn kept_sessions_go_on_after_the_last_event_that_was_handled(harness: &dyn Harness) {
    let builder = fleet(2).configure(|config| config.rate = 500.0);
    let emulator = builder.start().expect("an emulator");
    let mut states = Vec::new();
    for _ in 0..3 {
        let (in_place, got) = telling();
        let mut play = Play::at(harness, &emulator.api_base(), |options| {
            options.states.clone_from(&states);
            options.in_place = Some(in_place);
        });
        let mut seqs = Seqs::going_on_from(&states);
        play.connected(2);
        seqs.until(&got, 200, is_dispatch);
        states = play.bot.disconnect_keeping_sessions();
        play.ended();
        seqs.rest(&got);
        assert_eq!(Seqs::going_on_from(&states).0, seqs.0);
    }
    emulator.with_machine(|machine| {
        assert_eq!(machine.log().identifies(), 2);
        no_fault(machine.log());
    });
}

/// From one shard to three and to two while events flow that all layouts get and while somebody waits on the
/// stream: each event comes to one handler, and none of them to the stream.
fn a_new_layout_takes_over_without_a_gap_or_a_double(harness: &dyn Harness) {
    let emulator = without_guilds(1).start().expect("an emulator");
    let (in_place, got) = telling();
    let mut play = Play::at(harness, &emulator.api_base(), |options| {
        options.re_shard = ReShardPolicy::StartThenSwap;
        options.in_place = Some(in_place);
    });
    play.connected(1);
    let bot = Arc::clone(&play.bot);
    std::thread::scope(|scope| {
        let stream = scope.spawn(move || {
            while let Some(event) = play.take() {
                only_the_bots_own(&event);
            }
        });
        let (mut n, mut numbers) = (0, Vec::new());
        for to in [3, 2] {
            let re_sharding = {
                let bot = Arc::clone(&bot);
                scope.spawn(move || bot.re_shard(Some(to)))
            };
            numbers.extend(numbers_while(&emulator, &got, &mut n, || {
                re_sharding.is_finished()
            }));
            re_sharding.join().expect("no fault").expect("a new layout");
        }
        bot.disconnect();
        stream.join().expect("nothing but its own");
        numbers.extend(got.try_iter().filter_map(numbered));
        numbers.sort_unstable();
        let wrong = numbers
            .iter()
            .zip(0..)
            .find(|(got, wanted)| **got != *wanted);
        assert!(wrong.is_none(), "each once: {wrong:?} of {n}");
    });
}

fn numbered(got: Got) -> Option<u64> {
    match got {
        Got::Numbered(n) => Some(n),
        _ => None,
    }
}

/// Sends numbers, a few at a time, and takes as many, until the change is over and for a while after it.
fn numbers_while(
    emulator: &Emulator,
    got: &Receiver<Got>,
    n: &mut u64,
    is_over: impl Fn() -> bool,
) -> Vec<u64> {
    let (mut numbers, mut after) = (Vec::new(), 0);
    while after < 30 {
        after += u32::from(is_over());
        for _ in 0..5 {
            push_numbered(emulator, *n, &[1, 2, 3]);
            *n += 1;
        }
        for _ in 0..5 {
            let number = loop {
                let next = got.recv_timeout(PATIENCE).expect("a number");
                if let Some(number) = numbered(next) {
                    break number;
                }
            };
            numbers.push(number);
        }
    }
    numbers
}

/// Events without end, faster than they can be read, so that there is always something to read: the beats
/// go out all the same, and so does the answer to a stop.
fn beats_go_out_in_a_flood(harness: &dyn Harness) {
    let raw = Raw::new();
    let handled = Arc::new(AtomicU64::new(0));
    let in_place = InPlace::new({
        let handled = Arc::clone(&handled);
        move |_| {
            let handled = Arc::clone(&handled);
            move |_: Event<'_>| {
                handled.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let mut play = raw.bot(harness, with(in_place));
    let mut line = raw.accept_ready(500);
    play.connected(1);
    let mut out = line.stream.try_clone().expect("a handle");
    let unanswered = Arc::new(AtomicU64::new(0));
    let flood = std::thread::spawn({
        let unanswered = Arc::clone(&unanswered);
        move || {
            let mut seq = 1;
            loop {
                let mut bytes = Vec::new();
                for _ in 0..500 {
                    seq += 1;
                    let text = raw::dispatch(seq, "FLOOD");
                    bytes.extend(raw::frame(true, ws::TEXT, text.as_bytes()));
                }
                for _ in 0..unanswered.swap(0, Ordering::Relaxed) {
                    bytes.extend(raw::frame(true, ws::TEXT, br#"{"op":11}"#));
                }
                // Until the client is gone.
                if out.write_all(&bytes).is_err() {
                    return seq;
                }
            }
        }
    });
    let mut last = 0;
    for _ in 0..6 {
        let beat = line.payload_unanswered(1);
        unanswered.fetch_add(1, Ordering::Relaxed);
        let seq = beat
            .trim_start_matches(r#"{"op":1,"d":"#)
            .trim_end_matches('}');
        let seq = seq.parse().expect("a number");
        assert!(seq > last, "no flood between two beats");
        last = seq;
    }
    let bot = Arc::clone(&play.bot);
    let stopping = std::thread::spawn(move || bot.disconnect());
    assert_eq!(line.until_close(), Some(1000));
    drop(line);
    stopping.join().expect("stopped");
    play.ended();
    let sent = flood.join().expect("no fault");
    let handled = handled.load(Ordering::Relaxed);
    assert!(
        (last..=sent + 100).contains(&handled),
        "{handled} of {sent}"
    );
}

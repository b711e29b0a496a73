//! What is checked, for any peer. Each check starts an emulator and a peer of its own, and panics
//! when something is not as it should be.

use std::time::Duration;

use shardwright_testkit::corpus::Corpus;
use shardwright_testkit::emulator::Emulator;
use shardwright_testkit::scenario::{Effect, Ending, Listener};
use shardwright_testkit::server::{Log, Seen, Target};

use crate::run::{Run, beats_of, latest, sessions};
use crate::{Ask, Options, Peer, Report};

/// What is to lie between two Identifies. Twilight waits for five seconds from the one to the
/// other, and on the way that may become a little less.
const BETWEEN_IDENTIFIES: Duration = Duration::from_millis(4_900);

/// Starts a peer.
pub type Start<'a> = &'a dyn Fn(&Emulator, Options) -> Box<dyn Peer>;

/// The peer beats at the interval of Hello, and each beat is acknowledged.
pub fn beats(start: Start<'_>) {
    let builder = Emulator::builder().configure(|config| {
        config.heartbeat_interval = Duration::from_secs(1);
        // A busy machine may hold a beat up.
        config.heartbeat_patience = 4.0;
    });
    let run = Run::start(builder, start);
    run.wait("four beats", |log| beats_of(log) >= 4);
    run.peer
        .record()
        .wait_for("four acknowledgements", |reports| {
            let acks = reports.iter().filter(|report| **report == Report::Op(11));
            acks.count() >= 4
        });
    assert_eq!(run.log(Log::connections), 1);
    let times: Vec<Duration> = run.log(|log| {
        let beats = log
            .entries()
            .iter()
            .filter(|entry| matches!(entry.what, Seen::Received { op: Some(1), .. }));
        beats.map(|entry| entry.at).collect()
    });
    // The first one may come at any time within the interval.
    for pair in times.windows(2) {
        let apart = pair[1] - pair[0];
        assert!(apart > Duration::from_millis(700), "{times:?}");
    }
    run.end(1, 0);
}

/// The peer answers op 1 at once.
pub fn asked_for_beats(start: Start<'_>) {
    let interval = Duration::from_secs(3600);
    let builder = Emulator::builder().configure(|config| config.heartbeat_interval = interval);
    let run = Run::start(builder, start);
    for _ in 0..3 {
        run.ask_for_beat();
    }
    assert_eq!(run.log(Log::connections), 1);
    run.end(1, 0);
}

/// Every payload of the corpus arrives and is understood. Gives the names the peer has no type or
/// parser for, and what it read but discarded.
pub fn corpus(start: Start<'_>) -> (Vec<String>, Vec<String>) {
    let run = Run::start(Emulator::builder(), start);
    let corpus = Corpus::builtin();
    // A READY in the middle of a session would begin another one; see `ready`.
    let payloads: Vec<_> = corpus
        .payloads()
        .filter(|payload| &**payload.name() != "READY")
        .collect();
    assert!(payloads.len() >= 55);
    // The guilds come first: everything else is about them.
    let (guilds, others): (Vec<_>, Vec<_>) = payloads
        .into_iter()
        .partition(|payload| &**payload.name() == "GUILD_CREATE");
    let before = run.last_seq();
    let mut expected = Vec::new();
    for payload in guilds.into_iter().chain(others) {
        let pushed = run
            .emulator
            .push_event(&Target::All, payload.name(), payload.body());
        assert_eq!(pushed, 1);
        expected.push(payload.name().to_string());
    }
    let reports = run.end(1, 0);
    let mut got = Vec::new();
    let mut unknown = Vec::new();
    let mut discarded = Vec::new();
    for report in reports {
        match report {
            Report::Dispatch { seq, name, known } if seq > before => {
                if !known {
                    unknown.push(name.clone());
                }
                got.push(name);
            }
            Report::Discarded(what) => discarded.push(what),
            _ => {}
        }
    }
    assert_eq!(got, expected);
    (unknown, discarded)
}

/// A session goes on over every loss that allows it, and no event is lost or comes twice.
pub fn resumes(start: Start<'_>) {
    let run = Run::start(Emulator::builder(), start);
    let cut = Effect::Cut {
        after: 30,
        then: Ending::Rst,
    };
    let losses: [&[Effect]; 6] = [
        &[Effect::Op7],
        &[Effect::Rst],
        // In the middle of a message.
        &[cut, Effect::Events(1)],
        &[Effect::Fin],
        &[Effect::Close(Some(4000))],
        &[Effect::Op9(true.into())],
    ];
    run.emulator.set_rate(100.0);
    for (before, loss) in losses.iter().enumerate() {
        // Events flow when the line is lost.
        let seq = run.last_seq();
        run.peer.record().wait_for("events", |reports| {
            latest(reports).is_some_and(|latest| latest >= seq + 20)
        });
        run.play(loss);
        run.wait(&format!("a resume after {loss:?}"), |log| {
            log.resumed() == before + 1
        });
        run.peer.record().wait_for("RESUMED", |reports| {
            let resumed = reports.iter().filter(
                |report| matches!(report, Report::Dispatch { name, .. } if name == "RESUMED"),
            );
            resumed.count() == before + 1
        });
    }
    let dialled: Vec<Listener> = run.log(|log| {
        let upgrades = log.entries().iter().filter_map(|entry| match entry.what {
            Seen::Upgrade { listener, .. } => Some(listener),
            _ => None,
        });
        upgrades.collect()
    });
    let mut expected = vec![Listener::Resume; losses.len() + 1];
    expected[0] = Listener::Main;
    assert_eq!(dialled, expected);
    run.end(1, losses.len());
}

/// Op 9 with `false` leads to a new session, at the address for new sessions.
pub fn new_session(start: Start<'_>) {
    let builder =
        Emulator::builder().configure(|config| config.identify_pause = BETWEEN_IDENTIFIES);
    let run = Run::start(builder, start);
    run.play(&[Effect::Op9(false.into())]);
    run.wait("a second READY", |log| log.readies() == 2);
    let mains = run.log(|log| {
        log.count(|what| {
            matches!(
                what,
                Seen::Upgrade {
                    listener: Listener::Main,
                    status: Some(101),
                    ..
                }
            )
        })
    });
    assert_eq!(mains, 2);
    // Its four first dispatches, of a session numbered anew.
    run.peer.record().wait_for("the second session", |reports| {
        let sessions = sessions(reports);
        sessions.len() == 2 && sessions[1].len() == 4
    });
    run.end(2, 0);
}

/// Op 8 is answered with chunks the peer puts together.
pub fn members(start: Start<'_>) {
    let builder = Emulator::builder().configure(|config| config.members_per_guild = 2500);
    let run = Run::start(builder, start);
    let guild = run.guild();
    let all = run.members(&Ask::Members { guild });
    assert_eq!(all.len(), 2500);
    let prefix = "user0000";
    let limit = 5;
    let five = run.members(&Ask::Prefix {
        guild,
        prefix,
        limit,
    });
    assert_eq!(five, all[..5]);
    // The second one is nobody's id.
    let ids = vec![all[7], 1];
    assert_eq!(run.members(&Ask::Ids { guild, ids }), all[7..8]);
    let chunks = run.peer.record().count(
        |report| matches!(report, Report::Dispatch { name, .. } if name == "GUILD_MEMBERS_CHUNK"),
    );
    assert_eq!(chunks, 5);
    run.end(1, 0);
}

/// Op 3 is taken, and the connection goes on.
pub fn presence(start: Start<'_>) {
    let run = Run::start(Emulator::builder(), start);
    run.peer.ask(&Ask::Presence);
    run.wait("the presence", |log| {
        log.count(|what| matches!(what, Seen::Received { op: Some(3), .. })) == 1
    });
    run.ask_for_beat();
    assert_eq!(run.log(Log::connections), 1);
    run.end(1, 0);
}

/// Op 4 is answered, and the peer takes the answers.
pub fn voice(start: Start<'_>) {
    let run = Run::start(Emulator::builder(), start);
    let guild = run.guild();
    // The one channel of an emulated guild.
    let channel = Some(guild + 1);
    run.peer.ask(&Ask::Voice { guild, channel });
    run.peer.ask(&Ask::Voice {
        guild,
        channel: None,
    });
    let expected = [
        "VOICE_STATE_UPDATE",
        "VOICE_SERVER_UPDATE",
        "VOICE_STATE_UPDATE",
    ];
    let voices = |reports: &[Report]| -> Vec<String> {
        let names = reports.iter().filter_map(|report| match report {
            Report::Dispatch { name, .. } if name.starts_with("VOICE_") => Some(name.clone()),
            _ => None,
        });
        names.collect()
    };
    run.peer
        .record()
        .wait_for("the answers", |reports| voices(reports).len() == 3);
    let reports = run.end(1, 0);
    assert_eq!(voices(&reports), expected);
    let discarded = |report: &&Report| matches!(report, Report::Discarded(_));
    assert_eq!(reports.iter().find(discarded), None);
}

/// The READY of a large bot and the guilds after it are taken.
pub fn ready(start: Start<'_>) {
    let builder = Emulator::builder().configure(|config| config.guilds_per_shard = 1500);
    let run = Run::start(builder, start);
    assert_eq!(run.last_seq(), 1501);
    run.end(1, 0);
}

/// Two shards come up one after the other, as their identify bucket allows; each fetches its
/// guilds' members if the peer does that.
pub fn two_shards(start: Start<'_>) {
    let emulator = Emulator::builder()
        .configure(|config| {
            config.shards = 2;
            config.identify_pause = BETWEEN_IDENTIFIES;
        })
        .start()
        .expect("the emulator starts");
    let options = Options {
        shards: 2,
        fetch_members: true,
    };
    let peer = start(&emulator, options);
    peer.record()
        .wait_for("both", |reports| reports.contains(&Report::Ready));
    peer.stop();
    peer.record()
        .wait_for("the end", |reports| reports.contains(&Report::Ended));
    assert_eq!(peer.record().complaints(), Vec::<String>::new());
    emulator.with_machine(|machine| {
        let log = machine.log();
        assert_eq!(log.violations(), Vec::<&_>::new());
        assert_eq!(
            (log.connections(), log.identifies(), log.readies()),
            (2, 2, 2)
        );
    });
}

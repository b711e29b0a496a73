//! What the bot sends: how fast, when, and how large.

use std::time::Duration;

use shardwright_core::{
    Activity, CloseCode, Command, CommandError, GuildId, Next, RequestGuildMembers, Shards,
    StatusUpdate, UserId, VoiceStateUpdate,
};
use shardwright_testkit::scenario::{Effect, Step, When};
use shardwright_testkit::server::{ConnId, Log, Seen};

use crate::harness::{Harness, cases};
use crate::play::{Play, dispatch, gateway};

cases![
    no_more_than_120_are_sent_in_a_minute,
    a_new_connection_has_a_new_limit,
    commands_wait_for_ready,
    commands_wait_for_resumed,
    payloads_over_4096_bytes_are_refused_here,
    a_request_for_100_members_passes_whole,
    a_raw_command_that_was_complained_about_is_not_repeated,
    a_stop_does_not_wait_for_the_limit,
];

const GUILD: u64 = 41_771_983_423_143_937;

fn members(n: usize) -> Command {
    let text = format!(r#"{{"op":8,"d":{{"guild_id":"{GUILD}","query":"{n}","limit":1}}}}"#);
    Command::raw(&text).expect("a command")
}

fn received(log: &Log, wanted: u64) -> usize {
    log.count(|seen| matches!(seen, Seen::Received { op: Some(op), .. } if *op == wanted))
}

/// Fills the limit of the running connection; how many commands it took.
fn spend(play: &mut Play, commands: usize) -> usize {
    for n in 0..commands {
        play.bot.send_raw(0, members(n)).expect("it waits");
    }
    // A beat that is asked for passes what waits: when it is answered, nothing more was let through.
    play.play([Effect::Op1("absent".into())]);
    play.heartbeats(1);
    play.log(|log| received(log, 8))
}

/// 500 commands at once: as many leave as may, Identify and beats counted, and room for beats is kept.
fn no_more_than_120_are_sent_in_a_minute(harness: &dyn Harness) {
    let mut play = Play::up(harness, gateway([]));
    let sent = spend(&mut play, 500);
    assert!((105..=119).contains(&sent), "{sent} commands");
    for _ in 0..5 {
        play.play([Effect::Op1("absent".into())]);
        play.heartbeats(1);
    }
    assert_eq!(play.log(|log| received(log, 8)), sent);
    let texts = play.sent(8);
    for (n, text) in texts.iter().enumerate() {
        assert!(
            text.contains(&format!(r#""query":"{n}""#)),
            "in order: {text}"
        );
    }
    assert!(play.log(|log| log.most_sends(Duration::from_secs(60))) <= 120);
    play.end();
}

/// The limit belongs to the connection: after a reconnect the next command goes at once, and the Resume
/// counts.
fn a_new_connection_has_a_new_limit(harness: &dyn Harness) {
    let mut play = Play::up(harness, gateway([]));
    let first = spend(&mut play, 300);
    play.play([Effect::Op7]);
    play.resumed();
    play.play([Effect::Op1("absent".into())]);
    play.heartbeats(1);
    let both = play.log(|log| received(log, 8));
    assert!((105..=119).contains(&(both - first)), "{first}, {both}");
    assert!(play.log(|log| log.most_sends(Duration::from_secs(60))) <= 120);
    play.end();
}

/// Five commands given before READY leave after it, in order.
fn commands_wait_for_ready(harness: &dyn Harness) {
    let step = Step::new(When::Identify, [Effect::Wait(500)]);
    let mut play = Play::start(harness, gateway([step]));
    play.seen("Identify", |log| log.identifies() == 1);
    for n in 0..5 {
        play.bot.send_raw(0, members(n)).expect("it waits");
    }
    play.ready();
    play.seen("five commands", |log| received(log, 8) == 5);
    for (n, text) in play.sent(8).iter().enumerate() {
        assert!(
            text.contains(&format!(r#""query":"{n}""#)),
            "in order: {text}"
        );
    }
    // The gateway would have closed with 4003.
    assert_eq!(play.gone, 0);
    play.end();
}

/// While 500 missed events are replayed nothing is sent either.
fn commands_wait_for_resumed(harness: &dyn Harness) {
    let step = Step::new(When::Resume, [Effect::Wait(500)]);
    let mut play = Play::up(harness, gateway([step]));
    let mut effects = vec![Effect::Op7];
    effects.extend(vec![dispatch("MISSED"); 500]);
    play.play(effects);
    play.gone();
    for n in 0..5 {
        play.bot.send_raw(0, members(n)).expect("it waits");
    }
    assert_eq!(play.resumed(), 500);
    play.seen("five commands", |log| received(log, 8) == 5);
    assert_eq!(play.gone, 1);
    play.log(|log| {
        let of_second = log.of(ConnId(2));
        let order: Vec<_> = of_second
            .filter_map(|entry| match entry.what {
                Seen::Resumed { .. } => Some("RESUMED"),
                Seen::Received { op: Some(8), .. } => Some("command"),
                _ => None,
            })
            .collect();
        assert_eq!(order[0], "RESUMED");
        assert_eq!(order.len(), 6);
    });
    play.end();
}

/// A presence whose payload has so many bytes, some of them in pairs.
fn presence_of(bytes: usize) -> Result<Command, CommandError> {
    let of = |name: String| {
        Command::status_update(StatusUpdate::online().activity(Activity::playing(name)))
    };
    let around = of("a".to_owned()).expect("a presence").json().len() - 1;
    let room = bytes - around;
    of("é".repeat(room / 2) + &"a".repeat(room % 2))
}

/// 4096 bytes pass, 4097 do not; nor does anything else that is too long, or that the library sends
/// itself.
fn payloads_over_4096_bytes_are_refused_here(harness: &dyn Harness) {
    let play = Play::up(harness, gateway([]));
    let most = presence_of(4096).expect("just right");
    assert_eq!(most.json().len(), 4096);
    play.bot.send(most, Shards::All).expect("it leaves");
    play.seen("4096 bytes", |log| received(log, 3) == 1);
    assert_eq!(play.sent(3)[0].len(), 4096);
    let over = presence_of(4097);
    assert_eq!(over, Err(CommandError::TooLarge { bytes: 4097 }));
    let raw = format!(r#"{{"op":3,"d":"{}"}}"#, "x".repeat(5000));
    assert!(matches!(
        Command::raw(&raw),
        Err(CommandError::TooLarge { .. })
    ));
    let identify = Command::raw(r#"{"op":2,"d":{}}"#);
    assert_eq!(identify, Err(CommandError::ReservedOp { op: 2 }));
    assert_eq!(play.gone, 0);
    play.end();
}

/// Op 8 with a hundred ids is long, and whole; more are refused.
fn a_request_for_100_members_passes_whole(harness: &dyn Harness) {
    let play = Play::up(harness, gateway([]));
    let ids = |count: u64| (0..count).map(|n| UserId::new(1_090_000_000_000_000_001 + n));
    let request = RequestGuildMembers::by_ids(GuildId::new(GUILD), ids(100));
    let command = Command::request_guild_members(request).expect("a request");
    play.bot.send(command, Shards::All).expect("it leaves");
    play.seen("op 8", |log| received(log, 8) == 1);
    let text = &play.sent(8)[0];
    for id in ids(100) {
        assert!(text.contains(&format!(r#""{id}""#)), "{id}");
    }
    let request = RequestGuildMembers::by_ids(GuildId::new(GUILD), ids(150));
    assert!(Command::request_guild_members(request).is_err());
    assert_eq!(play.gone, 0);
    play.end();
}

/// A raw payload that is answered with 4002 is not sent again; a typed one that waits is.
fn a_raw_command_that_was_complained_about_is_not_repeated(harness: &dyn Harness) {
    let mut play = Play::up(harness, gateway([]));
    let poison = r#"{"op":3,"d":{"activities":[null]}}"#;
    let poison = Command::raw(poison).expect("a command");
    play.bot.send_raw(0, poison).expect("it waits");
    let gone = play.gone();
    assert_eq!(gone.code, Some(CloseCode::new(4002)));
    assert_eq!(gone.next, Next::Resume);
    let leave = Command::voice_state_update(VoiceStateUpdate {
        guild: GuildId::new(GUILD),
        channel: None,
        self_mute: false,
        self_deaf: false,
    });
    let leave = leave.expect("a command");
    play.bot.send(leave, Shards::All).expect("it waits");
    play.resumed();
    play.seen("op 4", |log| received(log, 4) == 1);
    assert_eq!(play.sent(3).len(), 1);
    // The gateway holds the one against the client.
    play.bot.disconnect();
    play.ended();
}

/// The limit is spent: the close frame of a stop is no payload and goes at once.
fn a_stop_does_not_wait_for_the_limit(harness: &dyn Harness) {
    let mut play = Play::up(harness, gateway([]));
    spend(&mut play, 300);
    play.bot.disconnect();
    assert_eq!(play.close_codes(), [1000]);
    play.ended();
    play.well_behaved();
}

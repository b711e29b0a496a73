//! Commands: the budget they share with the heart, their order, and what a lost connection does to
//! them.

mod play;

use std::time::Duration;

use play::{Did, IDENTIFY, Play, beat, dispatch_text, ms, resume, secs};
use shardwright_core::{
    Activity, Answer, ChannelId, Command, CommandError, CommandId, GuildId, IfNotReady, Input,
    Phase, RequestGuildMembers, StatusUpdate, Stop, TransportFault, UserId, VoiceStateUpdate,
};

fn raw(n: u64) -> Command {
    Command::raw(&raw_text(n)).unwrap()
}

fn raw_text(n: u64) -> String {
    format!(r#"{{"op":31,"d":{n}}}"#)
}

fn presence(name: &str) -> Command {
    Command::status_update(StatusUpdate::online().activity(Activity::playing(name))).unwrap()
}

fn presence_text(name: &str) -> String {
    format!(
        r#"{{"op":3,"d":{{"since":null,"activities":[{{"name":"{name}","type":0}}],"status":"online","afk":false}}}}"#
    )
}

fn voice(guild: u64, channel: u64) -> Command {
    Command::voice_state_update(VoiceStateUpdate {
        guild: GuildId::new(guild),
        channel: Some(ChannelId::new(channel)),
        self_mute: false,
        self_deaf: true,
    })
    .unwrap()
}

fn voice_text(guild: u64, channel: u64) -> String {
    format!(
        r#"{{"op":4,"d":{{"guild_id":"{guild}","channel_id":"{channel}","self_mute":false,"self_deaf":true}}}}"#
    )
}

/// Frames sent on each connection within any 60 s: the most and, over whole minutes, how many.
fn busiest(times: &[Duration], window: Duration) -> usize {
    (0..times.len())
        .map(|first| {
            let end = times[first] + window;
            times[first..].iter().take_while(|at| **at < end).count()
        })
        .max()
        .unwrap_or(0)
}

fn times(play: &Play) -> Vec<Duration> {
    play.sent_at(play.conn())
        .into_iter()
        .map(|(at, _)| at)
        .collect()
}

#[test]
fn a_flood_is_spread_to_120_frames_in_any_minute_and_wastes_little_of_it() {
    for seed in 0..5 {
        let mut play = Play::up_with(Play::seeded(seed), 41_250);
        for id in 0..500 {
            play.command(id, raw(id));
        }
        play.pass(ms(59_900));
        for id in 500..560 {
            play.command(id, raw(id));
        }
        play.pass(ms(200));
        for id in 560..620 {
            play.command(id, raw(id));
        }
        play.pass(ms(299_900));
        let times = times(&play);
        assert!(busiest(&times, secs(60)) <= 120);
        // Five whole windows and the start of the sixth: at least 105 a minute.
        let commands = play.all_sent(r#"{"op":31,"#);
        assert!(commands.len() >= 5 * 105, "{}", commands.len());
        let order: Vec<_> = (0..commands.len() as u64).map(raw_text).collect();
        let sent: Vec<_> = commands.into_iter().map(|(_, text)| text).collect();
        assert_eq!(sent, order);
        assert_eq!(play.dials().len(), 1);
    }
}

#[test]
fn beats_and_answers_to_op_1_have_room_in_a_flood() {
    for seed in 0..5 {
        let mut play = Play::up_with(Play::seeded(seed), 5000);
        let conn = play.conn();
        let mut scheduled = Vec::new();
        for round in 0..100 {
            for id in 0..5 {
                play.command(round * 5 + id, raw(id));
            }
            let before = play.sent_at(conn).len();
            play.text(conn, r#"{"t":null,"s":null,"op":1,"d":null}"#);
            assert_eq!(play.sent_at(conn).len(), before + 1, "round {round}");
            assert_eq!(play.sent_at(conn).pop(), Some((play.elapsed(), beat(1))));
            let before = play.sent_at(conn).len();
            play.pass(secs(3));
            let beats = play.sent_at(conn)[before..].to_vec();
            scheduled.extend(
                beats
                    .into_iter()
                    .filter(|(_, text)| *text == beat(1))
                    .map(|(at, _)| at),
            );
        }
        assert_eq!(scheduled.len(), 60);
        for pair in scheduled.windows(2) {
            assert_eq!(pair[1] - pair[0], secs(5));
        }
        assert!(busiest(&times(&play), secs(60)) <= 120);
    }
}

#[test]
fn beats_asked_for_beyond_the_budget_are_owed_and_sent_when_there_is_room() {
    let mut play = Play::up();
    let conn = play.conn();
    for _ in 0..200 {
        play.text(conn, r#"{"op":1,"d":null}"#);
    }
    // Identify and 119 beats.
    assert_eq!(play.sent(conn).len(), 120);
    play.pass(secs(300));
    assert!(busiest(&times(&play), secs(60)) <= 120);
    assert_eq!(play.dials().len(), 1);
    // One owed beat stands for all that were asked for.
    let late = play
        .sent_at(conn)
        .into_iter()
        .filter(|(at, _)| *at > secs(0))
        .count();
    assert!((7..=9).contains(&late), "{late}");
}

#[test]
fn an_owed_beat_does_not_wait_for_the_commands() {
    let asked = r#"{"op":1,"d":null}"#;
    let mut play = Play::up_with(Play::new(), 600_000);
    let conn = play.conn();
    for _ in 0..2 {
        play.text(conn, asked);
    }
    play.pass(secs(5));
    // The commands take their part, the beats the rest; then all 120 are gone.
    for id in 0..300 {
        play.command(id, raw(id));
    }
    while play.sent(conn).len() < 120 {
        play.text(conn, asked);
    }
    play.text(conn, asked);
    play.command(300, raw(300));
    play.pass(secs(58));
    let later = play.sent_at(conn).split_off(120);
    assert_eq!(
        later,
        [(ms(60_150), beat(1))],
        "as soon as the first have left"
    );
}

#[test]
fn a_new_connection_has_a_new_budget() {
    let mut play = Play::up();
    for id in 0..110 {
        play.command(id, raw(id));
    }
    play.pass(secs(2));
    let first = play.conn();
    play.command(200, raw(200));
    assert_eq!(play.answers(200), [Answer::Accepted], "the budget is spent");
    play.op7(first);
    let (second, _) = play.reconnect(41_250);
    play.resumed(second, 2);
    assert_eq!(play.sent(second), [resume("A", 1), raw_text(200)]);
    assert_eq!(play.answers(200), [Answer::Accepted, Answer::Sent]);
    // Resume, and beats, count in the new one: 111 before the reserve.
    for id in 300..420 {
        play.command(id, raw(id));
    }
    assert_eq!(play.sent(second).len(), 111);
    play.pass(secs(120));
    assert!(busiest(&times(&play), secs(60)) <= 120);
}

#[test]
fn a_close_waits_for_no_budget() {
    for how in [Stop::Keep, Stop::Final] {
        let mut play = Play::up();
        for id in 0..200 {
            play.command(id, raw(id));
        }
        play.pass(secs(1));
        play.stop(how);
        let code = if how == Stop::Keep { 4000 } else { 1000 };
        assert!(play.done.contains(&(secs(1), Did::Close(1, code))));
        assert_eq!(play.phase(), Phase::Stopped);
        // Each command is answered: sent, or refused.
        for id in 0..200 {
            let last = if id < 110 {
                Answer::Sent
            } else {
                Answer::Refused(CommandError::Stopped)
            };
            assert_eq!(play.answers(id), [Answer::Accepted, last]);
        }
    }
}

#[test]
fn commands_wait_for_ready_and_then_go_in_order() {
    let mut play = Play::new();
    for id in 0..5 {
        play.command(id, raw(id));
    }
    play.tell(Input::Start);
    let conn = play.conn();
    play.open(conn);
    play.hello(conn, 1000);
    play.pass(secs(3));
    let sent = play.sent(conn);
    assert_eq!(sent[0], IDENTIFY);
    assert_eq!(sent[1..], vec![r#"{"op":1,"d":null}"#; 3]);
    play.ready(conn, "A", "ws://r1.example", 1);
    let order: Vec<_> = (0..5).map(raw_text).collect();
    assert_eq!(play.sent(conn)[4..], order);
}

#[test]
fn nothing_but_beats_is_sent_while_missed_events_are_replayed() {
    let mut play = Play::up();
    let first = play.conn();
    play.fin(first);
    for id in 0..5 {
        play.command(id, raw(id));
    }
    let (second, _) = play.reconnect(1000);
    for seq in 2..=501 {
        play.dispatch(second, seq, "MESSAGE_CREATE");
        play.pass(ms(4));
    }
    let sent = play.sent(second);
    assert_eq!(sent[0], resume("A", 1));
    assert!(sent[1..].iter().all(|text| text.starts_with(r#"{"op":1,"#)));
    assert_eq!(sent.len(), 3);
    play.resumed(second, 502);
    let order: Vec<_> = (0..5).map(raw_text).collect();
    assert_eq!(play.sent(second)[3..], order);
    assert_eq!(play.seqs(), (1..=502).collect::<Vec<_>>());
}

/// Plays in each state in which nothing can be sent.
fn not_connected() -> Vec<Play> {
    let backoff = |mut play: Play| {
        let conn = play.conn();
        play.fin(conn);
        play
    };
    let mut dialling = backoff(Play::up());
    dialling.next_dial();
    let mut greeting = backoff(Play::up());
    let (conn, _) = greeting.next_dial();
    greeting.open(conn);
    let mut resuming = backoff(Play::up());
    resuming.reconnect(41_250);
    let mut closing = Play::up();
    closing.answer_close = false;
    let conn = closing.conn();
    closing.op7(conn);
    vec![
        Play::new(),
        Play::started(),
        backoff(Play::up()),
        dialling,
        greeting,
        resuming,
        closing,
    ]
}

#[test]
fn a_command_without_a_connection_is_queued_or_refused_as_asked() {
    for mut play in not_connected() {
        let phase = play.phase();
        let sent = play.all_sent("").len();
        play.tell(Input::Command {
            id: CommandId(1),
            command: raw(1),
            if_not_ready: IfNotReady::Fail,
        });
        assert_eq!(
            play.answers(1),
            [Answer::Refused(CommandError::NotReady)],
            "{phase:?}"
        );
        for id in 1000..2024 {
            play.command(id, raw(id));
            assert_eq!(play.answers(id), [Answer::Accepted]);
        }
        play.command(2, raw(2));
        let full = CommandError::QueueFull { limit: 1024 };
        assert_eq!(play.answers(2), [Answer::Refused(full)], "{phase:?}");
        assert_eq!(play.all_sent("").len(), sent, "{phase:?}");
    }
}

#[test]
fn a_command_for_a_live_shard_alone_is_sent_by_one() {
    let mut play = Play::up();
    play.tell(Input::Command {
        id: CommandId(1),
        command: raw(1),
        if_not_ready: IfNotReady::Fail,
    });
    assert_eq!(play.answers(1), [Answer::Accepted, Answer::Sent]);
}

#[test]
fn a_stopped_shard_refuses_every_command() {
    let mut refused = Play::up();
    let conn = refused.conn();
    refused.close(conn, Some(4004));
    let mut stopped = Play::up();
    stopped.stop(Stop::Final);
    let mut stopping = Play::up();
    stopping.answer_close = false;
    stopping.stop(Stop::Keep);
    for mut play in [refused, stopped, stopping] {
        for (id, if_not_ready) in [(1, IfNotReady::Queue), (2, IfNotReady::Fail)] {
            play.tell(Input::Command {
                id: CommandId(id),
                command: raw(id),
                if_not_ready,
            });
            assert_eq!(play.answers(id), [Answer::Refused(CommandError::Stopped)]);
        }
        assert_eq!(play.all_sent(r#"{"op":31,"#).len(), 0);
    }
}

#[test]
fn a_raw_command_that_discord_could_not_read_is_named_and_not_sent_again() {
    let poison = r#"{"op":3,"d":{"activities":[null]}}"#;
    for flush in [true, false] {
        for (code, session) in [(4002, true), (4001, false)] {
            let mut play = Play::up();
            play.flush = flush;
            let conn = play.conn();
            play.command(1, Command::raw(poison).unwrap());
            assert_eq!(play.sent(conn).pop().unwrap(), poison);
            play.close(conn, Some(code));
            let named = play.notices("CommandRejected");
            assert_eq!(named.len(), 1);
            assert!(named[0].contains("Raw(3)"), "{named:?}");
            let last = if flush {
                Answer::Sent
            } else {
                Answer::Refused(CommandError::Interrupted)
            };
            assert_eq!(play.answers(1), [Answer::Accepted, last]);
            play.flush = true;
            let (second, _) = play.reconnect(41_250);
            if session {
                assert_eq!(play.sent(second), [resume("A", 1)]);
                play.resumed(second, 2);
            } else {
                assert_eq!(play.sent(second), [IDENTIFY]);
                play.ready(second, "B", "ws://r1.example", 1);
            }
            play.pass(secs(600));
            assert_eq!(play.all_sent(poison).len(), 1);
            assert_eq!(play.phase(), Phase::Live);
        }
    }
}

#[test]
fn a_typed_command_that_may_not_have_left_is_sent_again_and_a_raw_one_is_not() {
    let mut play = Play::up();
    let first = play.conn();
    play.flush = false;
    play.command(1, raw(1));
    play.command(2, voice(7, 8));
    play.command(3, presence("chess"));
    assert_eq!(play.sent(first).len(), 4);
    play.fail(first, TransportFault::Reset);
    assert_eq!(
        play.answers(1),
        [Answer::Accepted, Answer::Refused(CommandError::Interrupted)]
    );
    play.flush = true;
    let (second, _) = play.reconnect(41_250);
    play.resumed(second, 2);
    assert_eq!(
        play.sent(second),
        [resume("A", 1), voice_text(7, 8), presence_text("chess")]
    );
    for id in [2, 3] {
        assert_eq!(play.answers(id), [Answer::Accepted, Answer::Sent]);
    }
}

#[test]
fn a_presence_always_says_all_four_of_its_fields() {
    let mut play = Play::up();
    let conn = play.conn();
    for (id, (status, text)) in [
        (
            StatusUpdate::dnd(),
            r#"{"op":3,"d":{"since":null,"activities":[],"status":"dnd","afk":false}}"#,
        ),
        (
            StatusUpdate::idle(Some(91_879_201)).afk(true),
            r#"{"op":3,"d":{"since":91879201,"activities":[],"status":"idle","afk":true}}"#,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        play.command(id as u64, Command::status_update(status).unwrap());
        assert_eq!(play.sent(conn).pop().unwrap(), text);
    }
}

#[test]
fn presences_are_five_in_twenty_seconds_and_hold_up_nothing_else() {
    let mut play = Play::up();
    let conn = play.conn();
    for id in 0..50 {
        play.command(id, presence(&format!("game {id}")));
        play.command(100 + id, raw(id));
    }
    assert_eq!(play.all_sent(r#"{"op":31,"#).len(), 50);
    play.pass(secs(120));
    let presences = play.all_sent(r#"{"op":3,"d":{"since"#);
    let at: Vec<_> = presences.iter().map(|(at, _)| *at).collect();
    assert!(busiest(&at, secs(20)) <= 5);
    // Five at once, then the newest of the rest.
    assert_eq!(presences.len(), 6);
    assert_eq!(presences[5].1, presence_text("game 49"));
    for id in 5..49 {
        assert_eq!(
            play.answers(id),
            [Answer::Accepted, Answer::Refused(CommandError::Replaced)]
        );
    }
    let beats = play.all_sent(r#"{"op":1,"#).len();
    assert_eq!(play.sent(conn).len(), 1 + 50 + 6 + beats);
}

#[test]
fn payloads_of_4096_bytes_go_out_whole_and_larger_ones_are_refused_to_the_caller() {
    let ids = |count: u64| {
        let ids = (0..count).map(|id| UserId::new(10_000_000_000_000_000_000 + id));
        Command::request_guild_members(RequestGuildMembers::by_ids(GuildId::new(5), ids))
    };
    let mut play = Play::up();
    let conn = play.conn();
    play.command(1, ids(100).unwrap());
    let list: Vec<_> = (0..100)
        .map(|id| format!("\"{}\"", 10_000_000_000_000_000_000_u64 + id))
        .collect();
    assert_eq!(
        play.sent(conn).pop().unwrap(),
        format!(
            r#"{{"op":8,"d":{{"guild_id":"5","user_ids":[{}]}}}}"#,
            list.join(",")
        )
    );
    assert!(matches!(ids(150), Err(CommandError::BadValue { .. })));

    // Text of two bytes a letter: what is counted is bytes. The frame around it has its own size.
    let around = presence_text("").len();
    let name = |bytes: usize| {
        let odd = if (bytes - around) % 2 == 1 { "x" } else { "" };
        format!("{odd}{}", "é".repeat((bytes - around) / 2))
    };
    let fits = name(4096);
    play.command(2, presence(&fits));
    let sent = play.sent(conn).pop().unwrap();
    assert_eq!(sent, presence_text(&fits));
    assert_eq!(sent.len(), 4096);
    let long = StatusUpdate::online().activity(Activity::playing(name(4097)));
    assert_eq!(
        Command::status_update(long),
        Err(CommandError::TooLarge { bytes: 4097 })
    );
    let raw = format!(r#"{{"op":31,"d":"{}"}}"#, "x".repeat(5000 - 17));
    assert!(matches!(
        Command::raw(&raw),
        Err(CommandError::TooLarge { .. })
    ));

    // The presence fits a frame of its own, but not an Identify: it follows READY.
    play.close(conn, Some(4009));
    let (second, _) = play.reconnect(41_250);
    assert_eq!(play.sent(second), [IDENTIFY]);
    assert_eq!(play.notices("PresenceTooLarge").len(), 1);
    play.ready(second, "B", "ws://r1.example", 1);
    assert_eq!(
        play.sent(second),
        [IDENTIFY.to_owned(), presence_text(&fits)]
    );
}

#[test]
fn while_offline_the_queue_stays_bounded_and_the_newest_states_win() {
    let mut play = Play::up();
    let conn = play.conn();
    play.fin(conn);
    let members = Command::request_guild_members(RequestGuildMembers::everyone(GuildId::new(5)));
    play.command(1, members.unwrap());
    play.command(2, voice(7, 1));
    play.command(3, voice(8, 1));
    for id in 10..20_000 {
        play.command(id, presence(&format!("game {id}")));
    }
    play.command(4, voice(7, 2));
    let (second, _) = play.reconnect(41_250);
    play.resumed(second, 2);
    assert_eq!(
        play.sent(second),
        [
            resume("A", 1),
            r#"{"op":8,"d":{"guild_id":"5","query":"","limit":0}}"#.to_owned(),
            voice_text(7, 2),
            voice_text(8, 1),
            presence_text("game 19999"),
        ]
    );
    let replaced = play
        .done
        .iter()
        .filter(|(_, did)| matches!(did, Did::Answer(_, Answer::Refused(CommandError::Replaced))))
        .count();
    assert_eq!(replaced, 19_989 + 1, "none is dropped silently");
}

#[test]
fn a_failing_write_is_not_counted_against_the_next_connection() {
    let mut play = Play::up();
    play.flush = false;
    let first = play.conn();
    for id in 0..50 {
        play.command(id, voice(id + 1, 9));
    }
    play.fail(first, TransportFault::Reset);
    play.flush = true;
    let (second, _) = play.reconnect(41_250);
    play.resumed(second, 2);
    let order: Vec<_> = (0..50).map(|id| voice_text(id + 1, 9)).collect();
    assert_eq!(play.sent(second)[1..], order);
    for id in 100..160 {
        play.command(id, raw(id));
    }
    assert_eq!(play.sent(second).len(), 111);
}

#[test]
fn events_go_on_while_the_budget_is_spent() {
    let mut play = Play::up();
    let conn = play.conn();
    for id in 0..300 {
        play.command(id, raw(id));
    }
    for seq in 2..=50 {
        play.text(conn, &dispatch_text(seq, "MESSAGE_CREATE"));
    }
    assert_eq!(play.seqs(), (1..=50).collect::<Vec<_>>());
}

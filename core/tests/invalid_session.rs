//! Op 9: in every state, with `true`, `false` and neither; and resumes that lead nowhere.

mod play;

use std::collections::BTreeSet;

use play::{IDENTIFY, MAIN, NULL_BEAT, Play, R1, config, ms, resume, secs};
use shardwright_core::{Command, GuildId, Input, Phase, ShardId, ShardState};

#[test]
fn a_living_connection_is_left_at_once_when_its_session_is_invalid() {
    for seed in 0..30 {
        let mut play = Play::up_with(Play::seeded(seed), 41250);
        play.answer_close = false;
        let conn = play.conn();
        for s in 2..602 {
            play.pass(secs(1));
            play.dispatch(conn, s, "X");
        }
        let at = play.elapsed();
        play.op9(conn, "false");
        assert_eq!(play.closes(), [4000], "closed in the same breath");
        let sent = play.sent(conn).len();
        play.text(conn, r#"{"op":11}"#);
        let (new, url) = play.reconnect(41250);
        let pause = play.elapsed() - at;
        assert!((secs(1)..=secs(5)).contains(&pause), "{pause:?}");
        assert_eq!(
            (url.as_str(), play.sent(new)),
            (MAIN, vec![IDENTIFY.into()])
        );
        assert_eq!(play.sent(conn).len(), sent, "nothing more on the old one");
    }
}

#[test]
fn a_refused_session_is_resumed_once_and_never_again() {
    let mut play = Play::up();
    play.op7(play.conn());
    for _ in 0..5 {
        let (conn, _) = play.reconnect(41250);
        play.op9(conn, "false");
    }
    assert_eq!(play.resumes(), [resume("A", 1)]);
    assert_eq!(play.identifies(), 5, "the first and four more");
}

#[test]
fn the_pause_after_a_refused_resume_is_spread_over_one_to_five_seconds() {
    let mut pauses = Vec::new();
    for seed in 0..50 {
        let mut play = Play::up_with(Play::seeded(seed), 41250);
        play.op7(play.conn());
        let (conn, _) = play.reconnect(41250);
        let at = play.elapsed();
        play.op9(conn, "false");
        let (conn, url) = play.reconnect(41250);
        assert_eq!(
            (url.as_str(), play.sent(conn)),
            (MAIN, vec![IDENTIFY.into()])
        );
        pauses.push(play.elapsed() - at);
    }
    let (least, most) = (*pauses.iter().min().unwrap(), *pauses.iter().max().unwrap());
    assert!(least >= secs(1) && most <= secs(5), "{least:?} {most:?}");
    assert!(most - least > secs(2), "{least:?} {most:?}");
    let different: BTreeSet<_> = pauses.iter().collect();
    assert!(different.len() > 45, "no two shards share a pause");
}

#[test]
fn the_new_identify_waits_for_a_permit() {
    let mut play = Play::up();
    play.grant = false;
    play.op9(play.conn(), "false");
    let (conn, _) = play.reconnect(41250);
    play.pass(secs(600));
    assert_eq!(play.phase(), Phase::AwaitingPermit);
    assert!(play.sent(conn).iter().all(|text| text == NULL_BEAT));
    play.tell(Input::IdentifyGranted { conn });
    assert_eq!(play.sent(conn).last().unwrap(), IDENTIFY);
}

#[test]
fn an_identify_that_is_refused_is_repeated_with_growing_pauses() {
    let mut play = Play::started();
    let conn = play.conn();
    play.open(conn);
    play.hello(conn, 41250);
    play.op9(conn, "false");
    let (conn, _) = play.reconnect(41250);
    assert_eq!(play.sent(conn), [IDENTIFY]);
    play.ready(conn, "A", "ws://r1.example", 1);
    assert_eq!(play.phase(), Phase::Live);

    let (mut early, mut late) = (secs(0), secs(0));
    for seed in 0..30 {
        let mut play = Play::seeded(seed);
        play.tell(Input::Start);
        for n in 1..=10 {
            let conn = if n == 1 {
                let conn = play.conn();
                play.open(conn);
                play.hello(conn, 41250);
                conn
            } else {
                play.reconnect(41250).0
            };
            play.op9(conn, "false");
            let pause = play.delays.last().unwrap().1;
            assert!(pause >= secs(1), "{pause:?}");
            if n <= 3 {
                early += pause;
            } else if n > 7 {
                late += pause;
            }
        }
        assert_eq!(play.identifies(), 10);
        assert_eq!(play.notices("InvalidSession").len(), 10);
        let failing = play.notices("IdentifyFailing");
        assert_eq!(failing.len(), 1, "the tenth in a row is told");
        assert!(failing[0].contains("next_try_in"), "{failing:?}");
        assert!(play.notices("ShardStopped").is_empty());
    }
    assert!(late > early * 3, "{early:?} {late:?}");
}

#[test]
fn op_9_without_a_plain_true_means_that_the_session_is_gone() {
    for text in [
        r#"{"op":9,"d":null}"#,
        r#"{"op":9}"#,
        r#"{"op":9,"d":"true"}"#,
        r#"{"op":9,"d":1}"#,
        r#"{"op":9,"d":{"resumable":true}}"#,
    ] {
        let mut play = Play::up();
        play.text(play.conn(), text);
        let (conn, url) = play.reconnect(41250);
        assert_eq!(
            (url.as_str(), play.sent(conn)),
            (MAIN, vec![IDENTIFY.to_owned()]),
            "{text}"
        );
    }
}

#[test]
fn op_9_true_resumes_on_a_new_connection_with_the_sequence_unchanged() {
    let mut play = Play::up();
    let conn = play.conn();
    play.dispatch(conn, 2, "X");
    play.op7(conn);
    let (conn, _) = play.reconnect(41250);
    play.op9(conn, "true");
    assert_eq!(
        play.sent(conn),
        [resume("A", 2)],
        "nothing more on this one"
    );
    let (conn, url) = play.reconnect(41250);
    assert_eq!((url.as_str(), play.sent(conn)), (R1, vec![resume("A", 2)]));
    play.resumed(conn, 3);
    // A resumed session starts the count anew.
    for _ in 0..3 {
        play.op9(play.conn(), "true");
        let (conn, _) = play.reconnect(41250);
        assert_eq!(play.sent(conn), [resume("A", 3)]);
    }
    assert_eq!(play.identifies(), 1);
}

#[test]
fn op_9_true_in_answer_to_an_identify_has_nothing_to_resume() {
    let mut play = Play::started();
    let conn = play.conn();
    play.open(conn);
    play.hello(conn, 41250);
    play.op9(conn, "true");
    let (conn, url) = play.reconnect(41250);
    assert_eq!(
        (url.as_str(), play.sent(conn)),
        (MAIN, vec![IDENTIFY.into()])
    );
    assert!(play.resumes().is_empty());
}

#[test]
fn op_9_before_hello_or_before_the_permit_is_obeyed() {
    let mut play = Play::started();
    let conn = play.conn();
    play.open(conn);
    play.op9(conn, "false");
    assert_eq!(play.closes(), [4000]);
    assert!(play.sent(conn).is_empty());

    play.grant = false;
    let (conn, _) = play.reconnect(41250);
    play.op9(conn, "false");
    assert_eq!(play.closes(), [4000, 4000]);
    assert!(
        play.done
            .iter()
            .any(|(_, did)| *did == play::Did::WithdrawIdentify(conn.get())),
        "the place in the queue is given back"
    );
    play.tell(Input::IdentifyGranted { conn });
    assert!(play.sent(conn).is_empty(), "a late permit is void");
}

#[test]
fn a_raw_command_that_cost_the_session_is_not_sent_again() {
    let payload = r#"{"op":8,"d":{"guild_id":"abc","query":"","limit":0}}"#;
    assert!(
        "abc".parse::<GuildId>().is_err(),
        "no typed command can be so"
    );
    let mut play = Play::up();
    let conn = play.conn();
    play.command(1, Command::raw(payload).unwrap());
    assert_eq!(play.sent(conn)[1..], [payload]);
    play.pass(secs(3));
    play.op9(conn, "false");
    let (conn, _) = play.reconnect(41250);
    play.ready(conn, "B", "ws://r2.example", 1);
    play.pass(secs(3));
    assert_eq!(play.sent(conn)[0], IDENTIFY);
    assert_eq!(play.all_sent(r#"{"op":8"#).len(), 1);
}

#[test]
fn fruitless_resumes_are_spaced_out_and_end_within_minutes() {
    let mut sums = [secs(0); 5];
    for seed in 0..40 {
        let mut play = Play::up_with(Play::seeded(seed), 41250);
        play.fin(play.conn());
        for sum in &mut sums {
            let (conn, _) = play.reconnect(41250);
            play.pass(ms(20));
            play.close(conn, None);
            *sum += play.delays.last().unwrap().1;
        }
        let (conn, _) = play.reconnect(41250);
        assert_eq!(play.sent(conn), [IDENTIFY]);
        assert_eq!(play.resumes().len(), 5);
        assert!(play.elapsed() < secs(180));
    }
    assert!(sums[4] > sums[0] * 4, "{sums:?}");
}

#[test]
fn a_stored_session_of_long_ago_is_tried_once() {
    let mut play = Play::with(config(), Some(stored(ShardId::new(0, 1).unwrap())), 1);
    play.tell(Input::Start);
    let conn = play.conn();
    play.open(conn);
    play.hello(conn, 41250);
    play.op9(conn, "false");
    let (conn, url) = play.reconnect(41250);
    assert_eq!(
        (url.as_str(), play.sent(conn)),
        (MAIN, vec![IDENTIFY.into()])
    );
    assert_eq!(play.resumes(), [resume("A", 5)]);
    assert_eq!(play.urls(), [R1, MAIN]);
}

#[test]
fn a_stored_session_of_another_layout_is_never_resumed() {
    let mut play = Play::with(config(), Some(stored(ShardId::new(0, 2).unwrap())), 1);
    play.tell(Input::Start);
    let conn = play.conn();
    play.open(conn);
    play.hello(conn, 41250);
    assert_eq!(play.urls(), [MAIN]);
    assert_eq!(play.sent(conn), [IDENTIFY]);
}

fn stored(shard: ShardId) -> ShardState {
    ShardState {
        shard,
        session_id: Some("A".into()),
        seq: Some(5),
        resume_gateway_url: Some("ws://r1.example".into()),
        at: None,
    }
}

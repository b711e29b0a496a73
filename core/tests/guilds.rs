//! When a shard says that the guilds of a new session are loaded.

mod play;

use play::{Did, Play, config, ms, secs};
use shardwright_core::{ConnId, Input, Intents};

const GUILDS: &str = r#"[{"id":"1","unavailable":true},{"id":"2","unavailable":true},{"id":"3","unavailable":true}]"#;

/// READY with three guilds, at this time.
fn ready(intents: Intents) -> (Play, ConnId) {
    let mut config = config();
    config.intents = intents;
    config.track_guilds = true;
    let mut play = Play::with(config, None, 1);
    play.tell(Input::Start);
    let conn = play.conn();
    play.open(conn);
    play.hello(conn, 41_250);
    let d = format!(
        r#"{{"v":10,"session_id":"A","resume_gateway_url":"ws://r1.example","guilds":{GUILDS}}}"#
    );
    play.text(conn, &format!(r#"{{"t":"READY","s":1,"op":0,"d":{d}}}"#));
    (play, conn)
}

fn guild(play: &mut Play, conn: ConnId, seq: u64, name: &str, d: &str) {
    play.text(
        conn,
        &format!(r#"{{"t":"{name}","s":{seq},"op":0,"d":{d}}}"#),
    );
}

fn loaded(play: &Play) -> Vec<String> {
    play.notices("GuildsLoaded")
}

#[test]
fn an_outage_is_missing_and_no_removal_and_the_rest_is_waited_for_until_the_deadline() {
    let (mut play, conn) = ready(Intents::GUILDS);
    guild(
        &mut play,
        conn,
        2,
        "GUILD_CREATE",
        r#"{"id":"1","name":"one"}"#,
    );
    play.pass(secs(10));
    guild(
        &mut play,
        conn,
        3,
        "GUILD_CREATE",
        r#"{"id":"2","unavailable":true}"#,
    );
    play.pass(ms(14_900));
    assert!(loaded(&play).is_empty(), "15 s from the last that came");
    play.pass(ms(200));
    let said = loaded(&play);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("guilds: 1"), "{said:?}");
    for missing in ["2", "3"] {
        assert!(said[0].contains(missing), "{said:?}");
    }
    // It comes after all: an event like any other.
    guild(&mut play, conn, 4, "GUILD_CREATE", r#"{"id":"3"}"#);
    play.pass(secs(60));
    assert_eq!(loaded(&play).len(), 1);
    assert_eq!(play.seqs(), [1, 2, 3, 4]);
}

#[test]
fn the_last_news_of_a_guild_ends_the_wait_at_once() {
    let (mut play, conn) = ready(Intents::GUILDS);
    guild(&mut play, conn, 2, "GUILD_CREATE", r#"{"id":"1"}"#);
    guild(
        &mut play,
        conn,
        3,
        "GUILD_CREATE",
        r#"{"id":"2","unavailable":true}"#,
    );
    assert!(loaded(&play).is_empty());
    guild(
        &mut play,
        conn,
        4,
        "GUILD_DELETE",
        r#"{"id":"3","unavailable":true}"#,
    );
    assert_eq!(loaded(&play).len(), 1);
    // It is said after the event that completed it.
    let last = play.done.iter().rev().map(|(_, did)| did).take(2);
    let last: Vec<_> = last.collect();
    assert!(
        matches!(last[0], Did::Notice(said) if said.contains("GuildsLoaded")),
        "{last:?}"
    );
    assert!(
        matches!(last[1], Did::Event(_, 4, name, _) if name == "GUILD_DELETE"),
        "{last:?}"
    );
}

#[test]
fn without_the_intent_it_is_said_at_once() {
    let (play, _) = ready(Intents::GUILD_MESSAGES);
    assert_eq!(loaded(&play).len(), 1);
    assert_eq!(play.elapsed(), ms(0));
}

#[test]
fn a_resume_goes_on_waiting_for_what_it_replays() {
    let (mut play, conn) = ready(Intents::GUILDS);
    guild(&mut play, conn, 2, "GUILD_CREATE", r#"{"id":"1"}"#);
    play.fin(conn);
    let (conn, _) = play.reconnect(41_250);
    guild(&mut play, conn, 3, "GUILD_CREATE", r#"{"id":"2"}"#);
    assert!(loaded(&play).is_empty());
    guild(&mut play, conn, 4, "GUILD_CREATE", r#"{"id":"3"}"#);
    play.resumed(conn, 5);
    let said = loaded(&play);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].contains("guilds: 3") && said[0].contains("missing: []"),
        "{said:?}"
    );
}

#[test]
fn other_events_do_not_prolong_the_wait() {
    let (mut play, conn) = ready(Intents::GUILDS);
    for seq in 2..=4 {
        play.pass(ms(4_900));
        play.dispatch(conn, seq, "MESSAGE_CREATE");
    }
    assert!(loaded(&play).is_empty());
    play.pass(ms(400));
    assert_eq!(loaded(&play).len(), 1, "15 s from READY");
}

#[test]
fn a_resume_waits_anew() {
    let (mut play, conn) = ready(Intents::GUILDS);
    play.pass(secs(14));
    play.fin(conn);
    let (conn, _) = play.reconnect(41_250);
    play.resumed(conn, 2);
    play.pass(ms(14_900));
    assert!(loaded(&play).is_empty());
    play.pass(ms(200));
    assert_eq!(loaded(&play).len(), 1);
}

#[test]
fn what_is_not_read_may_still_come() {
    let (mut play, _) = ready(Intents::GUILDS);
    play.tell(Input::Congested(true));
    play.pass(secs(20));
    assert!(loaded(&play).is_empty(), "nothing was read");
    play.tell(Input::Congested(false));
    play.pass(secs(5));
    assert!(loaded(&play).is_empty(), "there was no time to read");
    play.pass(secs(10));
    assert_eq!(loaded(&play).len(), 1);
}

//! Whole lists take turns, and what Discord refuses is asked once more: one rule a test.

mod desk;

use desk::{Desk, GUILD, ms, secs};
use shardwright_core::{
    Command, GuildId, GuildMembersRequest, Input, RequestGuildMembers, RequestMembersError, UserId,
};

fn by_prefix() -> GuildMembersRequest {
    GuildMembersRequest::by_prefix(GUILD, "a", 100)
}

fn everyone() -> GuildMembersRequest {
    GuildMembersRequest::everyone(GUILD)
}

#[test]
fn a_request_that_left_twice_is_answered_once() {
    let mut desk = Desk::up();
    desk.flush = false;
    desk.ask(1, everyone());
    // It arrived, but that is not known when the line breaks: it is sent again after the resume.
    let conn = desk.conn.unwrap();
    desk.tell(Input::Closed { conn, code: None });
    desk.flush = true;
    desk.reconnect();
    desk.chunk(0, 0, 2, &[1]);
    desk.event("RESUMED", "null");
    assert_eq!(desk.asked.len(), 2);
    let nonce = desk.nonce(0);
    assert_eq!(desk.nonce(1), nonce);
    desk.event("RATE_LIMITED", &rate_limited(8, "3000", Some(&nonce)));
    desk.chunk(0, 1, 2, &[2]);
    assert_eq!(desk.members_of(1), [1, 2]);
    desk.pass(secs(60));
    assert_eq!(desk.asked.len(), 2);
}

#[test]
fn a_second_whole_list_of_a_guild_waits_for_its_turn() {
    let mut desk = Desk::up();
    desk.ask(1, everyone());
    desk.pass(secs(1));
    desk.ask(2, everyone());
    desk.ask(3, GuildMembersRequest::everyone(GuildId::new(7)));
    desk.ask(4, by_prefix());
    assert_eq!(
        desk.asked.len(),
        3,
        "other guilds and other requests do not wait"
    );
    desk.chunk(0, 0, 1, &[1]);
    assert_eq!(desk.members_of(1), [1]);
    desk.pass(secs(60));
    assert_eq!(desk.asked.len(), 4);
    assert_eq!(desk.asked[3].0, ms(30_150), "not sooner and not much later");
    // The wait counts: a second more and it would have been over.
    let (received, expected) = (0, None);
    assert_eq!(
        desk.end_of(2),
        &Err(RequestMembersError::TimedOut { received, expected })
    );
}

#[test]
fn a_whole_list_that_the_consumer_asks_for_by_itself_counts() {
    let mut desk = Desk::up();
    let command = Command::request_guild_members(RequestGuildMembers::everyone(GUILD));
    desk.command(1, command.unwrap());
    desk.ask(2, everyone());
    assert_eq!(desk.asked.len(), 1);
    desk.pass(secs(31));
    assert_eq!(desk.asked.len(), 2);
}

#[test]
fn a_whole_list_that_has_not_left_yet_keeps_the_turn() {
    let mut desk = Desk::up();
    desk.flush = false;
    desk.ask(1, everyone().time_allowed(secs(1)));
    desk.ask(2, everyone().time_allowed(secs(300)));
    desk.pass(secs(100));
    assert_eq!(desk.asked.len(), 1);
    desk.flush = true;
    let conn = desk.conn.unwrap();
    desk.tell(Input::Flushed { conn });
    let left = desk.now - desk.began;
    desk.pass(secs(31));
    assert_eq!(desk.asked.len(), 2);
    assert_eq!(desk.asked[1].0, left + ms(30_150));
}

fn rate_limited(opcode: u64, retry_after: &str, nonce: Option<&str>) -> String {
    let nonce = nonce
        .map(|nonce| format!(r#","nonce":"{nonce}""#))
        .unwrap_or_default();
    format!(
        r#"{{"opcode":{opcode},"retry_after":{retry_after},"meta":{{"guild_id":"{GUILD}"{nonce}}}}}"#
    )
}

#[test]
fn a_refused_request_is_repeated_once() {
    let mut desk = Desk::up();
    desk.ask(1, everyone());
    desk.ask(2, by_prefix());
    let nonce = desk.nonce(0);
    desk.event("RATE_LIMITED", &rate_limited(8, "28.9", Some(&nonce)));
    desk.chunk(1, 0, 1, &[2]);
    assert_eq!(desk.members_of(2), [2], "the other is unharmed");
    desk.pass(ms(28_899));
    assert_eq!(desk.asked.len(), 2);
    desk.pass(ms(1));
    assert_eq!(desk.asked.len(), 3);
    desk.chunk(2, 0, 1, &[1]);
    assert_eq!(desk.members_of(1), [1]);
}

#[test]
fn refused_twice_is_an_error() {
    let mut desk = Desk::up();
    desk.ask(1, everyone());
    let nonce = desk.nonce(0);
    desk.event("RATE_LIMITED", &rate_limited(8, "5", Some(&nonce)));
    desk.pass(secs(5));
    desk.event(
        "RATE_LIMITED",
        &rate_limited(8, "7.5", Some(&desk.nonce(1))),
    );
    let retry_after = ms(7_500);
    assert_eq!(
        desk.end_of(1),
        &Err(RequestMembersError::RateLimited { retry_after })
    );
    desk.assert_free();
}

#[test]
fn a_refusal_that_outlasts_the_time_allowed_is_an_error_at_once() {
    for (retry_after, found) in [
        // At the very end there would be no time for the answer.
        ("20", secs(20)),
        ("28.9", ms(28_900)),
        ("1e300", std::time::Duration::MAX),
    ] {
        let mut desk = Desk::up();
        desk.ask(1, everyone().time_allowed(secs(20)));
        let nonce = desk.nonce(0);
        desk.event("RATE_LIMITED", &rate_limited(8, retry_after, Some(&nonce)));
        let retry_after = found;
        assert_eq!(
            desk.end_of(1),
            &Err(RequestMembersError::RateLimited { retry_after })
        );
        desk.assert_free();
    }
}

#[test]
fn other_refusals_are_plain_events() {
    let mut desk = Desk::up();
    desk.ask(1, everyone());
    let nonce = desk.nonce(0);
    for body in [
        rate_limited(8, "5", None),
        rate_limited(77, "5", Some(&nonce)),
        rate_limited(8, "5", Some("mine")),
    ] {
        desk.event("RATE_LIMITED", &body);
    }
    desk.pass(secs(10));
    assert_eq!((desk.done.len(), desk.asked.len()), (0, 1));
    let refusals = desk.events.iter().filter(|name| *name == "RATE_LIMITED");
    assert_eq!(refusals.count(), 3);
}

#[test]
fn a_pause_that_makes_no_sense_is_none() {
    let mut desk = Desk::up();
    desk.ask(1, by_prefix());
    let nonce = desk.nonce(0);
    desk.event("RATE_LIMITED", &rate_limited(8, "-1", Some(&nonce)));
    assert_eq!(desk.asked.len(), 2);
    desk.chunk(1, 0, 1, &[1]);
    assert_eq!(desk.members_of(1), [1]);
}

#[test]
fn a_refused_search_leaves_the_turn_for_whole_lists_alone() {
    let mut desk = Desk::up();
    desk.ask(1, by_prefix());
    let nonce = desk.nonce(0);
    desk.event("RATE_LIMITED", &rate_limited(8, "20", Some(&nonce)));
    desk.ask(2, everyone());
    assert_eq!(desk.asked.len(), 2);
    assert_eq!(desk.asked[1].1["query"], "");
}

#[test]
fn it_is_woken_for_what_is_due_and_for_nothing_else() {
    let mut desk = Desk::up();
    desk.ask(1, everyone().time_allowed(secs(50)));
    desk.ask(2, by_prefix().time_allowed(secs(60)));
    // Nobody waits for the turn, which comes before.
    assert_eq!(desk.collector.wake_at(), Some(desk.began + secs(50)));

    // A repetition that is due and finds no room waits for room, not for a time.
    desk.event("RATE_LIMITED", &rate_limited(8, "5", Some(&desk.nonce(1))));
    assert_eq!(desk.collector.wake_at(), Some(desk.began + secs(5)));
    desk.flush = false;
    let ids = (1..=2_000).map(UserId::new);
    desk.ask(3, GuildMembersRequest::by_ids(GUILD, ids));
    desk.pass(secs(5));
    assert_eq!(desk.collector.wake_at(), Some(desk.began + secs(50)));
}

//! Collected answers to requests for members: one rule a test.

mod desk;

use desk::{Desk, GUILD, ms, secs};
use shardwright_core::{
    CommandError, CommandId, GuildMembersRequest, Input, MemberCollector, RawJson,
    RequestMembersError, Stop, UserId,
};

fn by_prefix() -> GuildMembersRequest {
    GuildMembersRequest::by_prefix(GUILD, "a", 100)
}

fn everyone() -> GuildMembersRequest {
    GuildMembersRequest::everyone(GUILD)
}

fn by_ids(count: u64) -> GuildMembersRequest {
    GuildMembersRequest::by_ids(GUILD, (1..=count).map(UserId::new))
}

#[test]
fn chunks_of_two_requests_interleave_and_come_out_of_order() {
    let mut desk = Desk::up();
    desk.ask(1, by_prefix());
    desk.ask(2, by_prefix());
    desk.chunk(0, 2, 3, &[103]);
    desk.chunk(1, 0, 2, &[201, 202]);
    desk.chunk(0, 0, 3, &[101]);
    assert!(desk.done.is_empty());
    desk.chunk(1, 1, 2, &[203]);
    assert_eq!(desk.done.len(), 1);
    assert_eq!(desk.members_of(2), [201, 202, 203]);
    desk.chunk(0, 1, 3, &[102]);
    // By the chunks' numbers, in whatever order they came.
    assert_eq!(desk.members_of(1), [101, 102, 103]);
    desk.chunk(0, 1, 3, &[102]);
    assert_eq!(desk.done.len(), 2, "each ends once");
    desk.assert_free();
    let chunks = desk
        .events
        .iter()
        .filter(|name| *name == "GUILD_MEMBERS_CHUNK");
    assert_eq!(chunks.count(), 6, "they are events all the same");
}

#[test]
fn a_duplicate_is_ignored() {
    let mut desk = Desk::up();
    desk.ask(1, by_prefix());
    desk.chunk(0, 0, 2, &[1]);
    let memory = desk.collector.memory();
    desk.chunk(0, 0, 2, &[1]);
    assert_eq!(desk.collector.memory(), memory);
    assert!(desk.done.is_empty());
    desk.chunk(0, 1, 2, &[2]);
    assert_eq!(desk.members_of(1), [1, 2]);
}

#[test]
fn not_found_and_presences_are_kept_and_members_stay_as_written() {
    let mut desk = Desk::up();
    desk.ask(1, by_ids(3).presences(true));
    assert_eq!(
        desk.asked[0].1["user_ids"],
        serde_json::json!(["1", "2", "3"])
    );
    assert_eq!(desk.asked[0].1["presences"], true);
    let nonce = desk.nonce(0);
    // An id that is no snowflake comes back as an integer.
    desk.event("GUILD_MEMBERS_CHUNK", &format!(
        r#"{{"guild_id":"{GUILD}","members":[{{"user": {{"id":"1"}}, "x":1.50}}],"chunk_index":0,"chunk_count":1,"not_found":["2",3],"presences":[{{"user":{{"id":"1"}},"status":"idle"}}],"nonce":"{nonce}"}}"#
    ));
    let members = desk.end_of(1).clone().unwrap();
    assert_eq!(members.guild, GUILD);
    assert_eq!(
        members.members[0].get(),
        r#"{"user": {"id":"1"}, "x":1.50}"#
    );
    assert_eq!(
        members.presences[0].get(),
        r#"{"user":{"id":"1"},"status":"idle"}"#
    );
    assert_eq!(members.not_found, [UserId::new(2), UserId::new(3)]);
    assert_eq!(members.nonces.len(), 1);
    assert_eq!(members.nonces[0].as_str(), nonce);
    desk.assert_free();
}

#[test]
fn nobody_found_is_an_answer() {
    let mut desk = Desk::up();
    desk.ask(1, by_prefix());
    desk.chunk(0, 0, 1, &[]);
    assert!(desk.members_of(1).is_empty());
}

#[test]
fn any_number_of_ids_is_asked_for_in_batches_of_a_hundred() {
    let mut desk = Desk::up();
    let twice = (1..=1250).chain(1..=10).map(UserId::new);
    desk.ask(1, GuildMembersRequest::by_ids(GUILD, twice));
    let sizes: Vec<usize> = desk
        .asked
        .iter()
        .map(|(_, d)| d["user_ids"].as_array().unwrap().len())
        .collect();
    assert_eq!(sizes, [[100; 12].as_slice(), &[50]].concat());
    // The last batch is answered first.
    for n in (0..13).rev() {
        assert!(desk.done.is_empty());
        let first = n as u64 * 100 + 1;
        desk.chunk(n, 0, 1, &[first, first + 1]);
    }
    let expected: Vec<u64> = (0..13).flat_map(|n| [n * 100 + 1, n * 100 + 2]).collect();
    assert_eq!(desk.members_of(1), expected);
    assert_eq!(desk.end_of(1).as_ref().unwrap().nonces.len(), 13);
    desk.assert_free();
}

#[test]
fn a_long_list_of_ids_holds_up_nobody() {
    let mut desk = Desk::up();
    desk.flush = false;
    desk.ask(1, by_ids(100_000));
    let handed_over = desk.asked.len();
    assert_eq!(handed_over, 8, "the machine's queue stays free");
    desk.ask(2, by_prefix());
    assert_eq!(desk.collector.pending(), 2);
    desk.flush = true;
    let conn = desk.conn.unwrap();
    desk.tell(Input::Flushed { conn });
    let place = desk.asked.iter().position(|(_, d)| d["query"] == "a");
    assert_eq!(
        place,
        Some(handed_over),
        "it goes before the other's next batch"
    );
}

#[test]
fn nonces_are_short_and_each_is_new() {
    let mut desk = Desk::up();
    for id in 0..5 {
        desk.ask(id, by_ids(300));
    }
    let mut nonces: Vec<_> = (0..desk.asked.len()).map(|n| desk.nonce(n)).collect();
    assert!(nonces.iter().all(|nonce| (1..=32).contains(&nonce.len())));
    nonces.sort();
    nonces.dedup();
    assert_eq!(nonces.len(), 15);
}

#[test]
fn chunks_of_others_are_left_alone() {
    let mut desk = Desk::up();
    desk.ask(1, by_prefix());
    let own = desk.nonce(0);
    for nonce in [
        "mine",
        "",
        "0.1.0",
        &format!("{own}.0"),
        &own.to_uppercase(),
        &format!("0{own}"),
    ] {
        if nonce != own {
            desk.event("GUILD_MEMBERS_CHUNK", &desk::chunk(nonce, 0, 1, &[9]));
        }
    }
    let bare = format!(r#"{{"guild_id":"{GUILD}","members":[],"chunk_index":0,"chunk_count":1}}"#);
    desk.event("GUILD_MEMBERS_CHUNK", &bare);
    assert_eq!((desk.done.len(), desk.collector.memory()), (0, 0));
    desk.chunk(0, 0, 1, &[1]);
    assert_eq!(desk.members_of(1), [1]);
}

#[test]
fn chunks_that_make_no_sense_change_nothing() {
    let mut desk = Desk::up();
    desk.ask(1, by_prefix());
    desk.chunk(0, 0, 2, &[1]);
    let nonce = desk.nonce(0);
    for (index, count, members) in [
        ("1", "1", "[]"),
        ("2", "2", "[]"),
        ("1", "3", "[]"),
        ("0", "0", "[]"),
        ("-1", "2", "[]"),
        ("1", "99999999999", "[]"),
        ("1", "2", "{}"),
        ("1", "2", "7"),
    ] {
        desk.event("GUILD_MEMBERS_CHUNK", &format!(
            r#"{{"guild_id":"{GUILD}","members":{members},"chunk_index":{index},"chunk_count":{count},"nonce":"{nonce}"}}"#
        ));
    }
    desk.event("GUILD_MEMBERS_CHUNK", "null");
    desk.event("RATE_LIMITED", "[]");
    assert!(desk.done.is_empty());
    desk.chunk(0, 1, 2, &[2]);
    assert_eq!(desk.members_of(1), [1, 2]);
}

#[test]
fn a_request_waits_for_a_session() {
    let mut desk = Desk::idle();
    desk.ask(1, by_prefix());
    desk.tell(Input::Start);
    desk.greet();
    assert!(desk.asked.is_empty());
    desk.ready("A");
    assert_eq!(desk.asked.len(), 1, "the first READY loses nothing");
    desk.chunk(0, 0, 1, &[1]);
    assert_eq!(desk.members_of(1), [1]);
}

#[test]
fn over_a_resume_it_goes_on() {
    let mut desk = Desk::up();
    desk.ask(1, everyone());
    desk.chunk(0, 0, 3, &[1]);
    desk.text(r#"{"t":null,"s":null,"op":7,"d":null}"#);
    desk.reconnect();
    // The replay.
    desk.chunk(0, 1, 3, &[2]);
    desk.chunk(0, 2, 3, &[3]);
    assert_eq!(desk.members_of(1), [1, 2, 3]);
    desk.event("RESUMED", "null");
    assert_eq!(desk.asked.len(), 1, "it is asked once");
    desk.assert_free();
}

#[test]
fn a_lost_session_ends_it_at_once() {
    let mut desk = Desk::up();
    desk.ask(1, everyone());
    desk.chunk(0, 0, 3, &[1]);
    assert!(desk.collector.memory() > 0);
    desk.text(r#"{"t":null,"s":null,"op":9,"d":false}"#);
    assert_eq!(desk.end_of(1), &Err(RequestMembersError::SessionLost));
    desk.assert_free();
}

#[test]
fn a_lost_session_ends_what_it_was_asked_and_has_not_begun_to_answer() {
    let mut desk = Desk::up();
    desk.ask(1, everyone());
    desk.text(r#"{"t":null,"s":null,"op":9,"d":false}"#);
    assert_eq!(desk.end_of(1), &Err(RequestMembersError::SessionLost));
    desk.assert_free();
}

#[test]
fn what_the_lost_session_has_begun_to_answer_ends_though_nothing_says_that_it_left() {
    let mut desk = Desk::up();
    desk.flush = false;
    desk.ask(1, by_prefix());
    desk.chunk(0, 0, 2, &[1]);
    desk.text(r#"{"t":null,"s":null,"op":9,"d":false}"#);
    assert_eq!(desk.end_of(1), &Err(RequestMembersError::SessionLost));
}

#[test]
fn what_the_lost_session_was_not_asked_is_asked_in_the_next() {
    let mut desk = Desk::up();
    desk.text(r#"{"t":null,"s":null,"op":7,"d":null}"#);
    desk.ask(1, by_prefix());
    desk.reconnect();
    desk.text(r#"{"t":null,"s":null,"op":9,"d":false}"#);
    desk.reconnect();
    desk.ready("B");
    assert_eq!(desk.asked.len(), 1);
    desk.chunk(0, 0, 1, &[1]);
    assert_eq!(desk.members_of(1), [1]);
}

#[test]
fn without_an_answer_the_deadline_ends_it() {
    let mut desk = Desk::up();
    desk.ask(1, everyone().time_allowed(secs(20)));
    desk.ask(2, by_ids(250).time_allowed(secs(10)));
    desk.chunk(1, 0, 2, &[1]);
    desk.chunk(2, 0, 1, &[2]);
    desk.pass(ms(9_999));
    assert!(desk.done.is_empty());
    desk.pass(secs(60));
    let ended: Vec<_> = desk.done.iter().map(|(at, id, _)| (*at, *id)).collect();
    assert_eq!(ended, [(secs(10), 2), (secs(20), 1)]);
    let (received, expected) = (2, None);
    assert_eq!(
        desk.end_of(2),
        &Err(RequestMembersError::TimedOut { received, expected })
    );
    let (received, expected) = (0, None);
    assert_eq!(
        desk.end_of(1),
        &Err(RequestMembersError::TimedOut { received, expected })
    );
    desk.chunk(0, 0, 1, &[1]);
    assert_eq!(desk.done.len(), 2, "too late");
    desk.assert_free();
}

#[test]
fn a_deadline_tells_how_much_has_come() {
    let mut desk = Desk::up();
    desk.ask(1, everyone().time_allowed(secs(5)));
    desk.chunk(0, 1, 3, &[1]);
    desk.pass(secs(5));
    let (received, expected) = (1, Some(3));
    let error = RequestMembersError::TimedOut { received, expected };
    assert_eq!(
        error.to_string(),
        "1 of 3 chunks came in time; allow more time"
    );
    assert_eq!(desk.end_of(1), &Err(error));
}

#[test]
fn absurd_counts_add_up_to_no_more_than_a_number_holds() {
    let mut desk = Desk::up();
    desk.ask(1, by_ids(200).time_allowed(secs(5)));
    desk.chunk(0, u32::MAX - 1, u32::MAX, &[1]);
    desk.chunk(1, 0, u32::MAX, &[2]);
    desk.pass(secs(5));
    let (received, expected) = (2, Some(u32::MAX));
    let error = RequestMembersError::TimedOut { received, expected };
    assert_eq!(desk.end_of(1), &Err(error));
}

#[test]
fn a_paused_consumer_ends_all_at_once() {
    let mut desk = Desk::up();
    desk.ask(1, everyone());
    desk.chunk(0, 0, 2, &[1]);
    desk.congested(true);
    assert_eq!(desk.end_of(1), &Err(RequestMembersError::ConsumerStalled));
    desk.ask(2, by_prefix());
    assert_eq!(desk.end_of(2), &Err(RequestMembersError::ConsumerStalled));
    desk.congested(false);
    desk.ask(3, by_prefix());
    desk.chunk(1, 0, 1, &[3]);
    assert_eq!(desk.members_of(3), [3]);
}

#[test]
fn the_end_of_the_shard_ends_all() {
    let mut desk = Desk::up();
    desk.ask(1, everyone());
    desk.ask(2, everyone());
    desk.chunk(0, 0, 2, &[1]);
    desk.stop();
    for id in [1, 2] {
        assert_eq!(desk.end_of(id), &Err(RequestMembersError::ShardStopped));
    }
    desk.ask(3, by_prefix());
    assert_eq!(desk.end_of(3), &Err(RequestMembersError::ShardStopped));
    desk.assert_free();

    let mut waiting = Desk::idle();
    waiting.ask(1, by_prefix());
    waiting.tell(Input::Stop(Stop::Keep));
    assert_eq!(waiting.end_of(1), &Err(RequestMembersError::ShardStopped));
    waiting.assert_free();
}

#[test]
fn what_discord_would_refuse_is_refused_before_it_is_sent() {
    let mut desk = Desk::up();
    desk.ask(1, by_ids(0));
    desk.ask(2, GuildMembersRequest::by_prefix(GUILD, "a", 0));
    desk.ask(
        3,
        GuildMembersRequest::by_prefix(GUILD, "a".repeat(5000), 1),
    );
    for (id, field) in [(1, Some("user_ids")), (2, Some("limit")), (3, None)] {
        match desk.end_of(id) {
            Err(RequestMembersError::Refused(CommandError::BadValue { field: found, .. })) => {
                assert_eq!(Some(&**found), field);
            }
            Err(RequestMembersError::Refused(CommandError::TooLarge { .. })) => {
                assert_eq!(field, None);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(desk.asked.is_empty());
    desk.assert_free();
}

#[test]
fn more_than_is_allowed_is_given_up() {
    let mut desk = Desk::up();
    desk.ask(1, everyone().max_bytes(1000));
    desk.chunk(0, 0, 3, &[1, 2, 3]);
    assert!((300..=1000).contains(&desk.collector.memory()));
    desk.chunk(0, 1, 3, &[4, 5, 6]);
    assert_eq!(
        desk.end_of(1),
        &Err(RequestMembersError::TooLarge { limit: 1000 })
    );
    desk.assert_free();
    // Chunks without members are not free either.
    desk.ask(2, by_prefix().max_bytes(1000));
    for index in 0..100 {
        desk.chunk(1, index, u32::MAX, &[]);
    }
    assert_eq!(
        desk.end_of(2),
        &Err(RequestMembersError::TooLarge { limit: 1000 })
    );
}

#[test]
fn everything_that_is_kept_counts() {
    let body = |desk: &Desk, n: usize, lists: [&str; 3]| {
        let [members, presences, not_found] = lists;
        format!(
            r#"{{"members":{members},"presences":{presences},"not_found":{not_found},"chunk_index":0,"chunk_count":2,"nonce":"{}"}}"#,
            desk.nonce(n)
        )
    };
    let lists = [r#"[{},{}]"#, r#"[{},{},{}]"#, r#"["1","2","3","4"]"#];
    let mut desk = Desk::up();
    desk.ask(1, everyone().presences(true));
    let empty = body(&desk, 0, ["[]"; 3]);
    desk.event("GUILD_MEMBERS_CHUNK", &empty);
    let item = desk.collector.memory() - 3 * "[]".len();
    desk.event(
        "GUILD_MEMBERS_CHUNK",
        &empty.replace("index\":0", "index\":1"),
    );
    desk.ask(2, by_prefix());
    let full = body(&desk, 1, lists);
    desk.event("GUILD_MEMBERS_CHUNK", &full);
    // The chunk, two members, three presences, four ids, and the text of the lists.
    let counted = 10 * item + lists.concat().len();
    assert_eq!(desk.collector.memory(), counted);
    // As much as is allowed is allowed, and not a byte more.
    desk.ask(3, by_prefix().max_bytes(counted));
    let full = body(&desk, 2, lists);
    desk.event("GUILD_MEMBERS_CHUNK", &full);
    assert_eq!(desk.collector.memory(), 2 * counted);
    let limit = counted - 1;
    desk.ask(4, by_prefix().max_bytes(limit));
    let full = body(&desk, 3, lists);
    desk.event("GUILD_MEMBERS_CHUNK", &full);
    let error = RequestMembersError::TooLarge { limit };
    assert_eq!(desk.end_of(4), &Err(error));
}

#[test]
fn numbers_of_commands_tell_whose_they_are() {
    // What the collector sends is looked at by the desk.
    for id in [0, 1, u64::MAX >> 1] {
        assert!(!MemberCollector::owns(CommandId(id)), "{id}");
    }
}

#[test]
fn members_are_the_same_if_their_texts_are() {
    let read = |text: &str| serde_json::from_str::<RawJson>(text).unwrap();
    assert_eq!(read(r#"{"a":1.50}"#), read(r#"{"a":1.50}"#));
    assert_ne!(read(r#"{"a":1.50}"#), read(r#"{"a":1.5}"#));
}

#[test]
fn errors_say_what_to_do_next() {
    for error in [
        RequestMembersError::TimedOut {
            received: 0,
            expected: None,
        },
        RequestMembersError::RateLimited {
            retry_after: ms(28_900),
        },
        RequestMembersError::SessionLost,
        RequestMembersError::ConsumerStalled,
        RequestMembersError::ShardStopped,
        RequestMembersError::Refused(CommandError::NotReady),
        RequestMembersError::TooLarge { limit: 7 },
    ] {
        assert!(error.to_string().contains("; "), "{error}");
    }
}

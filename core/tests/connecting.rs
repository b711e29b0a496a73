//! Dialling: what happens while nothing answers, answers wrongly, or stops answering on the way.

mod play;

use std::time::{Duration, SystemTime};

use play::{Did, IDENTIFY, MAIN, NULL_BEAT, Play, ms, resume, secs};
use shardwright_core::{ConnId, Input, Next, Phase, ShardId, ShardState, TransportFault};

fn upgrade(status: u16, retry_after: Option<Duration>) -> TransportFault {
    TransportFault::Upgrade {
        status,
        retry_after,
    }
}

fn started(seed: u64) -> Play {
    let mut play = Play::seeded(seed);
    play.tell(Input::Start);
    play
}

#[test]
fn ten_minutes_offline_cost_few_dials_with_growing_pauses_and_end_within_a_minute() {
    let mut all = 0;
    let (mut early, mut late) = (secs(0), secs(0));
    for seed in 0..40 {
        let mut play = Play::up_with(Play::seeded(seed), 41250);
        play.fin(play.conn());
        play.refuse_all(secs(600), &TransportFault::Refused);
        all += play.dials().len() - 1;
        let delays: Vec<_> = play.delays.iter().map(|(_, delay)| *delay).collect();
        assert!(delays.iter().all(|delay| *delay <= secs(60)));
        early += delays[..5].iter().sum::<Duration>();
        late += delays[5..10].iter().sum::<Duration>();
        let back = play.elapsed();
        let (conn, _) = play.reconnect(41250);
        assert!(play.elapsed() - back <= secs(60));
        assert_eq!(play.sent(conn), [resume("A", 1)]);
    }
    assert!(all <= 40 * 30, "{} dials on average", all / 40);
    assert!(late > early * 3, "{early:?} {late:?}");
}

#[test]
fn a_dial_that_nobody_answers_is_given_up_and_its_late_success_is_void() {
    let mut play = started(1);
    let first = play.conn();
    play.pass(secs(30));
    let aborted = play
        .done
        .iter()
        .find(|(_, did)| *did == Did::Abort(1))
        .unwrap();
    assert_eq!(aborted.0, secs(10));
    play.open(first);
    play.hello(first, 41250);
    assert!(play.sent(first).is_empty());
    assert!(play.dials().len() >= 2);
    while play.phase() != Phase::Connecting {
        play.next_dial();
    }
    let conn = play.conn();
    play.open(conn);
    play.hello(conn, 41250);
    assert_eq!(play.sent(conn), [IDENTIFY]);
}

#[test]
fn silence_after_the_upgrade_is_left_with_nothing_sent_and_growing_pauses() {
    let (mut first, mut last) = (secs(0), secs(0));
    for seed in 0..40 {
        let mut play = started(seed);
        for n in 0..6 {
            let conn = play.conn();
            play.open(conn);
            let opened = play.elapsed();
            play.next_dial();
            let (at, _) = play
                .done
                .iter()
                .find(|(_, did)| *did == Did::Close(conn.get(), 4000))
                .unwrap();
            assert_eq!(*at - opened, secs(20));
            assert!(play.sent(conn).is_empty());
            let (next, pause) = play.delays[n];
            assert_eq!(next, Next::Identify);
            if n == 0 {
                first += pause;
            } else if n == 5 {
                last += pause;
            }
        }
        assert_eq!(play.notices("HelloTimeout").len(), 6);
    }
    assert!(last > first * 5, "{first:?} {last:?}");
}

#[test]
fn an_identify_that_is_never_answered_goes_back_to_the_queue() {
    let mut play = started(1);
    let conn = play.conn();
    play.open(conn);
    play.hello(conn, 5000);
    let at = play.elapsed();
    let (again, _) = play.next_dial();
    let waited = play.elapsed() - at;
    assert!((secs(15)..secs(180)).contains(&waited), "{waited:?}");
    assert_eq!(play.notices("ReadyTimeout").len(), 1);
    assert!(play.sent(conn).len() > 10, "beats went on");
    play.open(again);
    play.hello(again, 5000);
    let wants = |conn: ConnId| {
        play.done
            .iter()
            .filter(|(_, did)| *did == Did::WantIdentify(conn.get()))
            .count()
    };
    assert_eq!((wants(conn), wants(again)), (1, 1));
    assert_eq!(play.sent(again), [IDENTIFY]);
}

#[test]
fn a_resume_that_is_never_answered_is_given_up_a_replay_that_moves_is_not() {
    let mut play = Play::up_with(Play::new(), 5000);
    play.fin(play.conn());
    let mut tries = 0;
    loop {
        let (conn, _) = play.reconnect(5000);
        if play.sent(conn) == [IDENTIFY] {
            break;
        }
        tries += 1;
        let at = play.elapsed();
        while play.phase() == Phase::Resuming {
            play.pass(secs(1));
        }
        assert!((secs(15)..secs(180)).contains(&(play.elapsed() - at)));
    }
    assert_eq!(tries, 5);
    assert_eq!(play.notices("ResumedTimeout").len(), 5);

    let mut play = Play::up_with(Play::new(), 5000);
    play.fin(play.conn());
    let (conn, _) = play.reconnect(5000);
    for s in 2..32 {
        play.pass(secs(30));
        play.dispatch(conn, s, "X");
    }
    assert_eq!(play.phase(), Phase::Resuming, "after a quarter of an hour");
    play.resumed(conn, 32);
    assert_eq!(play.phase(), Phase::Live);
    assert_eq!(play.dials().len(), 2);
}

#[test]
fn pauses_grow_until_a_session_stands_and_start_small_after_that() {
    let mut sums = [secs(0); 10];
    for seed in 0..40 {
        let mut play = started(seed);
        for sum in &mut sums {
            let conn = play.conn();
            play.open(conn);
            play.hello(conn, 41250);
            play.close(conn, Some(1011));
            *sum += play.delays.last().unwrap().1;
            play.next_dial();
        }
        let conn = play.conn();
        play.open(conn);
        play.hello(conn, 41250);
        play.ready(conn, "A", "ws://r1.example", 1);
        play.fin(conn);
        assert!(play.delays.last().unwrap().1 < secs(1), "READY clears it");
        for _ in 0..4 {
            let (conn, _) = play.reconnect(41250);
            play.close(conn, Some(1011));
        }
        let (conn, _) = play.resume_again(41250, 2);
        play.pass(secs(61));
        play.fin(conn);
        assert!(play.delays.last().unwrap().1 < secs(1), "RESUMED clears it");
    }
    assert!(sums[3] > sums[0] * 2 && sums[9] > sums[3], "{sums:?}");
}

#[test]
fn a_session_that_falls_as_soon_as_it_stands_is_not_retried_in_a_tight_loop() {
    let (mut first, mut last) = (secs(0), secs(0));
    for seed in 0..40 {
        let mut play = Play::up_with(Play::seeded(seed), 41250);
        for s in 2..12 {
            play.fin(play.conn());
            play.resume_again(41250, s);
        }
        first += play.delays[0].1;
        last += play.delays[9].1;
        assert_eq!(play.identifies(), 1);
    }
    assert!(last > first * 10, "{first:?} {last:?}");
}

#[test]
fn a_name_that_cannot_be_looked_up_is_retried_without_end() {
    let mut play = started(1);
    play.refuse_all(secs(180), &TransportFault::NameLookup);
    assert!((4..=30).contains(&play.dials().len()));
    assert!(play.notices("ShardStopped").is_empty());
    assert_eq!(
        play.notices("NameLookup").len(),
        play.dials().len(),
        "each is told"
    );
    let (conn, url) = play.reconnect(41250);
    assert_eq!(
        (url.as_str(), play.sent(conn)),
        (MAIN, vec![IDENTIFY.into()])
    );
}

#[test]
fn trouble_at_the_upgrade_is_told_and_retried() {
    let mut play = started(1);
    for n in 1..=3 {
        play.fail(play.conn(), upgrade(520, None));
        assert_eq!(play.notices("UpgradeRefused").len(), n);
        play.next_dial();
    }
    let conn = play.conn();
    play.open(conn);
    play.hello(conn, 41250);
    play.ready(conn, "A", "ws://r1.example", 1);
    assert_eq!(play.phase(), Phase::Live);
}

#[test]
fn a_host_that_names_a_time_is_not_dialled_earlier() {
    for seed in 0..20 {
        let mut play = started(seed);
        play.fail(play.conn(), upgrade(429, Some(secs(7))));
        play.next_dial();
        assert!(play.elapsed() >= secs(7));
        assert!(play.elapsed() < secs(70));
    }
    let mut play = started(1);
    play.fail(play.conn(), upgrade(429, Some(Duration::MAX)));
    play.next_dial();
    assert!(play.elapsed() <= secs(24 * 3600), "not for ever");
}

#[test]
fn a_refused_upgrade_comes_with_the_cure_and_a_redirect_is_not_followed() {
    for (status, word) in [
        (400, "query is wrong"),
        (301, "redirects are not followed"),
        (404, "no gateway"),
        (401, "proxy or firewall"),
        (403, "proxy or firewall"),
        (429, "too many connections"),
        (500, "has trouble"),
        (599, "has trouble"),
        (600, "unexpected"),
    ] {
        let mut play = started(1);
        play.fail(play.conn(), upgrade(status, None));
        let told = play.notices("UpgradeRefused");
        assert!(
            told.len() == 1 && told[0].contains(word) && told[0].contains(&status.to_string()),
            "{told:?}"
        );
        assert_eq!(play.next_dial().1, MAIN);
    }
}

/// A connection brought to a certain point, and what the next one must say first.
type Point = (&'static str, fn(u64) -> Play, bool);

#[test]
fn a_reset_at_any_point_is_one_lost_connection_and_resumes_if_there_is_a_session() {
    fn opened(seed: u64) -> Play {
        let mut play = started(seed);
        play.open(play.conn());
        play
    }
    fn awaiting_permit(seed: u64) -> Play {
        let mut play = opened(seed);
        play.grant = false;
        play.hello(play.conn(), 41250);
        play.grant = true;
        play
    }
    fn identifying(seed: u64) -> Play {
        let mut play = opened(seed);
        play.hello(play.conn(), 41250);
        play
    }
    fn up(seed: u64) -> Play {
        Play::up_with(Play::seeded(seed), 41250)
    }
    fn redialled(seed: u64) -> Play {
        let mut play = up(seed);
        play.op7(play.conn());
        play.next_dial();
        play
    }
    fn reopened(seed: u64) -> Play {
        let mut play = redialled(seed);
        play.open(play.conn());
        play
    }
    fn resuming(seed: u64) -> Play {
        let mut play = reopened(seed);
        play.hello(play.conn(), 41250);
        play
    }
    fn replaying(seed: u64) -> Play {
        let mut play = resuming(seed);
        play.dispatch(play.conn(), 2, "X");
        play
    }
    let points: [Point; 9] = [
        ("dialling", started, false),
        ("opened", opened, false),
        ("awaiting a permit", awaiting_permit, false),
        ("identifying", identifying, false),
        ("live", up, true),
        ("dialling again", redialled, true),
        ("opened again", reopened, true),
        ("resuming", resuming, true),
        ("replaying", replaying, true),
    ];
    for (name, make, resumes) in points {
        for why in [TransportFault::Reset, TransportFault::UnexpectedEnd] {
            for seed in 0..5 {
                let mut play = make(seed);
                let before = play.notices("Disconnected").len();
                let dials = play.dials().len();
                let conn = play.conn();
                play.fail(conn, why.clone());
                play.fin(conn);
                play.fail(conn, why.clone());
                assert_eq!(play.notices("Disconnected").len(), before + 1, "{name}");
                let (conn, _) = play.reconnect(41250);
                let seq = if name == "replaying" { 2 } else { 1 };
                let expected = if resumes {
                    resume("A", seq)
                } else {
                    IDENTIFY.to_owned()
                };
                assert_eq!(play.sent(conn), [expected], "{name}");
                play.pass(ms(1));
                assert_eq!(play.dials().len(), dials + 1, "{name}");
            }
        }
    }
}

#[test]
fn a_permit_belongs_to_its_connection() {
    let mut play = started(1);
    play.grant = false;
    let old = play.conn();
    play.open(old);
    play.hello(old, 41250);
    play.fail(old, TransportFault::Reset);
    assert!(
        play.done
            .iter()
            .any(|(_, did)| *did == Did::WithdrawIdentify(old.get()))
    );
    let (conn, _) = play.reconnect(41250);
    play.tell(Input::IdentifyGranted { conn: old });
    assert_eq!(play.phase(), Phase::AwaitingPermit);
    assert!(play.sent(conn).is_empty());
    play.tell(Input::IdentifyGranted { conn });
    play.tell(Input::IdentifyGranted { conn });
    assert_eq!(
        play.sent(conn),
        [IDENTIFY],
        "once, however often it is said"
    );
}

#[test]
fn beats_go_on_while_the_permit_is_awaited() {
    let mut play = started(1);
    play.grant = false;
    let conn = play.conn();
    play.open(conn);
    play.hello(conn, 1000);
    play.pass(secs(300));
    let sent = play.sent(conn);
    assert!((299..=301).contains(&sent.len()), "{}", sent.len());
    assert!(sent.iter().all(|text| text == NULL_BEAT));
    assert_eq!(play.dials().len(), 1);
}

#[test]
fn a_ready_that_comes_before_the_flush_is_told_shows_that_the_identify_has_left() {
    let mut play = started(1);
    play.flush = false;
    let conn = play.conn();
    play.open(conn);
    play.hello(conn, 41250);
    let sent = |play: &Play| {
        let all = play.done.iter();
        all.filter(|(_, did)| *did == Did::IdentifySent(1)).count()
    };
    assert_eq!((play.phase(), sent(&play)), (Phase::Identifying, 0));
    play.ready(conn, "A", "wss://r1.example", 1);
    assert_eq!(sent(&play), 1, "the bucket of the fleet waits for it");
    play.tell(Input::Flushed { conn });
    assert_eq!(sent(&play), 1, "once");
}

#[test]
fn a_deadline_ends_with_its_connection() {
    // The first connection had a minute for its READY; the second waits much longer for its permit.
    let mut play = started(1);
    let first = play.conn();
    play.open(first);
    play.hello(first, 41250);
    assert_eq!(play.phase(), Phase::Identifying);
    play.grant = false;
    play.fin(first);
    play.reconnect(41250);
    play.pass(secs(600));
    assert_eq!(play.phase(), Phase::AwaitingPermit);
    assert_eq!(play.dials().len(), 2);
    assert_eq!(play.closes(), Vec::<u16>::new());
}

#[test]
fn the_end_of_an_old_connection_ends_no_dial() {
    let mut play = Play::up();
    let old = play.conn();
    play.fin(old);
    play.next_dial();
    play.fin(old);
    play.close(old, Some(4004));
    assert_eq!(play.phase(), Phase::Connecting);
}

#[test]
fn a_turn_whose_identify_may_have_left_is_used() {
    let mut play = started(1);
    play.flush = false;
    let conn = play.conn();
    play.open(conn);
    play.hello(conn, 41250);
    assert_eq!(play.sent(conn), [IDENTIFY]);
    let used = (play.elapsed(), Did::IdentifySent(conn.get()));
    assert!(!play.done.contains(&used), "it has not left yet");
    play.fail(conn, TransportFault::Reset);
    assert!(play.done.contains(&used));
}

#[test]
fn the_minute_for_ready_runs_from_the_moment_identify_has_left() {
    // A write that hangs is given as long.
    let stuck = |flushed: Option<Duration>| {
        let mut play = started(1);
        play.flush = false;
        let conn = play.conn();
        play.open(conn);
        play.hello(conn, 600_000);
        let began = play.elapsed();
        if let Some(after) = flushed {
            play.pass(after);
            play.tell(Input::Flushed { conn });
        }
        while play.phase() == Phase::Identifying {
            play.pass(secs(1));
        }
        assert_eq!(play.notices("ReadyTimeout").len(), 1);
        play.elapsed() - began
    };
    assert_eq!(stuck(None), secs(60));
    assert_eq!(stuck(Some(secs(30))), secs(90));
}

#[test]
fn a_session_id_of_1024_bytes_is_kept_and_a_longer_one_is_refused() {
    for (len, live) in [(1024, true), (1025, false)] {
        let mut play = started(1);
        let conn = play.conn();
        play.open(conn);
        play.hello(conn, 41250);
        let id = "x".repeat(len);
        play.ready(conn, &id, "ws://r1.example", 1);
        assert_eq!(play.phase() == Phase::Live, live, "{len}");
        let state = ShardState {
            seq: Some(7),
            session_id: Some(id),
            ..ShardState::fresh(ShardId::new(0, 1).unwrap())
        };
        assert_eq!(state.is_resumable(), live, "{len}");
    }
}

#[test]
fn a_state_is_resumable_if_it_has_both_id_and_sequence() {
    let state = |id: Option<&str>, seq| ShardState {
        seq,
        session_id: id.map(str::to_owned),
        ..ShardState::fresh(ShardId::new(0, 1).unwrap())
    };
    assert!(state(Some("A"), Some(1)).is_resumable());
    assert!(!state(Some("A"), None).is_resumable());
    assert!(!state(None, Some(1)).is_resumable());
    assert!(!state(Some(""), Some(1)).is_resumable());
}

#[test]
fn a_state_tells_when_it_was_taken_if_the_time_is_known() {
    let mut play = Play::up();
    assert_eq!(play.machine.state().at, None);
    let wall = SystemTime::UNIX_EPOCH + secs(1_700_000_000);
    play.tell(Input::Tick { wall: Some(wall) });
    play.pass(secs(20));
    assert_eq!(play.machine.state().at, Some(1_700_000_020));
}

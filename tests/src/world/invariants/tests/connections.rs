//! Rules 3 to 10.

use super::*;

#[test]
fn rule_3_never_over_120_payloads_in_60_s() {
    for (count, broken) in [(120, &[][..]), (121, &[3])] {
        let mut it = Doctored::new();
        let line = it.open(s(1), MAIN);
        let sent = (0..count).map(|n| Sent {
            at: ms(1000 + n * 499),
            arrived: None,
            op: 3,
        });
        it.line(line).sent.extend(sent);
        assert_eq!(it.broken(), broken);
    }
}

/// A line that lives from 10 s to 100 s, with an interval of 20 s and beats at these times.
fn beating(beats: &[u64]) -> Doctored {
    let mut it = Doctored::new();
    let id = it.open(s(10), MAIN);
    it.log(
        s(10),
        id,
        Seen::Hello {
            interval: Some(s(20)),
        },
    );
    let line = it.line(id);
    line.heard = Some((s(10), s(99)));
    line.ended = Some(s(100));
    line.sent = beats
        .iter()
        .map(|at| Sent {
            at: s(*at),
            arrived: None,
            op: 1,
        })
        .collect();
    it
}

#[test]
fn rule_3_no_beat_is_late() {
    assert_eq!(beating(&[30, 50, 70, 90]).broken(), NONE);
    assert_eq!(beating(&[12, 32, 40, 52, 72, 92]).broken(), NONE);
    for beats in [&[31, 51, 71, 91][..], &[30, 51, 71, 91], &[30, 50, 70], &[]] {
        assert_eq!(beating(beats).broken(), [3], "{beats:?}");
    }
    let mut slept = beating(&[30, 65, 85]);
    slept.bot().slept.push(Span {
        from: s(50),
        to: Some(s(65)),
    });
    assert_eq!(slept.broken(), NONE);
}

#[test]
fn rule_3_what_came_before_hello_is_not_taken_for_it() {
    for (said, broken) in [(8, &[][..]), (10, &[3])] {
        let mut it = beating(&[31, 51, 71, 91]);
        it.line(1).said = Some(s(said));
        assert_eq!(it.broken(), broken, "{said}");
    }
    // The beats after the first are due all the same.
    let mut it = beating(&[31, 52, 71, 91]);
    it.line(1).said = Some(s(8));
    assert_eq!(it.broken(), [3]);
}

#[test]
fn rule_3_a_limit_broken_at_the_server_counts_if_the_line_was_steady() {
    for (late, broken) in [(0, &[3][..]), (2, &[])] {
        let mut it = beating(&[30, 50, 70, 90]);
        it.line(1).sent[0].arrived = Some(s(30 + late));
        it.line(1).sent[1].arrived = Some(s(50));
        it.log(s(60), 1, Seen::Violation(Violation::PresenceLimited));
        assert_eq!(it.broken(), broken);
    }
}

#[test]
fn rule_4_a_silent_line_is_left_in_time() {
    for (heard, broken) in [(60, &[][..]), (59, &[4])] {
        let mut it = beating(&[30, 50, 70, 90]);
        it.line(1).heard = Some((s(10), s(heard)));
        assert_eq!(it.broken(), broken);
    }
    // Without Hello it is 20 s.
    for (left, broken) in [(30, &[][..]), (31, &[4])] {
        let mut it = Doctored::new();
        let line = it.open(s(10), MAIN);
        it.line(line).ended = Some(s(left));
        assert_eq!(it.broken(), broken);
    }
}

/// Beats every 20 s, so 40 s of silence are too long, and each probe takes 10 s.
#[test]
fn rule_4_each_time_a_host_wakes_up_it_may_ask_once_more() {
    let beats: Vec<u64> = (0..5).map(|n| 30 + 20 * n).collect();
    let after = |heard| {
        let mut it = beating(&beats[..4]);
        it.line(1).heard = Some((s(10), s(heard)));
        it
    };
    let nap = |from, to| Span {
        from: s(from),
        to: Some(s(to)),
    };
    // 1 s and 1 s of sleep, two probes: 62 s.
    for (heard, broken) in [(38, &[][..]), (37, &[4])] {
        let mut it = after(heard);
        it.bot().slept.extend([nap(50, 51), nap(60, 61)]);
        assert_eq!(it.broken(), broken);
    }
    // The jump of a clock is seen with the next beat, which may come later.
    for (at, heard, broken) in [
        (45, 50, &[][..]),
        (45, 49, &[4]),
        (31, 50, &[]),
        (29, 50, &[4]),
    ] {
        let mut it = after(heard);
        it.wall_jumps.push(s(at));
        assert_eq!(it.broken(), broken, "{at} {heard}");
    }
}

#[test]
fn rule_4_a_moment_without_room_gives_the_peer_all_the_time_again() {
    for (at, broken) in [(70, &[][..]), (15, &[4])] {
        let mut it = beating(&[30, 50, 70, 90]);
        it.line(1).heard = Some((s(10), s(20)));
        let life = it.line(1).life;
        let moment = Span {
            from: s(at),
            to: Some(s(at)),
        };
        it.bot().congested.push((life, moment));
        assert_eq!(it.broken(), broken);
    }
}

#[test]
fn rule_4_only_a_final_stop_closes_with_1000() {
    for (code, stop, broken) in [
        (4000, None, &[][..]),
        (1000, None, &[4]),
        (1001, None, &[4]),
        (1000, Some(Stop::Keep), &[4]),
        (1000, Some(Stop::Final), &[]),
        (1001, Some(Stop::Final), &[4]),
    ] {
        let mut it = Doctored::new();
        let line = it.open(s(10), MAIN);
        it.line(line).close = Some((s(10), code));
        it.end = s(20);
        it.bot().stop = stop.map(|how| (s(9), how));
        assert_eq!(it.broken(), broken, "{code} {stop:?}");
    }
}

#[test]
fn rule_5_all_are_up_in_bounded_time() {
    for (up, broken) in [(true, &[][..]), (false, &[5])] {
        let mut it = beating(&[30, 50, 70, 90]);
        it.line(1).ended = None;
        it.line(1).heard = Some((s(10), s(7200)));
        it.line(1).sent = (1..=360)
            .map(|n| Sent {
                at: s(10 + n * 20),
                arrived: None,
                op: 1,
            })
            .collect();
        it.calm = Some(s(50));
        if up {
            it.ready(s(11), 1, "one");
        }
        assert_eq!(it.broken(), broken);
        // Those that are up at one time take turns, and no others: 10 s each are more than is left.
        for (over, broken) in [(true, broken), (false, &[])] {
            let mut life = Life::new(ShardId::SINGLE, s(0), None);
            it.bot().lives = vec![life.clone()];
            life.told = over.then_some((s(40), Stop::Keep));
            it.bot().lives.extend(vec![life; 1000]);
            assert_eq!(it.broken(), broken);
        }
    }
}

#[test]
fn rule_5_nobody_dials_after_a_fatal_code() {
    for (code, broken) in [(4004, &[5][..]), (4010, &[5]), (4000, &[])] {
        let mut it = Doctored::new();
        let line = it.open(s(10), MAIN);
        it.line(line).closed = Some((s(10), Some(code)));
        it.dial(s(11), MAIN);
        assert_eq!(it.broken(), broken, "{code}");
    }
}

#[test]
fn rule_6_no_loop_without_a_pause() {
    for (every, count, broken) in [
        (2000, 100, &[][..]),
        (1000, 100, &[6]),
        (10, 7, &[6]),
        (10, 5, &[]),
    ] {
        let mut it = Doctored::new();
        (0..count).for_each(|n| {
            it.dial(ms(n * every), MAIN);
        });
        assert_eq!(it.broken(), broken, "{every} {count}");
    }
    let mut it = Doctored::new();
    for n in 0..50 {
        let (method, path) = ("GET".to_owned(), String::new());
        it.log(
            s(n),
            0,
            Seen::Rest {
                method,
                path,
                status: Some(500),
            },
        );
    }
    assert_eq!(it.broken(), [6]);
}

#[test]
fn rule_7_new_sessions_on_the_main_address() {
    let mut it = Doctored::new();
    let line = it.open(s(1), RESUME);
    it.identify(s(1), line, ms(0));
    assert_eq!(it.broken(), [7]);
}

#[test]
fn rule_7_resumes_where_ready_said() {
    for (tries, broken) in [(3, &[][..]), (2, &[7])] {
        let mut it = Doctored::new();
        let first = it.open(s(1), MAIN);
        it.ready(s(1), first, "one");
        (0..tries).for_each(|n| {
            it.open(s(10 * n + 10), RESUME);
        });
        let last = it.open(s(100), MAIN);
        it.log(
            s(100),
            last,
            Seen::Resume {
                session: "one".to_owned(),
                seq: Some(1),
            },
        );
        assert_eq!(it.broken(), broken);
    }
}

#[test]
fn rule_7_what_ready_says_wrong_is_tried_if_it_is_an_address() {
    for (url, tries, broken) in [
        ("ws://gone.invalid", 3, &[][..]),
        ("ws://gone.invalid", 2, &[7]),
        ("nonsense", 0, &[]),
    ] {
        let mut it = Doctored::new();
        let first = it.open(s(1), MAIN);
        let session = || "one".to_owned();
        let (named, resume) = (url.to_owned(), Some(1));
        it.log(
            s(1),
            first,
            Seen::Misnamed {
                session: session(),
                url: named,
            },
        );
        it.ready(s(1), first, "one");
        (0..tries).for_each(|n| {
            it.dial(s(10 * n + 10), &format!("{url}/?v=10&encoding=json"));
        });
        let last = it.open(s(100), MAIN);
        it.log(
            s(100),
            last,
            Seen::Resume {
                session: session(),
                seq: resume,
            },
        );
        assert_eq!(it.broken(), broken, "{url}");
    }
}

#[test]
fn rule_7_the_query_stays() {
    let mut it = Doctored::new();
    it.dial(s(1), MAIN);
    it.dial(s(20), &format!("{RESUME}&compress=zlib-stream"));
    assert_eq!(it.broken(), [7]);
}

#[test]
fn rule_8_sizes_are_bounded() {
    let mut it = Doctored::new();
    it.bot().most_mail = 105;
    assert_eq!(it.broken(), [8]);
    it.bot().most_drained = 2;
    assert_eq!(it.broken(), [8]);
    // That the shard leaves and ends comes beside what one drain gives.
    it.bot().most_drained = 3;
    assert_eq!(it.broken(), NONE);
    // So does what was kept back while another layout was heard.
    it.bot().most_mail = 115;
    assert_eq!(it.broken(), [8]);
    let mut life = Life::new(ShardId::SINGLE, s(1), None);
    (life.muted, life.heard, life.heard_lately) = (true, Some(s(30)), 10);
    it.bot().lives.push(life);
    assert_eq!(it.broken(), NONE);
    // And what was taken back of a session that is then lost.
    it.bot().most_mail = 115 + 106;
    assert_eq!(it.broken(), [8]);
    it.bot().lives[0].told = Some((s(40), Stop::Keep));
    assert_eq!(it.broken(), NONE);
    it.bot().most_mail += 1;
    assert_eq!(it.broken(), [8]);
    it.bot().most_mail = 0;
    it.bot().most_buffered = 200 << 20;
    assert_eq!(it.broken(), [8]);
    let mut it = Doctored::new();
    let line = it.dial(s(1), MAIN);
    it.line(line).most_unread = (1 << 20) + 1;
    assert_eq!(it.broken(), [8]);
}

#[test]
fn rule_9_one_last_event() {
    let mut it = Doctored::new();
    it.take(s(1), stopped(Vec::new()));
    assert_eq!(it.broken(), NONE);
    it.take(s(1), stopped(Vec::new()));
    assert_eq!(it.broken(), [9]);
}

#[test]
fn rule_9_a_stop_ends() {
    let mut it = Doctored::new();
    it.bot().stop = Some((s(10), Stop::Keep));
    assert_eq!(it.broken(), [9]);
    it.take(s(12), stopped(Vec::new()));
    assert_eq!(it.broken(), NONE);
}

#[test]
fn rule_9_nothing_stirs_after_the_end() {
    for doctor in [
        (|bot: &mut BotStory| bot.after_stop.push("Connect".to_owned())) as fn(&mut BotStory),
        |bot| bot.misuse.push("ack ahead".to_owned()),
    ] {
        let mut it = Doctored::new();
        doctor(it.bot());
        assert_eq!(it.broken(), [9]);
    }
}

#[test]
fn rule_9_the_states_handed_over_are_those_the_shards_left() {
    let shard = ShardId::SINGLE;
    let left = ShardState {
        session_id: Some("one".to_owned()),
        seq: Some(3),
        ..ShardState::fresh(shard)
    };
    for (handed, broken) in [(left.clone(), &[][..]), (ShardState::fresh(shard), &[9])] {
        let mut it = Doctored::new();
        let one = conn(1);
        it.take(
            s(1),
            Event::Connecting {
                shard,
                conn: one,
                url: MAIN.to_owned(),
            },
        );
        it.take(s(2), disconnected(one));
        it.take(
            s(2),
            Event::ShardStopped {
                shard,
                why: StopReason::Requested,
                state: Box::new(left.clone()),
            },
        );
        it.take(s(2), stopped(vec![handed]));
        assert_eq!(it.broken(), broken);
    }
}

fn disconnected(conn: ClientConn) -> Event<'static> {
    Event::Disconnected {
        shard: ShardId::SINGLE,
        conn,
        code: None,
        reason: DisconnectReason::Stopped,
        next: Next::Stop,
        delay: Duration::ZERO,
    }
}

#[test]
fn rule_9_the_last_life_counts_in_whatever_order_the_ends_are_taken() {
    let shard = ShardId::SINGLE;
    let state = |seq| ShardState {
        session_id: Some("one".to_owned()),
        seq: Some(seq),
        ..ShardState::fresh(shard)
    };
    for (handed, broken) in [(9, &[][..]), (7, &[9])] {
        let mut it = Doctored::new();
        let (conn, url) = (conn(1), MAIN.to_owned());
        it.take(s(1), Event::Connecting { shard, conn, url });
        it.take(s(2), disconnected(conn));
        for (life, seq) in [(1, 9), (0, 7)] {
            let (why, state) = (StopReason::Requested, state(seq));
            it.take(
                s(2),
                Event::ShardStopped {
                    shard,
                    why,
                    state: Box::new(state),
                },
            );
            it.bot().taken.last_mut().unwrap().life = Some(life);
        }
        it.take(s(3), stopped(vec![state(handed)]));
        assert_eq!(it.broken(), broken);
    }
}

#[test]
fn rule_9_each_connection_ends_once() {
    let shard = ShardId::SINGLE;
    let (one, two) = (conn(1), conn(2));
    let begin = |conn| Event::Connecting {
        shard,
        conn,
        url: MAIN.to_owned(),
    };
    let histories: [(Vec<Event<'static>>, &[u8]); 4] = [
        (vec![begin(one), disconnected(one), begin(two)], &[]),
        (vec![begin(one), begin(two)], &[9]),
        (vec![begin(one), disconnected(one), disconnected(one)], &[9]),
        (vec![begin(one), disconnected(two)], &[9]),
    ];
    for (events, broken) in histories {
        let mut it = Doctored::new();
        for event in events {
            it.take(s(1), event);
        }
        assert_eq!(it.broken(), broken);
    }
}

#[test]
fn rule_10_the_token_stays_where_it_belongs() {
    let mut it = Doctored::new();
    it.bot().leaks.push("an address".to_owned());
    assert_eq!(it.broken(), [10]);
    for (op, text, broken) in [
        (2, r#"{"op":2,"d":{"token":"[token]"}}"#, &[][..]),
        (1, r#"{"op":1,"d":"[token]"}"#, &[10]),
        (6, r#"{"op":6,"d":{}}"#, &[10]),
    ] {
        let mut it = Doctored::new();
        let text = text.to_owned();
        it.log(s(1), 0, Seen::Received { op: Some(op), text });
        assert_eq!(it.broken(), broken, "{op}");
    }
}

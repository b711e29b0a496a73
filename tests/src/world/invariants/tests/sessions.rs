//! Rules 0 to 2.

use super::*;

#[test]
fn rule_0_nothing_wrong_is_sent() {
    let mut it = Doctored::new();
    it.open(s(1), MAIN);
    assert_eq!(it.broken(), NONE);
    it.log(s(2), 1, Seen::Violation(Violation::NotJson));
    assert_eq!(it.broken(), [0]);
}

#[test]
fn rule_0_excuses_what_crossed_the_news_of_an_invalid_session() {
    let mut it = Doctored::new();
    it.open(s(1), MAIN);
    it.log(s(2), 1, Seen::Invalid { resumable: false });
    it.log(s(2), 1, Seen::Violation(Violation::BeforeIdentify(3)));
    assert_eq!(it.broken(), NONE);
}

#[test]
fn rule_1_each_dispatch_once_in_order_without_a_gap() {
    assert_eq!(Doctored::delivered(&[1, 2, 3, 4, 5]).broken(), NONE);
    for taken in [
        &[1, 2, 4, 5][..],
        &[1, 2, 2, 3],
        &[1, 3, 2],
        &[2, 3],
        &[1, 2, 3, 4, 5, 6],
    ] {
        assert_eq!(Doctored::delivered(taken).broken(), [1], "{taken:?}");
    }
}

#[test]
fn rule_1_the_content_is_what_was_given() {
    let mut it = Doctored::delivered(&[1]);
    it.get(2, 1);
    assert_eq!(it.broken(), [1]);
    it.log(s(2), 1, Seen::Damaged { seq: Some(2) });
    assert_eq!(it.broken(), NONE);
}

#[test]
fn rule_1_allows_what_was_dropped_as_told() {
    let mut it = Doctored::delivered(&[1, 4, 5]);
    for seq in 2..4 {
        let id = EventId {
            shard: ShardId::SINGLE,
            session: 1,
            seq,
        };
        it.bot().dropped.push((0, id));
    }
    assert_eq!(it.broken(), NONE);
    it.bot().dropped.pop();
    assert_eq!(it.broken(), [1]);
}

#[test]
fn rule_1_a_lost_session_was_delivered_as_far_as_it_was_received() {
    for (last_seq, broken) in [(3, &[][..]), (4, &[1])] {
        let mut it = Doctored::delivered(&[1, 2, 3]);
        let (shard, session, why) = (ShardId::SINGLE, 1, SessionLoss::Invalidated);
        it.take(
            s(10),
            Event::SessionLost {
                shard,
                session,
                last_seq,
                why,
            },
        );
        assert_eq!(it.broken(), broken);
        // It outlives what drove the shard.
        let mut life = Life::new(ShardId::SINGLE, s(0), None);
        life.fell = Some((s(9), ShardState::fresh(ShardId::SINGLE)));
        it.bot().lives = vec![life];
        assert_eq!(it.broken(), broken);
    }
}

#[test]
fn rule_1_another_process_begins_after_what_was_acknowledged() {
    for (seq, first, broken) in [
        (3, 4, &[][..]),
        // Taken and not acknowledged: comes again.
        (2, 3, &[]),
        (2, 4, &[1]),
        // Acknowledged, never taken.
        (4, 5, &[1]),
    ] {
        let mut it = Doctored::delivered(&[1, 2, 3]);
        it.bot().crashed = Some(s(20));
        let state = ShardState {
            session_id: Some("one".to_owned()),
            seq: Some(seq),
            ..ShardState::fresh(ShardId::SINGLE)
        };
        it.bots.push(BotStory {
            began: s(21),
            lives: vec![Life::new(ShardId::SINGLE, s(21), Some(state))],
            mail_limit: 100,
            ..BotStory::default()
        });
        (first..=5).for_each(|seq| it.get(seq, seq * 7));
        assert_eq!(it.broken(), broken, "{seq}, {first}");
    }
}

#[test]
fn rule_1_all_has_arrived_once_there_is_peace() {
    for (taken, broken) in [(&[1, 2, 3, 4, 5][..], &[][..]), (&[1, 2, 3, 4], &[1])] {
        let mut it = Doctored::delivered(taken);
        (it.calm, it.end) = (Some(s(60)), s(300));
        assert_eq!(it.broken(), broken);
        // A session that is forgotten on a line that stays owes nothing.
        let session = "one".to_owned();
        it.log(s(30), 1, Seen::SessionEnded { session, why: "" });
        assert_eq!(it.broken(), NONE);
    }
}

#[test]
fn rule_2_one_identify_a_bucket_in_five_seconds() {
    for (second, delay, broken) in [(5, 50, &[][..]), (4, 50, &[2]), (4, 300, &[])] {
        let mut it = Doctored::new();
        let (a, b) = (it.open(s(1), MAIN), it.open(s(2), MAIN));
        it.identify(s(10), a, ms(50));
        it.identify(s(10 + second), b, ms(delay));
        assert_eq!(it.broken(), broken, "{second} {delay}");
    }
}

#[test]
fn rule_2_never_more_identifies_than_there_are() {
    let mut it = Doctored::new();
    it.log(s(2), 0, Seen::Violation(Violation::BudgetSpent));
    assert_eq!(it.broken(), [2]);
    // Two processes with one token know nothing of each other.
    it.bots.push(BotStory {
        mail_limit: 100,
        ..BotStory::default()
    });
    assert_eq!(it.broken(), NONE);
}

fn identified_anew(between: impl FnOnce(&mut Doctored)) -> Vec<u8> {
    let mut it = Doctored::new();
    let first = it.open(s(1), MAIN);
    it.identify(s(1), first, ms(0));
    it.ready(s(1), first, "one");
    between(&mut it);
    let last = it.open(s(1000), MAIN);
    it.identify(s(1000), last, ms(0));
    it.broken()
}

#[test]
fn rule_2_no_session_is_given_up_without_a_reason() {
    assert_eq!(identified_anew(|_| {}), [2]);
    let ended = |it: &mut Doctored| {
        it.log(
            s(9),
            0,
            Seen::SessionEnded {
                session: "one".to_owned(),
                why: "timed out",
            },
        );
    };
    assert_eq!(identified_anew(ended), NONE);
    assert_eq!(
        identified_anew(|it| it.log(s(9), 1, Seen::Invalid { resumable: false })),
        NONE
    );
    assert_eq!(
        identified_anew(|it| it.log(s(9), 1, Seen::Invalid { resumable: true })),
        [2]
    );
    for (tries, broken) in [(5, &[][..]), (3, &[2])] {
        let resumes = |it: &mut Doctored| {
            (0..tries).for_each(|n| {
                it.open(s(100 + 10 * n), RESUME);
            });
        };
        assert_eq!(identified_anew(resumes), broken);
    }
    for (code, broken) in [(4009, &[][..]), (4000, &[2])] {
        let closed = |it: &mut Doctored| {
            it.log(
                s(9),
                1,
                Seen::Closed {
                    code: Some(code),
                    reason: String::new(),
                },
            );
        };
        assert_eq!(identified_anew(closed), broken);
    }
}

#[test]
fn rule_1_no_other_consumer_takes_it_again_unless_a_process_crashed() {
    // The first took three; the second goes on after this, in a life that is told apart.
    for (seq, first, crashed, broken) in [
        (3, 4, false, &[][..]),
        (2, 3, true, &[]),
        (2, 3, false, &[1]),
    ] {
        let mut it = Doctored::delivered(&[1, 2, 3]);
        it.bot().crashed = crashed.then_some(s(20));
        let state = ShardState {
            session_id: Some("one".to_owned()),
            seq: Some(seq),
            ..ShardState::fresh(ShardId::SINGLE)
        };
        it.bots.push(BotStory {
            began: s(21),
            lives: vec![Life::new(ShardId::SINGLE, s(21), Some(state))],
            mail_limit: 100,
            ..BotStory::default()
        });
        (first..=5).for_each(|seq| it.get(seq, seq * 7));
        assert_eq!(it.broken(), broken, "{seq}, {first}, {crashed}");
    }
}

#[test]
fn rule_1_a_layout_that_takes_over_leaves_out_only_what_was_before() {
    // It takes over at 1 s, and is given five events at 1 to 5 s, and one at 12 s.
    let new = |by_the_old: &[u64], by_the_new: &[u64], heard: Option<Duration>| {
        let mut it = Doctored::delivered(&[]);
        it.give(12);
        let life = Life::new(ShardId::SINGLE, s(0), None);
        it.bot().swapped.extend(heard);
        it.bot().lives.push(Life {
            muted: heard.is_some(),
            heard,
            ..life.clone()
        });
        // Its driver is gone, or it was told to stop: what it delivered is delivered.
        it.bot().lives.push(life);
        for seq in by_the_old {
            it.get(*seq, seq * 7);
            it.bot().taken.last_mut().unwrap().life = Some(1);
        }
        by_the_new.iter().for_each(|seq| it.get(*seq, seq * 7));
        it.broken()
    };
    let heard = Some(s(1));
    assert_eq!(new(&[], &[2, 3, 4, 5, 12], heard), NONE);
    assert_eq!(new(&[], &[2, 3, 4, 5, 12], None), [1]);
    assert_eq!(new(&[], &[2, 5, 12], heard), [1], "3 and 4 did not come");
    assert_eq!(new(&[3, 4], &[2, 5, 12], heard), NONE, "from the other");
    assert_eq!(new(&[3], &[2, 5, 12], heard), [1], "4 did not");
    // What the other one delivered may still wait for the consumer, or have died with it.
    let in_doubt = |change: fn(&mut BotStory)| {
        let mut it = Doctored::delivered(&[]);
        it.give(12);
        it.bot().lives.push(Life {
            muted: true,
            heard,
            ..Life::new(ShardId::SINGLE, s(0), None)
        });
        [5, 12].into_iter().for_each(|seq| it.get(seq, seq * 7));
        change(it.bot());
        it.broken()
    };
    assert_eq!(in_doubt(|_| {}), [1]);
    assert_eq!(in_doubt(|bot| bot.crashed = Some(s(30))), NONE);
    assert_eq!(in_doubt(|bot| bot.waiting = 1), NONE);
    let late = new(&[3, 4, 5, 12], &[2], heard);
    assert_eq!(late, NONE, "nothing after 12 was taken");
    let mut it = Doctored::delivered(&[]);
    it.give(20);
    it.give(21);
    let life = Life::new(ShardId::SINGLE, s(0), None);
    it.bot().lives.push(Life {
        muted: true,
        heard: Some(s(10)),
        ..life
    });
    it.get(21, 21 * 7);
    assert_eq!(it.broken(), [1], "20 was given long after");
}

/// A bot of one shard that was given events at 1 to 5 s, of which these were taken, changes to two shards.
fn swapped(taken: &[u64], new_are_ready: u64, swap: u64) -> Doctored {
    let mut it = Doctored::delivered(taken);
    let shard = |number| ShardId::new(number, 2).unwrap();
    it.bot().swapped.push(s(swap));
    let mut old = Life::new(ShardId::SINGLE, s(0), None);
    old.told = Some((s(swap), Stop::Final));
    it.bot().lives.push(old);
    for number in [0, 1] {
        let line = it.open(s(1), MAIN);
        it.line(line).life = number as usize + 1;
        let session = format!("new {number}");
        it.log(s(new_are_ready), line, Seen::Ready { session });
        let mut new = Life::new(shard(number), s(1), None);
        (new.muted, new.heard) = (true, Some(s(swap)));
        it.bot().lives.push(new);
    }
    it
}

#[test]
fn rule_1_a_layout_leaves_when_it_has_delivered_what_the_next_one_does_not_know() {
    // The new ones know of what came after they were READY, and keep the last 9 s.
    for (taken, ready, swap, broken) in [
        (&[1, 2, 3, 4][..], 5, 10, &[][..]),
        (&[1, 2, 3], 5, 10, &[1]),
        (&[1, 2, 3], 4, 10, &[]),
        (&[1, 2, 3], 2, 13, &[]),
        (&[1, 2], 2, 13, &[1]),
    ] {
        let it = swapped(taken, ready, swap);
        assert_eq!(it.broken(), broken, "{taken:?} {ready} {swap}");
    }
    let mut it = swapped(&[1, 2], 5, 10);
    it.bot().waiting = 1;
    assert_eq!(it.broken(), NONE, "the rest waits for the consumer");
    let mut it = swapped(&[1, 2], 5, 10);
    it.log(
        s(9),
        1,
        Seen::SessionEnded {
            session: "one".to_owned(),
            why: "forgotten",
        },
    );
    assert_eq!(it.broken(), NONE, "nobody could have had the rest");
    let mut it = swapped(&[1, 2], 5, 10);
    for seq in [3, 4] {
        let id = EventId {
            shard: ShardId::SINGLE,
            session: 1,
            seq,
        };
        it.bot().dropped.push((0, id));
    }
    assert_eq!(it.broken(), NONE, "it was to be dropped");
}

#[test]
fn rule_2_the_buckets_are_those_the_bot_knew_of() {
    for (known, broken) in [(1, &[2][..]), (2, &[])] {
        let mut it = Doctored::new();
        it.bot().max_concurrency = vec![(s(0), 16), (s(5), known)];
        let (a, b) = (it.open(s(1), MAIN), it.open(s(2), MAIN));
        it.line(b).shard = ShardId::new(1, 2).unwrap();
        it.line(b).life = 1;
        it.identify(s(10), a, ms(50));
        it.identify(s(12), b, ms(50));
        assert_eq!(it.broken(), broken, "{known}");
    }
}

#[test]
fn rule_2_nobody_identifies_before_its_gate_opened() {
    for (opened, broken) in [(Some(s(2)), &[][..]), (Some(s(4)), &[2]), (None, &[2])] {
        let mut it = Doctored::new();
        let line = it.open(s(1), MAIN);
        it.bot().gated = true;
        if let Some(at) = opened {
            it.bot().gate_opened.push((at, ShardId::SINGLE, 1));
        }
        it.line(line).conn = 1;
        it.identify(s(3), line, ms(0));
        assert_eq!(it.broken(), broken, "{opened:?}");
    }
}

use super::*;

#[test]
#[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
fn a_turn_on_its_way_is_waited_for_when_the_buckets_change() {
    let now = Instant::now();
    let limit = |width| SessionStartLimit::new(1000, 1000, WINDOW, width);
    let shard = |number| ShardId::new(number, 8).unwrap();
    let mut turns = IdentifyTurns::new(&limit(8), false, now);
    for number in [0, 3] {
        turns.request(shard(number), ConnId(1));
        assert_eq!(turns.grant(now), Some((shard(number), ConnId(1))));
    }
    turns.sent(shard(0), now);
    turns.request(shard(0), ConnId(2));
    let later = now + BETWEEN * 2;
    assert!(turns.refresh(&limit(1), later).is_empty());
    assert_eq!(turns.grant(later), None, "that of 3 may be used any moment");
    assert!(turns.is_granted(shard(3), ConnId(1)));
    turns.sent(shard(3), later);
    assert_eq!(turns.grant(later + BETWEEN / 2), None);
    let turn = turns.grant(later + BETWEEN);
    assert_eq!(turn, Some((shard(0), ConnId(2))));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
fn more_buckets_than_there_can_be_cost_nothing_and_none_is_free_earlier() {
    let now = Instant::now();
    let limit = |width| SessionStartLimit::new(1000, 1000, WINDOW, width);
    let shard = |number| ShardId::new(number, 8).unwrap();
    let mut turns = IdentifyTurns::new(&limit(1), false, now);
    turns.sent(shard(0), now);
    assert!(turns.refresh(&limit(u32::MAX), now).is_empty());
    assert!(turns.buckets.is_empty());
    turns.request(shard(5), ConnId(1));
    assert_eq!(turns.grant(now + BETWEEN / 2), None);
    let turn = turns.grant(now + BETWEEN);
    assert_eq!(turn, Some((shard(5), ConnId(1))));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
fn nobody_looks_again_and_again_while_the_last_starts_are_given() {
    let now = Instant::now();
    let limit = SessionStartLimit::new(1000, 2, WINDOW, 2);
    let shard = |number| ShardId::new(number, 8).unwrap();
    let mut turns = IdentifyTurns::new(&limit, false, now);
    turns.request(shard(0), ConnId(1));
    assert_eq!(turns.grant(now), Some((shard(0), ConnId(1))));
    turns.sent(shard(0), now);
    turns.request(shard(1), ConnId(1));
    turns.request(shard(2), ConnId(1));
    let later = now + BETWEEN;
    // Bucket 0 is free again, but 1 has the last start.
    assert_eq!(
        turns.grant(later - BETWEEN / 2),
        Some((shard(1), ConnId(1)))
    );
    assert_eq!(turns.grant(later), None);
    assert_eq!(turns.next(later), Some(now + WINDOW + SURELY));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
fn who_gives_up_waiting_takes_no_turn() {
    let now = Instant::now();
    let limit = SessionStartLimit::new(1000, 1000, WINDOW, 1);
    let shard = |number| ShardId::new(number, 10).unwrap();
    let mut turns = IdentifyTurns::new(&limit, false, now);
    (0..10).for_each(|number| turns.request(shard(number), ConnId(1)));
    for number in (0..10).filter(|number| ![4, 9].contains(number)) {
        assert_eq!(turns.withdraw(shard(number)), None);
    }
    assert_eq!(turns.grant(now), Some((shard(4), ConnId(1))));
    turns.sent(shard(4), now);
    assert_eq!(turns.next(now), Some(now + BETWEEN));
    assert_eq!(turns.grant(now + BETWEEN), Some((shard(9), ConnId(1))));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
fn a_window_ends_when_discord_says_and_the_next_lasts_a_day() {
    let now = Instant::now();
    let hour = Duration::from_secs(3600);
    let zero = ShardId::new(0, 1).unwrap();
    let mut turns = IdentifyTurns::new(&SessionStartLimit::new(2, 1, WINDOW, 1), false, now);
    assert!(
        turns
            .refresh(&SessionStartLimit::new(2, 0, hour, 1), now)
            .is_empty()
    );
    assert_eq!(turns.resets_at(), now + hour);
    turns.request(zero, ConnId(1));
    assert_eq!(turns.grant(now + hour), None, "its milliseconds were cut");
    for conn in 1..=3 {
        let at = now + hour * conn + SURELY;
        turns.request(zero, ConnId(conn));
        assert_eq!(turns.grant(at).is_some(), conn < 3, "two a day");
        turns.sent(zero, at);
    }
    assert_eq!(turns.resets_at(), now + hour + SURELY + WINDOW);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
fn what_left_in_a_window_may_count_in_the_next() {
    let now = Instant::now();
    let hour = Duration::from_secs(3600);
    let zero = ShardId::new(0, 1).unwrap();
    // Whatever this clock says: a host may have slept since, and its clock stood still.
    for (before, at_most) in [
        (Duration::from_secs(60), 9),
        (hour - ON_THE_WAY * 2, 9),
        (hour - SURELY, 9),
        // Not on its way for long enough to be in any answer.
        (hour + SURELY / 2, 8),
    ] {
        let mut turns = IdentifyTurns::new(&SessionStartLimit::new(10, 5, hour, 1), false, now);
        for at in [before, hour + SURELY * 2] {
            turns.request(zero, ConnId(1));
            assert!(turns.grant(now + at).is_some());
            turns.sent(zero, now + at);
        }
        assert_eq!(turns.left(), 8, "{before:?}");
        assert_eq!(turns.at_most(), at_most, "{before:?}");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
fn a_window_in_which_all_starts_left_leaves_none_for_the_next_until_discord_says_so() {
    let now = Instant::now();
    let hour = Duration::from_secs(3600);
    let zero = ShardId::new(0, 1).unwrap();
    let limit = |remaining, total| SessionStartLimit::new(total, remaining, hour, 1);
    // More than there are, too: the total has come down.
    for total in [3, 2] {
        let mut turns = IdentifyTurns::new(&limit(3, total), false, now);
        (0..3).for_each(|_| turns.sent(zero, now));
        let next = now + hour + SURELY;
        turns.request(zero, ConnId(1));
        assert_eq!(turns.grant(next), None, "of {total}");
        assert_eq!(turns.spent(next), Some(WINDOW));
        assert_eq!(turns.at_most(), total, "of {total}");
        assert!(turns.refresh(&limit(1, total), next).is_empty());
        assert_eq!(turns.at_most(), 1);
        assert!(turns.grant(next).is_some());
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
fn what_an_answer_has_counted_is_not_in_the_next_window() {
    let now = Instant::now();
    let hour = Duration::from_secs(3600);
    let secs = Duration::from_secs;
    let zero = ShardId::new(0, 1).unwrap();
    // Asked so long after it has left: it may still be on its way.
    for (asked, left) in [(secs(20), 9), (secs(6), 8)] {
        let mut turns = IdentifyTurns::new(&SessionStartLimit::new(10, 5, hour, 1), false, now);
        turns.request(zero, ConnId(1));
        assert!(turns.grant(now).is_some());
        turns.sent(zero, now);
        let limit = SessionStartLimit::new(10, 4, hour - asked, 1);
        assert!(turns.refresh(&limit, now + asked).is_empty());
        assert_eq!(turns.left(), 4);
        let next = now + hour + SURELY;
        turns.request(zero, ConnId(2));
        assert!(turns.grant(next).is_some());
        turns.sent(zero, next);
        assert_eq!(turns.left(), left, "{asked:?}");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
fn a_window_that_may_be_over_has_no_more_starts_than_the_next() {
    let now = Instant::now();
    let hour = Duration::from_secs(3600);
    let shard = |number| ShardId::new(number, 8).unwrap();
    // More are left than there are at all, says Discord.
    for (at, given) in [(hour / 2, 4), (hour, 2), (hour + SURELY / 2, 2)] {
        let mut turns = IdentifyTurns::new(&SessionStartLimit::new(2, 100, hour, 8), false, now);
        (0..4).for_each(|number| turns.request(shard(number), ConnId(1)));
        let turns_given = (0..4).filter(|_| turns.grant(now + at).is_some());
        assert_eq!(turns_given.count(), given, "{at:?}");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
fn what_is_on_its_way_is_not_spent_twice() {
    let now = Instant::now();
    let shard = |number| ShardId::new(number, 100).unwrap();
    let limit = |remaining| SessionStartLimit::new(1000, remaining, WINDOW, 100);
    let new = |left| IdentifyTurns::new(&limit(left), false, now);
    let soon = now + Duration::from_secs(3);
    // None of the three has arrived, two have, all have; or another process spends starts too.
    for (answer, remaining) in [(20, 17), (18, 17), (17, 17), (15, 12)] {
        let mut turns = new(20);
        (0..3).for_each(|number| turns.sent(shard(number), now));
        assert!(turns.refresh(&limit(answer), soon).is_empty());
        assert_eq!(turns.at_most(), remaining, "{answer}");
    }
    // Long since arrived.
    let mut turns = new(20);
    (0..3).for_each(|number| turns.sent(shard(number), now));
    assert!(turns.refresh(&limit(15), now + ON_THE_WAY * 2).is_empty());
    assert_eq!(turns.at_most(), 15);
    // A new window: what was sent at its edge may count in either.
    let mut turns = IdentifyTurns::new(
        &SessionStartLimit::new(1000, 20, Duration::from_secs(2), 100),
        false,
        now,
    );
    turns.sent(shard(0), now);
    assert!(turns.refresh(&limit(1000), soon).is_empty());
    assert_eq!(turns.at_most(), 999);
    // Discord says that one has begun already: what was counted in the old one tells nothing of it.
    let hour = Duration::from_secs(3600);
    let old = SessionStartLimit::new(1000, 1000, hour, 100);
    let mut turns = IdentifyTurns::new(&old, false, now);
    (0..3).for_each(|number| turns.sent(shard(number), now));
    assert!(turns.refresh(&limit(999), soon).is_empty());
    assert_eq!(turns.at_most(), 996);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
fn a_shard_that_exists_no_longer_loops_no_longer() {
    let now = Instant::now();
    let zero = ShardId::new(0, 1).unwrap();
    let mut turns = IdentifyTurns::new(&SessionStartLimit::new(100, 100, WINDOW, 1), false, now);
    (0..3).for_each(|_| turns.sent(zero, now));
    turns.forget(zero);
    turns.sent(zero, now);
    assert_eq!(turns.kept_back(), 0);
    (0..3).for_each(|_| turns.sent(zero, now));
    assert_eq!(turns.kept_back(), 10);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
fn turns_at_the_gate_are_called_back_when_they_come_to_share_a_bucket() {
    let now = Instant::now();
    let limit = |width| SessionStartLimit::new(1000, 1000, WINDOW, width);
    let shard = |number| ShardId::new(number, 8).unwrap();
    let mut turns = IdentifyTurns::new(&limit(8), false, now).gated(true);
    for number in [0, 1, 2] {
        turns.request(shard(number), ConnId(1));
        assert_eq!(turns.grant(now), Some((shard(number), ConnId(1))));
    }
    assert!(turns.opened(shard(1), ConnId(1)));
    let called_back = turns.refresh(&limit(1), now);
    assert_eq!(called_back, [(shard(0), ConnId(1)), (shard(2), ConnId(1))]);
    assert!(!turns.opened(shard(0), ConnId(1)), "it asks again");
    assert!(!turns.is_granted(shard(0), ConnId(1)));
    assert!(
        turns.is_granted(shard(1), ConnId(1)),
        "it may be used any moment"
    );
    assert_eq!(turns.grant(now), None);
    turns.sent(shard(1), now);
    assert_eq!(turns.grant(now + BETWEEN / 2), None);
    for (number, turn) in [(0, 1), (2, 2)] {
        let at = now + BETWEEN * turn;
        assert_eq!(turns.grant(at), Some((shard(number), ConnId(1))));
        turns.sent(shard(number), at);
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
fn a_turn_at_the_gate_waits_for_a_bucket_that_was_another_s_before() {
    let now = Instant::now();
    let limit = |width| SessionStartLimit::new(1000, 1000, WINDOW, width);
    let shard = |number| ShardId::new(number, 8).unwrap();
    for (used, called_back) in [(true, 1), (false, 0)] {
        let mut turns = IdentifyTurns::new(&limit(8), false, now).gated(true);
        for number in [0, 1] {
            turns.request(shard(number), ConnId(1));
            assert!(turns.grant(now).is_some());
        }
        if used {
            turns.sent(shard(0), now);
        } else {
            turns.withdraw(shard(0));
        }
        assert_eq!(turns.refresh(&limit(1), now).len(), called_back);
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
fn discord_is_worth_asking_while_a_turn_that_is_given_takes_the_last_start() {
    let now = Instant::now();
    let hour = Duration::from_secs(3600);
    let shard = |number| ShardId::new(number, 8).unwrap();
    let mut turns = IdentifyTurns::new(&SessionStartLimit::new(2, 2, hour, 8), false, now);
    turns.sent(shard(0), now);
    let next = now + hour + SURELY;
    turns.request(shard(1), ConnId(1));
    assert!(turns.grant(next).is_some());
    assert!(!turns.may_have_more(next), "nobody waits");
    turns.request(shard(2), ConnId(1));
    assert!(turns.grant(next).is_none());
    assert!(turns.may_have_more(next));
    turns.take_as_told();
    assert!(!turns.may_have_more(next));
    assert_eq!(turns.at_most(), 1, "what was in doubt is given up");
}

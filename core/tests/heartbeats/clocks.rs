//! Clocks that jump and hosts that sleep.

use std::time::SystemTime;

use shardwright_core::{Input, Phase};

use crate::play::{Play, ms, resume, secs};
use crate::{ACK, beats, next_beat, unacknowledged};

#[test]
fn jumps_of_the_wall_clock_move_no_beat() {
    let run = |jumps: bool| {
        let mut play = Play::up_with(Play::seeded(9), 5000);
        let epoch = SystemTime::UNIX_EPOCH + secs(1_700_000_000);
        for second in 0..120_u64 {
            let wall = match (jumps, second) {
                (true, 40..80) => epoch - secs(3600),
                (true, 80..) => epoch + secs(3600),
                _ => epoch,
            };
            play.tell(Input::Tick {
                wall: Some(wall + secs(second)),
            });
            play.pass(secs(1));
        }
        assert_eq!(play.dials().len(), 1);
        beats(&play)
    };
    let (steady, jumping) = (run(false), run(true));
    assert_eq!(steady.len(), 24);
    // The jump ahead looks like a sleep: one extra beat, at once.
    let extra: Vec<_> = jumping.iter().filter(|at| !steady.contains(at)).collect();
    assert_eq!(extra, [&secs(80)]);
    assert_eq!(jumping.len(), 25);
}

#[test]
fn after_a_sleep_one_beat_decides_whether_the_link_lives() {
    for answered in [true, false] {
        let mut play = Play::up_with(Play::new(), 41_250);
        play.pass(secs(100));
        let before = beats(&play).len();
        play.ack = answered;
        play.now += secs(3600);
        play.tell(Input::Tick { wall: None });
        assert_eq!(beats(&play).len(), before + 1, "not the backlog");
        assert_eq!(play.closes(), Vec::<u16>::new());
        play.pass(secs(11));
        if answered {
            assert_eq!(play.dials().len(), 1);
        } else {
            assert_eq!(play.closes(), [4000]);
            play.reconnect(41_250);
            assert_eq!(play.resumes(), [resume("A", 1)]);
        }
    }
}

#[test]
fn a_timer_half_an_interval_late_means_that_the_host_slept_and_one_a_little_late_does_not() {
    for (late, closes) in [(4_999, vec![4000]), (5_000, vec![])] {
        let mut play = Play::up_with(unacknowledged(1), 10_000);
        next_beat(&mut play);
        play.now += secs(10) + ms(late);
        play.tell(Input::Tick { wall: None });
        assert_eq!(play.closes(), closes, "{late} ms late");
    }
}

#[test]
fn what_was_unanswered_when_the_host_slept_is_not_held_against_the_link() {
    let mut play = Play::up_with(unacknowledged(1), 41_250);
    let conn = play.conn();
    let wall = SystemTime::UNIX_EPOCH + secs(1_700_000_000);
    let beat = next_beat(&mut play);
    play.tell(Input::Tick { wall: Some(wall) });
    play.pass(secs(41));
    // The monotonic clock has stood still meanwhile.
    let woken = wall + secs(41 + 3600);
    play.tell(Input::Tick { wall: Some(woken) });
    assert_eq!(play.notices("HostSlept").len(), 1);
    play.pass(ms(250));
    assert_eq!(beats(&play).last(), Some(&(beat + ms(41_250))), "it is due");
    assert_eq!(play.closes(), Vec::<u16>::new());
    play.text(conn, ACK);
    play.pass(secs(20));
    assert_eq!(play.phase(), Phase::Live);
}

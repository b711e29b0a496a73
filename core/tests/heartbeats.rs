//! The heart: what is sent when, and when silence means a dead link.

mod play;

use play::{IDENTIFY, Play, beat, secs};
use shardwright_core::Phase;

#[test]
fn a_shard_comes_up_and_beats() {
    let mut play = Play::up();
    play.pass(secs(165));
    let sent = play.sent(play.conn());
    assert_eq!(sent[0], IDENTIFY);
    // 165 s are four intervals of 41.25 s: with the first beat after a random part, four beats.
    assert_eq!(sent[1..], [beat(1), beat(1), beat(1), beat(1)]);
    assert_eq!(play.phase(), Phase::Live);
}

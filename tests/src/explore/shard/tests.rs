//! The checker can fail: real steps, changed in one place, each against the rule that place breaks.

use std::time::Duration;

use shardwright_core::{
    Answer, CommandError, Next, Phase, SessionLoss, ShardState, Stop, StopReason, Wait, WaitFor,
};

use super::checker::MAIN;
use super::did::Did;
use super::{Heard, Letter, Shard, Step, stories};
use crate::explore::{Subject as _, play};

/// A real step that can be changed before the checker sees it.
struct Real {
    before: Shard,
    heard: Heard,
    did: Vec<Did>,
    wait: Wait,
    phase: Phase,
    state: ShardState,
    later: Duration,
}

fn real(story: &str, more: &[Letter]) -> Real {
    let root = Shard::new(7);
    let (_, _, mut inputs) = stories()
        .into_iter()
        .find(|(name, ..)| *name == story)
        .expect("it is one of the stories");
    let (last, first) = more.split_last().expect("there is a last letter");
    inputs.extend(first);
    let before = play(|| root.fork(), &inputs).unwrap_or_else(|found| panic!("{found}"));
    let mut after = before.fork();
    after.apply(*last).unwrap();
    let (wait, phase, state) = (after.wait(), after.phase(), after.state());
    Real {
        later: after.world.now - before.world.now,
        heard: after.heard.take().unwrap(),
        did: after.did,
        before,
        wait,
        phase,
        state,
    }
}

impl Real {
    fn verdict(&self) -> Result<(), String> {
        self.before.checker.clone().step(&Step {
            now: self.before.world.now + self.later,
            heard: &self.heard,
            did: &self.did,
            wait: self.wait,
            phase: self.phase,
            state: &self.state,
        })
    }

    /// Unchanged it is fine, changed it breaks a rule with these words.
    fn breaks(mut self, words: &str, change: impl FnOnce(&mut Self)) {
        self.verdict().expect("the real step keeps all rules");
        change(&mut self);
        let what = self.verdict().expect_err(words);
        assert!(what.contains(words), "{what}");
    }

    fn without(self, words: &str, which: impl Fn(&Did) -> bool) {
        self.breaks(words, |real| {
            let all = real.did.len();
            real.did.retain(|did| !which(did));
            assert!(real.did.len() < all, "there is nothing to leave out");
        });
    }

    fn with(self, words: &str, did: Did) {
        self.breaks(words, |real| real.did.push(did));
    }

    fn twice(self, words: &str, which: impl Fn(&Did) -> bool) {
        self.breaks(words, |real| {
            let at = real.did.iter().position(which).expect("it is there once");
            real.did.insert(at, real.did[at].clone());
        });
    }
}

const BEAT: Did = Did::Beat { conn: 1, seq: None };

#[test]
fn connections_follow_each_other() {
    let dial = |conn| Did::Dial {
        conn,
        url: MAIN.to_owned(),
    };
    let connecting = |conn| Did::Connecting {
        conn,
        url: MAIN.to_owned(),
    };
    real("idle", &[Letter::Start]).twice("two connections", |did| matches!(did, Did::Dial { .. }));
    real("idle", &[Letter::Start]).breaks("one by one", |real| real.did[0] = connecting(2));
    real("idle", &[Letter::Start]).breaks("main host", |real| {
        real.did[0] = Did::Connecting {
            conn: 1,
            url: "wss://other.example".to_owned(),
        };
    });
    real("connecting", &[Letter::Failed]).breaks("pause is over", |real| {
        real.did.extend([connecting(2), dial(2)]);
    });
    real("backoff", &[Letter::TickDue]).breaks("pause is over", |real| real.later /= 2);
    real("live", &[Letter::Empty]).with("two connections", connecting(2));
    real("backoff", &[Letter::Congested(true)]).with("no room", connecting(2));
    real("live", &[Letter::Closed(None)]).without("one Disconnected", |did| {
        matches!(did, Did::Disconnected { .. })
    });
    real("live", &[Letter::Closed(None)]).twice("one Disconnected", |did| {
        matches!(did, Did::Disconnected { .. })
    });
    real("live", &[Letter::Failed]).breaks("a pause", |real| {
        real.did = vec![Did::Disconnected {
            conn: 1,
            next: Next::Resume,
            delay: Duration::ZERO,
        }];
    });
    real("live", &[Letter::Empty]).with("under way", Did::Abort { conn: 1 });
}

#[test]
fn nothing_is_sent_outside_of_an_open_connection() {
    real("awaiting hello", &[Letter::Empty]).with("before Hello", BEAT);
    real("closing", &[Letter::TickDue]).breaks("not open", |real| real.did.insert(0, BEAT));
    real("live", &[Letter::Closed(None)]).with("not open", BEAT);
    real("live", &[Letter::Reconnect]).with("not open", BEAT);
    real("resuming", &[Letter::Empty]).with("wait for READY", Did::Command { conn: 2, op: 4 });
}

#[test]
fn identifies_have_turns_and_resumes_have_sessions() {
    let identify = Did::Identify { conn: 1 };
    real("awaiting permit", &[Letter::Empty]).with("needs a turn", identify.clone());
    real("identifying", &[Letter::Empty]).with("needs a turn", identify);
    real("awaiting permit", &[Letter::IdentifyGranted]).without("may identify does", |did| {
        matches!(did, Did::Identify { .. })
    });
    real("awaiting permit", &[Letter::Closed(None)]).without("goes back", |did| {
        matches!(did, Did::WithdrawIdentify { .. })
    });
    real("identifying", &[Letter::Closed(None)])
        .without("goes back", |did| matches!(did, Did::IdentifySent { .. }));
    real("identifying", &[Letter::Flushed])
        .without("is reported", |did| matches!(did, Did::IdentifySent { .. }));
    real("awaiting hello", &[Letter::Hello])
        .twice("wanted once", |did| matches!(did, Did::WantIdentify { .. }));
    real("awaiting hello", &[Letter::Hello]).without("Hello is answered", |did| {
        matches!(did, Did::WantIdentify { .. })
    });
    for (session_id, seq) in [("session 1", 1), ("session 1", 3), ("session 2", 2)] {
        let resume = Did::Resume {
            conn: 2,
            session_id: session_id.to_owned(),
            seq,
        };
        real("backoff", &[Letter::TickDue, Letter::Opened, Letter::Hello]).breaks(
            "names the session",
            |real| {
                real.did.retain(|did| !matches!(did, Did::Resume { .. }));
                real.did.push(resume);
            },
        );
    }
    real("backoff", &[Letter::TickDue, Letter::Opened, Letter::Hello])
        .twice("one Resume", |did| matches!(did, Did::Resume { .. }));
}

#[test]
fn dispatches_come_out_once_and_in_order() {
    let dispatch = |seq| Did::Dispatch { session: 1, seq };
    let is_dispatch = |did: &Did| matches!(did, Did::Dispatch { .. });
    real("live", &[Letter::Next]).without("did not come out", is_dispatch);
    real("live", &[Letter::Next]).twice("where None was due", is_dispatch);
    real("live", &[Letter::Next]).breaks("was due", |real| real.did = vec![dispatch(3)]);
    real("live", &[Letter::Duplicate]).with("where None was due", dispatch(1));
    real("live", &[Letter::Gap]).without("was due", |did| matches!(did, Did::Gap { .. }));
    real("identifying", &[Letter::Ready])
        .without("begins a session", |did| matches!(did, Did::Ready { .. }));
    real("resuming", &[Letter::Resumed]).without("makes a shard live", |did| {
        matches!(did, Did::Resumed { .. })
    });
    real("live", &[Letter::Empty]).with(
        "answers a Resume",
        Did::Resumed {
            conn: 1,
            session: 1,
        },
    );
}

#[test]
fn the_heart_carries_the_sequence() {
    real("live", &[Letter::BeatRequest]).breaks("highest sequence", |real| real.did = vec![BEAT]);
    real("live", &[Letter::BeatRequest])
        .without("asked for", |did| matches!(did, Did::Beat { .. }));
}

#[test]
fn a_question_is_answered_when_a_later_beat_is() {
    let caught_up = Did::CaughtUp { mark: 1 };
    let is_it = |did: &Did| matches!(did, Did::CaughtUp { .. });
    let asked = "asked whether all has arrived";
    real("live", &[Letter::CatchUp]).without("asked for", |did| matches!(did, Did::Beat { .. }));
    real("live", &[Letter::CatchUp]).with("has, and is said once", caught_up.clone());
    let answers = |count| [Letter::BeatAck; 4][..count].to_vec();
    real(asked, &answers(1)).with("has, and is said once", caught_up.clone());
    real(asked, &answers(2)).with("has, and is said once", caught_up.clone());
    real(asked, &answers(3)).without("is told", is_it);
    real(asked, &answers(3)).twice("is said once", is_it);
    real(asked, &answers(4)).with("is said once", caught_up.clone());
    let later = [&[Letter::CatchUp], answers(3).as_slice()].concat();
    real(asked, &later).with("is said once", caught_up);
}

#[test]
fn closes_keep_the_session_but_for_a_final_stop() {
    let close = |code| Did::Close { conn: 1, code };
    let is_close = |did: &Did| matches!(did, Did::Close { .. });
    real("live", &[Letter::Reconnect]).breaks("4000 closes", |real| real.did[0] = close(1000));
    real("live", &[Letter::Stop(Stop::Keep)])
        .breaks("4000 closes", |real| real.did[0] = close(1000));
    real("live", &[Letter::Stop(Stop::Final)])
        .breaks("4000 closes", |real| real.did[0] = close(4000));
    for letter in [Letter::Reconnect, Letter::Garbage, Letter::AbsurdHello] {
        real("live", &[letter]).breaks("closed at once", |real| {
            real.did.retain(|did| !is_close(did))
        });
    }
    real("live", &[Letter::Reconnect]).breaks("closed at once", |real| real.did.clear());
    real("closing", &[Letter::TickDue])
        .breaks("only an open", |real| real.did.insert(0, close(4000)));
}

#[test]
fn sessions_are_given_up_for_a_reason_only() {
    let lost = Did::SessionLost {
        session: 1,
        why: SessionLoss::Invalidated,
    };
    real("live", &[Letter::Reconnect]).with("without a reason", lost.clone());
    real("live", &[Letter::InvalidSession(Some(true))]).with("without a reason", lost);
    real("live", &[Letter::InvalidSession(Some(false))])
        .without("is given up", |did| matches!(did, Did::SessionLost { .. }));
    real("live", &[Letter::Closed(Some(4007))])
        .without("is given up", |did| matches!(did, Did::SessionLost { .. }));
    let refused = Did::SessionLost {
        session: 1,
        why: SessionLoss::ResumeRefused,
    };
    real("resuming", &[Letter::Failed]).with("after five", refused);
    let old = Did::SessionLost {
        session: 1,
        why: SessionLoss::TooOld,
    };
    real("backoff", &[Letter::TickDue, Letter::Failed]).with("for an hour", old);
    real("live", &[Letter::Closed(None)]).breaks("come next", |real| {
        let Some(Did::Disconnected { next, .. }) = real.did.first_mut() else {
            panic!("a Disconnected comes first");
        };
        *next = Next::Identify;
    });
}

#[test]
fn a_stop_is_one_end() {
    let is_end = |did: &Did| matches!(did, Did::ShardStopped { .. });
    let fatal = || real("live", &[Letter::Closed(Some(4004))]);
    fatal().without("fatal close code", is_end);
    fatal().twice("stops once", is_end);
    fatal().breaks("says so", |real| real.wait = Wait::For(WaitFor::Consumer));
    fatal().breaks("reason there was", |real| {
        real.did.retain(|did| !is_end(did));
        let state = real.state.clone();
        real.did.push(Did::ShardStopped {
            why: StopReason::Requested,
            state,
        });
    });
    real("backoff", &[Letter::Stop(Stop::Keep)]).breaks("ends the rest", |real| real.did.clear());
    real("live", &[Letter::Stop(Stop::Keep)]).breaks("ends the rest", |real| real.did.clear());
    real("stopped", &[Letter::Empty]).with("but refusals", BEAT);
}

#[test]
fn each_command_has_one_last_answer() {
    let answer = |id, answer| Did::Answer { id, answer };
    let refused = Answer::Refused(CommandError::NotReady);
    let is_answer = |did: &Did| matches!(did, Did::Answer { .. });
    real("live", &[Letter::Queue]).without("answered at once", is_answer);
    real("live", &[Letter::Queue]).twice("accepted once", is_answer);
    real("live", &[Letter::Empty]).with("last answer", answer(9, Answer::Sent));
    real("live", &[Letter::Queue, Letter::Flushed]).without("is answered", is_answer);
    real("live", &[Letter::Queue, Letter::Flushed]).twice("last answer", is_answer);
    real("backoff", &[Letter::Fail]).with("last answer", answer(1, refused));
    real("backoff", &[Letter::Queue]).with("not left", answer(1, Answer::Sent));
    real("backoff", &[Letter::Queue, Letter::Stop(Stop::Keep)])
        .without("has its answer", is_answer);
}

#[test]
fn what_it_says_of_itself_fits() {
    real("live", &[Letter::Empty]).breaks("the phase is", |real| real.phase = Phase::Resuming);
    real("live", &[Letter::Next]).breaks("acknowledged", |real| real.state.seq = Some(2));
    real("live", &[Letter::Next]).breaks("not received", |real| real.state.seq = Some(3));
    real("live", &[Letter::Next]).breaks("is stored", |real| real.state.session_id = None);
    real("connecting", &[Letter::Empty])
        .breaks("nothing to store", |real| real.state.seq = Some(1));
    real("live", &[Letter::Empty]).breaks("in the future", |real| {
        real.wait = Wait::Until(real.before.world.now);
    });
    real("live", &[Letter::Empty]).breaks("only a stopped", |real| real.wait = Wait::Stopped);
    real("idle", &[Letter::Queue]).breaks("no deadline", |real| {
        real.wait = Wait::Until(real.before.world.now + Duration::from_secs(1));
    });
    real("live", &[Letter::Empty]).with(
        "does not belong",
        Did::Bad("the token does not belong".into()),
    );
}

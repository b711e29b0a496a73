//! What the shards of a play report, as far as shards that run could.

use shardwright_core::{
    Answer, CloseCode, CommandError, FleetInput, RequestMembersError, ShardId, ShardReport,
    ShardState, StopReason,
};

use super::lives::{Life, Turn};
use super::ops::Report;
use super::{Play, setup};

impl Play {
    /// A shard does what it would do next, if it runs.
    pub(super) fn onward(&mut self, life: usize) {
        let Some(life) = self.lives.0.get(life).filter(|life| !life.ended) else {
            return;
        };
        let shard = life.shard;
        let next = match life.turn {
            _ if life.told.is_some() => Report::Stopped(0),
            Turn::Granted => Report::Sent,
            Turn::Wanted => return,
            Turn::AtGate => return self.gate_opens(0),
            Turn::None if life.up && life.asked.is_some() => Report::CaughtUp,
            Turn::None if life.up => Report::Loaded,
            Turn::None if life.resumes || life.identified => Report::Up,
            Turn::None => Report::Want,
        };
        self.report(shard, next);
    }

    /// What a shard reports, as far as a shard that runs could.
    pub(super) fn report(&mut self, shard: ShardId, report: Report) {
        let now = self.clock.next();
        let Some(life) = self.lives.running(shard) else {
            return self.stray(shard, report);
        };
        let conn = life.conn();
        let report = match report {
            // A connection is lost first.
            Report::Want if !life.up => {
                life.dials();
                life.turn = Turn::Wanted;
                life.identified = false;
                life.session = false;
                ShardReport::WantIdentify { conn: life.conn() }
            }
            Report::Withdraw if life.turn != Turn::None => {
                life.turn = Turn::None;
                ShardReport::WithdrawIdentify { conn }
            }
            Report::Sent if life.turn == Turn::Granted => {
                life.turn = Turn::None;
                life.identified = true;
                self.turns.sent(shard, now);
                ShardReport::IdentifySent { conn }
            }
            Report::Up if life.turn == Turn::None => {
                life.up = true;
                life.session = true;
                ShardReport::Up
            }
            Report::Want | Report::Down => {
                life.up = false;
                (life.asked, life.caught_up) = (None, None);
                ShardReport::Down
            }
            Report::Loaded => ShardReport::Loaded,
            Report::CaughtUp => {
                let Some((mark, at)) = life.asked.take() else {
                    return;
                };
                life.caught_up = Some(at);
                ShardReport::CaughtUp { mark }
            }
            Report::Command(how) => match answer(life, how) {
                Some(report) => report,
                None => return,
            },
            Report::Members(good) => match members(life, good) {
                Some(report) => report,
                None => return,
            },
            Report::State => ShardReport::State {
                state: setup::resumable(shard),
            },
            Report::Vanished => {
                life.ended = true;
                ShardReport::Vanished {
                    state: setup::resumable(shard),
                }
            }
            Report::Stopped(why) => {
                life.ended = true;
                ShardReport::Stopped {
                    why: reason(why),
                    state: setup::resumable(shard),
                }
            }
            Report::Withdraw | Report::Sent | Report::Up => return,
        };
        self.legal(FleetInput::Report { shard, report });
    }

    /// A report of a shard that does not run.
    fn stray(&mut self, shard: ShardId, report: Report) {
        let report = match report {
            Report::Up => ShardReport::Up,
            Report::Down => ShardReport::Down,
            Report::Vanished => ShardReport::Vanished {
                state: ShardState::fresh(shard),
            },
            Report::Stopped(why) => ShardReport::Stopped {
                why: reason(why),
                state: ShardState::fresh(shard),
            },
            _ => ShardReport::Loaded,
        };
        self.legal(FleetInput::Report { shard, report });
    }
}

fn reason(why: u8) -> StopReason {
    let fatal = |code| StopReason::Fatal {
        code: CloseCode::new(code),
    };
    match why % 6 {
        0 | 1 => StopReason::Requested,
        2 | 3 => StopReason::ReShardRequired,
        4 => fatal(4010),
        _ => fatal(4004),
    }
}

fn answer(life: &mut Life, how: u8) -> Option<ShardReport> {
    let id = *life.commands.front()?;
    let answer = match how % 4 {
        0 => Answer::Accepted,
        1 => Answer::Sent,
        2 => Answer::Refused(CommandError::Replaced),
        _ => Answer::Refused(CommandError::NotReady),
    };
    if answer != Answer::Accepted {
        life.commands.pop_front();
    }
    Some(ShardReport::Answer { id, answer })
}

fn members(life: &mut Life, good: bool) -> Option<ShardReport> {
    let id = life.collections.pop_front()?;
    let error = if good {
        RequestMembersError::SessionLost
    } else {
        RequestMembersError::ShardStopped
    };
    Some(ShardReport::Members {
        id,
        result: Err(error),
    })
}

//! The protocol machine: one shard's life from its first dial to its stop, fed with decoded payloads.
//!
//! It is a plain value that can be cloned. This file holds the states and what the outside world
//! says; `connecting` decides where to dial and what a lost connection means, `receiving` reads
//! payloads, `sending` decides what leaves and when.

use std::collections::VecDeque;
use std::time::{Instant, SystemTime};

use crate::backoff::Backoff;
use crate::dispatch::DispatchHeader;
use crate::outbox::Outbox;
use crate::rng::Rng;
use crate::session::Session;
use crate::shard::link::{Link, Stage};
use crate::timer::{Timer, Timers};
use crate::{
    Action, Answer, CloseCode, CommandError, CommandId, ConnId, DisconnectReason, Event, EventId,
    GatewayUrl, Input, Misuse, OutgoingText, Phase, Problem, ShardConfig, ShardState, StatusUpdate,
    Stop, StopReason, Wait, WaitFor,
};

/// Where a shard is in its life, with what is known only there.
#[derive(Clone, Debug)]
pub(crate) enum State {
    Idle,
    Connecting {
        conn: ConnId,
    },
    Open(Box<Link>),
    /// Our close frame is out. Whatever still comes is discarded.
    Closing {
        conn: ConnId,
        then: Then,
    },
    /// Waiting to dial again.
    Backoff,
    /// Would dial, but the consumer has no room for what would come.
    Parked,
    Stopped,
}

/// What follows a close.
#[derive(Clone, Debug)]
pub(crate) enum Then {
    /// Dial again, not before this.
    Reconnect {
        at: Instant,
    },
    Stop(StopReason),
}

/// One thing to do, free of borrows: a dispatch stands for the payload being looked at.
#[derive(Clone, Debug)]
pub(crate) enum Out {
    Connect {
        conn: ConnId,
        url: String,
    },
    Send {
        conn: ConnId,
        text: OutgoingText,
    },
    Close {
        conn: ConnId,
        code: CloseCode,
        reason: &'static str,
    },
    Abort {
        conn: ConnId,
    },
    WantIdentify {
        conn: ConnId,
    },
    WithdrawIdentify {
        conn: ConnId,
    },
    IdentifySent {
        conn: ConnId,
    },
    CaughtUp {
        mark: u64,
    },
    Answer {
        id: CommandId,
        answer: Answer,
    },
    /// Boxed: it is rare, and everything here is moved with every dispatch.
    Emit(Box<OwnedEvent>),
    Deliver {
        id: EventId,
        header: DispatchHeader,
    },
}

/// An event that is no dispatch, kept as a closure-free value so that the machine stays `Clone`.
pub(crate) type OwnedEvent = crate::shard::notice::Notice;

/// The machine without its decoder.
#[derive(Clone, Debug)]
pub(crate) struct ProtocolMachine {
    pub(crate) config: ShardConfig,
    pub(crate) now: Instant,
    /// The last pair of clocks, to notice that the host slept.
    clocks: Option<(Instant, SystemTime)>,
    pub(crate) rng: Rng,
    pub(crate) state: State,
    pub(crate) timers: Timers,
    pub(crate) last_conn: u32,
    pub(crate) session: Option<Session>,
    /// How many sessions there were.
    pub(crate) sessions: u32,
    pub(crate) backoff: Backoff,
    /// Dials in a row that failed.
    pub(crate) dial_failures: u32,
    /// When the session was last known to live.
    pub(crate) last_alive: Instant,
    /// Op 9 with `true`, in a row.
    pub(crate) resumable_invalids: u8,
    /// Identifies sent since the last stable connection.
    pub(crate) identifies: u32,
    /// The sequence after which something could not be decoded.
    pub(crate) poison: Option<u64>,
    pub(crate) outbox: Outbox,
    /// What the next Identify says.
    pub(crate) presence: Option<StatusUpdate>,
    pub(crate) congested: bool,
    pub(crate) out: VecDeque<Out>,
}

impl ProtocolMachine {
    pub(crate) fn new(
        mut config: ShardConfig,
        state: Option<ShardState>,
        seed: u64,
        now: Instant,
    ) -> Self {
        config.limits = config.limits.bounded();
        let session = state
            // A session belongs to its shard pair: after a change of the total it cannot be resumed.
            .filter(|state| state.shard == config.shard && state.is_resumable())
            .and_then(|state| {
                let url = state.resume_gateway_url.as_deref();
                let url = url.and_then(|url| usable_resume_url(&config, url));
                Some(Session::new(1, state.session_id?, url, state.seq?))
            });
        let limits = &config.limits;
        Self {
            now,
            clocks: None,
            rng: Rng::new(seed),
            state: State::Idle,
            timers: Timers::default(),
            last_conn: 0,
            sessions: u32::from(session.is_some()),
            session,
            backoff: Backoff::new(limits.backoff_base, limits.backoff_cap),
            dial_failures: 0,
            last_alive: now,
            resumable_invalids: 0,
            identifies: 0,
            poison: None,
            outbox: Outbox::new(limits.command_queue),
            presence: config.presence.clone(),
            congested: false,
            out: VecDeque::new(),
            config,
        }
    }

    /// Time first: due timers run before whatever happened, so that no flood can starve the heart.
    #[inline]
    pub(crate) fn advance(&mut self, now: Instant) {
        // A clock that went back is treated as one that stood still.
        self.now = self.now.max(now);
        // Each timer that fires clears itself; those it sets anew lie in the future. The bound only
        // guards against a deadline of zero length.
        for _ in 0..32 {
            let Some(timer) = self.timers.take_due(self.now) else {
                break;
            };
            self.fire(timer);
        }
    }

    fn fire(&mut self, timer: Timer) {
        match timer {
            Timer::Dial => self.dial_timed_out(),
            Timer::Hello => self.leave(DisconnectReason::HelloTimeout),
            // What is not read may still come.
            Timer::Guilds if self.congested => {
                let at = self.now + self.config.limits.guilds_timeout;
                self.timers.set(Timer::Guilds, at);
            }
            Timer::Guilds => self.guilds_are_loaded(),
            Timer::Session => {
                let resuming = matches!(&self.state, State::Open(link) if matches!(link.stage, Stage::Resuming { .. }));
                self.leave(if resuming {
                    DisconnectReason::ResumedTimeout
                } else {
                    DisconnectReason::ReadyTimeout
                });
            }
            Timer::Heartbeat => self.heartbeat_due(),
            Timer::Probe => self.leave(DisconnectReason::Zombie),
            Timer::Send => self.pump(),
            Timer::Congestion => self.leave(DisconnectReason::ConsumerStalled),
            Timer::Close => self.close_timed_out(),
            Timer::Reconnect => self.reconnect_due(),
        }
    }

    /// Everything but a received frame.
    pub(crate) fn input(&mut self, input: Input) -> Result<(), Misuse> {
        match input {
            Input::Start => {
                if !matches!(self.state, State::Idle) {
                    return if matches!(self.state, State::Stopped) {
                        Ok(())
                    } else {
                        Err(Misuse::AlreadyStarted)
                    };
                }
                self.dial_or_park();
            }
            Input::Opened { conn } => self.opened(conn),
            Input::Closed { conn, code } => self.closed(conn, code.map(CloseCode::new)),
            Input::Failed { conn, why } => self.failed(conn, why),
            Input::Flushed { conn } => self.flushed(conn),
            Input::IdentifyGranted { conn } => self.identify_granted(conn),
            Input::CatchUp { mark } => self.catch_up(mark),
            Input::Command {
                id,
                command,
                if_not_ready,
            } => self.command(id, command, if_not_ready),
            Input::Acknowledged(id) => return self.acknowledged(id),
            Input::Congested(congested) => self.set_congested(congested),
            Input::Stop(how) => self.stop(how),
            Input::Tick { wall } => self.compare_clocks(wall),
            // Frames go through the decoder first.
            Input::Received { .. } => {}
        }
        Ok(())
    }

    fn acknowledged(&mut self, id: EventId) -> Result<(), Misuse> {
        if let Some(session) = &mut self.session
            && session.ordinal == id.session
            && id.shard == self.config.shard
        {
            if id.seq > session.received {
                return Err(Misuse::AckAhead {
                    seq: id.seq,
                    received: session.received,
                });
            }
            session.acks.acknowledge(id.seq);
        }
        Ok(())
    }

    fn set_congested(&mut self, congested: bool) {
        if self.congested == congested {
            return;
        }
        self.congested = congested;
        let limits = &self.config.limits;
        match &mut self.state {
            State::Open(link) if congested => {
                // Nothing is read from now on, so no deadline for something to arrive may run.
                let patience = link
                    .heart
                    .as_ref()
                    .map_or(limits.hello_timeout, |heart| heart.interval());
                self.timers.clear(Timer::Hello);
                self.timers.clear(Timer::Session);
                self.timers.clear(Timer::Probe);
                self.timers.set(Timer::Congestion, self.now + patience);
            }
            State::Open(link) => {
                self.timers.clear(Timer::Congestion);
                if let Some(heart) = &mut link.heart {
                    heart.excuse();
                }
                match link.stage {
                    Stage::AwaitingHello => {
                        self.timers
                            .set(Timer::Hello, self.now + limits.hello_timeout);
                    }
                    Stage::Identifying { .. } => {
                        self.timers
                            .set(Timer::Session, self.now + limits.ready_timeout);
                    }
                    Stage::Resuming { .. } => {
                        self.timers
                            .set(Timer::Session, self.now + limits.resumed_timeout);
                    }
                    Stage::AwaitingPermit | Stage::Live { .. } => {}
                }
            }
            State::Parked if !congested => self.dial_or_park(),
            State::Closing {
                then: Then::Reconnect { at },
                ..
            } if !congested && *at <= self.now => {
                self.reconnect_due();
            }
            _ => {}
        }
    }

    fn compare_clocks(&mut self, wall: Option<SystemTime>) {
        /// A monotonic clock stands still while the host sleeps, the wall clock does not.
        const SLEPT: std::time::Duration = std::time::Duration::from_secs(5);
        let Some(wall) = wall else { return };
        let before = self.clocks.replace((self.now, wall));
        let Some((mono_before, wall_before)) = before else {
            return;
        };
        // Jumps backward are of no interest: no schedule depends on the wall clock.
        let Ok(wall_passed) = wall.duration_since(wall_before) else {
            return;
        };
        if wall_passed.saturating_sub(self.now - mono_before) >= SLEPT {
            self.host_slept();
        }
    }

    fn stop(&mut self, how: Stop) {
        let code = match how {
            Stop::Keep => CloseCode::KEEP_SESSION,
            Stop::Final => CloseCode::NORMAL,
        };
        match &mut self.state {
            State::Stopped => return,
            State::Closing { then, .. } => {
                *then = Then::Stop(StopReason::Requested);
                self.timers.clear(Timer::Reconnect);
            }
            State::Idle | State::Backoff | State::Parked => {
                self.drop_session_if(how);
                self.finish(StopReason::Requested);
                return;
            }
            State::Connecting { conn } => {
                let conn = *conn;
                self.out.push_back(Out::Abort { conn });
                self.say_stopped(conn);
                self.drop_session_if(how);
                self.finish(StopReason::Requested);
                return;
            }
            State::Open(link) => {
                let conn = link.conn;
                self.give_permit_back();
                self.out.push_back(Out::Close {
                    conn,
                    code,
                    reason: "stopped",
                });
                self.settle_unflushed(None);
                self.say_stopped(conn);
                self.state = State::Closing {
                    conn,
                    then: Then::Stop(StopReason::Requested),
                };
                self.timers.clear_all();
                self.timers
                    .set(Timer::Close, self.now + self.config.limits.close_timeout);
            }
        }
        self.drop_session_if(how);
    }

    fn drop_session_if(&mut self, how: Stop) {
        if how == Stop::Final {
            self.session = None;
        }
    }

    /// The last thing a machine does.
    pub(crate) fn finish(&mut self, why: StopReason) {
        self.state = State::Stopped;
        self.timers.clear_all();
        let waiting: Vec<_> = self
            .outbox
            .drain()
            .filter_map(|waiting| waiting.id)
            .collect();
        for id in waiting {
            self.answer(id, Answer::Refused(CommandError::Stopped));
        }
        let state = self.shard_state();
        self.emit(OwnedEvent::ShardStopped { why, state });
    }

    pub(crate) fn shard_state(&self) -> ShardState {
        match &self.session {
            None => ShardState::fresh(self.config.shard),
            Some(session) => ShardState {
                shard: self.config.shard,
                session_id: Some(session.id.clone()),
                seq: Some(session.acks.acknowledged()),
                resume_gateway_url: session.resume_url.as_ref().map(ToString::to_string),
                at: self.seconds_since_1970(),
            },
        }
    }

    fn seconds_since_1970(&self) -> Option<u64> {
        let (then, wall) = self.clocks?;
        let wall = wall.checked_add(self.now.saturating_duration_since(then))?;
        let since = wall.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        Some(since.as_secs())
    }

    #[inline]
    pub(crate) fn phase(&self) -> Phase {
        match &self.state {
            State::Idle => Phase::Idle,
            State::Connecting { .. } => Phase::Connecting,
            State::Open(link) => match link.stage {
                Stage::AwaitingHello => Phase::AwaitingHello,
                Stage::AwaitingPermit => Phase::AwaitingPermit,
                Stage::Identifying { .. } => Phase::Identifying,
                Stage::Resuming { .. } => Phase::Resuming,
                Stage::Live { .. } => Phase::Live,
            },
            State::Closing { .. } => Phase::Closing,
            State::Backoff => Phase::Backoff,
            State::Parked => Phase::Parked,
            State::Stopped => Phase::Stopped,
        }
    }

    /// Whether frames of this connection are still looked at.
    #[inline]
    pub(crate) fn listens_to(&self, conn: ConnId) -> bool {
        matches!(&self.state, State::Open(link) if link.conn == conn)
    }

    #[inline]
    pub(crate) fn wait(&self) -> Wait {
        match &self.state {
            State::Stopped => Wait::Stopped,
            State::Idle => Wait::For(WaitFor::Start),
            State::Parked => Wait::For(WaitFor::Consumer),
            // Every other state has set its deadline; a minute is a net under a hole in that rule.
            _ => Wait::Until(
                self.timers
                    .next()
                    .unwrap_or_else(|| self.now + std::time::Duration::from_secs(60)),
            ),
        }
    }

    pub(crate) fn answer(&mut self, id: CommandId, answer: Answer) {
        self.out.push_back(Out::Answer { id, answer });
    }

    pub(crate) fn emit(&mut self, event: OwnedEvent) {
        self.out.push_back(Out::Emit(Box::new(event)));
    }

    pub(crate) fn problem(&mut self, conn: Option<ConnId>, problem: Problem) {
        self.emit(OwnedEvent::Problem { conn, problem });
    }
}

/// A resume URL of a READY or a stored state, if it can be used: a websocket address that is not
/// weaker than the configured one (a token never goes out in the clear because a READY says so).
pub(crate) fn usable_resume_url(config: &ShardConfig, url: &str) -> Option<GatewayUrl> {
    let url: GatewayUrl = url.parse().ok()?;
    (url.is_tls() || !config.gateway_url.is_tls()).then_some(url)
}

impl Out {
    /// The action, for everything but [`Out::Deliver`].
    pub(crate) fn into_action(self, config: &ShardConfig) -> Option<Action<'static>> {
        Some(match self {
            Self::Connect { conn, url } => Action::Connect {
                conn,
                url,
                time_allowed: config.limits.dial_timeout,
            },
            Self::Send { conn, text } => Action::Send { conn, text },
            Self::Close { conn, code, reason } => Action::Close { conn, code, reason },
            Self::Abort { conn } => Action::Abort { conn },
            Self::WantIdentify { conn } => Action::WantIdentify { conn },
            Self::WithdrawIdentify { conn } => Action::WithdrawIdentify { conn },
            Self::IdentifySent { conn } => Action::IdentifySent { conn },
            Self::CaughtUp { mark } => Action::CaughtUp { mark },
            Self::Answer { id, answer } => Action::Answer { id, answer },
            Self::Emit(event) => Action::Emit(Event::from_notice(config.shard, *event)),
            Self::Deliver { .. } => return None,
        })
    }
}

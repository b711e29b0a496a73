//! Decides where to dial, and what the end of a connection means: resume, identify or stop, and
//! after how long.

use std::time::Duration;

use crate::outbox::Waiting;
use crate::session::Session;
use crate::shard::link::{Link, Stage};
use crate::shard::protocol::{Out, OwnedEvent, ProtocolMachine, State, Then};
use crate::timer::Timer;
use crate::{
    Answer, CloseAction, CloseCode, CommandError, CommandKind, ConnId, DisconnectReason, Next,
    Problem, SentKind, SessionLoss, StopReason, TransportFault,
};

/// The version of Discord's API that everything here speaks.
const API_VERSION: u8 = 10;
/// Op 9 asks for a pause of 1 to 5 s, at random, before the next try.
const INVALID_SESSION_PAUSE: (Duration, Duration) =
    (Duration::from_secs(1), Duration::from_secs(4));
/// Op 9 with `true` this many times in a row ends the session.
const RESUMABLE_INVALIDS: u8 = 4;
/// A host that asks for a longer pause than this is asked again earlier.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// The resume host and the configured host take turns, this many failed dials each.
const DIALS_PER_HOST: u32 = 3;

impl ProtocolMachine {
    pub(crate) fn dial_or_park(&mut self) {
        self.timers.clear_all();
        if self.congested {
            self.state = State::Parked;
            return;
        }
        let limits = &self.config.limits;
        self.last_conn = self.last_conn.saturating_add(1);
        let conn = ConnId(self.last_conn);
        let url = self.host().with_query(API_VERSION, self.config.compression);
        self.state = State::Connecting { conn };
        self.timers.set(Timer::Dial, self.now + limits.dial_timeout);
        self.emit(OwnedEvent::Connecting {
            conn,
            url: url.clone(),
        });
        self.out.push_back(Out::Connect { conn, url });
    }

    /// Sessions begin on the configured host and are resumed where READY said.
    fn host(&self) -> &crate::GatewayUrl {
        let turn = self.dial_failures / DIALS_PER_HOST;
        self.session
            .as_ref()
            .filter(|session| session.fruitless < Session::TRIES_ON_RESUME_HOST)
            .filter(|_| !self.config.stay_on_host && turn.is_multiple_of(2))
            .and_then(|session| session.resume_url.as_ref())
            .unwrap_or(&self.config.gateway_url)
    }

    pub(crate) fn opened(&mut self, conn: ConnId) {
        if !matches!(self.state, State::Connecting { conn: dialled } if dialled == conn) {
            return;
        }
        self.dial_failures = 0;
        self.backoff.opened();
        self.state = State::Open(Box::new(Link::new(conn)));
        self.timers.clear(Timer::Dial);
        let patience = self.now + self.config.limits.hello_timeout;
        self.timers.set(
            if self.congested {
                Timer::Congestion
            } else {
                Timer::Hello
            },
            patience,
        );
    }

    pub(crate) fn closed(&mut self, conn: ConnId, code: Option<CloseCode>) {
        match &self.state {
            State::Open(link) if link.conn == conn => self.closed_by_gateway(code),
            // A dial that ends in a close never opened.
            State::Connecting { conn: dialled } if *dialled == conn => {
                self.failed(conn, TransportFault::UnexpectedEnd);
            }
            State::Closing { conn: closing, .. } if *closing == conn => self.close_finished(),
            _ => {}
        }
    }

    pub(crate) fn failed(&mut self, conn: ConnId, why: TransportFault) {
        match &self.state {
            State::Connecting { conn: dialled } if *dialled == conn => self.dial_failed(conn, why),
            State::Open(link) if link.conn == conn => {
                // Broken text or an oversized frame comes again with every replay, as a payload does
                // that cannot be decoded.
                let poisoned =
                    matches!(why, TransportFault::Protocol(_) | TransportFault::TooLarge);
                let loss = if poisoned { self.poisoned() } else { None };
                self.lose(Loss {
                    session: loss,
                    ..Loss::new(DisconnectReason::Lost(why))
                });
            }
            State::Closing { conn: closing, .. } if *closing == conn => self.close_finished(),
            _ => {}
        }
    }

    pub(crate) fn dial_timed_out(&mut self) {
        if let State::Connecting { conn } = self.state {
            self.out.push_back(Out::Abort { conn });
            self.dial_failed(conn, TransportFault::TimedOut);
        }
    }

    fn dial_failed(&mut self, conn: ConnId, why: TransportFault) {
        let mut at_least = Duration::ZERO;
        if let TransportFault::Upgrade {
            status,
            retry_after,
        } = &why
        {
            at_least = retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
            let advice = upgrade_advice(*status);
            self.problem(
                Some(conn),
                Problem::UpgradeRefused {
                    status: *status,
                    advice,
                },
            );
        }
        self.dial_failures = self.dial_failures.saturating_add(1);
        self.backoff.dial_failed();
        let unreached = self.now.saturating_duration_since(self.last_alive);
        let too_old = self.session.is_some() && unreached > self.config.limits.session_patience;
        let lost = too_old
            .then(|| self.take_session(SessionLoss::TooOld))
            .flatten();
        self.plan_reconnect(
            conn,
            None,
            DisconnectReason::CouldNotConnect(why),
            at_least,
            false,
        );
        self.out.extend(lost);
    }

    /// The peer sent a close frame, or ended the stream without one.
    fn closed_by_gateway(&mut self, code: Option<CloseCode>) {
        let State::Open(link) = &self.state else {
            return;
        };
        let conn = link.conn;
        let last_command = link.last_command;
        if let Some(code) = code {
            if matches!(code, CloseCode::UNKNOWN_OPCODE | CloseCode::DECODE_ERROR)
                && let Some(sent) = last_command
            {
                self.problem(Some(conn), Problem::CommandRejected { code, sent });
            } else if code.name().is_none() {
                self.problem(Some(conn), Problem::UnknownCloseCode(code));
            }
        }
        let loss = Loss {
            code,
            ..Loss::new(DisconnectReason::ClosedByGateway)
        };
        match CloseAction::for_close(code) {
            CloseAction::Resume => self.lose(loss),
            CloseAction::Identify => {
                let why = code.map_or(SessionLoss::Invalidated, SessionLoss::Closed);
                self.lose(Loss {
                    session: Some(why),
                    ..loss
                });
            }
            CloseAction::ReShard => self.lose(Loss {
                stop: Some(StopReason::ReShardRequired),
                ..loss
            }),
            CloseAction::StopShard | CloseAction::StopBot => {
                let stop = code.map(|code| StopReason::Fatal { code });
                self.lose(Loss { stop, ..loss });
            }
        }
    }

    /// We end the connection, keeping the session, for a reason of our own.
    pub(crate) fn leave(&mut self, reason: DisconnectReason) {
        self.lose(Loss {
            close: true,
            ..Loss::new(reason)
        });
    }

    /// We end the connection because something could not be decoded.
    pub(crate) fn leave_poisoned(&mut self) {
        let session = self.poisoned();
        self.lose(Loss {
            close: true,
            session,
            ..Loss::new(DisconnectReason::Undecodable)
        });
    }

    /// Notes that what follows the last sequence cannot be decoded; twice is once too often.
    fn poisoned(&mut self) -> Option<SessionLoss> {
        match &self.session {
            Some(session) => {
                let again = self.poison == Some(session.received);
                self.poison = Some(session.received);
                again.then_some(SessionLoss::Poisoned)
            }
            None => {
                // A READY that cannot be decoded will hardly be decoded the next time.
                self.identifies = self.identifies.saturating_add(2);
                None
            }
        }
    }

    pub(crate) fn invalid_session(&mut self, resumable: bool) {
        self.resumable_invalids = if resumable {
            self.resumable_invalids.saturating_add(1)
        } else {
            0
        };
        let keep = resumable && self.resumable_invalids < RESUMABLE_INVALIDS;
        let (least, more) = INVALID_SESSION_PAUSE;
        let at_least = least + self.rng.duration_up_to(more);
        self.lose(Loss {
            close: true,
            session: (!keep).then_some(SessionLoss::Invalidated),
            at_least,
            ..Loss::new(DisconnectReason::InvalidSession { resumable })
        });
    }

    /// An open connection is over. Everything that follows from it is decided here.
    fn lose(&mut self, loss: Loss) {
        let State::Open(link) = &self.state else {
            return;
        };
        let (conn, stage) = (link.conn, link.stage.clone());
        self.give_permit_back();
        self.settle_unflushed(loss.code);
        self.timers.clear_all();

        let mut session_loss = loss.session;
        if let Stage::Live { since } = stage {
            let stable =
                self.now.saturating_duration_since(since) >= self.config.limits.stable_after;
            self.backoff.was_live(stable);
            if stable {
                self.identifies = 0;
            }
            self.last_alive = self.now;
        } else {
            self.backoff.failed();
            if let Some(session) = &mut self.session {
                session.fruitless = session.fruitless.saturating_add(1);
                if session.fruitless >= Session::TRIES && session_loss.is_none() {
                    session_loss = Some(SessionLoss::ResumeRefused);
                }
            }
        }
        if loss.close {
            let reason = close_text(&loss.reason);
            self.out.push_back(Out::Close {
                conn,
                code: CloseCode::KEEP_SESSION,
                reason,
            });
        }
        if let Some(why) = loss.stop {
            self.session = None;
            self.say_disconnected(conn, loss.code, loss.reason, Next::Stop, Duration::ZERO);
            self.finish(why);
            return;
        }
        let lost = session_loss.and_then(|why| self.take_session(why));
        self.plan_reconnect(conn, loss.code, loss.reason, loss.at_least, loss.close);
        self.out.extend(lost);
    }

    /// Drops id, URL and sequence together; what to tell about it.
    pub(crate) fn take_session(&mut self, why: SessionLoss) -> Option<Out> {
        let session = self.session.take()?;
        self.resumable_invalids = 0;
        self.poison = None;
        let event = OwnedEvent::SessionLost {
            session: session.ordinal,
            last_seq: session.received,
            why,
        };
        Some(Out::Emit(Box::new(event)))
    }

    fn plan_reconnect(
        &mut self,
        conn: ConnId,
        code: Option<CloseCode>,
        reason: DisconnectReason,
        at_least: Duration,
        closing: bool,
    ) {
        let mut delay = self.backoff.delay(&mut self.rng).max(at_least);
        let next = if self.session.is_some() {
            Next::Resume
        } else {
            Next::Identify
        };
        if next == Next::Identify
            && let Some(over) = self
                .identifies
                .checked_sub(self.config.limits.identify_breaker)
        {
            let pause = Duration::from_secs(120).saturating_mul(1 << over.min(10));
            let pause = pause.min(self.config.limits.identify_breaker_cap);
            delay = delay.max(pause / 2 + self.rng.duration_up_to(pause / 2));
            let tries = self.identifies;
            self.problem(
                None,
                Problem::IdentifyFailing {
                    tries,
                    next_try_in: delay,
                },
            );
        }
        self.say_disconnected(conn, code, reason, next, delay);
        let at = self.now + delay;
        self.timers.set(Timer::Reconnect, at);
        self.state = if closing {
            // The close frame is out; the handshake may take until the next dial, no longer.
            self.timers
                .set(Timer::Close, self.now + self.config.limits.close_timeout);
            State::Closing {
                conn,
                then: Then::Reconnect { at },
            }
        } else {
            State::Backoff
        };
    }

    fn say_disconnected(
        &mut self,
        conn: ConnId,
        code: Option<CloseCode>,
        reason: DisconnectReason,
        next: Next,
        delay: Duration,
    ) {
        self.emit(OwnedEvent::Disconnected {
            conn,
            code,
            reason,
            next,
            delay,
        });
    }

    pub(crate) fn say_stopped(&mut self, conn: ConnId) {
        self.say_disconnected(
            conn,
            None,
            DisconnectReason::Stopped,
            Next::Stop,
            Duration::ZERO,
        );
    }

    pub(crate) fn reconnect_due(&mut self) {
        match self.state {
            State::Backoff => self.dial_or_park(),
            // Never two connections at once: what is left of the old one goes.
            State::Closing {
                conn,
                then: Then::Reconnect { .. },
            } if !self.congested => {
                self.out.push_back(Out::Abort { conn });
                self.dial_or_park();
            }
            _ => {}
        }
    }

    pub(crate) fn close_timed_out(&mut self) {
        if let State::Closing { conn, .. } = self.state {
            self.out.push_back(Out::Abort { conn });
            self.close_finished();
        }
    }

    fn close_finished(&mut self) {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Closing {
                then: Then::Stop(why),
                ..
            } => self.finish(why),
            State::Closing {
                then: Then::Reconnect { at },
                ..
            } => {
                self.timers.clear(Timer::Close);
                if at <= self.now {
                    self.dial_or_park();
                } else {
                    self.state = State::Backoff;
                    self.timers.set(Timer::Reconnect, at);
                }
            }
            other => self.state = other,
        }
    }

    /// A permit belongs to a connection: it goes back with it. An Identify that may have reached the
    /// wire has used it.
    pub(crate) fn give_permit_back(&mut self) {
        let State::Open(link) = &self.state else {
            return;
        };
        let conn = link.conn;
        match link.stage {
            Stage::AwaitingPermit => self.out.push_back(Out::WithdrawIdentify { conn }),
            Stage::Identifying { flushed: false } => {
                self.out.push_back(Out::IdentifySent { conn });
            }
            _ => {}
        }
    }

    /// What was handed to the transport and not reported as flushed may or may not have left. A typed
    /// command is safe to repeat; a raw one is not, least of all after a complaint.
    pub(crate) fn settle_unflushed(&mut self, code: Option<CloseCode>) {
        let State::Open(link) = &mut self.state else {
            return;
        };
        let complaint = matches!(
            code,
            Some(CloseCode::UNKNOWN_OPCODE | CloseCode::DECODE_ERROR)
        );
        let mut again = Vec::new();
        let mut interrupted = Vec::new();
        for waiting in link.unflushed.drain(..) {
            if complaint || matches!(waiting.command.kind(), CommandKind::Raw) {
                interrupted.extend(waiting.id);
            } else {
                again.push(waiting);
            }
        }
        for id in interrupted {
            self.answer(id, Answer::Refused(CommandError::Interrupted));
        }
        for id in self.outbox.put_back(again).into_iter().flatten() {
            self.answer(id, Answer::Refused(CommandError::Replaced));
        }
    }
}

/// How a connection was lost.
struct Loss {
    code: Option<CloseCode>,
    reason: DisconnectReason,
    /// Set if the session goes with it.
    session: Option<SessionLoss>,
    /// Set if the shard ends with it.
    stop: Option<StopReason>,
    /// The pause before the next dial is at least this.
    at_least: Duration,
    /// Whether it is we who close.
    close: bool,
}

impl Loss {
    fn new(reason: DisconnectReason) -> Self {
        Self {
            code: None,
            reason,
            session: None,
            stop: None,
            at_least: Duration::ZERO,
            close: false,
        }
    }
}

fn close_text(reason: &DisconnectReason) -> &'static str {
    match reason {
        DisconnectReason::ReconnectRequested => "reconnecting as asked",
        DisconnectReason::InvalidSession { .. } => "session invalid",
        DisconnectReason::Zombie => "no heartbeat acknowledgement",
        DisconnectReason::HelloTimeout => "no hello",
        DisconnectReason::BadHello => "heartbeat interval out of range",
        DisconnectReason::ReadyTimeout => "no ready",
        DisconnectReason::ResumedTimeout => "no resumed",
        DisconnectReason::Undecodable => "undecodable payload",
        DisconnectReason::ConsumerStalled => "will resume",
        _ => "reconnecting",
    }
}

fn upgrade_advice(status: u16) -> &'static str {
    match status {
        400 => "the address or its query is wrong, or this API version is discontinued",
        401 | 403 => "this host refuses the client; is a proxy or firewall in between?",
        404 | 405 => "this address is no gateway; check the configured URL",
        429 => "too many connections; waiting as long as it asks",
        300..=399 => "redirects are not followed; configure the final address",
        500..=599 => "the gateway has trouble; trying again",
        _ => "unexpected; trying again",
    }
}

/// What the gateway may complain about.
pub(crate) fn sent_kind(waiting: &Waiting) -> SentKind {
    match waiting.command.kind() {
        CommandKind::Raw => SentKind::Raw(waiting.command.op()),
        _ => SentKind::Typed(waiting.command.op()),
    }
}

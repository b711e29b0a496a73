//! Decides what leaves on a connection and when: Identify and Resume, heartbeats ahead of everything,
//! commands once the session stands and the budget has room.

use std::time::Duration;

use crate::heartbeat::Due;
use crate::outbox::{Queued, Waiting};
use crate::payload::{self, IdentifyArgs, Properties};
use crate::shard::connecting::sent_kind;
use crate::shard::link::{CatchUp, Stage};
use crate::shard::protocol::{Out, OwnedEvent, ProtocolMachine, State, Then};
use crate::timer::Timer;
use crate::{
    Answer, Command, CommandError, CommandId, Compression, ConnId, DisconnectReason, IfNotReady,
    OutgoingText, Problem,
};

impl ProtocolMachine {
    pub(crate) fn want_identify(&mut self) {
        let State::Open(link) = &mut self.state else {
            return;
        };
        link.stage = Stage::AwaitingPermit;
        self.out.push_back(Out::WantIdentify { conn: link.conn });
    }

    pub(crate) fn identify_granted(&mut self, conn: ConnId) {
        let granted = matches!(&self.state, State::Open(link)
            if link.conn == conn && link.stage == Stage::AwaitingPermit);
        if !granted {
            return;
        }
        let mut args = IdentifyArgs {
            token: &self.config.token,
            properties: Properties::on(&self.config.os),
            intents: self.config.intents,
            compress: self.config.compression == Compression::Payload,
            large_threshold: self.config.large_threshold,
            shard: self.config.shard,
            presence: self.presence.as_ref(),
            capabilities: self.config.capabilities,
        };
        let mut presence_said = args.presence.is_some();
        let identify = payload::identify(&args).or_else(|_| {
            presence_said = false;
            args.presence = None;
            payload::identify(&args)
        });
        let Ok(identify) = identify else { return };
        let text = OutgoingText::new(2, identify.into_exposed());
        let said = if presence_said {
            self.outbox.take_presence()
        } else {
            None
        };
        if !presence_said && let Some(status) = self.presence.clone() {
            self.problem(Some(conn), Problem::PresenceTooLarge);
            if let Ok(command) = Command::status_update(status) {
                // A presence that already waits is the newer or the same one.
                let _ = self.outbox.push(Waiting { id: None, command });
            }
        }
        self.identifies = self.identifies.saturating_add(1);
        self.emit(OwnedEvent::Identifying { conn });
        self.send(text, false);
        let deadline = self.now + self.config.limits.ready_timeout;
        if let State::Open(link) = &mut self.state {
            link.stage = Stage::Identifying { flushed: false };
            link.unflushed.extend(said);
        }
        if !self.congested {
            self.timers.set(Timer::Session, deadline);
        }
    }

    pub(crate) fn send_resume(&mut self) {
        let (State::Open(link), Some(session)) = (&mut self.state, &self.session) else {
            return;
        };
        let conn = link.conn;
        let seq = session.received;
        let resume = payload::resume(&self.config.token, &session.id, seq);
        link.stage = Stage::Resuming { replayed: 0 };
        self.emit(OwnedEvent::Resuming { conn, seq });
        self.send(OutgoingText::new(6, resume.into_exposed()), false);
        if !self.congested {
            self.timers.set(
                Timer::Session,
                self.now + self.config.limits.resumed_timeout,
            );
        }
    }

    pub(crate) fn flushed(&mut self, conn: ConnId) {
        let State::Open(link) = &mut self.state else {
            return;
        };
        if link.conn != conn {
            return;
        }
        let sent: Vec<_> = link
            .unflushed
            .drain(..)
            .filter_map(|waiting| waiting.id)
            .collect();
        if let Stage::Identifying { flushed } = &mut link.stage
            && !std::mem::replace(flushed, true)
        {
            self.out.push_back(Out::IdentifySent { conn });
            if !self.congested {
                self.timers
                    .set(Timer::Session, self.now + self.config.limits.ready_timeout);
            }
        }
        for id in sent {
            self.answer(id, Answer::Sent);
        }
    }

    pub(crate) fn heartbeat_due(&mut self) {
        let reading = !self.congested;
        let State::Open(link) = &mut self.state else {
            return;
        };
        let conn = link.conn;
        let free = link.beat_at(self.now);
        let Some(heart) = &mut link.heart else { return };
        let verdict = heart.judge(self.now, reading);
        if verdict == Due::Dead {
            self.leave(DisconnectReason::Zombie);
            return;
        }
        if free > self.now {
            // A Hello of under half a second asks for more beats than may be sent.
            heart.postpone(free);
            self.timers.set(Timer::Heartbeat, free);
            return;
        }
        let interval = heart.interval();
        if verdict == Due::Late {
            heart.excuse();
        }
        heart.beat(self.now, reading);
        let due = heart.due();
        self.timers.set(Timer::Heartbeat, due);
        self.send_beat();
        if verdict == Due::Late && reading {
            self.timers.set(
                Timer::Probe,
                self.now + interval.min(Duration::from_secs(10)),
            );
            self.problem(Some(conn), Problem::HostSlept);
        }
    }

    pub(crate) fn beat_requested(&mut self) {
        // Nothing is sent before Hello, not even this.
        if let State::Open(link) = &self.state
            && link.heart.is_some()
            && !self.extra_beat()
            && let State::Open(link) = &mut self.state
        {
            link.owes_beat = true;
            let at = link.beat_at(self.now);
            self.timers.set(Timer::Send, at);
        }
    }

    /// Sends a beat outside the schedule, if the budget has room.
    pub(crate) fn extra_beat(&mut self) -> bool {
        let reading = !self.congested;
        let State::Open(link) = &mut self.state else {
            return false;
        };
        if link.beat_at(self.now) > self.now {
            return false;
        }
        if let Some(heart) = &mut link.heart {
            heart.extra_beat(self.now, reading);
        }
        self.send_beat();
        true
    }

    /// Answers once what the gateway has sent by now is here.
    pub(crate) fn catch_up(&mut self, mark: u64) {
        if let State::Open(link) = &mut self.state
            && link.is_live()
        {
            let answers_left = None;
            link.catch_up = Some(CatchUp { mark, answers_left });
            self.beat_requested();
        }
    }

    fn send_beat(&mut self) {
        if let State::Open(link) = &mut self.state
            && let (Some(heart), Some(catch_up)) = (&link.heart, &mut link.catch_up)
        {
            catch_up
                .answers_left
                .get_or_insert_with(|| heart.unanswered());
        }
        let seq = self.session.as_ref().map(|session| session.received);
        self.send(OutgoingText::new(1, payload::heartbeat(seq)), false);
    }

    fn send(&mut self, text: OutgoingText, presence: bool) {
        let State::Open(link) = &mut self.state else {
            return;
        };
        link.budget.sent(self.now, presence);
        self.out.push_back(Out::Send {
            conn: link.conn,
            text,
        });
    }

    pub(crate) fn command(&mut self, id: CommandId, command: Command, if_not_ready: IfNotReady) {
        let refused = match &self.state {
            State::Stopped
            | State::Closing {
                then: Then::Stop(_),
                ..
            } => Some(CommandError::Stopped),
            State::Open(link) if link.is_live() => None,
            _ if if_not_ready == IfNotReady::Fail => Some(CommandError::NotReady),
            _ => None,
        };
        let refused = refused.or_else(|| {
            let guild = command.guild()?;
            (!self.config.shard.owns(guild)).then_some(CommandError::NotMyGuild { guild })
        });
        if let Some(error) = refused {
            return self.answer(id, Answer::Refused(error));
        }
        let status = command.status().cloned();
        match self.outbox.push(Waiting {
            id: Some(id),
            command,
        }) {
            Err(error) => return self.answer(id, Answer::Refused(error)),
            Ok(Queued::Added) => {}
            Ok(Queued::Replaced(old)) => {
                if let Some(old) = old {
                    self.answer(old, Answer::Refused(CommandError::Replaced));
                }
            }
        }
        if status.is_some() {
            self.presence = status;
        }
        self.answer(id, Answer::Accepted);
        self.pump();
    }

    /// Sends what waits, as far as the budget goes.
    pub(crate) fn pump(&mut self) {
        self.timers.clear(Timer::Send);
        if let State::Open(link) = &mut self.state
            && std::mem::take(&mut link.owes_beat)
        {
            self.beat_requested();
        }
        loop {
            let State::Open(link) = &mut self.state else {
                return;
            };
            if !link.is_live() || self.outbox.is_empty() {
                return;
            }
            let free = link.budget.command_at(self.now);
            if free > self.now {
                return self.pump_again_at(free);
            }
            let presence_at = link.budget.presence_at(self.now);
            let Some(waiting) = self.outbox.take(presence_at <= self.now) else {
                return self.pump_again_at(presence_at);
            };
            link.last_command = Some(sent_kind(&waiting));
            let op = waiting.command.op();
            let text = OutgoingText::new(op, waiting.command.json().to_owned());
            link.unflushed.push(waiting);
            self.send(text, op == 3);
        }
    }

    fn pump_again_at(&mut self, at: std::time::Instant) {
        // An owed beat may have set it earlier.
        if !self.timers.is_set(Timer::Send) {
            self.timers.set(Timer::Send, at);
        }
    }
}

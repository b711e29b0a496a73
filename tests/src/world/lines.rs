//! Moves what the machines send over lines that behave as the network wants.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use shardwright_core::{ConnId, Frame, Input, OutgoingText, TransportFault};

use super::network::{DialFate, Passage, Pipe};
use super::queue::{Down, Due, Queued, Up};
use super::story::{LineStory, Sent, Span};
use super::transcript::Mark;
use super::{BotId, World};
use crate::scenario::{Ending, Listener, ListenerMode};
use crate::server::{ConnId as LineId, Frame as ToServerFrame, Input as ServerInput, WsMessage};

/// Header and mask of a client's frame.
const FRAME: usize = 8;
/// What is on its way for longer waits for bandwidth.
const LONG: Duration = Duration::from_secs(5);

/// One connection on its way or open.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) bot: BotId,
    pub(super) shard: usize,
    pub(super) conn: ConnId,
    listener: Listener,
    target: String,
    pub(super) up: Pipe,
    pub(super) down: Pipe,
    /// Messages that arrived and are not read yet.
    inbox: VecDeque<Down>,
    unread: usize,
    /// Read, and not yet said so to the server.
    read: usize,
    /// Part of a message arrived.
    half: bool,
    flushing: bool,
    client_gone: bool,
    pub(super) server_gone: bool,
}

impl Line {
    fn new(bot: BotId, shard: usize, conn: ConnId, listener: Listener, target: &str) -> Self {
        Self {
            bot,
            shard,
            conn,
            listener,
            target: target.to_owned(),
            up: Pipe::default(),
            down: Pipe::default(),
            inbox: VecDeque::new(),
            unread: 0,
            read: 0,
            half: false,
            flushing: false,
            client_gone: false,
            server_gone: true,
        }
    }
}

impl World {
    pub(super) fn dial(&mut self, bot: BotId, index: usize, conn: ConnId, url: String) {
        self.client_leaves(bot, index);
        let (now, at) = (self.now, self.now - self.base);
        let it = &mut self.bots[bot.0];
        it.leak(&url, "an address");
        let shard = it.shards[index].id;
        let id = LineId(self.line_stories.len() as u64 + 1);
        self.line_stories.push(LineStory {
            life: index,
            ..LineStory::new(id, bot, shard, conn.get(), &url, at)
        });
        self.bots[bot.0].shards[index].line = Some(id);
        self.note(|| format!("bot {} shard {shard}: line {} dials {url}", bot.0, id.0));
        let (host, target) = split(&url);
        let config = self.server.config();
        let listener = [
            (Listener::Main, &config.main_url),
            (Listener::Resume, &config.resume_url),
        ]
        .into_iter()
        .find(|(_, url)| split(url).0 == host)
        .map(|(listener, _)| listener);
        let line = Line::new(bot, index, conn, listener.unwrap_or_default(), target);
        self.lines.insert(id, line);
        if listener.is_none() {
            let fault = TransportFault::NameLookup;
            return self
                .queue
                .put(now + self.network.look_up, Due::DialFailed(id, fault));
        }
        if let Some(until) = self.partition.filter(|until| *until > now) {
            // Nothing answers; what is dialled now comes through late, if anybody still waits.
            let line = self.lines.get_mut(&id).expect("just put in");
            line.up.stalled_until = Some(until);
            line.down.stalled_until = Some(until);
            self.queue.put(until, Due::Release(id));
        }
        self.dial_rules.retain(|rule| rule.until > now);
        let fate = self
            .dial_rules
            .iter()
            .find(|rule| rule.listener.is_none_or(|of| Some(of) == listener))
            .map(|rule| rule.fate);
        let round_trip = self.network.delay(&mut self.rng) * 2;
        let due = match fate {
            None => {
                let at = now + self.network.dial + round_trip / 2;
                return self.queue.put(at, Due::Dialled(id));
            }
            Some(DialFate::Hangs) => return,
            Some(DialFate::Refused) => (round_trip, TransportFault::Refused),
            Some(DialFate::Unreachable) => (round_trip, TransportFault::Unreachable),
            Some(DialFate::NoName) => (self.network.look_up, TransportFault::NameLookup),
        };
        self.queue.put(now + due.0, Due::DialFailed(id, due.1));
    }

    /// A dial reaches the server's door.
    pub(super) fn dialled(&mut self, id: LineId) {
        let now = self.now;
        let Some(line) = self.lines.get_mut(&id).filter(|line| !line.client_gone) else {
            self.lines.remove(&id);
            return;
        };
        if let Some(until) = line.up.stalled_until.filter(|until| *until > now) {
            return self.queue.put(until, Due::Dialled(id));
        }
        match self.doors[line.listener as usize] {
            ListenerMode::Hang => {}
            ListenerMode::Closed => {
                let at = now + self.network.delay(&mut self.rng);
                self.queue
                    .put(at, Due::DialFailed(id, TransportFault::Refused));
            }
            ListenerMode::Open => {
                line.server_gone = false;
                let (listener, target) = (line.listener, line.target.clone());
                self.server_input(ServerInput::Opened {
                    conn: id,
                    listener,
                    target,
                });
            }
        }
    }

    pub(super) fn dial_failed(&mut self, id: LineId, why: TransportFault) {
        // Nobody waits for it any more once the line is gone.
        let Some(line) = self.lines.get(&id) else {
            return;
        };
        let (bot, index, conn) = (line.bot, line.shard, line.conn);
        self.client_leaves(bot, index);
        self.note(|| format!("line {}: {why}", id.0));
        self.shard_input(bot, index, Input::Failed { conn, why });
    }

    pub(super) fn client_sends(
        &mut self,
        bot: BotId,
        index: usize,
        conn: ConnId,
        text: &OutgoingText,
    ) {
        let at = self.now - self.base;
        let it = &mut self.bots[bot.0];
        it.leak(&format!("{text:?}"), "the debug output of a payload");
        if !text.is_secret() {
            it.leak(
                text.as_str(),
                "a payload that is neither Identify nor Resume",
            );
        }
        let Some(id) = self.line_of(bot, index, conn) else {
            return;
        };
        let story = &mut self.line_stories[id.0 as usize - 1];
        let sent = story.sent.len();
        story.sent.push(Sent {
            at,
            arrived: None,
            op: text.op(),
        });
        self.mark(|| Mark::Sent(id, text.op()));
        let bytes = text.as_str().len() + FRAME;
        let up = Up::Frame {
            text: text.as_str().to_owned(),
            index: sent,
        };
        self.put_up(id, bytes, up);
        if let Some(line) = self.lines.get_mut(&id)
            && !std::mem::replace(&mut line.flushing, true)
        {
            self.queue.put(self.now, Due::Flushed(id));
        }
    }

    pub(super) fn flushed(&mut self, id: LineId) {
        let Some(line) = self.lines.get_mut(&id) else {
            return;
        };
        line.flushing = false;
        let (bot, index, conn) = (line.bot, line.shard, line.conn);
        if !line.client_gone {
            self.shard_input(bot, index, Input::Flushed { conn });
        }
    }

    pub(super) fn client_closes(
        &mut self,
        bot: BotId,
        index: usize,
        conn: ConnId,
        code: u16,
        reason: &str,
    ) {
        let at = self.now - self.base;
        self.bots[bot.0].leak(reason, "the reason of a close");
        let Some(id) = self.line_of(bot, index, conn) else {
            return;
        };
        self.line_stories[id.0 as usize - 1].close = Some((at, code));
        self.note(|| format!("line {}: client closes with {code} ({reason})", id.0));
        self.put_up(id, reason.len() + FRAME, Up::Close(code));
    }

    pub(super) fn client_aborts(&mut self, bot: BotId, index: usize, conn: ConnId) {
        if self.line_of(bot, index, conn).is_some() {
            self.client_leaves(bot, index);
        }
    }

    /// The client's socket is dropped.
    pub(super) fn client_leaves(&mut self, bot: BotId, index: usize) {
        let Some(id) = self.bots[bot.0].shards[index].line.take() else {
            return;
        };
        let story = &mut self.line_stories[id.0 as usize - 1];
        story.ended.get_or_insert(self.now - self.base);
        if let Some(line) = self.lines.get_mut(&id) {
            line.client_gone = true;
            line.inbox.clear();
            self.put_up(id, FRAME, Up::End);
            self.bury(id);
        }
    }

    /// Forgets a line that nobody has an end of.
    pub(super) fn bury(&mut self, id: LineId) {
        if self
            .lines
            .get(&id)
            .is_some_and(|line| line.client_gone && line.server_gone)
        {
            self.lines.remove(&id);
        }
    }

    fn line_of(&self, bot: BotId, index: usize, conn: ConnId) -> Option<LineId> {
        let id = self.bots[bot.0].shards[index].line?;
        self.lines
            .get(&id)
            .filter(|line| line.conn == conn)
            .map(|_| id)
    }

    fn put_up(&mut self, id: LineId, bytes: usize, up: Up) {
        let Some(line) = self.lines.get_mut(&id) else {
            return;
        };
        match line.up.put(self.now, bytes, &self.network, &mut self.rng) {
            Passage::At(at) => self.queue.put(at, Due::ToServer(id, up)),
            Passage::Cut(at, ending) => self.ends_both(id, at, ending),
            Passage::Never => {}
        }
    }

    pub(super) fn put_down(&mut self, id: LineId, bytes: usize, down: Down) {
        let Some(line) = self.lines.get_mut(&id) else {
            return;
        };
        if matches!(down, Down::Message { whole: true, .. }) {
            let said = &mut self.line_stories[id.0 as usize - 1].said;
            said.get_or_insert(self.now - self.base);
        }
        match line.down.put(self.now, bytes, &self.network, &mut self.rng) {
            Passage::At(at) => {
                if at - self.now > LONG {
                    let (now, to) = (self.now - self.base, Some(at - self.base));
                    let slow = &mut self.line_stories[id.0 as usize - 1].slow;
                    let on = slow.filter(|span| span.to > Some(now));
                    let from = on.map_or(now, |span| span.from);
                    *slow = Some(Span { from, to });
                }
                self.queue.put(at, Due::ToClient(id, down));
            }
            Passage::Cut(at, ending) => self.ends_both(id, at, ending),
            Passage::Never => {}
        }
    }

    /// The line breaks: both ends hear of it at this time, unless it only falls silent.
    pub(super) fn ends_both(&mut self, id: LineId, at: Instant, ending: Ending) {
        let Some(line) = self.lines.get_mut(&id) else {
            return;
        };
        line.up.shut = true;
        line.down.shut = true;
        if ending == Ending::Stall {
            line.up.stalled = true;
            line.down.stalled = true;
            return;
        }
        self.queue.put(at, Due::ToClient(id, Down::End(ending)));
        self.queue.put(at, Due::ToServer(id, Up::End));
    }

    /// Something arrives at the server, unless it is held up.
    pub(super) fn reach_server(&mut self, queued: Queued) {
        let Due::ToServer(id, _) = &queued.due else {
            return;
        };
        let id = *id;
        let Some(line) = self.lines.get_mut(&id).filter(|line| !line.server_gone) else {
            return;
        };
        let Some(queued) = line.up.hold(self.now, queued) else {
            return;
        };
        let Due::ToServer(_, up) = queued.due else {
            return;
        };
        let input = match up {
            Up::Frame { text, index } => {
                let at = self.now - self.base;
                self.line_stories[id.0 as usize - 1].sent[index].arrived = Some(at);
                ServerInput::Received {
                    conn: id,
                    frame: ToServerFrame::Text(text.into()),
                }
            }
            Up::Pong(bytes) => ServerInput::Received {
                conn: id,
                frame: ToServerFrame::Pong(bytes),
            },
            Up::Close(code) => ServerInput::Closed {
                conn: id,
                code: Some(code),
            },
            Up::Room(bytes) => ServerInput::Flushed { conn: id, bytes },
            Up::End => {
                line.server_gone = true;
                ServerInput::Closed {
                    conn: id,
                    code: None,
                }
            }
        };
        self.server_input(input);
        self.bury(id);
    }

    /// Something arrives at a client, unless it is held up.
    pub(super) fn reach_client(&mut self, queued: Queued) {
        let Due::ToClient(id, _) = &queued.due else {
            return;
        };
        let id = *id;
        let (now, at) = (self.now, self.now - self.base);
        let Some(line) = self.lines.get_mut(&id).filter(|line| !line.client_gone) else {
            return;
        };
        let Some(queued) = line.down.hold(now, queued) else {
            return;
        };
        let Due::ToClient(_, down) = queued.due else {
            return;
        };
        let (bot, index, conn) = (line.bot, line.shard, line.conn);
        let story = &mut self.line_stories[id.0 as usize - 1];
        let input = match down {
            Down::Accept => {
                story.opened = Some(at);
                Input::Opened { conn }
            }
            Down::Refuse(why) => {
                self.client_leaves(bot, index);
                Input::Failed { conn, why }
            }
            Down::Message { message, whole } => {
                let bytes = message.bytes().len();
                line.half |= !whole;
                if whole && !line.half {
                    let first = story.heard.map_or(at, |(first, _)| first);
                    story.heard = Some((first, at));
                    line.unread += bytes;
                    story.most_unread = story.most_unread.max(line.unread);
                    story.largest = story.largest.max(bytes);
                    line.inbox.push_back(Down::Message { message, whole });
                    self.mark(|| Mark::Arrived(id, bytes));
                }
                return self.read_on(bot, index);
            }
            Down::End(Ending::Rst) => {
                line.inbox.clear();
                line.inbox.push_back(Down::End(Ending::Rst));
                return self.read_on(bot, index);
            }
            other => {
                line.inbox.push_back(other);
                return self.read_on(bot, index);
            }
        };
        self.shard_input(bot, index, input);
    }

    fn read_on(&mut self, bot: BotId, index: usize) {
        if let Some(input) = self.read_line(bot, index) {
            self.shard_input(bot, index, input);
        }
    }

    /// What the shard reads next, if it reads.
    pub(super) fn read_line(&mut self, bot: BotId, index: usize) -> Option<Input> {
        loop {
            let slot = &self.bots[bot.0].shards[index];
            let id = slot.line?;
            if !slot.machine.wants_to_read() {
                return None;
            }
            let line = self.lines.get_mut(&id)?;
            let conn = line.conn;
            match line.inbox.pop_front()? {
                Down::Message { message, .. } => {
                    let it = &mut self.bots[bot.0];
                    let life = &it.story.lives[index];
                    if life.muted && life.heard.is_none() {
                        it.shards[index].reads_unheard(self.now);
                    }
                    let bytes = message.bytes().len();
                    line.unread -= bytes;
                    line.read += bytes;
                    if line.read >= self.server.config().send_window / 4 {
                        let read = std::mem::take(&mut line.read);
                        self.put_up(id, 0, Up::Room(read));
                    }
                    let frame = match message {
                        WsMessage::Text(bytes) if std::str::from_utf8(&bytes).is_err() => {
                            self.client_leaves(bot, index);
                            let why = TransportFault::Protocol("text that is not UTF-8".to_owned());
                            return Some(Input::Failed { conn, why });
                        }
                        WsMessage::Text(bytes) => Frame::Text(bytes),
                        WsMessage::Binary(bytes) => Frame::Binary(bytes),
                    };
                    return Some(Input::Received { conn, frame });
                }
                Down::Ping(bytes) => self.put_up(id, bytes.len() + FRAME, Up::Pong(bytes)),
                Down::Close(code) => {
                    let at = self.now - self.base;
                    let story = &mut self.line_stories[id.0 as usize - 1];
                    story.closed = Some((at, code));
                    if story.close.is_none() {
                        // As websocket libraries do by themselves.
                        self.put_up(id, FRAME, Up::Close(code.unwrap_or(1005)));
                    }
                    self.client_leaves(bot, index);
                    self.note(|| format!("line {}: the client gets a close frame, {code:?}", id.0));
                    return Some(Input::Closed { conn, code });
                }
                Down::End(ending) => {
                    let half = line.half;
                    self.client_leaves(bot, index);
                    self.note(|| format!("line {}: {ending:?} reaches the client", id.0));
                    // Websocket libraries differ in what they call the end of a stream.
                    let plain = self.rng.below(2) == 0;
                    return Some(match ending {
                        Ending::Fin if half => Input::Failed {
                            conn,
                            why: TransportFault::UnexpectedEnd,
                        },
                        Ending::Fin if plain => Input::Closed { conn, code: None },
                        _ => Input::Failed {
                            conn,
                            why: TransportFault::Reset,
                        },
                    });
                }
                Down::Accept | Down::Refuse(_) => {}
            }
        }
    }

    /// What was held on a line goes on, where nothing holds it any more.
    pub(super) fn release(&mut self, id: LineId) {
        let now = self.now;
        let Some(line) = self.lines.get_mut(&id) else {
            return;
        };
        for pipe in [&mut line.up, &mut line.down] {
            if !pipe.blocked(now) {
                for queued in pipe.held.drain(..) {
                    self.queue.put_off(now, queued);
                }
            }
        }
    }
}

/// Host (with port) and target of an address.
fn split(url: &str) -> (&str, &str) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    rest.split_at(end)
}

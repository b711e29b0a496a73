//! What holds of each connection: one at a time, nothing sent before Hello or after its end, the right
//! close code, an Identify only when it was allowed, and Discord's send limits.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use shardwright_core::{CloseCode, ConnId};

const SENDS: usize = 120;
const WINDOW: Duration = Duration::from_secs(60);
const PRESENCES: usize = 5;
const PRESENCE_WINDOW: Duration = Duration::from_secs(20);

/// The way to an Identify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Permit {
    None,
    Wanted,
    Granted,
    Used,
    /// Reported as sent, or given back.
    Settled,
}

#[derive(Debug)]
struct Line {
    conn: ConnId,
    opened: bool,
    hello: bool,
    resumed: bool,
    permit: Permit,
    closed: bool,
    aborted: bool,
    /// The peer or the network ended it.
    ended: bool,
    /// When the shard said that it is over, and when the next dial may be.
    over: Option<(Instant, Duration)>,
    sends: VecDeque<Instant>,
    presences: VecDeque<Instant>,
}

#[derive(Debug, Default)]
pub(super) struct Lines {
    lines: Vec<Line>,
    /// A final stop was asked for.
    pub(super) last_stop: bool,
    /// Whatever was due before it has been done.
    pub(super) only_stop: bool,
}

impl Lines {
    /// The newest connection, or one before it.
    pub(super) fn pick(&self, back: u8) -> Option<ConnId> {
        let at = self.lines.len().checked_sub(1 + usize::from(back))?;
        self.lines.get(at).map(|line| line.conn)
    }

    /// What is told to the machine.
    pub(super) fn input(&mut self, conn: ConnId, what: Told) {
        let newest = self.pick(0) == Some(conn);
        let Some(line) = self.lines.last_mut().filter(|_| newest) else {
            return;
        };
        match what {
            Told::Opened => line.opened |= line.over.is_none(),
            Told::Ended => line.ended = true,
            Told::Granted if line.permit == Permit::Wanted => line.permit = Permit::Granted,
            Told::Granted => {}
        }
    }

    /// After a drain: what was told to have ended is over for the shard too.
    pub(super) fn drained(&self) {
        if let Some(line) = self.lines.last() {
            assert!(
                !line.ended || line.over.is_some(),
                "an end that nobody heard of: {line:?}"
            );
        }
    }

    pub(super) fn connect(&mut self, conn: ConnId, now: Instant) {
        assert_eq!(
            conn.get() as usize,
            self.lines.len() + 1,
            "numbers grow by one"
        );
        if let Some(line) = self.lines.last() {
            let (at, pause) = line.over.expect("one connection at a time");
            assert!(
                line.aborted || line.ended,
                "the old socket is left open: {line:?}"
            );
            assert!(
                now.saturating_duration_since(at) >= pause,
                "dialled too early: {line:?}"
            );
        }
        self.lines.push(Line {
            conn,
            opened: false,
            hello: false,
            resumed: false,
            permit: Permit::None,
            closed: false,
            aborted: false,
            ended: false,
            over: None,
            sends: VecDeque::new(),
            presences: VecDeque::new(),
        });
    }

    /// The connection, which must be the newest, open and not over.
    fn live(&mut self, conn: ConnId) -> &mut Line {
        let line = self.lines.last_mut().expect("some connection");
        assert_eq!(line.conn, conn, "an old connection");
        assert!(
            line.opened && !line.closed && !line.aborted && line.over.is_none(),
            "not open: {line:?}"
        );
        line
    }

    pub(super) fn hello(&mut self, conn: ConnId) {
        let line = self.live(conn);
        assert!(!std::mem::replace(&mut line.hello, true), "one Hello");
    }

    pub(super) fn send(&mut self, conn: ConnId, op: u8, now: Instant) {
        let line = self.live(conn);
        assert!(line.hello, "nothing is sent before Hello");
        match op {
            2 => {
                assert_eq!(line.permit, Permit::Granted, "identified unasked");
                line.permit = Permit::Used;
            }
            6 => {
                assert!(!std::mem::replace(&mut line.resumed, true), "one Resume");
                assert_eq!(line.permit, Permit::None, "resumed after an Identify");
            }
            _ => {}
        }
        count(&mut line.sends, now, WINDOW, SENDS);
        if op == 3 {
            count(&mut line.presences, now, PRESENCE_WINDOW, PRESENCES);
        }
    }

    pub(super) fn want_identify(&mut self, conn: ConnId) {
        let line = self.live(conn);
        assert!(line.permit == Permit::None && !line.resumed);
        line.permit = Permit::Wanted;
    }

    pub(super) fn withdraw(&mut self, conn: ConnId) {
        let line = self.live(conn);
        assert!(
            matches!(line.permit, Permit::Wanted | Permit::Granted),
            "{line:?}"
        );
        line.permit = Permit::Settled;
    }

    pub(super) fn identify_sent(&mut self, conn: ConnId) {
        let line = self.live(conn);
        assert_eq!(
            line.permit,
            Permit::Used,
            "nothing was sent, or it was reported before"
        );
        line.permit = Permit::Settled;
    }

    pub(super) fn close(&mut self, conn: ConnId, code: CloseCode) {
        let right = match code.get() {
            1000 => self.last_stop,
            4000 => !self.only_stop,
            _ => false,
        };
        assert!(right, "the code decides what becomes of the session");
        let line = self.lines.last_mut().expect("some connection");
        assert_eq!(line.conn, conn);
        assert!(
            line.opened && !line.closed && line.over.is_none(),
            "{line:?}"
        );
        line.closed = true;
    }

    pub(super) fn abort(&mut self, conn: ConnId) {
        let line = self.lines.last_mut().expect("some connection");
        assert_eq!(line.conn, conn);
        assert!(!std::mem::replace(&mut line.aborted, true), "dropped twice");
    }

    pub(super) fn over(&mut self, conn: ConnId, now: Instant, pause: Duration) {
        let line = self.lines.last_mut().expect("some connection");
        assert_eq!(line.conn, conn);
        assert!(line.over.is_none(), "one end for each connection");
        let settled = matches!(line.permit, Permit::None | Permit::Settled);
        assert!(
            settled,
            "the fleet never hears what became of a turn: {line:?}"
        );
        assert!(
            !line.opened || line.closed || line.aborted || line.ended,
            "{line:?}"
        );
        line.over = Some((now, pause));
    }

    pub(super) fn stopped(&self) {
        if let Some(line) = self.lines.last() {
            assert!(line.over.is_some(), "one end for each connection");
            assert!(
                line.aborted || line.ended,
                "the last socket is left open: {line:?}"
            );
        }
    }
}

/// What a connection hears of from outside.
#[derive(Clone, Copy, Debug)]
pub(super) enum Told {
    Opened,
    Ended,
    Granted,
}

fn count(log: &mut VecDeque<Instant>, now: Instant, window: Duration, most: usize) {
    log.push_back(now);
    while log.front().is_some_and(|at| *at + window <= now) {
        log.pop_front();
    }
    assert!(log.len() <= most, "{} payloads in {window:?}", log.len());
}

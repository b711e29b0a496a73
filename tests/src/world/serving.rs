//! The server's side: carries out what its machine says, and asks it what REST answers.

use std::time::Duration;

use shardwright_core::{GatewayRequest, TransportFault};

use super::queue::{Down, Due};
use super::{BotId, World};
use crate::scenario::Ending;
use crate::server::{ConnId, Delivery, HowDropped, Input as ServerInput, Outgoing, ServerAction};

impl World {
    pub(super) fn server_input(&mut self, input: ServerInput) {
        self.server.handle(self.now, input);
        self.drain_server();
    }

    pub(super) fn drain_server(&mut self) {
        let now = self.now;
        loop {
            match self.server.poll() {
                ServerAction::Wait(until) => {
                    if let Some(until) = until
                        && self.server_tick.is_none_or(|tick| until < tick)
                    {
                        self.server_tick = Some(until);
                        self.queue.put(until.max(now), Due::ServerTick);
                    }
                    return;
                }
                ServerAction::Accept { conn } => self.put_down(conn, 200, Down::Accept),
                ServerAction::Refuse {
                    conn,
                    status,
                    retry_after,
                    ..
                } => {
                    let retry_after = retry_after.map(Duration::from_secs);
                    let fault = TransportFault::Upgrade {
                        status,
                        retry_after,
                    };
                    self.put_down(conn, 200, Down::Refuse(fault));
                    self.server_leaves(conn);
                }
                ServerAction::Send { conn, outgoing } => self.server_sends(conn, outgoing),
                ServerAction::Ping { conn, bytes } => {
                    self.put_down(conn, bytes.len() + 2, Down::Ping(bytes));
                }
                ServerAction::Close { conn, code, .. } => {
                    self.note(|| format!("line {}: server closes with {code:?}", conn.0));
                    self.put_down(conn, 4, Down::Close(code));
                }
                ServerAction::Drop { conn, how } => {
                    if how == HowDropped::Rst {
                        // It overtakes nothing, but what it catches up with is lost.
                        let at = now + self.network.latency;
                        self.queue
                            .put(at, Due::ToClient(conn, Down::End(Ending::Rst)));
                    } else {
                        self.put_down(conn, 0, Down::End(Ending::Fin));
                    }
                    self.server_leaves(conn);
                }
                ServerAction::Reads { conn, on } => {
                    if let Some(line) = self.lines.get_mut(&conn) {
                        line.up.unread = !on;
                    }
                    self.release(conn);
                }
                ServerAction::Listener { which, mode } => self.doors[which as usize] = mode,
                // Bytes that are no frame make no sense here; pongs are of no interest.
                ServerAction::Wire { .. } | ServerAction::Pong { .. } => {}
            }
        }
    }

    fn server_leaves(&mut self, id: ConnId) {
        if let Some(line) = self.lines.get_mut(&id) {
            line.server_gone = true;
        }
        self.bury(id);
    }

    fn server_sends(&mut self, id: ConnId, outgoing: Outgoing) {
        let mut bytes = outgoing.message.bytes().len() + 4;
        let whole = outgoing.arrives();
        if let Some(only) = outgoing.only {
            bytes = bytes.min(only);
        }
        let message = outgoing.message;
        self.put_down(id, bytes, Down::Message { message, whole });
    }

    pub(super) fn ask_rest(&mut self, bot: BotId, request: GatewayRequest) {
        let at = self.now + self.network.dial + self.network.delay(&mut self.rng);
        self.note(|| format!("bot {}: {request:?}", bot.0));
        self.queue.put(at, Due::RestAsked(bot, request));
    }

    pub(super) fn answer_rest(&mut self, bot: BotId, request: &GatewayRequest) {
        let now = self.now;
        let cut_off = self.partition.is_some_and(|until| until > now);
        let gave_up = now + self.network.rest_patience;
        let silent = Err(request.network_fault(&"timed out"));
        let (at, result) = if cut_off {
            (gave_up, silent)
        } else if self.rest_down.is_some_and(|until| until > now) {
            (
                now + self.network.delay(&mut self.rng),
                Err(request.network_fault(&"connection refused")),
            )
        } else {
            let auth = request.headers()[0].1;
            let answer = self
                .server
                .rest(now, request.method(), &request.path(), Some(auth));
            self.drain_server();
            let header = answer
                .headers
                .iter()
                .find(|(name, _)| *name == "Retry-After");
            let header = header.map(|(_, value)| value.as_str());
            let back = now + self.network.delay(&mut self.rng);
            match answer.delivery {
                Delivery::Whole => (
                    back,
                    request.read_response(answer.status, header, answer.body.as_bytes()),
                ),
                Delivery::Cut(_) => (
                    back,
                    Err(request.network_fault(&"the answer was cut short")),
                ),
                Delivery::Never => (gave_up, silent),
            }
        };
        if let Err(fault) = &result {
            let shown = format!("{fault:?}");
            self.bots[bot.0].leak(&shown, "a fault of the REST request");
        }
        self.queue.put(at, Due::RestAnswered(bot, Box::new(result)));
    }
}

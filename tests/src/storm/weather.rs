//! What the server and the network do to a storm's bot.

use serde_json::Value;

use super::play::{Storm, Then, ms};
use super::setup::BIG;
use super::{Fault, On};
use crate::scenario::{Effect, Listener, ListenerMode};
use crate::server::Target;
use crate::world::{DialFate, Way};

/// Steps that nothing has set off yet cost time at each message.
const STEPS: usize = 16;

impl Storm<'_> {
    /// What the server and the network do.
    pub(super) fn break_around(&mut self, fault: &Fault) {
        let bot = self.bot;
        match *fault {
            Fault::Play { on, ref effects } => self.play(on, effects),
            Fault::Step { ref step, then_fin } => {
                if self.world.server().unspent_steps() < STEPS {
                    self.world
                        .with_server(|server, _| server.add_step(step.clone()));
                }
                if let Some(on) = then_fin {
                    self.play(on, &[Effect::Fin]);
                }
            }
            Fault::Fatal { shard, code, down } => {
                self.play(On::Shard(shard), &[Effect::Close(Some(code))]);
                self.later(down, Then::StartAgain);
            }
            Fault::Backlog { on, events } => {
                self.play(on, &[Effect::Events(events), Effect::Rst]);
            }
            Fault::Flood { on, events } => {
                if let Some(target) = self.target(on) {
                    self.world.flood(&target, events);
                }
            }
            Fault::LateClose { shard, late, code } => {
                self.world.stall(bot, shard, Way::ToServer, Some(ms(late)));
                let effects = [Effect::Op7, Effect::Wait(late), Effect::Close(Some(code))];
                self.play(On::Shard(shard), &effects);
            }
            Fault::RollingRestart { hosts, every, down } => {
                for number in 0..hosts {
                    let of = hosts;
                    self.later(every * u64::from(number), Then::Host { number, of, down });
                }
            }
            Fault::Outage { lasts } => {
                self.world.dials(None, DialFate::Unreachable, ms(lasts));
                self.world.no_rest(ms(lasts));
                self.play(On::All, &[Effect::Rst]);
            }
            Fault::ResumeUrl { ref url, lasts } => {
                self.name_resume_url(Some(url.clone()));
                self.later(lasts, Then::ResumeUrlRight);
            }
            Fault::Stall { shard, way, lasts } => {
                self.world.stall(bot, shard, way, lasts.map(ms));
            }
            Fault::Reset { shard } => self.world.reset(bot, shard),
            Fault::Cut {
                shard,
                way,
                after,
                then,
            } => self.world.cut(bot, shard, way, after, then),
            Fault::Partition { lasts } => self.world.partition(ms(lasts)),
            Fault::Dials { to, fate, lasts } => self.world.dials(to, fate, ms(lasts)),
            Fault::NoRest { lasts } => self.world.no_rest(ms(lasts)),
            Fault::Slow {
                latency,
                jitter,
                lasts,
            } => {
                let mut network = self.world.network().clone();
                (network.latency, network.jitter) = (ms(latency), ms(jitter));
                self.world.set_network(network);
                self.later(lasts, Then::NetworkSteady);
            }
            _ => {}
        }
    }

    /// Whom the server names so. In a big world nobody is searched for.
    fn target(&self, on: On) -> Option<Target> {
        match on {
            On::All => Some(Target::All),
            On::Shard(shard) if self.schedule.setup.shards > BIG => {
                self.world.line(self.bot, shard).map(Target::Conn)
            }
            On::Shard(shard) => Some(Target::Number(u64::from(shard))),
        }
    }

    fn play(&mut self, on: On, effects: &[Effect]) {
        if let Some(target) = self.target(on) {
            self.world.play(&target, effects);
        }
    }

    pub(super) fn restart_host(&mut self, number: u32, of: u32, down: u64) {
        let closed = Effect::Listener {
            which: Listener::Resume,
            mode: ListenerMode::Closed,
            ms: Some(down),
        };
        self.world.play(&Target::Session(String::new()), &[closed]);
        let shards: Vec<_> = self.world.present(self.bot).collect();
        let farewell = [Effect::Op7, Effect::Wait(2000), Effect::Close(Some(1001))];
        for shard in shards {
            if shard.number() % of.max(1) == number {
                self.play(On::Shard(shard.number()), &farewell);
            }
        }
    }

    /// What READY names for resumes from now on; none: what is right.
    pub(super) fn name_resume_url(&mut self, url: Option<Value>) {
        self.world.with_server(|server, _| {
            server.configure(|server| server.ready_resume_url = url);
        });
    }
}

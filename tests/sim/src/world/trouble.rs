//! Faults: put in, and ended.

use std::time::Duration;

use super::member::Life;
use super::network::Side;
use super::{Happening, Lasting, World};
use crate::backend::{Backend, Heal};
use crate::swarm::FaultKind;

/// The furthest that a clock is behind.
const CLOCK_BACK_MAX: Duration = Duration::from_secs(10);

impl<B: Backend> World<B> {
    /// One fault, of the kinds that this run has.
    pub(super) fn on_fault(&mut self) {
        let Some(every) = self.swarm.fault_every.filter(|_| !self.calm) else { return };
        let next = Duration::from_millis(self.tape.within(1, every.as_millis() as u64 * 2));
        self.queue.push(self.now + next, Happening::Fault);
        let total: u64 = self.swarm.weights.iter().map(|weight| u64::from(*weight)).sum();
        // The plain choice is none, so that a tape that ends means: and no more faults.
        let Some(mut left) = self.tape.below(total + 1).checked_sub(1) else { return };
        let which = self.swarm.weights.iter().position(|weight| {
            let hit = left < u64::from(*weight);
            left = left.saturating_sub(u64::from(*weight));
            hit
        });
        let Some(which) = which else { return };
        match FaultKind::ALL.get(which) {
            Some(kind) => self.put_in(*kind),
            None => self.disturb(which - FaultKind::ALL.len()),
        }
        self.tell_trouble();
    }

    /// A moment within which a fault that begins now is over.
    fn lasts(&mut self) -> Duration {
        Duration::from_millis(self.tape.within(1, self.swarm.fault_max.as_millis() as u64))
    }

    fn disturb(&mut self, which: usize) {
        let Some(outage) = self.backend.disturb(self.now, which, &mut self.tape) else { return };
        let name = B::FAULTS.get(which).copied().unwrap_or("fault");
        self.oracle.sometimes.saw(name);
        self.note(|| format!("FAULT {name}: {}", outage.text));
        self.picture.fault(self.now, None, &outage.text);
        if let Some(heal) = outage.heal {
            self.outages += 1;
            self.picture.outage(self.now, true, &outage.text);
            let lasts = self.lasts();
            self.queue.push(self.now + lasts, Happening::Heal { heal });
        }
        self.drain_broker();
    }

    pub(super) fn on_heal(&mut self, heal: Heal) {
        self.note(|| "the broker is well again".into());
        self.outages = self.outages.saturating_sub(1);
        self.picture.outage(self.now, false, "");
        self.backend.heal(self.now, heal);
        self.drain_broker();
        self.tell_trouble();
    }

    /// A member that runs.
    fn somebody(&mut self) -> Option<usize> {
        let running: Vec<usize> = self.living().collect();
        self.tape.pick(&running).copied()
    }

    fn living(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.members.len()).filter(|at| {
            self.members.get(*at).is_some_and(|m| m.life == Life::Running && m.machine.is_some())
        })
    }

    /// A connection that is established at both ends.
    fn some_conn(&mut self) -> Option<usize> {
        let open: Vec<usize> = self
            .members
            .iter()
            .flat_map(|member| member.conns.iter().copied().flatten())
            .filter(|at| {
                self.conns
                    .get(*at)
                    .is_some_and(|conn| conn.at_member == Side::Open && conn.at_broker == Side::Open)
            })
            .collect();
        self.tape.pick(&open).copied()
    }

    fn lasting(&mut self, what: Lasting) {
        if !self.lasting.contains(&what) || what == Lasting::Other {
            self.lasting.push(what);
            let lasts = self.lasts();
            self.queue.push(self.now + lasts, Happening::Mend { what });
        }
    }

    fn put_in(&mut self, kind: FaultKind) {
        let done = match kind {
            FaultKind::Refuse => {
                self.lasting(Lasting::Refuse);
                Some(None)
            }
            FaultKind::Hang => {
                self.lasting(Lasting::Hang);
                Some(None)
            }
            FaultKind::Slow => {
                self.lasting(Lasting::Slow);
                Some(None)
            }
            FaultKind::Partition => self.somebody().map(|member| {
                self.lasting(Lasting::Partition { member });
                self.hole_all(member, true);
                Some(member)
            }),
            FaultKind::Crash => self.somebody().map(Some),
            FaultKind::Freeze => self.somebody().map(|member| {
                self.lasting(Lasting::Other);
                let until = self.now + self.lasts();
                self.freeze(member, until);
                Some(member)
            }),
            FaultKind::Close => {
                let member = self.somebody();
                member.filter(|at| self.members.get(*at).is_some_and(|member| !member.closing)).map(Some)
            }
            FaultKind::ClockBack => self.somebody().map(|member| {
                let behind = self.members.get(member).map_or(Duration::ZERO, |member| member.behind);
                // A clock that is set back again and again is a clock that stands still.
                let by = self.lasts().min(CLOCK_BACK_MAX.saturating_sub(behind));
                if let Some(member) = self.members.get_mut(member) {
                    member.behind += by;
                    // By its own clock it is still in time.
                    member.close_by = None;
                    self.oracle.clock_off(member.run, by);
                }
                Some(member)
            }),
            FaultKind::Reset
            | FaultKind::CutReply
            | FaultKind::HalfOpenBroker
            | FaultKind::HalfOpenMember
            | FaultKind::Hole => self.some_conn().map(|conn| {
                let member = self.conns.get(conn).map(|conn| conn.member);
                self.hurt(conn, kind);
                member
            }),
        };
        let Some(member) = done else { return };
        self.oracle.sometimes.saw(kind.name());
        self.picture.fault(self.now, member, kind.name());
        match member {
            Some(at) => self.trace(at, |_| format!("FAULT {}", kind.name())),
            None => self.note(|| format!("FAULT {}", kind.name())),
        }
        match (kind, member) {
            (FaultKind::Crash, Some(at)) => self.stop_member(at, true),
            (FaultKind::Close, Some(at)) => self.close_member(at),
            _ => {}
        }
    }

    fn hurt(&mut self, at: usize, kind: FaultKind) {
        let (bytes, way_up) = (self.tape.within(0, 2_000) as usize, self.tape.chance(5_000));
        let Some(conn) = self.conns.get_mut(at) else { return };
        match kind {
            FaultKind::Reset => self.reset(at),
            FaultKind::CutReply => conn.down.cut_after = Some(bytes.max(1)),
            FaultKind::HalfOpenBroker => {
                conn.half_open = true;
                self.on_member_end_now(at);
            }
            FaultKind::HalfOpenMember => {
                conn.down.hole = true;
                conn.up.hole = true;
                if std::mem::replace(&mut conn.at_broker, Side::None) == Side::Open {
                    self.tell_broker(crate::BrokerEvent::Closed { peer: crate::PeerId(at as u64) });
                }
            }
            _ if way_up => conn.up.hole = true,
            _ => conn.down.hole = true,
        }
    }

    fn on_member_end_now(&mut self, at: usize) {
        let Some(conn) = self.conns.get_mut(at) else { return };
        conn.down.lose();
        conn.up.hole = true;
        conn.at_member = Side::None;
        let later = self.now + self.lasts();
        // The broker's kernel gives up at last.
        self.queue.push(later, Happening::BrokerEnd { conn: at });
        self.tell_closed(at, tidegate_core::Cause::Reset);
    }

    fn hole_all(&mut self, member: usize, hole: bool) {
        let conns: Vec<usize> =
            self.members.get(member).map(|m| m.conns.iter().copied().flatten().collect()).unwrap_or_default();
        for at in conns {
            if let Some(conn) = self.conns.get_mut(at)
                && hole
            {
                // What TCP would send again is as good as lost: nobody waits so long.
                (conn.up.hole, conn.down.hole) = (true, true);
            }
        }
    }

    pub(super) fn on_mend(&mut self, what: Lasting) {
        if let Some(at) = self.lasting.iter().position(|known| *known == what) {
            self.lasting.remove(at);
            self.note(|| format!("over: {what:?}"));
        }
        self.tell_trouble();
    }

    /// The oracle has to know since when there is no fault.
    pub(super) fn tell_trouble(&mut self) {
        let none = self.lasting.is_empty() && self.outages == 0;
        self.oracle.trouble(none);
    }
}

//! What members tell of themselves, where they take their messages without the world's hand.

use super::World;
use crate::backend::{Backend, Observed};
use crate::oracle::Got;

impl<B: Backend> World<B> {
    /// Takes note of what a member did by itself. Whether there was anything.
    pub(super) fn observe(&mut self, at: usize) -> bool {
        let Some(machine) = self.members.get_mut(at).and_then(|member| member.machine.as_mut()) else {
            return false;
        };
        let seen = B::observe(machine);
        let any = !seen.is_empty();
        for what in seen {
            self.note_observed(at, what);
        }
        any
    }

    fn note_observed(&mut self, at: usize, what: Observed) {
        let Some(member) = self.members.get_mut(at) else { return };
        let run = member.run;
        match what {
            Observed::Assigned(shard) => {
                self.trace(at, |_| format!("assigned {shard}"));
                self.oracle.assigned(run, &shard);
            }
            Observed::Took(batch) => {
                member.progressed_at = self.now;
                self.picture.took(self.now, at, &batch);
            }
            Observed::Got(message) => {
                self.events += 1;
                self.trace(at, |_| {
                    format!("got {}, handed out {} times", name(&message), message.deliveries())
                });
                match self.recognise(&message.view()) {
                    Ok(id) => {
                        let epoch = message.batch().source().epoch;
                        self.oracle.got(run, Got { id, epoch, deliveries: message.deliveries() });
                    }
                    Err(what) => self.oracle.accuse("G3", || what),
                }
            }
            Observed::Acked { range, messages } => {
                for message in &messages {
                    self.events += 1;
                    self.trace(at, |_| format!("acks {}", name(message)));
                    if let Ok(id) = self.recognise(&message.view()) {
                        self.oracle.acked(run, id, message.batch().source().epoch);
                    }
                }
                self.picture.acked(self.now, at, range);
            }
            Observed::Moves => self.oracle.moves(run),
            Observed::Moved => {
                self.oracle.sometimes.saw("moved");
                self.oracle.moved(run);
            }
            Observed::Closing => self.oracle.closing(run),
            Observed::Closed { uncommitted } => self.oracle.closed(run, uncommitted),
            Observed::Failed(error) => {
                let ready = member.ready;
                self.trace(at, |_| format!("failed: {error}"));
                match ready {
                    true => self.oracle.accuse("G7", || format!("failed while running: {error}")),
                    false => self.oracle.sometimes.saw("failed at the start"),
                }
            }
            Observed::Note(text) => self.trace(at, |_| format!("says {text}")),
            Observed::Ended(how) => {
                self.trace(at, |_| how);
                self.picture.closed(self.now, at);
                self.stop_member(at, false);
            }
            Observed::Broke(text) => {
                self.trace(at, |_| text.clone());
                self.oracle.accuse("handler", || text);
            }
        }
    }
}

fn name(message: &tidegate_core::Message) -> String {
    format!("{}/{} {}", message.stream(), message.shard(), message.seq().as_redis())
}

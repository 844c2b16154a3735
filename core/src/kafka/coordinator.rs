//! Which broker coordinates the group: found through any broker, found again when it moves, dies or
//! stands still.
//!
//! **Invariant:** between two questions for it lies a backoff, however often the one that is named
//! turns out to be of no use.

use bytes::Bytes;

use super::link::Link;
use super::links::{Role, read};
use super::machine::Machine;
use super::task::Task;
use super::wire::{ErrorCode, FindCoordinatorRequest};
use crate::backoff::Backoff;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::time::Instant;
use crate::timer::Wake;

/// See the [module](self).
pub(super) struct Coordinator {
    pub(super) endpoint: Option<Endpoint>,
    /// The question is on its way.
    pub(super) finding: bool,
    /// Somebody needs it.
    pub(super) needed: bool,
    find_at: Instant,
    backoff: Backoff,
}

impl Coordinator {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self { endpoint: None, finding: false, needed: false, find_at: Instant::ZERO, backoff }
    }

    /// It is to be found.
    pub(super) fn is_wanted(&self) -> bool {
        self.needed && self.endpoint.is_none()
    }
}

impl Machine {
    /// The coordinator's connection, if it is in use.
    pub(super) fn coordinator_link(&mut self) -> Option<&mut Link> {
        self.coordinator.needed = true;
        self.coordinator.endpoint.as_ref()?;
        self.ready_link(Role::Coordinator)
    }

    pub(super) fn pump_coordinator(&mut self) {
        let coordinator = &self.coordinator;
        if !coordinator.is_wanted() || coordinator.finding || coordinator.find_at > self.now {
            return;
        }
        let (now, patience) = (self.now, self.seed_timeout());
        let client_id = self.config.options.kafka.client_id.clone();
        let group = self.config.group.clone();
        let Some(link) = self.ready_link(Role::Seed) else { return };
        let number = link.conn().number;
        let Some(version) = link.version::<FindCoordinatorRequest>() else {
            return self.too_old(number, "FindCoordinator");
        };
        // From version 4 on several at once (KIP-699).
        let request = match version {
            ..4 => FindCoordinatorRequest { key: group, ..Default::default() },
            _ => FindCoordinatorRequest { coordinator_keys: vec![group], ..Default::default() },
        };
        link.send(now, &client_id, version, &request, Task::FindCoordinator, patience);
        self.coordinator.finding = true;
    }

    pub(super) fn on_coordinator(&mut self, version: i16, frame: Bytes) -> Result<(), Error> {
        let response = read::<FindCoordinatorRequest>(frame, version)?;
        self.coordinator.finding = false;
        let (code, host, port) = match version {
            ..4 => (response.error_code, response.host, response.port),
            _ => match response.coordinators.into_iter().next() {
                Some(one) => (one.error_code, one.host, one.port),
                None => (ErrorCode::COORDINATOR_NOT_AVAILABLE.0, String::new(), -1),
            },
        };
        let code = ErrorCode(code);
        match self.endpoint_named(&host, port) {
            Some(endpoint) if code == ErrorCode::NONE => {
                self.coordinator.backoff.handle_success(self.now);
                self.point_coordinator(endpoint);
                Ok(())
            }
            _ if code == ErrorCode::NONE || code.is_retriable() => {
                self.find_again();
                Ok(())
            }
            _ => {
                self.find_again();
                self.on_group_error(code, "FindCoordinator")
            }
        }
    }

    fn find_again(&mut self) {
        self.coordinator.find_at = self.coordinator.backoff.next(self.now, &mut self.random);
    }

    /// The coordinator is another broker, or none at the moment.
    pub(super) fn lose_coordinator(&mut self) {
        self.find_coordinator_again();
        self.close_link(Role::Coordinator);
    }

    pub(super) fn find_coordinator_again(&mut self) {
        self.coordinator.endpoint = None;
        self.find_again();
    }

    pub(super) fn coordinator_wake(&self) -> Option<Wake> {
        let at = self.coordinator.find_at;
        let ahead = self.coordinator.is_wanted() && !self.coordinator.finding && at > self.now;
        ahead.then_some(Wake { at, why: "look for the coordinator" })
    }
}

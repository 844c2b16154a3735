//! The brokers: where they listen, and which are there.

use tidegate_core::Endpoint;

use super::{Config, Release};

/// **Invariant:** broker `id` listens at endpoint `id - 1`.
#[derive(Clone, Debug)]
pub(super) struct Nodes {
    host: String,
    port: u16,
    alive: Vec<bool>,
    racks: Vec<String>,
    /// What each runs, and what it will once it starts again.
    releases: Vec<(Release, Release)>,
    endpoints: Vec<Endpoint>,
}

impl Nodes {
    pub(super) fn new(config: &Config) -> Self {
        let count = u16::try_from(config.nodes.clamp(1, NODES_MAX)).unwrap_or(1);
        let endpoint = |at: u16| Endpoint::tcp(config.host.as_str(), config.port.saturating_add(at));
        Self {
            host: config.host.clone(),
            port: config.port,
            alive: vec![true; count.into()],
            racks: config.racks.clone(),
            releases: vec![(config.release, config.release); count.into()],
            endpoints: (0..count).map(endpoint).collect(),
        }
    }

    pub(super) fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    pub(super) fn is_alive(&self, id: i32) -> bool {
        at(id).and_then(|at| self.alive.get(at)).copied().unwrap_or(false)
    }

    pub(super) fn set_alive(&mut self, id: i32, alive: bool) {
        if let Some(place) = at(id).and_then(|at| self.alive.get_mut(at)) {
            *place = alive;
        }
        if let Some((now, next)) = at(id).and_then(|at| self.releases.get_mut(at)) {
            *now = *next;
        }
    }

    /// What a broker runs.
    pub(super) fn release(&self, id: i32) -> Release {
        let known = at(id).and_then(|at| self.releases.get(at));
        known.map_or_else(Release::default, |(now, _)| *now)
    }

    /// What it runs once it starts again.
    pub(super) fn set_release(&mut self, id: i32, release: Release) {
        if let Some((_, next)) = at(id).and_then(|at| self.releases.get_mut(at)) {
            *next = release;
        }
    }

    /// The rack that a broker stands in.
    pub(super) fn rack(&self, id: i32) -> Option<String> {
        let at = at(id)?.checked_rem(self.racks.len())?;
        self.racks.get(at).filter(|rack| !rack.is_empty()).cloned()
    }

    /// The ids of those that are there.
    pub(super) fn alive(&self) -> Vec<i32> {
        (1..).zip(&self.alive).filter(|(_, alive)| **alive).map(|(id, _)| id).collect()
    }

    /// All ids.
    pub(super) fn all(&self) -> Vec<i32> {
        (1..).take(self.alive.len()).collect()
    }

    /// Host and port of a broker that is there.
    pub(super) fn address(&self, id: i32) -> Option<(String, i32)> {
        self.is_alive(id).then(|| (self.host.clone(), i32::from(self.port) + id - 1))
    }
}

fn at(id: i32) -> Option<usize> {
    usize::try_from(id).ok()?.checked_sub(1)
}

/// Brokers of one cluster at most.
const NODES_MAX: usize = 1_000;

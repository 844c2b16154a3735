//! The assignors that a broker has (`group.consumer.assignors`): `uniform`, its default, and
//! `range`.
//!
//! **Invariant:** each partition of a topic that somebody wants goes to one member that wants it.

mod mixed;
mod range;
mod uniform;

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::kafka::wire::Uuid;

use super::Spot;
use super::target::Kind;

/// Who shall have what.
pub(super) type Targets = BTreeMap<String, BTreeSet<Spot>>;

/// An assignor of the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Assignor {
    Uniform,
    Range,
}

/// What an assignor knows of a member.
#[derive(Clone, Debug)]
pub(super) struct Subscriber {
    pub(super) id: String,
    pub(super) instance: Option<String>,
    /// In the broker's order.
    pub(super) topics: Vec<Uuid>,
    /// What it was to have so far.
    pub(super) target: BTreeSet<Spot>,
}

/// What an assignor knows.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    /// In the broker's order.
    pub(super) subscribers: Vec<Subscriber>,
    /// How many partitions a topic has that somebody wants.
    pub(super) partitions: BTreeMap<Uuid, i32>,
    /// What somebody was to have so far.
    pub(super) assigned: BTreeSet<Spot>,
}

impl Spec {
    fn count(&self, topic: Uuid) -> i32 {
        self.partitions.get(&topic).copied().unwrap_or(0)
    }
}

impl Assignor {
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Uniform, Self::Range].into_iter().find(|assignor| assignor.name() == name)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    pub(super) fn assign(self, spec: &Spec, kind: Kind) -> Targets {
        match (self, kind) {
            (Self::Range, _) => range::assign(spec),
            (Self::Uniform, Kind::Homogeneous) => uniform::assign(spec),
            (Self::Uniform, Kind::Heterogeneous) => mixed::assign(spec),
        }
    }
}

//! The ways in which a group shares its partitions.

use std::time::Duration;

/// A group protocol, as `tidegate consume` is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Classic, each rebalance takes everything from everybody first: range.
    Eager,
    /// Classic, a rebalance takes only what moves: cooperative-sticky.
    Cooperative,
    /// KIP-848: the broker assigns.
    Consumer,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Eager, Self::Cooperative, Self::Consumer];

    /// The command's options for it; a dead member's partitions are given away after [`Self::death`].
    pub fn args(self) -> &'static [&'static str] {
        match self {
            Self::Eager => &["--protocol", "classic", "--assignor", "range", "--session-timeout", "3s"],
            Self::Cooperative => {
                &["--protocol", "classic", "--assignor", "cooperative-sticky", "--session-timeout", "3s"]
            }
            Self::Consumer => &["--protocol", "consumer"],
        }
    }

    /// How soon the broker holds a silent member for dead.
    pub fn death(self) -> Duration {
        match self {
            Self::Eager | Self::Cooperative => Duration::from_secs(3),
            // The brokers' group.consumer.session.timeout.ms.
            Self::Consumer => Duration::from_secs(5),
        }
    }

    /// The group's kind, as the brokers call it.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Eager | Self::Cooperative => "Classic",
            Self::Consumer => "Consumer",
        }
    }
}

//! The options that only Kafka has: refused with another URL.

use std::time::Duration;

use clap::{Args, ValueEnum};
use tidegate_core::{AssignorKind, GroupProtocol, KafkaOptions, Reset};

use crate::args::duration;

/// What only Kafka has.
#[derive(Args, Debug)]
#[command(next_help_heading = "Kafka only")]
pub(crate) struct Kafka {
    /// The group protocol [default: consumer where the broker has it, else classic].
    #[arg(long, value_enum)]
    protocol: Option<Protocol>,

    /// How a classic group shares its partitions; given several times, the favourite first. Without
    /// --protocol it chooses classic [default: range, cooperative-sticky].
    #[arg(long = "assignor", value_enum, value_name = "ASSIGNOR")]
    assignors: Vec<Assignor>,

    /// Whether what a transaction has not committed is read [default: read-uncommitted].
    #[arg(long, value_enum)]
    isolation: Option<Isolation>,

    /// Where to go on when there is no offset: the group has none, or it no longer exists. earliest is
    /// the oldest message, latest what comes from then on, none an error, and 2h (a duration) the first
    /// message that is no older than that [default: earliest, and latest in real time].
    #[arg(long, value_name = "earliest|latest|none|TIME", value_parser = reset)]
    reset: Option<Reset>,

    /// Classic groups: how soon a dead member's partitions are given away. Without --protocol it
    /// chooses classic [default: 45s].
    #[arg(long, value_name = "TIME", value_parser = duration)]
    session_timeout: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Protocol {
    /// The members decide; all brokers have it.
    Classic,
    /// The broker decides (KIP-848).
    Consumer,
    /// A share group (KIP-932).
    Share,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Assignor {
    Range,
    #[value(name = "roundrobin")]
    RoundRobin,
    Sticky,
    CooperativeSticky,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Isolation {
    ReadUncommitted,
    ReadCommitted,
}

impl Kafka {
    /// The options that were given.
    pub(crate) fn given(&self) -> Vec<&'static str> {
        let Self { protocol, assignors, isolation, reset, session_timeout } = self;
        [
            ("--protocol", protocol.is_some()),
            ("--assignor", !assignors.is_empty()),
            ("--isolation", isolation.is_some()),
            ("--reset", reset.is_some()),
            ("--session-timeout", session_timeout.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, given)| given.then_some(name))
        .collect()
    }

    /// What they mean; or why they can't be, in one line.
    pub(crate) fn options(&self) -> Result<KafkaOptions, String> {
        let Self { protocol, assignors, isolation, reset, session_timeout } = self;
        let classic_only = match (assignors.is_empty(), session_timeout) {
            (false, _) => Some("--assignor"),
            (true, Some(_)) => Some("--session-timeout"),
            (true, None) => None,
        };
        let mut options = KafkaOptions::default();
        options.protocol = match (protocol, classic_only) {
            (None, None) => GroupProtocol::Auto,
            (None | Some(Protocol::Classic), _) => GroupProtocol::Classic,
            (Some(Protocol::Consumer), None) => GroupProtocol::Consumer,
            (Some(Protocol::Share), None) => GroupProtocol::Share,
            (Some(_), Some(option)) => {
                return Err(format!(
                    "{option} is for classic groups, others have it from the broker: leave it out, or choose \
                     --protocol classic"
                ));
            }
        };
        if options.protocol == GroupProtocol::Share {
            let of_the_group = |option, setting| {
                Err(format!(
                    "{option} is not for share groups, which have it from the broker ({setting}): leave it out"
                ))
            };
            match (reset, isolation) {
                (Some(_), _) => return of_the_group("--reset", "share.auto.offset.reset"),
                (_, Some(_)) => return of_the_group("--isolation", "share.isolation.level"),
                (None, None) => {}
            }
        }
        if !assignors.is_empty() {
            options.assignors = assignors.iter().map(|assignor| assignor.kind()).collect();
        }
        if *isolation == Some(Isolation::ReadCommitted) {
            options.isolation = tidegate_core::Isolation::ReadCommitted;
        }
        options.reset = *reset;
        if let Some(timeout) = session_timeout {
            options = options.session_timeout(*timeout);
        }
        Ok(options)
    }
}

impl Assignor {
    fn kind(self) -> AssignorKind {
        match self {
            Self::Range => AssignorKind::Range,
            Self::RoundRobin => AssignorKind::RoundRobin,
            Self::Sticky => AssignorKind::Sticky,
            Self::CooperativeSticky => AssignorKind::CooperativeSticky,
        }
    }
}

fn reset(text: &str) -> Result<Reset, String> {
    match text {
        "earliest" => Ok(Reset::Earliest),
        "latest" => Ok(Reset::Latest),
        "none" => Ok(Reset::None),
        text => match duration(text) {
            Ok(age) => Ok(Reset::ByDuration(age)),
            Err(wrong) => Err(format!("it is earliest, latest, none or how old at most: {wrong}")),
        },
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Words {
        #[command(flatten)]
        kafka: Kafka,
    }

    fn read(words: &str) -> Kafka {
        Words::try_parse_from(["x"].into_iter().chain(words.split_whitespace())).unwrap().kafka
    }

    #[test]
    fn nothing_given_is_the_defaults() {
        assert_eq!(read("").options(), Ok(KafkaOptions::default()));
        assert!(read("").given().is_empty());
    }

    #[test]
    fn all_are_read() {
        let all = "--protocol classic --assignor cooperative-sticky --assignor roundrobin --isolation \
                   read-committed --reset none --session-timeout 6s";
        assert_eq!(
            read(all).given(),
            ["--protocol", "--assignor", "--isolation", "--reset", "--session-timeout"]
        );
        let expected = KafkaOptions::default()
            .protocol(GroupProtocol::Classic)
            .assignors([AssignorKind::CooperativeSticky, AssignorKind::RoundRobin])
            .isolation(tidegate_core::Isolation::ReadCommitted)
            .reset(Reset::None)
            .session_timeout(Duration::from_secs(6));
        assert_eq!(read(all).options(), Ok(expected.clone()));
        assert_eq!(expected.check(), Ok(()));
        for (word, kind) in [("range", AssignorKind::Range), ("sticky", AssignorKind::Sticky)] {
            assert_eq!(read(&format!("--assignor {word}")).options().unwrap().assignors, [kind]);
        }
        for (word, reset) in [
            ("earliest", Reset::Earliest),
            ("latest", Reset::Latest),
            ("2h", Reset::ByDuration(Duration::from_secs(7_200))),
            ("0s", Reset::ByDuration(Duration::ZERO)),
        ] {
            assert_eq!(read(&format!("--reset {word}")).options().unwrap().reset, Some(reset));
        }
        let uncommitted = read("--isolation read-uncommitted").options().unwrap();
        assert_eq!(uncommitted.isolation, tidegate_core::Isolation::ReadUncommitted);
    }

    #[test]
    fn what_only_classic_groups_have_chooses_them() {
        let protocol = |words| read(words).options().map(|options| options.protocol);
        assert_eq!(protocol("--reset none"), Ok(GroupProtocol::Auto));
        assert_eq!(protocol("--assignor range"), Ok(GroupProtocol::Classic));
        assert_eq!(protocol("--session-timeout 6s"), Ok(GroupProtocol::Classic));
        assert_eq!(protocol("--protocol consumer --reset none"), Ok(GroupProtocol::Consumer));
        assert_eq!(protocol("--protocol share"), Ok(GroupProtocol::Share));
        for (words, option) in [
            ("--protocol consumer --assignor range", "--assignor"),
            ("--protocol share --assignor range", "--assignor"),
            ("--protocol consumer --session-timeout 6s", "--session-timeout"),
            ("--protocol share --reset latest", "--reset"),
            ("--protocol share --isolation read-committed", "--isolation"),
        ] {
            let said = read(words).options().unwrap_err();
            assert!(said.starts_with(option) && said.contains("leave it out"), "{words}: {said}");
        }
    }
}

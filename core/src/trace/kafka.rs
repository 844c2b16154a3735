//! Kafka's options, as lines `= kafka name value`.

use std::fmt::{self, Write};

use super::text::{Quoted, Span, What, Words, wrong};
use crate::assign::OwnAssignor;
use crate::options::{AssignorKind, GroupProtocol, Isolation, KafkaOptions, Reset};

/// A value and its word, in both directions.
type Names<T> = &'static [(T, &'static str)];

const PROTOCOLS: Names<GroupProtocol> = &[
    (GroupProtocol::Auto, "auto"),
    (GroupProtocol::Classic, "classic"),
    (GroupProtocol::Consumer, "consumer"),
    (GroupProtocol::Share, "share"),
];
const ASSIGNORS: Names<AssignorKind> = &[
    (AssignorKind::Range, AssignorKind::Range.name()),
    (AssignorKind::RoundRobin, AssignorKind::RoundRobin.name()),
    (AssignorKind::Sticky, AssignorKind::Sticky.name()),
    (AssignorKind::CooperativeSticky, AssignorKind::CooperativeSticky.name()),
];
const ISOLATIONS: Names<Isolation> =
    &[(Isolation::ReadUncommitted, "read-uncommitted"), (Isolation::ReadCommitted, "read-committed")];
/// Each assignor as often as a trace may name it: what is printed is believed, but not without end.
const ASSIGNORS_MAX: usize = 64;

fn named<T: PartialEq>(names: Names<T>, value: &T) -> &'static str {
    // Proved by the test of setups: each value has a name.
    names.iter().find(|(one, _)| one == value).map_or("", |(_, name)| name)
}

fn read_named<T: Copy>(names: Names<T>, words: &mut Words<'_>, kind: &str) -> Result<T, What> {
    let word = words.word()?;
    names.iter().find(|(_, name)| *name == word).map(|(value, _)| *value).ok_or_else(|| wrong(word, kind))
}

/// The options that are a number, a duration or a text; one that is missing here doesn't compile.
macro_rules! plain {
    (values: $($value:ident)*; spans: $($span:ident)*; texts: $($text:ident)*) => {
        pub(super) fn print(to: &mut String, options: &KafkaOptions) -> fmt::Result {
            let KafkaOptions {
                protocol, assignors, own_assignors, isolation, reset, client_id, $($value,)* $($span,)* $($text,)*
            } = options;
            writeln!(to, "= kafka protocol {}", named(PROTOCOLS, protocol))?;
            write!(to, "= kafka assignors")?;
            for assignor in assignors {
                write!(to, " {}", named(ASSIGNORS, assignor))?;
            }
            writeln!(to)?;
            for own in own_assignors {
                writeln!(to, "= kafka own_assignor {}", Quoted(own.name().as_bytes()))?;
            }
            writeln!(to, "= kafka isolation {}", named(ISOLATIONS, isolation))?;
            match reset {
                None => {}
                Some(Reset::Earliest) => writeln!(to, "= kafka reset earliest")?,
                Some(Reset::Latest) => writeln!(to, "= kafka reset latest")?,
                Some(Reset::None) => writeln!(to, "= kafka reset none")?,
                Some(Reset::ByDuration(age)) => writeln!(to, "= kafka reset by-duration {}", Span(*age))?,
            }
            writeln!(to, "= kafka client_id {}", Quoted(client_id.as_bytes()))?;
            $(writeln!(to, concat!("= kafka ", stringify!($value), " {}"), $value)?;)*
            $(writeln!(to, concat!("= kafka ", stringify!($span), " {}"), Span(*$span))?;)*
            $(if let Some(text) = $text {
                writeln!(to, concat!("= kafka ", stringify!($text), " {}"), Quoted(text.as_bytes()))?;
            })*
            Ok(())
        }

        pub(super) fn read(options: &mut KafkaOptions, words: &mut Words<'_>) -> Result<(), What> {
            match words.word()? {
                "protocol" => options.protocol = read_named(PROTOCOLS, words, "group protocol")?,
                "assignors" => {
                    options.assignors.clear();
                    while !words.0.is_empty() {
                        if options.assignors.len() == ASSIGNORS_MAX {
                            return Err("too many assignors".into());
                        }
                        options.assignors.push(read_named(ASSIGNORS, words, "assignor")?);
                    }
                }
                // Its name is all that a trace has: `KafkaOptions::check` says what to do.
                "own_assignor" => options.own_assignors.push(OwnAssignor::absent(&words.text()?)),
                "isolation" => options.isolation = read_named(ISOLATIONS, words, "isolation")?,
                "reset" => {
                    options.reset = Some(match words.word()? {
                        "earliest" => Reset::Earliest,
                        "latest" => Reset::Latest,
                        "none" => Reset::None,
                        "by-duration" => Reset::ByDuration(words.span()?),
                        word => return Err(wrong(word, "reset")),
                    });
                }
                "client_id" => options.client_id = words.text()?.into(),
                $(stringify!($value) => options.$value = words.value("value")?,)*
                $(stringify!($span) => options.$span = words.span()?,)*
                $(stringify!($text) => options.$text = Some(words.text()?.into()),)*
                word => return Err(wrong(word, "option of Kafka")),
            }
            Ok(())
        }
    };
}

plain! {
    values: fetch_min_bytes fetch_bytes_max partition_bytes_max check_crc;
    spans: session_timeout heartbeat_interval rebalance_timeout metadata_age fetch_max_wait;
    texts: rack instance commit_metadata
}

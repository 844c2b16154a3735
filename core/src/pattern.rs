//! Topics by pattern: which names a subscription means.
//!
//! A stream whose name begins with `^` is a regular expression, as in librdkafka: no topic can have
//! such a name. A topic is meant if its whole name matches, as in Apache Kafka's own consumer.
//!
//! # Theory of operation
//!
//! Names are matched here, against the list of all topics that each metadata brings. The group
//! protocol of KIP-848 can have the broker do it, with RE2 expressions (`SubscribedTopicRegex`); that
//! is not used: classic groups, resumable and real-time don't have it, nor does Kafka 3, and one
//! pattern must not mean different topics there.
//!
//! The engine is `regex-lite`: no look-around, no back-references, and a time that is linear in
//! pattern and name. `\w`, `\d` and `\s` are ASCII, as all that can be in a topic's name is.
//!
//! **Invariant:** Kafka's own topics (`__consumer_offsets` and the like) match no pattern.

use std::fmt;
use std::sync::Arc;

use regex_lite::{Regex, RegexBuilder};

use crate::error::Error;
use crate::stream::StreamKey;

/// Longest pattern in bytes: some ten topics' names, written out.
const LENGTH_MAX: usize = 4_096;

/// Most bytes of a compiled one, whatever its repetitions multiply; the time for a name is in
/// proportion to it.
const COMPILED_MAX: usize = 256 << 10;

/// Kafka's own (`org.apache.kafka.common.internals.Topic`); brokers say so of them from Metadata
/// version 1 on.
const INTERNAL: [&str; 4] =
    ["__consumer_offsets", "__transaction_state", "__share_group_state", "__cluster_metadata"];

/// A regular expression over topics' names: a stream's name that begins with `^`.
///
/// The syntax is that of the crate [`regex`](https://docs.rs/regex-lite/latest/regex_lite/#syntax),
/// without Unicode classes. The whole name has to match.
///
/// ```
/// # use tidegate_core::kafka::Pattern;
/// let orders = Pattern::new(&"^orders-(eu|us)".into())?;
/// assert!(orders.matches("orders-eu"));
/// assert!(!orders.matches("orders-eu-2") && !orders.matches("all-orders-eu"));
/// let all = Pattern::new(&"^.*".into())?;
/// assert!(all.matches("orders") && !all.matches("__consumer_offsets"));
/// # Ok::<(), tidegate_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Pattern {
    text: StreamKey,
    regex: Regex,
}

impl Pattern {
    /// Whether a stream's name is meant as a pattern.
    pub fn is_one(stream: &StreamKey) -> bool {
        stream.as_bytes().starts_with(b"^")
    }

    /// The pattern that this stream's name is.
    ///
    /// # Errors
    /// [`Error::Options`]: it doesn't begin with `^`, is no regular expression, or is too long or
    /// too large, in one line.
    pub fn new(stream: &StreamKey) -> Result<Self, Error> {
        let wrong = |what: &str| Err(Error::Options(what.into()));
        if !Self::is_one(stream) {
            return wrong(&format!("{stream} is no pattern of topics: one begins with ^"));
        }
        let Ok(text) = std::str::from_utf8(stream.as_bytes()) else {
            return wrong(&format!("the pattern {stream} is not text: write it in UTF-8"));
        };
        if text.len() > LENGTH_MAX {
            return wrong(&format!(
                "the pattern {}… is longer than {LENGTH_MAX} bytes: shorten it, or name several",
                text.chars().take(20).collect::<String>().escape_debug()
            ));
        }
        let shown = text.escape_debug();
        // By itself first, so that nothing in it can end the group around it.
        let compiled = compile(text).and_then(|_| compile(&format!("^(?:{text})$")));
        match compiled {
            Ok(regex) => Ok(Self { text: stream.clone(), regex }),
            Err(error) if error.to_string().contains("size limit") => wrong(&format!(
                "the pattern {shown} takes more than {} KiB: use fewer or shorter repetitions, or name several",
                COMPILED_MAX >> 10
            )),
            Err(error) => wrong(&format!(
                "the pattern {shown} is no regular expression: {error} (a topic's name can't begin with ^)"
            )),
        }
    }

    /// Whether a topic of this name is meant. Kafka's own never are.
    pub fn matches(&self, topic: &str) -> bool {
        is_topic_name(topic.as_bytes()) && !INTERNAL.contains(&topic) && self.regex.is_match(topic)
    }
}

/// Whether a topic of Kafka can have this name: 1 to 249 of `a-z`, `A-Z`, `0-9`, `.`, `_` and `-`, not
/// `.` or `..` alone (`org.apache.kafka.common.internals.Topic`).
///
/// ```
/// # use tidegate_core::kafka::is_topic_name;
/// assert!(is_topic_name(b"orders.v1") && !is_topic_name(b"..") && !is_topic_name(b"a b"));
/// ```
pub fn is_topic_name(name: &[u8]) -> bool {
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=249).contains(&name.len()) && name != b"." && name != b".." && name.iter().all(legal)
}

fn compile(text: &str) -> Result<Regex, regex_lite::Error> {
    RegexBuilder::new(text).size_limit(COMPILED_MAX).build()
}

/// As it was written.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({self})")
    }
}

/// Those of one consumer; clones are cheap.
#[derive(Clone, Debug, Default)]
pub(crate) struct Patterns(Arc<[Pattern]>);

impl Patterns {
    /// Of the streams that are patterns; the others are passed over.
    pub(crate) fn among(streams: &[StreamKey]) -> Result<Self, Error> {
        let patterns = streams.iter().filter(|stream| Pattern::is_one(stream)).map(Pattern::new);
        Ok(Self(patterns.collect::<Result<_, _>>()?))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them means this topic.
    pub(crate) fn matches(&self, topic: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(topic))
    }
}

impl fmt::Display for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, pattern) in self.0.iter().enumerate() {
            write!(f, "{}{pattern}", if at == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, topic: &str) -> bool {
        Pattern::new(&pattern.into()).map(|pattern| pattern.matches(topic)) == Ok(true)
    }

    fn refused(pattern: &StreamKey) -> String {
        let line = Pattern::new(pattern).map_err(|error| error.to_string()).expect_err("it is refused");
        assert!(!line.contains('\n'), "{line}");
        line
    }

    #[test]
    fn the_whole_name_matches_or_nothing_does() {
        for (pattern, topic, expected) in [
            ("^orders-.*", "orders-", true),
            ("^orders-.*", "my-orders-1", false),
            ("^orders", "orders-1", false),
            ("^orders$", "orders", true),
            // The first alternative is a part only: the other one matches.
            ("^a|ab", "ab", true),
            ("^a|ab", "b", false),
            ("^a|b", "b", true),
            ("^(?i)ORDERS", "orders", true),
            ("^[0-9]{2,3}", "123", true),
            ("^[0-9]{2,3}", "1234", false),
            (r"^\w+\.\d", "orders.1", true),
            (r"^orders\.eu", "orders-eu", false),
            ("^", "orders", false),
            // A flag reaches no further than the pattern.
            ("^(?m)a$", "a", true),
            ("^(?x) a b", "ab", true),
        ] {
            assert_eq!(matches(pattern, topic), expected, "{pattern} on {topic}");
        }
    }

    #[test]
    fn kafkas_own_topics_match_nothing() {
        for topic in INTERNAL {
            assert!(!matches("^.*", topic) && !matches(&format!("^{topic}"), topic), "{topic}");
        }
        // Underscores alone make no topic Kafka's.
        assert!(matches("^.*", "__mine"));
    }

    #[test]
    fn what_is_no_pattern_is_refused_in_a_line_that_says_why() {
        for (pattern, says) in [
            ("orders", "begins with ^"),
            ("^orders-(", "no regular expression"),
            ("^a)|(?:b", "no regular expression"),
            ("^a\n(", r"^a\n("),
            ("^[z-a]", "no regular expression"),
            ("^(?=orders)", "no regular expression"),
            ("^((a{100}){100}){100}", "256 KiB"),
            (&format!("^{}", "x".repeat(LENGTH_MAX)), "4096 bytes"),
        ] {
            let line = refused(&pattern.into());
            assert!(line.contains(says), "{line}");
        }
        let not_text = StreamKey::from(bytes::Bytes::from_static(b"^\xff"));
        assert!(refused(&not_text).contains("UTF-8"));
        // Long, but within bounds.
        let names: Vec<_> = (0..100).map(|n| format!("orders-of-region-number-{n}")).collect();
        assert!(matches(&format!("^({})", names.join("|")), "orders-of-region-number-99"));
        assert!(matches("^[a-z0-9._-]{1,249}", "orders"));
    }
}

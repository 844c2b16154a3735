//! Bugs that consumers really had, put back one at a time: the simulator's own test.
//!
//! An ordinary build has none of them: there [`is`] is `false` for the compiler too, and what
//! hangs on it isn't even built. With `RUSTFLAGS='--cfg tidegate_mutation'` this module is public
//! and [`put_back`] chooses one for the calling thread; `tests/sim/tests/mutations.rs` does, and
//! the oracle must find each of them. A `--cfg` and not a feature, as features are united over a
//! whole build: no dependency of anybody's can turn this on. And a build without debug assertions
//! refuses it, so no release has it by accident.
//!
//! Each place where a bug is put back is one condition beside the honest code, never another
//! shape of it.
//!
//! **Invariant:** without `--cfg tidegate_mutation` the crate behaves as if this file and all
//! that names it weren't there.
#![cfg_attr(not(tidegate_mutation), allow(unreachable_pub, reason = "public in one kind of build only"))]

#[cfg(all(tidegate_mutation, not(debug_assertions)))]
compile_error!("tidegate_mutation puts bugs back: it is for tests, and needs debug assertions on");

use crate::message::Entries;

macro_rules! mutations {
    ($($backend:ident { $($(#[$doc:meta])* $name:ident = $source:literal,)* })*) => {
        /// A bug that can be put back.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Mutation { $($($(#[$doc])* #[doc = ""] #[doc = concat!("Source: ", $source, ".")] $name,)*)* }

        #[cfg(tidegate_mutation)]
        impl Mutation {
            $(
                #[doc = concat!("Those of the machine for ", stringify!($backend), ".")]
                pub const $backend: &'static [Self] = &[$(Self::$name,)*];
            )*

            /// Its name.
            pub fn name(self) -> &'static str {
                match self { $($(Self::$name => stringify!($name),)*)* }
            }

            /// Whose it was.
            pub fn source(self) -> &'static str {
                match self { $($(Self::$name => $source,)*)* }
            }
        }
    };
}

mutations! {
    REDIS {
        /// After a reconnect reading goes on with `>`, and nothing else looks at what is pending: a
        /// reply that was lost with the connection stays pending for ever.
        OwnPendingForgotten = "SeaQL/sea-streamer 4c0bedb consumer/node.rs (`first_read` is set once, not by `reconnect`); cssbruno/GoWDK#197",
        /// Own pending entries are read once, not until there are none left.
        RecoveryStopsEarly = "walmartlabs/cookie-cutter#164",
        /// After a reconnect all own pending entries are handed out again, those being processed too.
        RecoveredInFlight = "covalenthq/bsp-agent#56 (reads with 0 instead of >, in the running process too)",
        /// A claim names the dead member as the new owner.
        ClaimForTheDead = "SeaQL/sea-streamer 4c0bedb consumer/node.rs (XAUTOCLAIM with `claiming.consumer`)",
        /// Each claim starts at the beginning of the pending list; the cursor in the reply is ignored.
        ClaimCursorDropped = "comet-ml/opik#8137; avifenesh/glide-mq#271",
        /// A page that brought nothing ends the walk, whatever its cursor says.
        EmptyPageIsTheEnd = "SeaQL/sea-streamer 4c0bedb consumer/node.rs (`claiming = None` when `mess` is empty); comet-ml/opik#8137 (a page of 10 claims nothing, with a cursor)",
        /// What this member itself is working on is claimed and handed out a second time.
        OwnWorkClaimed = "mastra-ai/mastra#23648",
        /// Work that takes longer than the idle time isn't shown to be alive: others claim it.
        LongWorkNotKeptAlive = "dapr/components-contrib#4601; ThreeDotsLabs/watermill-redisstream#19",
        /// A command that timed out is forgotten, and its connection kept: the late reply goes to the
        /// next command.
        LateReplyToTheNext = "redis/go-redis CVE-2025-29923; redis/redis-py#2624 and #2665 (CVE-2023-28858, CVE-2023-28859)",
        /// What was read of a reply, and the parser's state, outlive their connection.
        PartialReplyKept = "wooga/eredis#106",
        /// Entries of a reply that came in two pieces: those in the first are dropped.
        PieceOfReplyDropped = "redis/hiredis#85 (a reply in two pieces: what was read of the first is lost)",
        /// A connection that became silent is waited for, for ever.
        SilenceNeverNoticed = "redis/jedis#2219; Vexa-ai/vexa#267",
        /// A member that leaves is deleted with what is pending for it.
        DeletedWithPending = "ThreeDotsLabs/watermill-redisstream#24; redis/redis#9745",
        /// A close drops the acks that weren't sent yet, and says that all is well.
        AcksDroppedAtClose = "fsprojects/pulsar-client-dotnet#199; awspring/spring-cloud-aws#1663",
        /// A close acks what the application never took.
        PrefetchedAckedAtClose = "apache/pulsar#26172",
        /// A message counts as acked as soon as it is handed out.
        AckedWhenTaken = "taskiq-python/taskiq#222; eggai-tech/EggAI#178 (FastStream's default)",
        /// Acks are sent only when nothing waits for the application.
        CommitsStarved = "SeaQL/sea-streamer 4c0bedb consumer/node.rs (`commit_ack` comes after the buffer was handed over)",
        /// An ack whose command was lost with the connection counts as done.
        LostAckIsDone = "apache/pulsar#7683 (an ack is taken for done before its request succeeds)",
        /// The application's acks of what it got before a seek are still sent.
        OldEpochAcked = "spring-projects/spring-kafka#4688",
        /// What waits for the application is still handed out after its shard was revoked.
        BufferedAfterRevoked = "akka/alpakka-kafka#946",
        /// Each read without a group begins at `$` again: what comes between two reads is lost.
        TailNotPinned = "redis/redis-py#1429; SeaQL/sea-streamer before 4c0bedb (told in consumer/node.rs)",
        /// The next read begins one past the last position: an entry of the same millisecond is lost.
        PositionIncremented = "near/queryapi#558; profunktor/redis4cats#449",
        /// Pending entries that were trimmed or deleted are never taken off the list.
        TrimmedNeverLeaves = "ThreeDotsLabs/watermill-redisstream#38; redis/redis#6199",
        /// An entry without the expected field is passed over, neither delivered nor acked.
        ForeignEntrySkipped = "redpanda-data/connect#1338; SeaQL/sea-streamer 4c0bedb message.rs (`parse_messages`)",
        /// A wake-up isn't announced: the one for the next connect.
        WakeForgotten = "fede1024/rust-rdkafka#665 and #840 (a wake-up that nobody is told of)",
        /// A deadline that has passed stays set: the driver is woken again and again.
        PassedDeadlineKept = "apache/kafka#23357; dpkp/kafka-python#1383; confluentinc/librdkafka#504 (busy loops on timers)",
        /// A read that was refused is sent again at once.
        ReadAgainAtOnce = "redpanda-data/connect#2116",
        /// A connection that failed is opened again at once.
        ReconnectAtOnce = "redis/node-redis#400; redis/redis#15181",
        /// A read that was lost or refused keeps its credit for ever.
        CreditLeak = "apache/artemis#2998 (out of credits after reconnection)",
        /// A missing group is never made again.
        GroupNeverMadeAgain = "eggai-tech/EggAI#204 (FastStream); comet-ml/opik#5525",
        /// A key that can't be read is looked at, and its group made, again and again without a wait.
        GroupStorm = "jaseci-labs/jac#7452",
        /// A group that was lost is made again at the end of the stream.
        GroupMadeAtTheEnd = "jaseci-labs/jac#7489; eggai-tech/EggAI#269",
        /// The first error of a read ends the reading, and nobody is told.
        AnyErrorIsTheEnd = "spring-projects/spring-data-redis#2919 and #2833",
        /// What is pending and unknown here is never looked for: acks that a fail-over lost, entries
        /// that a read on a lost connection was given.
        UnknownPendingIgnored = "tidegate itself, up to f03a7ef, found by this simulator",
        /// Shards before one that was found are never looked for again.
        ShardGapsForgotten = "tidegate itself, up to f03a7ef, found by this simulator",
        /// A group that was set back: only the first piece of a reply is compared with what is known.
        PieceAfterSetBack = "tidegate itself, up to f03a7ef, found by this simulator",
        /// Own pending entries are read while acks are on their way: what was acked comes again.
        CrossedCommitForgotten = "tidegate itself, up to f03a7ef, found by this simulator",
        /// Questions that a LOADING server refused are put back, and asked twice the next time.
        ProbesDoubled = "tidegate itself, up to f03a7ef, found by this simulator",
        /// What XINFO told of a moment ago is applied to a key that was read on meanwhile.
        LateLookApplied = "tidegate itself, up to f03a7ef, found by this simulator",
        /// A stream that a fail-over set back is taken for another one, and read from its beginning.
        SetBackIsAnother = "tidegate itself, up to f03a7ef, found by this simulator",
        /// Acks that come while a close is under way are refused.
        AcksRefusedAtClose = "tidegate itself, up to f03a7ef, found by this simulator",
    }

    KAFKA {
        /// What was acked of a partition that was let go is committed all the same.
        CommitAfterRevocation = "confluentinc/confluent-kafka-go#756 (edenhill/librdkafka#3774); akka/alpakka-kafka#1121",
        /// A commit that failed is sent again as it was, after newer ones.
        CommitRegresses = "twmb/franz-go 416e8269 and 769d52d1; IBM/sarama#2947",
        /// Everything that was handed out is committed, with holes in what was acked.
        FrontierPassesHole = "IBM/sarama#1287; bsm/sarama-cluster#148; reactor/reactor-kafka#251; spring-projects/spring-kafka#1860",
        /// The offset of the last message is committed, not the one after it.
        OffsetPlusOneMissing = "haskell-works/hw-kafka-client#49; confluentinc/librdkafka#1811; zendesk/ruby-kafka#249",
        /// An error of OffsetFetch counts as nothing committed: on by the reset policy.
        FetchOffsetErrorResets = "dpkp/kafka-python#2629; platformatic/kafka#267",
        /// A question for a position that came to nothing is never asked again.
        StrandedPartition = "confluentinc/librdkafka#2933; dpkp/kafka-python#3131 and #3132; quixio/quix-streams#1124",
        /// After a lost heartbeat only what is new is said.
        HeartbeatNotResentInFull = "twmb/franz-go eca3a457; apache/kafka#16694 (KAFKA-17170)",
        /// The next offset is counted from the records that are there.
        LastOffsetDeltaIgnored = "apache/kafka#3331 (KAFKA-5443); kafka4beam/brod#263; tulios/kafkajs#562; segmentio/kafka-go#813",
        /// An answer with nothing but transaction markers leaves the position where it is.
        ControlBatchStuck = "tulios/kafkajs#403 and #1256; kafkaex/kafka_ex#557",
        /// A position is never checked against a new leader's log.
        LeaderEpochIgnored = "apache/kafka#6045 (KAFKA-7738); confluentinc/librdkafka#4687",
        /// What waits for the application is still handed out after its partition was let go.
        StaleEpochDelivered = "akka/alpakka-kafka#872; zio/zio-kafka#591",
        /// Each fetch asks for as much as if nothing waited.
        UnboundedPrefetch = "confluentinc/librdkafka#5140 and #2076",
        /// The session isn't told that a position moved on.
        FetchSessionDesync = "platformatic/kafka#321; IBM/sarama#1644",
        /// Aborted transactions are taken in the order in which the broker lists them.
        AbortedListSorted = "twmb/franz-go b9b50cce; confluentinc/kafka#145; kafka4beam/brod#659",
        /// A stale member epoch is the end.
        StaleMemberEpochFatal = "apache/kafka#22747 (KAFKA-20765); thomhurst/Dekaf#2278",
        /// Who takes nothing for too long leaves, and isn't told that its partitions are gone.
        MaxPollLostFlag = "confluentinc/librdkafka#5604",
        /// While the application takes nothing, the coordinator isn't talked to.
        CoordinatorPausedByBackpressure = "apache/nifi#1527 (NIFI-3189); dpkp/kafka-python#583; confluentinc/librdkafka#1671",
        /// What isn't assigned any more is read on.
        CooperativeRevokeSkipped = "twmb/franz-go#686, a568b216 and 3ac2fff1",
        /// A join that came to nothing is tried again without the member id.
        JoinWithoutMemberId = "confluentinc/librdkafka#5570; dpkp/kafka-python#2598",
        /// A heartbeat's word that we are no member is passed over.
        GenerationNotReset = "confluentinc/librdkafka#2631; kafka4beam/brod#649; twmb/franz-go 824e34d2",
        /// Errors of single partitions in a commit's answer are passed over.
        CommitErrorPerPartitionIgnored = "confluentinc/librdkafka#704; IBM/sarama#2417 and #1906; kafkaex/kafka_ex#548",
        /// A coordinator that says that it is none is asked again.
        CoordinatorNeverRefreshed = "kafkaex/kafka_ex#547; confluentinc/librdkafka#2791 and #2944",
        /// A position that was lost goes on at the end, whatever the policy says.
        OutOfRangeToTheEnd = "IBM/sarama#2252 and #1183",
        /// At most once: records are handed out before the commit is known.
        HandedOutBeforeCommitted = "streamsets/datacollector#88 (at most once by a commit each second, after the records were handed out)",
        /// Records of transactions that are still open, or aborted, are asked for.
        IsolationNotAsked = "kafka4beam/brod#659 (aborted records are handed out)",
    }
}

/// Whether this bug is put back.
#[cfg(not(tidegate_mutation))]
pub(crate) const fn is(_: Mutation) -> bool {
    false
}

#[cfg(tidegate_mutation)]
thread_local! {
    static NOW: std::cell::Cell<Option<Mutation>> = const { std::cell::Cell::new(None) };
}

/// Puts a bug back, in the machines that this thread drives; `None`: none.
#[cfg(tidegate_mutation)]
pub fn put_back(mutation: Option<Mutation>) {
    NOW.set(mutation);
}

/// Whether this bug is put back.
#[cfg(tidegate_mutation)]
pub(crate) fn is(mutation: Mutation) -> bool {
    NOW.get() == Some(mutation)
}

/// Entries of which the first field isn't `msg` are left out.
pub(crate) fn leave_out_foreign(entries: &mut Entries) {
    let (data, spans) = (entries.data.clone(), entries.spans.clone());
    let mut start = 0;
    entries.retain(|entry| {
        let field =
            spans.get(start).and_then(|span| data.get(span.start as usize..)?.get(..span.len as usize));
        start = entry.place as usize;
        field == Some(b"msg")
    });
}

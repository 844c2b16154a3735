//! What a machine is made from, from a tape.

use std::time::Duration;

use tidegate_core::identity::HostFacts;
use tidegate_core::{
    AutoCommit, ClaimOptions, ConsumerMode, ConsumerOptions, Endpoint, HostId, Limits, Position, SeqNo,
    Setup, ShardId, Start, Timestamp,
};
use tidegate_sim::Tape;

/// The streams of every run; a setup has the first ones of them.
pub(super) const STREAMS: [&str; 3] = ["orders", "bills", "it's"];

/// Not to be found in any trace.
pub(super) const PASSWORD: &str = "hunter2-and-more";

/// Options of every kind, all of which make a machine. Zeros are a plain member of a group.
pub(crate) fn setup(tape: &mut Tape) -> Setup {
    let (seconds, millis) = (Duration::from_secs, Duration::from_millis);
    let modes = [ConsumerMode::LoadBalanced, ConsumerMode::RealTime, ConsumerMode::Resumable];
    let mut options = ConsumerOptions::new(modes[tape.below(3) as usize]);
    if options.mode == ConsumerMode::LoadBalanced || options.mode == ConsumerMode::Resumable && flip(tape) {
        options = options.group("g");
    }
    if flip(tape) {
        options = options.consumer("me");
    }
    options.auto_commit = match tape.below(5) {
        0 => AutoCommit::Rolling { interval: seconds(1) },
        1 => AutoCommit::Delayed { delay: seconds(1) },
        2 => AutoCommit::Immediate,
        3 => AutoCommit::Disabled,
        _ => AutoCommit::Rolling { interval: Duration::ZERO },
    };
    options.claim = match tape.below(4) {
        0 => ClaimOptions::Every { interval: seconds(2), idle: seconds(3) },
        1 => ClaimOptions::Never,
        2 => ClaimOptions::default(),
        _ => ClaimOptions::Every { interval: Duration::ZERO, idle: Duration::ZERO },
    };
    options.start = match tape.below(6) {
        0 => Start::Default,
        1 => Start::From(Position::Beginning),
        2 => Start::From(Position::End),
        3 => Start::From(Position::At(SeqNo::redis(tape.below(30), 0))),
        4 => Start::After(Timestamp::from_millis(tape.below(30) as i64)),
        _ => Start::After(Timestamp::from_millis(i64::MIN)),
    };
    options.create = flip(tape);
    options.batch = [2, 1, 1_000, usize::MAX][tape.below(4) as usize];
    options.discover_interval = [seconds(5), Duration::ZERO, Duration::MAX][tape.below(3) as usize];
    options.database = tape.below(2) as u32;
    options = match tape.below(4) {
        0 | 1 => options,
        2 => options.login(None, PASSWORD),
        _ => options.login(Some("user".into()), PASSWORD),
    };
    let streams = 1 + tape.below(3) as usize;
    if flip(tape) {
        options = options.shard(STREAMS[tape.below(streams as u64) as usize], ShardId::new(tape.below(3)));
    }
    if flip(tape) {
        options = options.limits(limits(tape));
    } else if flip(tape) {
        options.limits.retry_min = millis(1);
        options.limits.retry_max = millis(1);
    }
    let host = HostFacts { override_: Some("host".into()), ..HostFacts::default() };
    let endpoints = 1 + tape.below(2) as u16;
    Setup {
        endpoints: (0..endpoints).map(|port| Endpoint::tcp("server", port)).collect(),
        streams: STREAMS[..streams].iter().map(|name| (*name).into()).collect(),
        options,
        host: HostId::resolve(&host).ok(),
        generated_consumer: "member".into(),
        seed: tape.below(256),
        wall_clock: None,
    }
}

/// The least that there can be, here and there.
fn limits(tape: &mut Tape) -> Limits {
    let mut limits = Limits::default();
    let mut small = |limit: &mut usize, values: [usize; 3]| {
        if let Some(value) = values.get((tape.below(4) as usize).wrapping_sub(1)) {
            *limit = *value;
        }
    };
    small(&mut limits.lane_records_max, [1, 4, usize::MAX]);
    small(&mut limits.lane_bytes_max, [1, 100, usize::MAX]);
    small(&mut limits.unacked_max, [1, 5, usize::MAX]);
    small(&mut limits.requests_max, [1, 2, 3]);
    small(&mut limits.notices_max, [1, 3, usize::MAX]);
    // Each stream has a key at least.
    small(&mut limits.shards_max, [3, 4, 5]);
    small(&mut limits.commit_messages_max, [1, 2, usize::MAX]);
    small(&mut limits.commits_in_flight_max, [1, 2, usize::MAX]);
    small(&mut limits.outgoing_bytes_max, [1, 100, 1_000]);
    small(&mut limits.claim_messages_max, [1, 3, usize::MAX]);
    small(&mut limits.reply_depth_max, [3, 4, usize::MAX]);
    small(&mut limits.reply_line_max, [10, 40, usize::MAX]);
    small(&mut limits.reply_bulk_max, [10, 40, usize::MAX]);
    small(&mut limits.reply_elements_max, [4, 12, usize::MAX]);
    small(&mut limits.reply_bytes_max, [40, 300, usize::MAX]);
    let mut span = |limit: &mut Duration| {
        let values = [*limit, Duration::from_nanos(1), Duration::from_millis(1), Duration::MAX];
        *limit = values[tape.below(4) as usize];
    };
    span(&mut limits.connect_timeout);
    span(&mut limits.response_timeout);
    span(&mut limits.block);
    span(&mut limits.retry_min);
    span(&mut limits.retry_max);
    limits
}

pub(super) fn flip(tape: &mut Tape) -> bool {
    tape.below(2) == 1
}

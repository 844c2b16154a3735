//! The Redis machine from outside, without a server: it is total, deterministic and bounded,
//! whatever comes. What it does with real answers is shown on real servers (tests/live).
#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

#[path = "redis_machine/found.rs"]
mod found;

use std::cell::Cell;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use tidegate_core::redis::Machine;
use tidegate_core::{
    AckRange, AutoCommit, Cause, ClaimOptions, Command, ConnId, ConsumerMode, ConsumerOptions, Delivery,
    Endpoint, Error, Event, HostId, Instant, Limits, Machine as _, Notice, Outcome, Position, Request,
    RequestError, Setup, ShardId, StreamKey, Timestamp,
};

fn setup(options: ConsumerOptions) -> Setup {
    Setup {
        endpoints: vec![Endpoint::tcp("one", 1), Endpoint::tcp("two", 2)],
        streams: vec!["orders".into(), "bills".into()],
        options,
        host: None::<HostId>,
        generated_consumer: "member".into(),
        seed: 7,
        wall_clock: None,
    }
}

fn group() -> ConsumerOptions {
    ConsumerOptions::new(ConsumerMode::LoadBalanced).group("g")
}

/// Drains the machine; commands and deliveries as text.
fn drain(machine: &mut Machine, log: &mut Vec<String>, open: &mut Vec<ConnId>, acks: &mut Vec<Request>) {
    for _ in 0..100_000 {
        let command = machine.poll_command();
        match &command {
            Command::Open { conn, .. } => open.push(*conn),
            Command::Close { conn } => open.retain(|known| known != conn),
            Command::Write { conn } => log.push(format!("{}", machine.outgoing(*conn).escape_ascii())),
            _ => {}
        }
        log.push(format!("{command:?}"));
        if matches!(command, Command::Wait(_)) {
            break;
        }
    }
    for _ in 0..100_000 {
        let Some(delivery) = machine.poll_delivery() else { return };
        log.push(format!("{delivery:?}"));
        match delivery {
            Delivery::Batch(batch) => {
                log.extend(
                    batch.iter().map(|message| format!("{MESSAGE}{message:?} {:?}", message.payload())),
                );
                acks.push(Request::Ack(batch.ack_range().into_iter().collect()));
            }
            Delivery::End | Delivery::Failed(_) => return,
            _ => {}
        }
    }
    panic!("it never ends: {:?}", &log[log.len() - 10..]);
}

/// How the log's lines of single messages begin.
const MESSAGE: &str = "one ";

#[derive(Clone, Debug)]
enum Step {
    Tick(u32),
    Opened(usize),
    OpenFailed(usize),
    Closed(usize),
    Wrote(usize, usize),
    Bytes(usize, Vec<u8>),
    /// A reply to a read, with so many entries.
    Entries(usize),
    Ask(Request),
    AckAll,
    Late(u16, u64),
}

fn replies() -> impl Strategy<Value = Vec<u8>> {
    let known: Vec<&[u8]> = vec![
        b"%1\r\n$6\r\nserver\r\n$5\r\nredis\r\n",
        b"+OK\r\n",
        b":1\r\n",
        b":0\r\n",
        b":7\r\n",
        b"$-1\r\n",
        b"_\r\n",
        b"*0\r\n",
        b"%1\r\n$17\r\nlast-generated-id\r\n$3\r\n9-0\r\n",
        b"-NOGROUP No such key 'orders' or consumer group 'g' in XREADGROUP with GROUP option\r\n",
        b"-UNBLOCKED the stream key no longer exists\r\n",
        b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
        b"-BUSYGROUP Consumer Group name already exists\r\n",
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"-READONLY You can't write against a read only replica.\r\n",
        b"-NOAUTH Authentication required.\r\n",
        b"-ERR unknown command 'HELLO'\r\n",
        b"-ERR no such key\r\n",
        b"%1\r\n$6\r\norders\r\n*2\r\n*2\r\n$3\r\n5-1\r\n*2\r\n$3\r\nmsg\r\n$1\r\nx\r\n*2\r\n$3\r\n6-0\r\n*-1\r\n",
        b"*1\r\n*2\r\n$5\r\nbills\r\n*1\r\n*2\r\n$3\r\n7-0\r\n*4\r\n$1\r\na\r\n$0\r\n\r\n$1\r\nb\r\n$1\r\n1\r\n",
        b"*3\r\n$3\r\n0-0\r\n*1\r\n*2\r\n$3\r\n4-0\r\n*2\r\n$1\r\nk\r\n$1\r\nv\r\n*1\r\n$3\r\n1-0\r\n",
        b"*2\r\n$3\r\n3-3\r\n*2\r\n*-1\r\n*-1\r\n",
        b"*1\r\n*4\r\n$3\r\n4-0\r\n$6\r\nmember\r\n:10\r\n:3\r\n",
        b">2\r\n+invalidate\r\n*0\r\n",
    ];
    let known = prop::sample::select(known).prop_map(<[u8]>::to_vec);
    let cut = (known.clone(), any::<prop::sample::Index>()).prop_map(|(mut bytes, at)| {
        bytes.truncate(at.index(bytes.len()));
        bytes
    });
    let noise = prop::collection::vec(prop::sample::select(b"*$%:-+_>0123456789\r\nx".to_vec()), 0..40);
    prop_oneof![20 => known, 2 => cut, 1 => noise]
}

fn requests() -> impl Strategy<Value = Request> {
    prop_oneof![
        Just(Request::Commit),
        Just(Request::Pause),
        Just(Request::Resume),
        Just(Request::Seek(Timestamp::from_millis(5))),
        Just(Request::Rewind(Position::Beginning)),
        Just(Request::Rewind(Position::End)),
        Just(Request::Assign { stream: "orders".into(), shard: ShardId::new(3) }),
        Just(Request::Unassign { stream: "orders".into(), shard: ShardId::new(3) }),
        Just(Request::Assign { stream: "unknown".into(), shard: ShardId::ZERO }),
        Just(Request::Close { deadline: Duration::from_secs(5) }),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..20_000_u32).prop_map(Step::Tick),
        3 => any::<usize>().prop_map(Step::Opened),
        1 => any::<usize>().prop_map(Step::OpenFailed),
        1 => any::<usize>().prop_map(Step::Closed),
        1 => (any::<usize>(), 0..500_usize).prop_map(|(at, n)| Step::Wrote(at, n)),
        20 => (any::<usize>(), replies()).prop_map(|(at, bytes)| Step::Bytes(at, bytes)),
        15 => (0..4_usize).prop_map(Step::Entries),
        1 => requests().prop_map(Step::Ask),
        3 => Just(Step::AckAll),
        1 => (0..3_u16, 0..9_u64).prop_map(|(number, generation)| Step::Late(number, generation)),
    ]
}

/// Runs the steps; `single`: bytes one at a time. What came out, as text.
fn run(options: ConsumerOptions, steps: &[Step], single: bool) -> (Vec<String>, Vec<String>) {
    let real_time = options.mode == ConsumerMode::RealTime;
    let mut machine = Machine::new(setup(options)).unwrap();
    let (mut log, mut open, mut acks) = (Vec::new(), Vec::new(), Vec::new());
    let mut now = Instant::from_nanos(1);
    let mut last_id = 10;
    drain(&mut machine, &mut log, &mut open, &mut acks);
    // Every other run begins where both streams are being read, the others at the very start.
    if steps.len().is_multiple_of(2) {
        greet(&mut machine, &open.clone(), 2, real_time);
        drain(&mut machine, &mut log, &mut open, &mut acks);
    }
    for step in steps {
        let conn = |at: usize| open.get(at % open.len().max(1)).copied();
        match step.clone() {
            Step::Tick(millis) => {
                now = now + Duration::from_millis(millis.into());
                machine.handle(now, Event::Tick);
            }
            Step::Opened(at) => {
                if let Some(conn) = conn(at) {
                    machine.handle(now, Event::Opened { conn });
                }
            }
            Step::OpenFailed(at) => {
                if let Some(conn) = conn(at) {
                    open.retain(|known| *known != conn);
                    machine.handle(now, Event::OpenFailed { conn, cause: Cause::Refused });
                }
            }
            Step::Closed(at) => {
                if let Some(conn) = conn(at) {
                    open.retain(|known| *known != conn);
                    machine.handle(now, Event::Closed { conn, cause: Cause::Eof });
                }
            }
            Step::Wrote(at, n) => {
                if let Some(conn) = conn(at) {
                    machine.handle(now, Event::Wrote { conn, n });
                }
            }
            Step::Bytes(at, bytes) => {
                if let Some(conn) = conn(at) {
                    feed(&mut machine, now, conn, &bytes, single);
                }
            }
            Step::Entries(count) => {
                let mut bytes = format!("%1\r\n$6\r\norders\r\n*{count}\r\n");
                for _ in 0..count {
                    last_id += 1;
                    let id = format!("{last_id}-0");
                    bytes += &format!("*2\r\n${}\r\n{id}\r\n*2\r\n$3\r\nmsg\r\n$1\r\nx\r\n", id.len());
                }
                if let Some(reader) = open.iter().find(|conn| conn.number == 0).copied() {
                    feed(&mut machine, now, reader, bytes.as_bytes(), single);
                }
            }
            Step::Ask(request) => log.push(format!("{:?}", machine.request(now, request))),
            Step::AckAll => {
                for request in acks.drain(..) {
                    let _ = machine.request(now, request);
                }
            }
            Step::Late(number, generation) => {
                let conn = ConnId { number, generation: generation + 1_000 };
                machine.incoming(conn).extend_from_slice(b"late");
                machine.handle(now, Event::Received { conn });
                machine.handle(now, Event::Closed { conn, cause: Cause::Reset });
                assert_eq!(machine.outgoing(conn), b"");
                assert!(!machine.wants_read(conn));
            }
        }
        drain(&mut machine, &mut log, &mut open, &mut acks);
    }
    let messages = log.iter().filter(|line| line.starts_with(MESSAGE)).cloned().collect();
    (log, messages)
}

fn feed(machine: &mut Machine, now: Instant, conn: ConnId, bytes: &[u8], single: bool) {
    for piece in bytes.chunks(if single { 1 } else { bytes.len().max(1) }) {
        machine.incoming(conn).extend_from_slice(piece);
        machine.handle(now, Event::Received { conn });
    }
}

fn all_options() -> impl Strategy<Value = ConsumerOptions> {
    let commits = prop::sample::select(vec![
        AutoCommit::Immediate,
        AutoCommit::Delayed { delay: Duration::from_secs(1) },
        AutoCommit::Rolling { interval: Duration::from_secs(1) },
        AutoCommit::Disabled,
    ]);
    let claim = ClaimOptions::Every { interval: Duration::from_secs(2), idle: Duration::from_secs(3) };
    (commits, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        move |(commit, real_time, create, named)| {
            let options = if real_time { ConsumerOptions::default() } else { group() };
            let options = options.auto_commit(commit).claim(claim).create(create).batch(2);
            if named { options.consumer("me") } else { options }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn nothing_makes_it_panic_and_the_same_events_give_the_same_commands(
        options in all_options(), steps in prop::collection::vec(steps(), 0..120)
    ) {
        let (first, _) = run(options.clone(), &steps, false);
        let (second, _) = run(options, &steps, false);
        prop_assert_eq!(first, second);
    }
}

#[test]
fn bytes_one_at_a_time_deliver_the_same() {
    let mut runner = TestRunner::new_with_rng(
        ProptestConfig::with_cases(512),
        TestRng::deterministic_rng(RngAlgorithm::ChaCha),
    );
    let delivered = Cell::new(0);
    // Where nothing is recovered. What is recovered is counted piece by piece (XPENDING), so the
    // commands depend on the pieces, and these fixed answers would fit only one of the two.
    let options = all_options().prop_map(|options| match options.mode {
        ConsumerMode::RealTime => options,
        _ => options.auto_commit(AutoCommit::Immediate),
    });
    let cases = (options, prop::collection::vec(steps(), 0..60));
    runner
        .run(&cases, |(options, steps)| {
            let (_, whole) = run(options.clone(), &steps, false);
            let (_, single) = run(options, &steps, true);
            delivered.set(delivered.get() + whole.len());
            // Their batches may be cut differently.
            prop_assert_eq!(whole, single);
            Ok(())
        })
        .unwrap();
    assert!(delivered.get() > 200, "{} messages were delivered in all: nothing was tested", delivered.get());
}

fn answer(machine: &mut Machine, conn: ConnId, bytes: &[u8]) -> Vec<Command> {
    machine.incoming(conn).extend_from_slice(bytes);
    machine.handle(Instant::from_nanos(5), Event::Received { conn });
    commands(machine)
}

fn commands(machine: &mut Machine) -> Vec<Command> {
    let mut all = Vec::new();
    loop {
        match machine.poll_command() {
            Command::Wait(_) => return all,
            command => all.push(command),
        }
    }
}

fn opened(machine: &mut Machine) -> Vec<ConnId> {
    let open: Vec<ConnId> = commands(machine)
        .iter()
        .filter_map(|command| match command {
            Command::Open { conn, .. } => Some(*conn),
            _ => None,
        })
        .collect();
    open.iter().for_each(|conn| machine.handle(Instant::from_nanos(2), Event::Opened { conn: *conn }));
    open
}

fn written(machine: &mut Machine, conn: ConnId) -> String {
    let text = machine.outgoing(conn).escape_ascii().to_string();
    let n = machine.outgoing(conn).len();
    machine.handle(Instant::from_nanos(3), Event::Wrote { conn, n });
    text
}

#[test]
fn a_server_without_hello_is_spoken_to_in_resp2() {
    let options = group().login(Some("user".into()), "secret");
    let mut machine = Machine::new(setup(options)).unwrap();
    let open = opened(&mut machine);
    assert_eq!(open.len(), 2, "a reader and a control connection");
    assert!(
        written(&mut machine, open[0]).contains("HELLO\\r\\n$1\\r\\n3\\r\\n$4\\r\\nAUTH\\r\\n$4\\r\\nuser")
    );
    answer(&mut machine, open[0], b"-ERR unknown command `HELLO`, with args beginning with: `3`, \r\n");
    assert_eq!(
        written(&mut machine, open[0]),
        "*3\\r\\n$4\\r\\nAUTH\\r\\n$4\\r\\nuser\\r\\n$6\\r\\nsecret\\r\\n"
    );
    answer(&mut machine, open[0], b"+OK\r\n");
    assert!(written(&mut machine, open[0]).contains("SETNAME"));
}

#[test]
fn a_wrong_password_is_fatal_at_the_start_and_said_without_the_password() {
    let mut machine = Machine::new(setup(group().login(None, "hunter2"))).unwrap();
    let open = opened(&mut machine);
    answer(&mut machine, open[1], b"-WRONGPASS invalid username-password pair or user is disabled.\r\n");
    let Some(Delivery::Failed(error)) = machine.poll_delivery() else { panic!("not failed") };
    assert!(matches!(error, Error::Login { .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("hunter2"));
    // Sticky, and every request says so.
    assert!(matches!(machine.poll_delivery(), Some(Delivery::Failed(again)) if again == error));
    assert_eq!(machine.request(Instant::ZERO, Request::Commit), Err(RequestError::Closed));
}

#[test]
fn every_endpoint_is_tried_before_the_caller_is_told() {
    let mut machine = Machine::new(setup(group())).unwrap();
    let mut tried = Vec::new();
    for _ in 0..10 {
        let Some((conn, endpoint)) = commands(&mut machine).into_iter().find_map(|command| match command {
            Command::Open { conn, endpoint } => Some((conn, endpoint)),
            _ => None,
        }) else {
            break;
        };
        tried.push(endpoint.host.to_string());
        machine.handle(Instant::from_nanos(9), Event::OpenFailed { conn, cause: Cause::Refused });
    }
    assert!(tried.contains(&"one".to_owned()) && tried.contains(&"two".to_owned()), "{tried:?}");
    assert!(matches!(machine.poll_delivery(), Some(Delivery::Failed(Error::Connect { .. }))));
}

#[test]
fn requests_are_bounded_and_misuse_changes_nothing() {
    let mut limits = Limits::default();
    limits.requests_max = 2;
    let mut machine = Machine::new(setup(group().limits(limits))).unwrap();
    let now = Instant::from_nanos(1);
    let unknown = StreamKey::from("unknown");
    assert_eq!(
        machine.request(now, Request::Assign { stream: unknown.clone(), shard: ShardId::ZERO }),
        Err(RequestError::StreamNotSubscribed { stream: unknown })
    );
    let orders = StreamKey::from("orders");
    assert_eq!(
        machine.request(now, Request::Unassign { stream: orders.clone(), shard: ShardId::ZERO }),
        Err(RequestError::ConsumerNotAssigned { stream: orders, shard: ShardId::ZERO })
    );
    // Nothing is acked, so a commit is done at once; a seek waits for the connection.
    let first = machine.request(now, Request::Seek(Timestamp::from_millis(1))).unwrap().unwrap();
    let second = machine.request(now, Request::Seek(Timestamp::from_millis(2))).unwrap().unwrap();
    let done: Vec<_> = commands(&mut machine)
        .into_iter()
        .filter_map(|command| match command {
            Command::Done { ticket, outcome } => Some((ticket, outcome)),
            _ => None,
        })
        .collect();
    assert_eq!(done, [(first, Outcome::Superseded)]);
    assert_ne!(first, second);
    // One more than is allowed is refused, and what waits goes on waiting.
    let fill = machine.request(now, Request::Seek(Timestamp::from_millis(3)));
    assert!(fill.is_ok(), "{fill:?}");
    let mut limits = Limits::default();
    limits.requests_max = 1;
    let mut machine = Machine::new(setup(group().limits(limits))).unwrap();
    assert!(machine.request(now, Request::Seek(Timestamp::from_millis(1))).is_ok());
    assert_eq!(machine.request(now, Request::Commit), Err(RequestError::TooManyRequests { max: 1 }));
    assert!(commands(&mut machine).iter().all(|command| !matches!(command, Command::Done { .. })));
}

#[test]
fn notices_that_nobody_takes_are_bounded() {
    let mut limits = Limits::default();
    limits.notices_max = 3;
    limits.retry_max = Duration::from_millis(1);
    limits.retry_min = Duration::from_millis(1);
    let mut machine = Machine::new(setup(group().limits(limits))).unwrap();
    let open = opened(&mut machine);
    // Ready first, so that what follows isn't fatal: both greet, no stream is missing.
    for conn in &open {
        answer(&mut machine, *conn, b"%0\r\n");
        answer(&mut machine, *conn, b"+OK\r\n:1\r\n");
    }
    for _ in 0..18 {
        answer(&mut machine, open[1], b":1\r\n");
    }
    let mut now = Instant::from_nanos(10);
    for round in 0..50_u64 {
        now = now + Duration::from_secs(20);
        machine.handle(now, Event::Tick);
        for number in [0, 1] {
            let conn = ConnId { number, generation: round + 1 };
            machine.handle(now, Event::Closed { conn, cause: Cause::Reset });
            machine.handle(now, Event::OpenFailed { conn, cause: Cause::Reset });
        }
    }
    let notices = commands(&mut machine)
        .iter()
        .filter(|c| matches!(c, Command::Notice(Notice::Reconnecting { .. })))
        .count();
    assert!(notices <= 3, "{notices} notices");
}

/// What a server says before the first read, with this many streams that are there.
fn greet(machine: &mut Machine, open: &[ConnId], streams: usize, real_time: bool) {
    let now = Instant::from_nanos(1);
    for conn in open {
        machine.handle(now, Event::Opened { conn: *conn });
        for reply in [&b"%0\r\n"[..], b"+OK\r\n", b":7\r\n"] {
            machine.incoming(*conn).extend_from_slice(reply);
            machine.handle(now, Event::Received { conn: *conn });
        }
    }
    let exists = [&b":1\r\n"[..]].into_iter().chain([&b":0\r\n"[..]; 8]);
    let found = exists.cycle().take(9 * streams);
    let looked = [&b"%1\r\n$17\r\nlast-generated-id\r\n$3\r\n0-0\r\n"[..]].into_iter().cycle().take(streams);
    let created = [&b"+OK\r\n"[..]].into_iter().cycle().take(if real_time { 0 } else { streams });
    for reply in found.chain(looked).chain(created) {
        machine.incoming(open[1]).extend_from_slice(reply);
        machine.handle(now, Event::Received { conn: open[1] });
    }
}

/// Two connections, greeted, one key found, its group there: the first read is at the server.
fn reading() -> (Machine, Vec<ConnId>) {
    let streams = vec!["orders".into()];
    let mut machine = Machine::new(Setup { streams, ..setup(group()) }).unwrap();
    let open = opened(&mut machine);
    greet(&mut machine, &open, 1, false);
    assert!(written(&mut machine, open[0]).contains("XREADGROUP"));
    (machine, open)
}

fn closes(commands: &[Command]) -> bool {
    commands.iter().any(|command| matches!(command, Command::Close { .. }))
}

#[test]
fn a_silent_server_is_left_and_a_process_that_was_stopped_itself_looks_first() {
    let limits = Limits::default();
    let patience = limits.block + limits.response_timeout;
    // The driver wakes in time, again and again, and nothing comes.
    let (mut machine, _) = reading();
    let mut now = Instant::from_nanos(10);
    let silent = (0..40).any(|_| {
        now = now + Duration::from_millis(500);
        machine.handle(now, Event::Tick);
        closes(&commands(&mut machine))
    });
    assert!(silent && now >= Instant::from_nanos(10) + patience, "{now:?}");
    // The driver was stopped for longer than that: what came meanwhile is to be read.
    let (mut machine, open) = reading();
    machine.handle(Instant::from_nanos(10) + patience * 10, Event::Tick);
    assert!(!closes(&commands(&mut machine)));
    assert!(machine.wants_read(open[0]));
}

#[test]
fn acks_during_a_close_are_in_its_answer() {
    // With a commit that waits, and without.
    for commits in [false, true] {
        let (mut machine, open) = reading();
        let entries = b"%1\r\n$6\r\norders\r\n*2\r\n*2\r\n$3\r\n5-0\r\n*2\r\n$1\r\nk\r\n$1\r\nv\r\n\
            *2\r\n$3\r\n6-0\r\n*2\r\n$1\r\nk\r\n$1\r\nv\r\n";
        // First what is its own of before: nothing.
        answer(&mut machine, open[0], b"%1\r\n$6\r\norders\r\n*0\r\n");
        answer(&mut machine, open[0], entries);
        let range = std::iter::from_fn(|| machine.poll_delivery()).find_map(|delivery| match delivery {
            Delivery::Batch(batch) => batch.ack_range(),
            _ => None,
        });
        let range = range.expect("two entries were read");
        let now = Instant::from_nanos(10);
        let part = |start, end| Request::Ack(vec![AckRange { start, end, ..range }]);
        machine.request(now, part(0, 1)).unwrap();
        if commits {
            machine.request(now, Request::Commit).unwrap();
        }
        machine.request(now, Request::Close { deadline: Duration::from_secs(1) }).unwrap();
        machine.request(now, part(1, 2)).unwrap();
        commands(&mut machine);
        machine.handle(now + Duration::from_secs(2), Event::Tick);
        let closed = commands(&mut machine).into_iter().find_map(|command| match command {
            Command::Done { outcome: Outcome::Closed { uncommitted }, .. } => Some(uncommitted),
            _ => None,
        });
        assert_eq!(closed, Some(2), "commits: {commits}");
    }
}

//! Traces: every line reads back as what it was printed from; what was recorded replays, however
//! the machine was driven and wherever the file was cut; and no password gets into one.

#[path = "trace/lines.rs"]
mod lines;
#[path = "trace/setups.rs"]
mod setups;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use tidegate_core::ack::SegmentId;
use tidegate_core::message::{Entries, Entry, Source, Span};
use tidegate_core::trace::{Digest, Ended, Input, Line, Output, Recorder, Trace, TraceError, replay};
use tidegate_core::*;

const PASSWORD: &str = "hunter2";

// ---- a machine to record: it logs in, then each line that comes is a batch or an error

struct Toy {
    login: Option<Login>,
    conn: ConnId,
    up: bool,
    said: bool,
    incoming: BytesMut,
    nowhere: BytesMut,
    outgoing: BytesMut,
    commands: VecDeque<Command>,
    lane: VecDeque<Delivery>,
    tickets: u64,
    now: Instant,
    /// Does one thing differently, this late.
    odd_after: u64,
    handled: u64,
}

impl Toy {
    fn new(setup: &Setup) -> Self {
        Self {
            login: setup.options.login.clone(),
            conn: ConnId { number: 0, generation: 0 },
            up: false,
            said: false,
            incoming: BytesMut::new(),
            nowhere: BytesMut::new(),
            outgoing: BytesMut::new(),
            commands: VecDeque::new(),
            lane: VecDeque::new(),
            tickets: 0,
            now: Instant::ZERO,
            odd_after: u64::MAX,
            handled: 0,
        }
    }

    fn is(&self, conn: ConnId) -> bool {
        self.up && conn == self.conn
    }

    fn send(&mut self, words: &[&str]) {
        self.outgoing.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
        for word in words {
            self.outgoing.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
        }
        if !self.said {
            self.said = true;
            self.commands.push_back(Command::Write { conn: self.conn });
        }
    }

    fn read(&mut self) {
        while let Some(end) = self.incoming.iter().position(|byte| *byte == b'\n') {
            let line = self.incoming.split_to(end + 1).freeze();
            if line.starts_with(b"-") {
                let message = String::from_utf8_lossy(&line).trim_end().to_owned();
                let error = Error::Broker { command: "HELLO", message: message.into() };
                self.commands.push_back(Command::Notice(Notice::Refused { command: "HELLO", error }));
                continue;
            }
            let spans = vec![Span { start: 0, len: 1 }, Span { start: 1, len: line.len() as u32 - 1 }];
            let entry = Entry {
                seq: SeqNo::redis(5, self.handled),
                timestamp: Timestamp::from_millis(5),
                deliveries: 1,
                place: 2,
            };
            let source = Source {
                stream: "hunter2".into(),
                shard: ShardId::ZERO,
                epoch: Epoch(1),
                segment: Some(SegmentId(self.handled)),
            };
            let entries = Entries { data: line, index: vec![entry], spans, ..Entries::default() };
            self.lane.push_back(Delivery::Batch(Batch::new(source, entries)));
        }
    }
}

impl Machine for Toy {
    fn handle(&mut self, now: Instant, event: Event) {
        self.now = self.now.max(now);
        self.handled += 1;
        match event {
            Event::Tick if !self.up => {
                self.up = true;
                self.conn.generation += 1;
                let endpoint = Endpoint::tcp("localhost", 6379);
                self.commands.push_back(Command::Open { conn: self.conn, endpoint });
            }
            Event::Opened { conn } if self.is(conn) => {
                if let Some(Login { user, password }) = self.login.clone() {
                    let user = user.as_deref().unwrap_or("default");
                    self.send(&["HELLO", "3", "AUTH", user, password.reveal()]);
                    self.send(&["AUTH", password.reveal()]);
                    self.send(&["XREAD", "STREAMS", "hunter2", "$"]);
                }
            }
            Event::Received { conn } if self.is(conn) => self.read(),
            Event::Wrote { conn, n } if self.is(conn) => {
                self.outgoing.advance(n.min(self.outgoing.len()));
                self.said = !self.outgoing.is_empty();
            }
            Event::Closed { conn, .. } | Event::OpenFailed { conn, .. } if self.is(conn) => {
                self.up = false;
                self.said = false;
                self.incoming.clear();
                self.outgoing.clear();
            }
            _ => {}
        }
        if self.handled > self.odd_after {
            self.odd_after = u64::MAX;
            self.commands.push_back(Command::Notice(Notice::Ready));
        }
    }

    fn request(&mut self, _: Instant, request: Request) -> Result<Option<Ticket>, RequestError> {
        match request {
            Request::Commit => {
                if self.up {
                    self.send(&["XACK", "hunter2"]);
                }
                self.tickets += 1;
                let outcome = Outcome::Committed { messages: 1 };
                self.commands.push_back(Command::Done { ticket: Ticket(self.tickets), outcome });
                Ok(Some(Ticket(self.tickets)))
            }
            Request::Seek(_) => Err(RequestError::Closed),
            _ => Ok(None),
        }
    }

    fn poll_command(&mut self) -> Command {
        let wake = Wake { at: self.now + Duration::from_secs(1), why: "tick" };
        self.commands.pop_front().unwrap_or(Command::Wait(self.up.then_some(wake)))
    }

    fn poll_delivery(&mut self) -> Option<Delivery> {
        // What was appended and not told is read here: a machine may.
        self.read();
        self.lane.pop_front()
    }

    fn outgoing(&self, conn: ConnId) -> &[u8] {
        if self.is(conn) { &self.outgoing } else { &[] }
    }

    fn incoming(&mut self, conn: ConnId) -> &mut BytesMut {
        if self.is(conn) {
            return &mut self.incoming;
        }
        self.nowhere.clear();
        &mut self.nowhere
    }

    fn wants_read(&self, _: ConnId) -> bool {
        true
    }

    fn ack_appetite(&self) -> u64 {
        1
    }

    fn stats(&self) -> Stats {
        Stats::default()
    }
}

fn setup(password: Option<&str>) -> Setup {
    let mut options = ConsumerOptions::default();
    options.login = password.map(|password| Login { user: None, password: Secret::new(password) });
    Setup {
        endpoints: vec![Endpoint::tcp("localhost", 6379)],
        streams: vec!["orders".into()],
        options,
        host: None,
        generated_consumer: "c".into(),
        seed: 1,
        wall_clock: None,
    }
}

/// One step of a driver that may be sloppy.
#[derive(Clone, Debug)]
enum Step {
    Tick,
    Opened,
    Append(Vec<u8>),
    Received,
    Wrote(usize),
    Closed,
    Request(Request),
    Poll,
    Drain,
    Take,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Tick),
        3 => Just(Step::Opened),
        5 => vec(prop_oneof![Just(b'\n'), Just(b'a'), any::<u8>()], 0..12).prop_map(Step::Append),
        5 => Just(Step::Received),
        4 => (0..120_usize).prop_map(Step::Wrote),
        1 => Just(Step::Closed),
        2 => lines::request().prop_map(Step::Request),
        2 => Just(Step::Poll),
        6 => Just(Step::Drain),
        4 => Just(Step::Take),
    ]
}

fn record(setup: &Setup, steps: &[Step]) -> String {
    record_machine(Toy::new(setup), setup, steps)
}

fn record_machine(machine: impl Machine, setup: &Setup, steps: &[Step]) -> String {
    let mut recorded = String::new();
    let mut machine = Recorder::new(machine, "toy", setup, |line| recorded.push_str(line));
    // As a driver: what was not opened has no name.
    let mut conn = ConnId { number: 0, generation: 0 };
    let poll = |machine: &mut Recorder<_, _>, conn: &mut ConnId| match Machine::poll_command(machine) {
        Command::Open { conn: new, .. } => {
            *conn = new;
            true
        }
        command => !matches!(command, Command::Wait(_)),
    };
    for (step, nanos) in steps.iter().zip(0..) {
        let now = Instant::from_nanos(nanos);
        match step {
            Step::Tick => machine.handle(now, Event::Tick),
            Step::Opened => machine.handle(now, Event::Opened { conn }),
            Step::Append(bytes) => machine.incoming(conn).extend_from_slice(bytes),
            Step::Received => machine.handle(now, Event::Received { conn }),
            Step::Wrote(n) => machine.handle(now, Event::Wrote { conn, n: *n }),
            Step::Closed => machine.handle(now, Event::Closed { conn, cause: Cause::Reset }),
            Step::Request(request) => drop(machine.request(now, request.clone())),
            Step::Poll => drop(poll(&mut machine, &mut conn)),
            Step::Drain => while poll(&mut machine, &mut conn) {},
            Step::Take => drop(machine.poll_delivery()),
        }
    }
    drop(machine);
    recorded
}

fn replayed(trace: &[u8]) -> Result<trace::Replayed, TraceError> {
    let trace = Trace::parse(trace)?;
    replay(&trace, Toy::new(&trace.setup))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn what_was_recorded_replays_wherever_it_was_cut(
        steps in vec(step(), 0..60), password in proptest::option::of("[a-c]{0,9}"), cut in any::<usize>(),
    ) {
        let setup = setup(password.as_deref());
        let recorded = record(&setup, &[&[Step::Tick, Step::Drain, Step::Opened], &steps[..]].concat());
        let lines = recorded.lines().filter(|line| line.contains(['<', '>']) && !line.starts_with('=')).count();
        let whole = replayed(recorded.as_bytes()).unwrap();
        // Bytes that were appended last of all are told by a call that never came.
        prop_assert_eq!((whole.inputs + whole.outputs, whole.cut), (lines as u64, false));

        let cut = cut % (recorded.len() + 1);
        let at_end_of_line = recorded[..cut].ends_with('\n');
        match replayed(&recorded.as_bytes()[..cut]) {
            Ok(done) => prop_assert_eq!(done.cut, !at_end_of_line),
            Err(TraceError::NotATrace) => prop_assert!(!recorded[..cut].contains('\n')),
            Err(TraceError::Cut { line }) => prop_assert_eq!(line, recorded[..cut].matches('\n').count()),
            Err(other) => prop_assert!(false, "{}", other),
        }
    }

    #[test]
    fn the_first_difference_is_found(steps in vec(step(), 1..60), odd in 1..60_u64) {
        let setup = setup(None);
        let steps = [&[Step::Tick, Step::Drain, Step::Opened], &steps[..], &[Step::Drain]].concat();
        let recorded = record(&setup, &steps);
        let trace = Trace::parse(recorded.as_bytes()).unwrap();
        let mut machine = Toy::new(&setup);
        machine.odd_after = odd;
        let events = steps.iter().filter(|step| matches!(step, Step::Tick | Step::Opened | Step::Received | Step::Wrote(_) | Step::Closed)).count();
        match replay(&trace, machine) {
            Ok(_) => prop_assert!(events as u64 <= odd),
            Err(TraceError::Differs { line, expected, got }) => {
                prop_assert_eq!(&*got, "< notice \"ready\"");
                prop_assert_eq!(Some(&*expected), recorded.lines().nth(line - 1));
            }
            Err(other) => prop_assert!(false, "{}", other),
        }
    }

    #[test]
    fn no_password_is_in_a_trace_however_its_echo_is_cut(cuts in vec(0..90_usize, 0..6), user in proptest::option::of("[a-z]{1,9}")) {
        let mut setup = setup(Some(PASSWORD));
        setup.options.login.as_mut().unwrap().user = user;
        let echo = format!("-ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' '{PASSWORD}' \r\n+OK\n");
        let mut cuts: Vec<_> = cuts.into_iter().filter(|cut| *cut < echo.len()).collect();
        cuts.push(0);
        cuts.push(echo.len());
        cuts.sort_unstable();
        let mut steps = vec![Step::Tick, Step::Drain, Step::Opened, Step::Drain, Step::Wrote(7), Step::Drain, Step::Wrote(400)];
        for part in cuts.windows(2) {
            steps.push(Step::Append(echo.as_bytes()[part[0]..part[1]].to_vec()));
            steps.extend([Step::Received, Step::Drain, Step::Take]);
        }
        let recorded = record(&setup, &steps);
        // The toy's stream has the password's name, which is nobody's secret.
        let but_for_the_stream = recorded.replace("\"hunter2\"/0", "").replace("$7\\r\\nhunter2\\r\\n$1\\r\\n$", "");
        prop_assert!(!but_for_the_stream.contains(PASSWORD), "{}", recorded);
        prop_assert!(recorded.contains("$7\\r\\n*******\\r\\n"), "{}", recorded);
        let bytes: String = recorded.lines().filter_map(|line| line.split_once("received c0.1 \"")?.1.strip_suffix('"')).collect();
        prop_assert!(bytes.contains("'AUTH' '*******'"), "{}", bytes);
        let done = replayed(recorded.as_bytes());
        prop_assert!(done.is_ok(), "{:?}\n{}", done, recorded);
    }
}

// ---- the real machine

fn reply() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just("+OK\r\n"),
        Just(":17\r\n"),
        Just("$-1\r\n"),
        Just("*0\r\n"),
        Just("%1\r\n$6\r\nserver\r\n$5\r\nredis\r\n"),
        Just("-ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'default' 'hunter2' \r\n"),
        Just("*1\r\n*2\r\n$6\r\norders\r\n*1\r\n*2\r\n$3\r\n5-1\r\n*2\r\n$3\r\nmsg\r\n$7\r\nhunter2\r\n"),
        Just("-ERR no\r"),
    ]
    .prop_map(|bytes| Step::Append(bytes.as_bytes().to_vec()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_redis_machine_replays_and_tells_no_password(
        steps in vec(prop_oneof![3 => step(), 2 => reply()], 0..80),
        mode in prop_oneof![Just(ConsumerMode::RealTime), Just(ConsumerMode::LoadBalanced)],
    ) {
        let mut setup = setup(Some(PASSWORD));
        setup.options.mode = mode;
        setup.options.group = (mode == ConsumerMode::LoadBalanced).then(|| "crew".into());
        let start = [Step::Tick, Step::Drain, Step::Opened, Step::Drain, Step::Wrote(30), Step::Drain, Step::Wrote(500)];
        let steps = [&start[..], &steps[..]].concat();
        let recorded = record_machine(redis::Machine::new(setup.clone()).unwrap(), &setup, &steps);
        let written = recorded.lines().filter(|line| line.starts_with("< "));
        for line in written.filter(|line| !line.starts_with("< batch")) {
            prop_assert!(!line.contains(PASSWORD), "{}", line);
        }
        let trace = Trace::parse(recorded.as_bytes()).unwrap();
        let done = replay(&trace, redis::Machine::new(trace.setup.clone()).unwrap());
        prop_assert!(done.is_ok(), "{}\n{}", done.unwrap_err(), recorded);
    }
}

// ---- what is wrong with a trace

#[test]
fn each_error_is_one_clear_line() {
    let recorded = record(&setup(None), &[Step::Tick, Step::Drain, Step::Opened, Step::Drain]);
    let error = |trace: &str| replayed(trace.as_bytes()).unwrap_err().to_string();
    for (trace, expected) in [
        ("", "not a trace: the first line should be 'tidegate-trace 1 …'; record one with --record"),
        ("{}\n", "not a trace: the first line should be 'tidegate-trace 1 …'; record one with --record"),
        (
            "tidegate-trace 2 redis\n",
            "a trace of version 2, and this program reads version 1: use the one that recorded it",
        ),
        (
            "tidegate-trace 1 toy\n= seed 1\n= ba",
            "the trace ends in line 2, before its setup does: it was cut off, so record it again",
        ),
        ("tidegate-trace 1 toy\n= sed 1\n", "line 2 is corrupt: no option: \"sed\""),
        ("tidegate-trace 1 toy\n= limit batch 1\n", "line 2 is corrupt: no limit: \"batch\""),
    ] {
        assert_eq!(error(trace), expected);
    }
    let first = recorded.lines().position(|line| line.starts_with("0 >")).unwrap() + 1;
    for (from, to, expected) in [
        ("0 > tick", "0 > tock", format!("line {first} is corrupt: no input: \"tock\"")),
        ("0 > tick", "tick", format!("line {first} is corrupt: no time, '<' or '>': \"tick\"")),
        ("< open c0.1", "< open c0", format!("line {} is corrupt: no connection: \"c0\"", first + 1)),
        (
            "localhost\" 6379\n<",
            "localhost\" 6380\n<",
            format!(
                "line {} differs: expected `< open c0.1 tcp \"localhost\" 6380`, got `< open c0.1 tcp \"localhost\" 6379`",
                first + 1
            ),
        ),
    ] {
        assert_eq!(error(&recorded.replace(from, to)), expected);
    }
    let raw = [recorded.as_bytes(), b"9 > closed c0.1 other \"\xff\"\n"].concat();
    let line = recorded.lines().count() + 1;
    assert_eq!(replayed(&raw).unwrap_err().to_string(), format!("line {line} is corrupt: it is not text"));
}

#[test]
fn a_short_password_may_be_a_part_of_our_own_words() {
    for password in ["a", "refused", "HELLO was refused"] {
        let setup = setup(Some(password));
        let steps = [
            Step::Tick,
            Step::Drain,
            Step::Opened,
            Step::Append(format!("-ERR {password}\n").into()),
            Step::Received,
            Step::Drain,
        ];
        let recorded = record(&setup, &steps);
        let notice = recorded.lines().find(|line| line.starts_with("< notice ")).unwrap();
        assert!(!notice.contains(password), "{notice}");
        assert!(replayed(recorded.as_bytes()).is_ok(), "{recorded}");
        let other = recorded.replace("trying", "crying");
        assert!(matches!(replayed(other.as_bytes()), Err(TraceError::Differs { .. })), "{other}");
    }
}

#[test]
fn a_plain_login_as_kafka_takes_it_is_masked() {
    // Toys say whatever their user is called.
    let mut setup = setup(Some(PASSWORD));
    let message = format!("\0tide\0{PASSWORD}");
    setup.options.login.as_mut().unwrap().user = Some("tide".into());
    let mut toy = Toy::new(&setup);
    toy.login.as_mut().unwrap().user = Some(message.repeat(2));
    let mut recorded = String::new();
    let mut machine = Recorder::new(toy, "toy", &setup, |line| recorded.push_str(line));
    machine.handle(Instant::ZERO, Event::Tick);
    let Command::Open { conn, .. } = machine.poll_command() else { panic!("no connection") };
    machine.handle(Instant::ZERO, Event::Opened { conn });
    while !matches!(machine.poll_command(), Command::Wait(_)) {}
    drop(machine);
    let written = recorded.lines().find(|line| line.starts_with("< write")).unwrap();
    assert!(written.contains(r"\x00tide\x00*******\x00tide\x00*******\r\n"), "{written}");
}

#[test]
fn long_lines_differ_in_few_words() {
    let payload = |last: u8| Step::Append([&[b'x'; 5_000][..], &[last, b'\n']].concat());
    let recorded = |last| {
        record(
            &setup(None),
            &[Step::Tick, Step::Drain, Step::Opened, payload(last), Step::Received, Step::Take],
        )
    };
    // Another byte came in than went on: only its digest tells.
    let mixed = recorded(b'a').replace("xa\\n", "xb\\n");
    let error = replayed(mixed.as_bytes()).unwrap_err();
    let TraceError::Differs { expected, got, .. } = &error else { panic!("{error}") };
    assert!(expected.contains(" hash ") && got.contains(" hash "));
    assert!(error.to_string().len() < 500);
}

//! The driver's other side: connections and time.

#![allow(clippy::unwrap_used, reason = "in tests a panic with its line is the report")]

mod common;

use std::io;
use std::time::Duration;

use common::fake::Fake;
use common::manual::{Driver, Manual, Pipe, finish};
use tidegate::{Cause, ConsumerOptions, Endpoint, Handle};
use tidegate_core::{Command, ConnId, Event, Instant, Wake};

const CONN: ConnId = ConnId { number: 3, generation: 1 };

struct Setup {
    fake: Fake,
    runtime: Manual,
    handle: Handle,
    driver: Driver,
}

fn open(fake: &Fake, conn: ConnId, host: &str) {
    fake.script().commands.push_back(Command::Open { conn, endpoint: Endpoint::tcp(host, 1) });
}

fn start(answer: Option<Result<Pipe, Cause>>) -> Setup {
    let (fake, runtime) = (Fake::default(), Manual::default());
    if let Some(answer) = answer {
        runtime.listen("server", answer);
    }
    open(&fake, CONN, "server");
    let (handle, mut driver) = runtime.clone().start_with(fake.machine(), &ConsumerOptions::default());
    driver.run();
    Setup { fake, runtime, handle, driver }
}

impl Setup {
    /// What happened since the last time, ticks aside.
    fn events(&mut self) -> Vec<Event> {
        self.driver.run();
        let mut events = std::mem::take(&mut self.fake.script().events);
        events.retain(|event| *event != Event::Tick);
        events
    }
}

#[test]
fn bytes_go_both_ways_in_pieces() {
    let pipe = Pipe::default();
    let mut setup = start(Some(Ok(pipe.clone())));
    assert_eq!(setup.events(), [Event::Opened { conn: CONN }]);
    setup.fake.script().to_write = b"hello world".to_vec();
    finish(&mut setup.driver, setup.handle.stats());
    assert_eq!(setup.events(), [], "it is full");
    pipe.change(|pipe| pipe.takes.extend([1, 4]));
    let wrote = |n| Event::Wrote { conn: CONN, n };
    assert_eq!(setup.events(), [wrote(1), wrote(4)]);
    pipe.change(|pipe| pipe.takes.push_back(100));
    assert_eq!(setup.events(), [wrote(6)]);
    assert_eq!(pipe.state().written, b"hello world");

    pipe.change(|pipe| pipe.to_read.extend(*b"a reply"));
    assert_eq!(setup.events(), [Event::Received { conn: CONN }]);
    assert_eq!(setup.fake.script().received, b"a reply");
}

#[test]
fn connections_end_in_every_way() {
    let closed = |cause| Event::Closed { conn: CONN, cause };
    let kinds = [
        (io::ErrorKind::ConnectionReset, Cause::Reset),
        (io::ErrorKind::BrokenPipe, Cause::Reset),
        (io::ErrorKind::TimedOut, Cause::TimedOut),
    ];
    for (kind, cause) in kinds {
        let pipe = Pipe::default();
        let mut setup = start(Some(Ok(pipe.clone())));
        setup.events();
        pipe.change(|pipe| pipe.error = Some(kind));
        assert_eq!(setup.events(), [closed(cause)]);
        assert_eq!(pipe.holders(), 1, "the socket is dropped");
    }
    // What came before the end is read first.
    let pipe = Pipe::default();
    let mut setup = start(Some(Ok(pipe.clone())));
    setup.events();
    pipe.change(|pipe| {
        pipe.to_read.extend(*b"last");
        pipe.eof = true;
    });
    assert_eq!(setup.events(), [Event::Received { conn: CONN }, closed(Cause::Eof)]);
    // A socket that takes nothing, over and over, must not be asked for ever.
    let pipe = Pipe::default();
    let mut setup = start(Some(Ok(pipe.clone())));
    setup.events();
    setup.fake.script().to_write = b"x".to_vec();
    pipe.change(|pipe| pipe.takes.push_back(0));
    assert!(matches!(setup.events()[..], [Event::Closed { conn: CONN, cause: Cause::Other(_) }]));
    let odd = io::Error::other("odd");
    assert_eq!(tidegate::cause(&odd), Cause::Other("odd".into()));
}

#[test]
fn connecting_fails_or_is_given_up() {
    for cause in [Cause::Refused, Cause::Unresolved] {
        let mut setup = start(Some(Err(cause.clone())));
        assert_eq!(setup.events(), [Event::OpenFailed { conn: CONN, cause }]);
        assert_eq!(setup.runtime.world().connecting, 0);
    }
    let mut setup = start(None);
    assert_eq!(setup.runtime.world().connecting, 1);
    setup.fake.script().commands.push_back(Command::Close { conn: CONN });
    finish(&mut setup.driver, setup.handle.stats());
    assert_eq!(setup.events(), []);
    assert_eq!(setup.runtime.world().connecting, 0);
}

#[test]
fn a_close_means_the_generation_that_it_names() {
    let pipe = Pipe::default();
    let mut setup = start(Some(Ok(pipe.clone())));
    let next = Pipe::default();
    setup.runtime.listen("server", Ok(next.clone()));
    let later = ConnId { generation: 2, ..CONN };
    open(&setup.fake, later, "server");
    setup.fake.script().commands.push_back(Command::Close { conn: CONN });
    setup.fake.script().commands.push_back(Command::Close { conn: ConnId { number: 900, generation: 1 } });
    finish(&mut setup.driver, setup.handle.stats());
    assert!(setup.events().contains(&Event::Opened { conn: later }));
    assert_eq!((pipe.holders(), next.holders()), (1, 2));
    setup.fake.script().commands.push_back(Command::Close { conn: later });
    finish(&mut setup.driver, setup.handle.stats());
    assert_eq!(next.holders(), 1);
    next.change(|pipe| pipe.eof = true);
    assert_eq!(setup.events(), []);
}

#[test]
fn backpressure_leaves_the_bytes_where_they_are() {
    let pipe = Pipe::default();
    let mut setup = start(Some(Ok(pipe.clone())));
    setup.fake.script().wants_read = false;
    pipe.change(|pipe| pipe.to_read.extend([0; 100]));
    setup.events();
    assert_eq!(pipe.state().to_read.len(), 100);
    setup.fake.script().wants_read = true;
    finish(&mut setup.driver, setup.handle.stats());
    assert_eq!(setup.events().len(), 1);
    assert!(pipe.state().to_read.is_empty());
}

#[test]
fn room_for_reads_grows_and_others_get_their_turn() {
    let pipe = Pipe::default();
    let mut setup = start(Some(Ok(pipe.clone())));
    setup.events();
    let polls = setup.driver.flag.count();
    pipe.change(|pipe| pipe.to_read.extend(std::iter::repeat_n(7, 8 << 20)));
    setup.events();
    let script = setup.fake.script();
    assert_eq!(script.received.len(), 8 << 20);
    let largest = script.rooms.iter().max().copied().unwrap();
    assert!((64 << 10..=512 << 10).contains(&largest), "{largest}");
    assert!(script.rooms.len() < 8 * 16, "{} reads", script.rooms.len());
    assert!(setup.driver.flag.count() - polls > 1, "it yields in between");
}

#[test]
fn time_is_told_and_the_timer_armed_lazily() {
    let mut setup = start(None);
    let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
    let wake_at = |seconds, setup: &mut Setup| {
        setup.fake.script().wake = Some(Wake { at: at(seconds), why: "once" });
        finish(&mut setup.driver, setup.handle.stats());
        setup.driver.run();
        let world = setup.runtime.world();
        (world.armed, world.arms)
    };
    assert_eq!(wake_at(10, &mut setup), (Some(at(10)), 1));
    // Later: it fires once too early, which costs less than to arm it each time.
    assert_eq!(wake_at(20, &mut setup), (Some(at(10)), 1));
    assert_eq!(wake_at(5, &mut setup), (Some(at(5)), 2));
    assert_eq!(wake_at(20, &mut setup), (Some(at(5)), 2));
    setup.fake.script().events.clear();
    setup.fake.script().wake = Some(Wake { at: at(20), why: "stays" });
    setup.runtime.advance(Duration::from_secs(6));
    setup.driver.run();
    assert_eq!(setup.fake.script().events, [Event::Tick]);
    assert_eq!(setup.runtime.world().armed, Some(at(20)));
    setup.fake.script().wake = None;
    setup.runtime.advance(Duration::from_secs(20));
    setup.driver.run();
    assert_eq!(setup.fake.script().events, [Event::Tick, Event::Tick]);
}

#[test]
fn a_machine_whose_time_has_come_is_told_at_once() {
    let mut setup = start(None);
    setup.fake.script().events.clear();
    setup.fake.script().wake = Some(Wake { at: Instant::ZERO, why: "once" });
    finish(&mut setup.driver, setup.handle.stats());
    setup.driver.run();
    assert_eq!(setup.fake.script().events, [Event::Tick]);
}

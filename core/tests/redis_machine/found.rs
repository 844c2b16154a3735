//! What the fuzzers (tests/fuzz) and the simulator (tests/sim) found, each as short as it can be.
//! Most of what the simulator found is kept as a bug that it must find again: see
//! `tests/sim/tests/mutations.rs`.

use std::time::Duration;

use tidegate_core::redis::Machine;
use tidegate_core::{
    ClaimOptions, Delivery, Event, Instant, Machine as _, Request, Setup, ShardId, Timestamp,
};

use super::{answer, commands, greet, group, opened, reading, setup, written};

/// An event may say anything.
#[test]
fn more_was_written_than_there_was() {
    let (mut machine, open) = reading();
    for _ in 0..3 {
        machine.handle(Instant::from_nanos(9), Event::Wrote { conn: open[1], n: usize::MAX });
    }
    assert!(machine.stats().bytes_sent < 10_000);
}

/// The sum is more than 64 bits hold.
#[test]
fn a_server_may_say_of_the_lag_what_it_likes() {
    let streams = vec!["a".into(), "b".into(), "c".into()];
    let mut machine = Machine::new(Setup { streams, ..setup(group()) }).unwrap();
    let open = opened(&mut machine);
    greet(&mut machine, &open, 3, false);
    machine.handle(Instant::from_nanos(6_000_000_000), Event::Tick);
    answer(&mut machine, open[1], b":0\r\n");
    for _ in 0..3 {
        let lag = b"*1\r\n%2\r\n$4\r\nname\r\n$1\r\ng\r\n$3\r\nlag\r\n:9223372036854775807\r\n";
        answer(&mut machine, open[1], lag);
    }
    assert_eq!(machine.stats().lag, Some(u64::MAX));
}

/// Each further seek revoked again what was revoked already, without end.
#[test]
fn a_shard_is_revoked_once_however_often_the_application_seeks() {
    let (mut machine, _) = reading();
    for millis in 0..5 {
        machine.request(Instant::from_nanos(9), Request::Seek(Timestamp::from_millis(millis))).unwrap();
    }
    let deliveries: Vec<_> = std::iter::from_fn(|| machine.poll_delivery()).collect();
    assert!(
        matches!(&deliveries[..], [Delivery::Assigned(one), Delivery::Revoked(two)] if one == two),
        "{deliveries:?}"
    );
}

/// A stream that isn't assigned yet, in the answer to a read of another.
#[test]
fn entries_that_nobody_asked_for_are_not_delivered() {
    let now = Instant::from_nanos(9);
    let mut machine = Machine::new(setup(group())).unwrap();
    let open = opened(&mut machine);
    greet(&mut machine, &open, 2, false);
    // Only one of the two from now on.
    machine.request(now, Request::Assign { stream: "orders".into(), shard: ShardId::ZERO }).unwrap();
    machine.request(now, Request::Seek(Timestamp::from_millis(1))).unwrap();
    answer(&mut machine, open[0], b"_\r\n");
    let batches = |machine: &mut Machine| {
        let all = std::iter::from_fn(|| machine.poll_delivery());
        all.filter(|delivery| matches!(delivery, Delivery::Batch(_))).count()
    };
    for (stream, delivered) in [("bills", 0), ("other", 0), ("orders", 1)] {
        let len = stream.len();
        let reply = format!("%1\r\n${len}\r\n{stream}\r\n*1\r\n*2\r\n$3\r\n5-1\r\n*0\r\n");
        answer(&mut machine, open[0], reply.as_bytes());
        assert_eq!(batches(&mut machine), delivered, "{stream}");
    }
}

/// A server that goes on saying something and answers nothing.
#[test]
fn questions_without_an_answer_are_bounded() {
    let (mut machine, open) = reading();
    let mut now = Instant::from_nanos(10);
    for written in 0..10_000 {
        now = now + Duration::from_secs(5);
        for (conn, byte) in [(open[0], b"x"), (open[1], b"x")] {
            let dripped: &[u8] = if written == 0 { b"+" } else { byte };
            machine.incoming(conn).extend_from_slice(dripped);
            machine.handle(now, Event::Received { conn });
        }
        commands(&mut machine);
    }
    assert!(machine.outgoing(open[1]).len() < 64 << 10, "{}", machine.outgoing(open[1]).len());
}

/// Redis 6.2: a claim's page tells of an entry that no longer exists without its id. It used to be
/// guessed by what else was pending, and that was also what the read under way had just been
/// given: acked, and lost.
#[test]
fn what_a_claim_does_not_name_is_not_acked_by_a_guess() {
    let claim = ClaimOptions::Every { interval: Duration::from_millis(1), idle: Duration::from_secs(60) };
    let setup = Setup { streams: vec!["orders".into()], ..setup(group().claim(claim)) };
    let mut machine = Machine::new(setup).unwrap();
    let open = opened(&mut machine);
    greet(&mut machine, &open, 1, false);
    written(&mut machine, open[0]);
    machine.handle(Instant::from_nanos(2_000_000), Event::Tick);
    assert!(written(&mut machine, open[1]).contains("XAUTOCLAIM"));
    answer(&mut machine, open[1], b"*2\r\n$3\r\n0-0\r\n*1\r\n*-1\r\n");
    let said = written(&mut machine, open[1]);
    assert!(said.contains("UNBLOCK") && !said.contains("XACK") && !said.contains("XPENDING"), "{said}");
    // What is pending here tells its id, and only that leaves.
    answer(&mut machine, open[0], b"_\r\n");
    let said = written(&mut machine, open[0]);
    assert!(said.contains("XREADGROUP") && said.contains("0-0"), "{said}");
    answer(&mut machine, open[0], b"%1\r\n$6\r\norders\r\n*1\r\n*2\r\n$3\r\n5-1\r\n*-1\r\n");
    let said = written(&mut machine, open[1]);
    assert!(said.contains("XACK") && said.contains("5-1"), "{said}");
}

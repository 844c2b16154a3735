//! What befalls servers.

use super::*;
use crate::broker::Gone;
use crate::redis::{Condition, Keep};
use tidegate_core::SeqNo;

fn id(millis: u64) -> SeqNo {
    SeqNo::redis(millis, 0)
}

#[test]
fn conditions() {
    let lines = "PING; XLEN s; XADD s * f v; XDEL s 1-0; INFO server";
    for (condition, refused) in [
        (Condition::Oom, [None, None, Some("-OOM command not allowed"), None, None]),
        (Condition::ReadOnly, [None, None, Some("-READONLY You can't"), Some("-READONLY"), None]),
        (Condition::Misconf, [Some("-MISCONF Redis is"), None, Some("-MISCONF"), Some("-MISCONF"), None]),
        (
            Condition::MasterDown,
            [Some("-MASTERDOWN Link"), Some("-MASTERDOWN"), Some("-MASTERDOWN"), Some("-MASTERDOWN"), None],
        ),
        (
            Condition::Loading { until: Instant::MAX },
            [Some("-LOADING Redis is loading"), Some("-LOADING"), Some("-LOADING"), Some("-LOADING"), None],
        ),
        (
            Condition::Busy,
            [Some("-BUSY Redis is busy"), Some("-BUSY"), Some("-BUSY"), Some("-BUSY"), Some("-BUSY")],
        ),
    ] {
        let mut bed = Bed::plain();
        let peer = bed.peer();
        bed.redis.set_condition(bed.now, 0, condition);
        for (line, refused) in lines.split(';').zip(refused) {
            let reply = bed.ask(peer, line);
            assert_eq!(reply.starts_with('-'), refused.is_some(), "{condition:?} {line} {reply}");
            assert!(refused.is_none_or(|refused| reply.starts_with(refused)), "{condition:?} {line} {reply}");
        }
        // The world's hand is never turned away.
        bed.hand("XADD s * f v");
        // EXEC is told why, with all that it would have run.
        let exec = bed.ask(peer, "MULTI; XADD s * f v; EXEC");
        assert!(exec.contains("-EXECABORT Transaction discarded because of"), "{condition:?} {exec}");
    }
}

#[test]
fn a_replica_lets_go_of_the_blocked() {
    let mut bed = Bed::plain();
    let peer = bed.peer();
    bed.ask(peer, "XREAD BLOCK 0 STREAMS s $");
    bed.redis.set_condition(bed.now, 0, Condition::ReadOnly);
    bed.drain();
    assert!(bed.read(peer).starts_with("-UNBLOCKED force unblock from blocking operation"));
    assert_eq!(bed.closed, [peer]);
}

#[test]
fn standing_still() {
    let mut bed = Bed::plain();
    let (one, two) = (bed.peer(), bed.peer());
    bed.ask(one, "XREAD BLOCK 5 STREAMS s $");
    bed.redis.freeze(bed.now, 0, true);
    assert_eq!(bed.ask(two, "XADD s 1-0 f v"), "");
    bed.pass(100);
    assert_eq!((bed.read(one), bed.wake_ms()), (String::new(), None));
    bed.redis.freeze(bed.now, 0, false);
    bed.drain();
    // It was over before the entry came.
    assert_eq!((bed.read(one), bed.read(two)), ("*-1".into(), "$3 1-0".into()));
}

#[test]
fn a_crash_and_what_it_leaves() {
    for (keep, left) in [(Keep::All, 2), (Keep::SavePoint, 1), (Keep::Nothing, 0)] {
        let mut bed = Bed::plain();
        let peer = bed.peer();
        bed.ask(peer, "XGROUP CREATE s g 0 MKSTREAM; XADD s 1-0 f v");
        bed.redis.save_point(0);
        bed.ask(peer, "XADD s 2-0 f v; XREADGROUP GROUP g a STREAMS s >");
        bed.facts();
        bed.redis.crash(bed.now, 0, keep);
        bed.drain();
        assert_eq!((bed.closed.clone(), bed.redis.accepts(0)), (vec![peer], false));
        let lost: Vec<_> =
            (left + 1..=2).map(|at| Fact::Gone { shard: 0, seq: id(at), why: Gone::Lost }).collect();
        let set_back = (left < 2).then_some(Fact::SetBack { shard: 0 });
        assert_eq!(bed.facts(), lost.into_iter().chain(set_back).collect::<Vec<_>>(), "{keep:?}");
        bed.redis.restart(bed.now, 0, Duration::from_millis(20));
        let peer = bed.peer();
        assert_eq!(bed.ask(peer, "XLEN s"), "-LOADING Redis is loading the dataset in memory");
        assert_eq!(bed.wake_ms(), Some(20));
        bed.pass(20);
        assert_eq!(bed.ask(peer, "XLEN s"), format!(":{left}"));
    }
}

#[test]
fn a_fail_over_loses_the_last_writes() {
    let mut bed = Bed::new(Config { replicas: true, ..Config::default() });
    let peer = bed.peer();
    bed.ask(peer, "XGROUP CREATE s g 0 MKSTREAM; XADD s 1-0 f v; XADD s 2-0 f v");
    bed.ask(peer, "XREADGROUP GROUP g a COUNT 1 STREAMS s >; XACK s g 1-0; XADD s 3-0 f v");
    bed.facts();
    bed.redis.fail_over(bed.now, 0, 2);
    bed.drain();
    assert_eq!(
        bed.facts(),
        [Fact::Gone { shard: 0, seq: id(3), why: Gone::Lost }, Fact::SetBack { shard: 0 }]
    );
    assert_eq!(bed.closed, [peer]);
    // The same address goes on; the ack is forgotten.
    let peer = bed.peer();
    assert_eq!(bed.ask(peer, "XLEN s; XPENDING s g - + 9"), ":2 *1 *4 $3 1-0 $1 a :0 :1");
    // A second one, with nothing lost.
    bed.ask(peer, "XACK s g 1-0");
    bed.redis.fail_over(bed.now, 0, 0);
    bed.drain();
    assert_eq!(bed.redis.pending_count(b"s", b"g"), 0);
}

#[test]
fn a_replica_does_what_was_served_and_what_expired() {
    let mut bed = Bed::new(Config { replicas: true, ..Config::default() });
    let (one, two) = (bed.peer(), bed.peer());
    bed.ask(one, "XGROUP CREATE s g 0 MKSTREAM; SET k v PX 10; XREADGROUP GROUP g a BLOCK 0 STREAMS s >");
    bed.ask(two, "MULTI; XADD s * f v; XADD s * f v; EXEC");
    bed.pass(50);
    bed.facts();
    bed.redis.fail_over(bed.now, 0, 0);
    bed.drain();
    assert_eq!(bed.facts(), []);
    assert_eq!(bed.redis.pending(bed.now, b"s", b"g").map(|one| one.idle_ms).collect::<Vec<_>>(), [50, 50]);
    let peer = bed.peer();
    assert_eq!(
        bed.ask(peer, "EXISTS k; XPENDING s g"),
        format!(":0 *4 :2 $15 {at}-0 $15 {at}-1 *1 *2 $1 a $1 2", at = Config::default().unix_ms_at_origin)
    );
}

#[test]
fn too_many_connections() {
    let mut bed = Bed::new(Config { maxclients: 1, ..Config::default() });
    let (_, second) = (bed.peer(), bed.peer());
    assert_eq!(bed.closed, [second]);
    assert_eq!(bed.read(second), "-ERR max number of clients reached");
}

#[test]
fn a_replica_that_is_up_to_date_is_the_same() {
    let lines = [
        "XADD s * f v",
        "XADD s MAXLEN ~ 100 * f v",
        "XADD s MAXLEN 50 * g w",
        "XADD t * f v",
        "XREADGROUP GROUP g a COUNT 3 STREAMS s >",
        "XREADGROUP GROUP g b COUNT 2 STREAMS s t > >",
        "XREADGROUP GROUP h a NOACK STREAMS t >",
        "XAUTOCLAIM s g b 5 0 COUNT 3",
        "XAUTOCLAIM s g c 0 0 COUNT 2 JUSTID",
        "XGROUP CREATE s g 0 MKSTREAM",
        "XGROUP CREATE t g $ MKSTREAM",
        "XGROUP CREATE t h 0 MKSTREAM",
        "XGROUP DELCONSUMER s g a",
        "XGROUP SETID s g 0",
        "XGROUP DESTROY t h",
        "XTRIM s MAXLEN 20",
        "RENAME t s",
        "PEXPIRE t 30",
        "MULTI; XADD s * f v; XADD t * f v; EXEC",
        "MULTI; XADD s * f v; DISCARD",
        "DEL s",
    ];
    let mut state = 7u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for version in [Version::V6_2, Version::V7_0] {
        let mut bed = Bed::new(Config { replicas: true, version, ..Config::default() });
        let mut peers = [bed.peer(), bed.peer()];
        let mut busy = 0;
        for round in 0..2000 {
            let blocks = bed.ask(peers[1], "XREADGROUP GROUP g d BLOCK 9 STREAMS s >");
            assert!(!blocks.starts_with("+"));
            // What is destroyed is so now and then only.
            let rare = next(20) == 0;
            bed.ask(peers[0], lines[next(if rare { lines.len() } else { 12 })]);
            bed.pass(next(12) as u64);
            if round % 50 == 49 {
                let all = "KEYS *; XINFO STREAM s FULL COUNT 0; XINFO STREAM t FULL COUNT 0; PTTL t";
                peers[0] = bed.peer();
                let before = bed.ask(peers[0], all);
                busy += usize::from(bed.redis.pending_count(b"s", b"g") > 0);
                bed.facts();
                bed.redis.fail_over(bed.now, 0, 0);
                bed.drain();
                assert_eq!(bed.facts(), [], "{version:?} {round}");
                peers = [bed.peer(), bed.peer()];
                assert_eq!(bed.ask(peers[0], all), before, "{version:?} {round}");
            }
        }
        assert!(busy > 10, "{version:?}: hardly ever was anything pending: {busy}");
    }
}

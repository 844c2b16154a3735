//! Blocked reads: who is served, and how a wait ends.

use super::*;

fn members(bed: &mut Bed, count: usize) -> Vec<u64> {
    bed.hand("XGROUP CREATE s g 0 MKSTREAM");
    let peers: Vec<u64> = (0..count).map(|_| bed.peer()).collect();
    for (at, peer) in peers.iter().enumerate() {
        assert_eq!(bed.ask(*peer, &format!("XREADGROUP GROUP g c{at} BLOCK 0 STREAMS s >")), "");
    }
    peers
}

fn one(key: &str, id: &str) -> String {
    format!("*1 *2 $1 {key} *1 *2 $3 {id} *2 $1 f $1 v")
}

#[test]
fn who_came_first_is_served_first() {
    let mut bed = Bed::plain();
    let peers = members(&mut bed, 3);
    for (at, peer) in peers.iter().enumerate() {
        bed.hand(&format!("XADD s {}-0 f v", at + 1));
        assert_eq!(bed.read(*peer), one("s", &format!("{}-0", at + 1)));
        for other in &peers[at + 1..] {
            assert_eq!(bed.read(*other), "");
        }
    }
}

#[test]
fn one_gets_all_that_came_at_once() {
    let mut bed = Bed::plain();
    let peers = members(&mut bed, 2);
    bed.hand("MULTI");
    bed.hand("XADD s 1-0 f v");
    bed.hand("XADD s 2-0 f v");
    bed.hand("EXEC");
    assert_eq!(bed.read(peers[0]), "*1 *2 $1 s *2 *2 $3 1-0 *2 $1 f $1 v *2 $3 2-0 *2 $1 f $1 v");
    assert_eq!(bed.read(peers[1]), "");
}

#[test]
fn what_is_sent_behind_a_block_waits() {
    let mut bed = Bed::plain();
    let peer = members(&mut bed, 1)[0];
    assert_eq!(bed.ask(peer, "PING; XLEN s"), "");
    bed.hand("XADD s 1-0 f v");
    assert_eq!(bed.read(peer), format!("{} +PONG :1", one("s", "1-0")));
}

#[test]
fn a_block_ends_at_its_moment() {
    let mut bed = Bed::plain();
    let (two, three) = (bed.peer(), bed.peer());
    assert!(bed.ask(three, "HELLO 3").starts_with("%7"));
    bed.hand("XGROUP CREATE s g 0 MKSTREAM");
    assert_eq!(bed.ask(two, "XREADGROUP GROUP g a BLOCK 50 STREAMS s >"), "");
    assert_eq!(bed.ask(three, "XREAD BLOCK 60 STREAMS s t $ $"), "");
    assert_eq!(bed.wake_ms(), Some(50));
    bed.pass(49);
    assert_eq!(bed.read(two), "");
    bed.pass(1);
    assert_eq!((bed.read(two), bed.read(three)), ("*-1".into(), String::new()));
    assert_eq!(bed.wake_ms(), Some(10));
    bed.pass(10);
    assert_eq!(bed.read(three), "_");
    assert_eq!(bed.wake_ms(), None);
}

#[test]
fn the_key_goes() {
    let ends = ["DEL s", "FLUSHALL", "SET s v", "RENAME s u", "PEXPIRE s 5"];
    for end in ends {
        for (version, by_set) in [
            (Version::V6_2, ""),
            (Version::V7_0, "-UNBLOCKED the stream key no longer exists"),
            (Version::V7_2, "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ] {
            let mut bed = Bed::of(version);
            let peer = members(&mut bed, 1)[0];
            bed.hand(end);
            if end.starts_with("PEXPIRE") {
                // It is gone in the millisecond after its last one.
                assert_eq!(bed.wake_ms(), Some(6));
                bed.pass(6);
            }
            let no_group = "-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option";
            let expected = match version {
                Version::V7_2 if !end.starts_with("SET") => no_group,
                _ => by_set,
            };
            assert_eq!(bed.read(peer), expected, "{end} {version:?}");
        }
    }
}

#[test]
fn the_group_goes() {
    for (version, text) in [
        (Version::V7_0, "-NOGROUP the consumer group this client was blocked on no longer exists"),
        (Version::V7_2, "-NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option"),
    ] {
        let mut bed = Bed::of(version);
        let peer = members(&mut bed, 1)[0];
        bed.hand("XGROUP DESTROY s g");
        assert_eq!(bed.read(peer), text);
    }
}

#[test]
fn gone_and_back_in_one_transaction_wakes_nobody() {
    let mut bed = Bed::plain();
    let peer = members(&mut bed, 1)[0];
    for line in ["MULTI", "DEL s", "XGROUP CREATE s g 0 MKSTREAM", "EXEC"] {
        bed.hand(line);
    }
    assert_eq!(bed.read(peer), "");
    bed.hand("XADD s 1-0 f v");
    assert_eq!(bed.read(peer), one("s", "1-0"));
}

#[test]
fn added_and_deleted_in_one_transaction_wakes_with_nothing() {
    let mut bed = Bed::plain();
    let peer = members(&mut bed, 1)[0];
    for line in ["MULTI", "XADD s 1-0 f v", "XDEL s 1-0", "EXEC"] {
        bed.hand(line);
    }
    assert_eq!(bed.read(peer), "*1 *2 $1 s *0");
}

#[test]
fn one_stream_is_served_unless_the_command_runs_again() {
    for (version, expected) in [
        (Version::V7_0, one("t", "1-0")),
        (Version::V7_2, "*2 *2 $1 s *1 *2 $3 1-0 *2 $1 f $1 v *2 $1 t *1 *2 $3 1-0 *2 $1 f $1 v".into()),
    ] {
        let mut bed = Bed::of(version);
        let peer = bed.peer();
        assert_eq!(bed.ask(peer, "XREAD BLOCK 0 STREAMS s t $ $"), "");
        for line in ["MULTI", "XADD t 1-0 f v", "XADD s 1-0 f v", "EXEC"] {
            bed.hand(line);
        }
        assert_eq!(bed.read(peer), expected, "{version:?}");
    }
}

#[test]
fn without_count_a_thousand() {
    let mut bed = Bed::plain();
    let peer = members(&mut bed, 1)[0];
    bed.hand("MULTI");
    for id in 1..=1200 {
        bed.hand(&format!("XADD s {id}-0 f v"));
    }
    bed.hand("EXEC");
    assert!(bed.read(peer).starts_with("*1 *2 $1 s *1000 "));
}

#[test]
fn client_unblock() {
    let mut bed = Bed::plain();
    let peers = members(&mut bed, 2);
    let other = bed.peer();
    let lines = "CLIENT UNBLOCK 1; CLIENT UNBLOCK 2 ERROR; CLIENT UNBLOCK 1 TIMEOUT; CLIENT UNBLOCK 77";
    assert_eq!(bed.ask(other, lines), ":1 :1 :0 :0");
    assert_eq!(bed.read(peers[0]), "*-1");
    assert_eq!(bed.read(peers[1]), "-UNBLOCKED client unblocked via CLIENT UNBLOCK");
}

#[test]
fn a_peer_that_is_gone_waits_for_nothing() {
    let mut bed = Bed::plain();
    let peers = members(&mut bed, 2);
    bed.handle(BrokerEvent::Closed { peer: PeerId(peers[0]) });
    bed.hand("XADD s 1-0 f v");
    assert_eq!(bed.read(peers[1]), one("s", "1-0"));
    let killer = bed.peer();
    assert_eq!(bed.ask(killer, "CLIENT KILL ID 2; CLIENT KILL ID 2"), ":1 :0");
    assert_eq!(bed.closed, [peers[1]]);
}

#[test]
fn a_pause_holds_all_or_only_writes() {
    let mut bed = Bed::plain();
    let (one, other) = (bed.peer(), bed.peer());
    assert_eq!(bed.ask(one, "CLIENT PAUSE 30 WRITE"), "+OK");
    assert_eq!(bed.ask(other, "XLEN s; XADD s 1-1 f v; XLEN s"), ":0");
    assert_eq!(bed.wake_ms(), Some(30));
    bed.pass(30);
    assert_eq!(bed.read(other), "$3 1-1 :1");
    assert_eq!(bed.ask(one, "CLIENT PAUSE 30 WRITE; PING"), "+OK +PONG");
    assert_eq!(bed.ask(other, "XADD s 1-2 f v"), "");
    assert_eq!(bed.ask(one, "CLIENT UNPAUSE"), "+OK");
    assert_eq!(bed.read(other), "$3 1-2");
    assert_eq!(bed.ask(one, "CLIENT PAUSE 5 ALL; PING"), "+OK");
    bed.pass(5);
    assert_eq!(bed.read(one), "+PONG");
}

//! Clusters: where commands are to go, and slots that move.

use super::*;
use crate::redis::Condition;

/// The slot of `t`, the last node's.
const T: usize = 15_891;

fn cluster() -> Bed {
    Bed::new(Config { nodes: 3, cluster: true, ..Config::default() })
}

#[test]
fn sent_to_the_owner() {
    let mut bed = cluster();
    let (zero, two) = (bed.peer_at(0), bed.peer_at(2));
    assert_eq!(bed.ask(zero, "CLUSTER KEYSLOT t; CLUSTER KEYSLOT s"), format!(":{T} :3828"));
    assert_eq!((bed.redis.node_of(b"t"), bed.redis.node_of(b"s")), (2, 0));
    assert_eq!(bed.ask(zero, "XADD t 1-0 f v; PING"), format!("-MOVED {T} 127.0.0.1:6381 +PONG"));
    assert_eq!(
        bed.ask(two, "XADD t 1-0 f v; DEL s t; DEL s{b} t{b}"),
        "$3 1-0 -CROSSSLOT Keys in request don't hash to the same slot -MOVED 3300 127.0.0.1:6379"
    );
    assert_eq!(bed.ask(zero, "SELECT 1"), "-ERR SELECT is not allowed in cluster mode");
    let slots = bed.ask(zero, "CLUSTER SLOTS");
    assert!(slots.starts_with("*3 *3 :0 :5461 *4 $9 127.0.0.1 :6379 $40 "), "{slots}");
    // A transaction with a key of elsewhere won't run.
    let text = bed.ask(zero, "MULTI; XADD t 1-0 f v; EXEC");
    assert!(text.ends_with("-EXECABORT Transaction discarded because of previous errors."), "{text}");
}

#[test]
fn a_slot_on_its_way() {
    let mut bed = cluster();
    let (from, to) = (bed.peer_at(2), bed.peer_at(0));
    bed.ask(from, "XADD t 1-0 f v; XADD {t}b 1-0 f v");
    bed.redis.begin_migration(bed.now, T, Some(0));
    assert_eq!(bed.ask(from, "XLEN t; XLEN {t}new"), format!(":1 -ASK {T} 127.0.0.1:6379"));
    assert!(bed.redis.migrate_key(bed.now, b"t"));
    assert!(!bed.redis.migrate_key(bed.now, b"t"));
    assert_eq!(
        bed.ask(from, "XLEN t; XLEN {t}b; EXISTS t {t}b"),
        format!("-ASK {T} 127.0.0.1:6379 :1 -TRYAGAIN Multiple keys request during rehashing of slot")
    );
    assert_eq!(
        bed.ask(to, "XLEN t; ASKING; XLEN t; XLEN t"),
        format!("-MOVED {T} 127.0.0.1:6381 +OK :1 -MOVED {T} 127.0.0.1:6381")
    );
    assert_eq!(
        bed.ask(to, "ASKING; EXISTS t {t}b"),
        "+OK -TRYAGAIN Multiple keys request during rehashing of slot"
    );
    assert!(bed.ask(from, "CLUSTER NODES").contains(&format!("[{T}->-")));
    bed.redis.migrate_slot(bed.now, T, 0);
    assert_eq!(bed.ask(to, "XLEN t; XLEN {t}b"), ":1 :1");
    assert_eq!(bed.ask(from, "XLEN t"), format!("-MOVED {T} 127.0.0.1:6379"));
    assert!(!bed.facts().iter().any(|fact| matches!(fact, Fact::Gone { .. })), "it only moved");
}

#[test]
fn blocked_clients_are_sent_after_their_slot() {
    let mut bed = cluster();
    let peer = bed.peer_at(2);
    assert_eq!(
        bed.ask(peer, "XGROUP CREATE t g 0 MKSTREAM; XREADGROUP GROUP g a BLOCK 0 STREAMS t >"),
        "+OK"
    );
    bed.redis.migrate_slot(bed.now, T, 1);
    bed.drain();
    assert_eq!(bed.read(peer), format!("-MOVED {T} 127.0.0.1:6380"));
}

#[test]
fn a_transaction_whose_slot_moved() {
    let mut bed = cluster();
    let peer = bed.peer_at(2);
    assert_eq!(bed.ask(peer, "MULTI; XADD t 1-0 f v"), "+OK +QUEUED");
    bed.redis.migrate_slot(bed.now, T, 0);
    assert_eq!(bed.ask(peer, "EXEC; PING"), format!("-MOVED {T} 127.0.0.1:6379 +PONG"));
}

#[test]
fn down() {
    let mut bed = cluster();
    let peer = bed.peer_at(2);
    bed.ask(peer, "XREAD BLOCK 0 STREAMS t $");
    bed.redis.set_condition(bed.now, 2, Condition::ClusterDown);
    bed.drain();
    assert_eq!(bed.read(peer), "-CLUSTERDOWN The cluster is down");
    assert_eq!(bed.ask(peer, "XLEN t; PING"), "-CLUSTERDOWN The cluster is down +PONG");
}

#[test]
fn a_replica_takes_over() {
    let mut bed = Bed::new(Config { nodes: 2, cluster: true, replicas: true, ..Config::default() });
    assert_eq!(bed.redis.endpoints().len(), 4);
    let (primary, replica) = (bed.peer_at(1), bed.peer_at(3));
    bed.ask(primary, "XADD t 1-0 f v; XADD t 2-0 f v");
    bed.redis.replicate(bed.now, 1, 1);
    assert_eq!(
        bed.ask(replica, "XLEN t; READONLY; XLEN t; DEL t"),
        format!("-MOVED {T} 127.0.0.1:6380 +OK :1 -MOVED {T} 127.0.0.1:6380")
    );
    bed.redis.fail_over(bed.now, 1, 1);
    bed.drain();
    assert_eq!(bed.closed, [primary]);
    assert!(!bed.redis.accepts(1));
    assert_eq!((bed.redis.node_of(b"t"), bed.redis.len(b"t")), (3, 1));
    assert_eq!(bed.ask(replica, "XLEN t; XADD t 5-0 f v"), ":1 $3 5-0");
    bed.redis.restart(bed.now, 1, Duration::ZERO);
    let back = bed.peer_at(1);
    assert_eq!(bed.ask(back, "XLEN t; READONLY; XLEN t"), format!("-MOVED {T} 127.0.0.1:6382 +OK :2"));
}

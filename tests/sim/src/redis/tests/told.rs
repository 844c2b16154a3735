//! What is told to the oracle.

use super::*;
use crate::broker::{Gone, Handed};
use tidegate_core::SeqNo;

fn id(millis: u64) -> SeqNo {
    SeqNo::redis(millis, 0)
}

#[test]
fn the_life_of_messages() {
    let mut bed = Bed::plain();
    let (one, two) = (bed.peer(), bed.peer());
    let peer = PeerId(one);
    let (a, b) = (Bytes::from("a"), Bytes::from("b"));
    bed.ask(
        one,
        "XGROUP CREATE s g 0 MKSTREAM; XADD s 1-0 f v; XADD s 2-0 f v; XADD s 3-0 f v; XADD other 1-0 f v",
    );
    let appended = |seq| Fact::Appended { shard: 0, seq };
    assert_eq!(bed.facts(), [appended(id(1)), appended(id(2)), appended(id(3))]);

    bed.ask(one, "XREADGROUP GROUP g a STREAMS s >");
    let handed = |seq, member: &Bytes, from: Option<&Bytes>, how, peer| Fact::Handed {
        shard: 0,
        seq,
        member: member.clone(),
        from: from.cloned(),
        how,
        peer,
    };
    let new: Vec<_> = (1..=3).map(|at| handed(id(at), &a, None, Handed::New, peer)).collect();
    assert_eq!(bed.facts(), new);

    bed.pass(40);
    bed.ask(one, "XACK s g 1-0 9-0; XDEL s 2-0; XREADGROUP GROUP g a COUNT 1 STREAMS s 2-0");
    assert_eq!(
        bed.facts(),
        [
            Fact::Committed { shard: 0, seq: id(1), member: a.clone(), peer },
            Fact::Gone { shard: 0, seq: id(2), why: Gone::Deleted },
            handed(id(3), &a, None, Handed::Own, peer),
        ]
    );

    bed.pass(40);
    bed.ask(two, "XAUTOCLAIM s g b 30 0");
    assert_eq!(
        bed.facts(),
        [
            Fact::Dropped { shard: 0, seq: id(2), member: a.clone(), peer: Some(PeerId(two)) },
            handed(id(3), &b, Some(&a), Handed::Claimed { idle_ms: 40 }, PeerId(two)),
            Fact::Walked { shard: 0, peer: PeerId(two), anew: true, goes_on: false },
        ]
    );

    bed.ask(two, "XGROUP DELCONSUMER s g b; XGROUP SETID s g 1; XTRIM s MAXLEN 1");
    assert_eq!(
        bed.facts(),
        [
            Fact::Dropped { shard: 0, seq: id(3), member: b.clone(), peer: Some(PeerId(two)) },
            Fact::SetBack { shard: 0 },
            Fact::Gone { shard: 0, seq: id(1), why: Gone::Deleted },
        ]
    );
    bed.ask(one, "XREADGROUP GROUP g a NOACK STREAMS s >; RENAME s t");
    assert_eq!(
        bed.facts(),
        [
            handed(id(3), &a, None, Handed::New, peer),
            Fact::Gone { shard: 0, seq: id(3), why: Gone::Deleted },
            Fact::SetBack { shard: 0 },
            Fact::Appended { shard: 1, seq: id(3) },
        ]
    );
}

#[test]
fn commands_when_they_are_answered() {
    let mut bed = Bed::plain();
    let (one, two) = (bed.peer(), bed.peer());
    bed.ask(one, "XGROUP CREATE s g 0 MKSTREAM; XREADGROUP GROUP g a BLOCK 0 STREAMS s >");
    bed.ask(two, "nosuch; XACK s; XGROUP CREATE s g 0; MULTI; PING; EXEC; DEL s");
    let told: Vec<_> = std::mem::take(bed.redis.facts())
        .into_iter()
        .filter_map(|fact| match fact {
            Fact::Commanded { peer, name, refused } => Some((peer.0, name, refused)),
            _ => None,
        })
        .collect();
    assert_eq!(
        told,
        [
            (one, "XGROUP CREATE", None),
            (two, "UNKNOWN", Some("ERR")),
            (two, "XACK", Some("ERR")),
            (two, "XGROUP CREATE", Some("BUSYGROUP")),
            (two, "MULTI", None),
            (two, "PING", None),
            (two, "EXEC", None),
            (two, "DEL", None),
            (one, "XREADGROUP", Some("UNBLOCKED")),
        ]
    );
}

#[test]
fn nothing_while_nobody_watches() {
    let mut bed = Bed::plain();
    bed.redis.watch(&[]);
    let peer = bed.peer();
    bed.ask(peer, "XADD s 1-0 f v; DEL s");
    assert_eq!(*bed.redis.facts(), []);
}

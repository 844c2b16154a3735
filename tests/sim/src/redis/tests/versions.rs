//! Where versions answer differently.

use super::*;

#[test]
fn deleted_entries_and_claims() {
    let setup = "XGROUP CREATE s g 0 MKSTREAM; XADD s 1-0 f v; XADD s 2-0 f v; XREADGROUP GROUP g a STREAMS s >; XDEL s 1-0";
    let mut old = Bed::of(Version::V6_2);
    let peer = old.peer();
    old.ask(peer, setup);
    assert_eq!(old.ask(peer, "XAUTOCLAIM s g b 0 0"), "*2 $3 0-0 *2 $-1 *2 $3 2-0 *2 $1 f $1 v");
    let mut new = Bed::plain();
    let peer = new.peer();
    new.ask(peer, setup);
    assert_eq!(new.ask(peer, "XAUTOCLAIM s g b 0 0"), "*3 $3 0-0 *1 *2 $3 2-0 *2 $1 f $1 v *1 $3 1-0");
}

#[test]
fn what_an_empty_read_leaves() {
    for (version, consumers) in [
        (Version::V7_0, "*0"),
        (Version::V7_2, "*1 *8 $4 name $1 a $7 pending :0 $4 idle :9 $8 inactive :-1"),
    ] {
        let mut bed = Bed::of(version);
        let peer = bed.peer();
        bed.ask(peer, "XGROUP CREATE s g 0 MKSTREAM; XREADGROUP GROUP g a STREAMS s >");
        bed.pass(9);
        assert_eq!(bed.ask(peer, "XINFO CONSUMERS s g"), consumers, "{version:?}");
    }
}

#[test]
fn what_is_said_of_groups() {
    for (version, pairs) in [(Version::V6_2, "*8"), (Version::V7_0, "*12")] {
        let mut bed = Bed::of(version);
        let peer = bed.peer();
        bed.ask(peer, "XGROUP CREATE s g 0 MKSTREAM");
        assert!(bed.ask(peer, "XINFO GROUPS s").starts_with(&format!("*1 {pairs} ")), "{version:?}");
    }
}

#[test]
fn the_last_entry() {
    let mut bed = Bed::of(Version::V8_0);
    let peer = bed.peer();
    bed.ask(peer, "XADD s 1-0 f v; XADD s 2-0 f v");
    assert_eq!(bed.ask(peer, "XREAD STREAMS s +"), "*1 *2 $1 s *1 *2 $3 2-0 *2 $1 f $1 v");
    let mut bed = Bed::plain();
    let peer = bed.peer();
    assert!(bed.ask(peer, "XREAD STREAMS s +").starts_with("-ERR Invalid stream ID"));
}

#[test]
fn unknown_words() {
    let mut old = Bed::of(Version::V6_2);
    let peer = old.peer();
    assert_eq!(old.ask(peer, "foo a b"), "-ERR unknown command `foo`, with args beginning with: `a`, `b`,");
    let mut new = Bed::plain();
    let peer = new.peer();
    assert_eq!(new.ask(peer, "foo a b"), "-ERR unknown command 'foo', with args beginning with: 'a' 'b'");
    assert_eq!(new.ask(peer, "xgroup foo"), "-ERR unknown subcommand 'foo'. Try XGROUP HELP.");
    assert_eq!(
        new.ask(peer, "xgroup create s"),
        "-ERR wrong number of arguments for 'xgroup|create' command"
    );
}

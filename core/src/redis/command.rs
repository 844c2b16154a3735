//! The commands that a consumer sends, one function each; the pages of the same names in the
//! Redis documentation define them.
//!
//! **Invariant:** nothing is decided here. All arguments are binary-safe.

use bytes::BytesMut;

use super::resp::Command;
use crate::mutation::{self, Mutation};
use crate::options::Login;
use crate::stream::SeqNo;

/// HELLO 3, with the login: RESP3 where the server has it (6.0).
pub(super) fn hello(out: &mut BytesMut, login: Option<&Login>) {
    let mut command = Command::new(out, if login.is_some() { 5 } else { 2 });
    command.arg("HELLO").arg("3");
    if let Some(login) = login {
        command.arg("AUTH").arg(login.user.as_deref().unwrap_or("default")).arg(login.password.reveal());
    }
}

/// AUTH, for servers without HELLO.
pub(super) fn auth(out: &mut BytesMut, login: &Login) {
    let mut command = Command::new(out, if login.user.is_some() { 3 } else { 2 });
    command.arg("AUTH");
    if let Some(user) = &login.user {
        command.arg(user);
    }
    command.arg(login.password.reveal());
}

/// SELECT.
pub(super) fn select(out: &mut BytesMut, database: u32) {
    Command::new(out, 2).arg("SELECT").uint(database.into());
}

/// CLIENT SETNAME: what an operator sees in CLIENT LIST. Spaces and what doesn't print become
/// dashes, as the server refuses them.
pub(super) fn client_name(out: &mut BytesMut, consumer: &[u8]) {
    let printable = |byte: &u8| if byte.is_ascii_graphic() { *byte } else { b'-' };
    let name: Vec<u8> = b"tidegate:".iter().chain(consumer).map(printable).collect();
    Command::new(out, 3).arg("CLIENT").arg("SETNAME").arg(name);
}

/// CLIENT ID: what CLIENT UNBLOCK names.
pub(super) fn client_id(out: &mut BytesMut) {
    Command::new(out, 2).arg("CLIENT").arg("ID");
}

/// CLIENT UNBLOCK … TIMEOUT: the blocked read answers as if its time were over.
pub(super) fn client_unblock(out: &mut BytesMut, id: i64) {
    Command::new(out, 4).arg("CLIENT").arg("UNBLOCK").int(id).arg("TIMEOUT");
}

/// EXISTS: how many of the keys there are.
pub(super) fn exists<'a>(out: &mut BytesMut, keys: impl ExactSizeIterator<Item = &'a [u8]>) {
    let mut command = Command::new(out, 1 + keys.len());
    command.arg("EXISTS");
    for key in keys {
        command.arg(key);
    }
}

/// XINFO STREAM: whether it is there, a stream, and how far it goes.
pub(super) fn info_stream(out: &mut BytesMut, key: &[u8]) {
    Command::new(out, 3).arg("XINFO").arg("STREAM").arg(key);
}

/// XINFO GROUPS: the group's lag.
pub(super) fn info_groups(out: &mut BytesMut, key: &[u8]) {
    Command::new(out, 3).arg("XINFO").arg("GROUPS").arg(key);
}

/// XGROUP CREATE: entries later than `from` are new to it; `None` is the stream's end.
pub(super) fn create_group(out: &mut BytesMut, key: &[u8], group: &[u8], from: Option<SeqNo>, make: bool) {
    let mut command = Command::new(out, if make { 6 } else { 5 });
    command.arg("XGROUP").arg("CREATE").arg(key).arg(group);
    match from {
        Some(from) => command.seq(from),
        None => command.arg("$"),
    };
    if make {
        command.arg("MKSTREAM");
    }
}

/// How a read of a group asks.
#[derive(Clone, Copy)]
pub(super) struct Ask {
    /// Most entries of each key.
    pub(super) count: usize,
    /// How long to wait for the first one; `None` doesn't wait.
    pub(super) block_ms: Option<u64>,
    /// Not to be acked: at most once.
    pub(super) no_ack: bool,
}

/// XREADGROUP. Keys come with `None` for what nobody was given yet (`>`), or with the position
/// after which this member's own pending entries are wanted.
pub(super) fn read_group<'a, K>(out: &mut BytesMut, group: &[u8], consumer: &[u8], ask: Ask, keys: K)
where
    K: ExactSizeIterator<Item = (&'a [u8], Option<SeqNo>)> + Clone,
{
    let args = 4 + 2 + block_args(ask) + usize::from(ask.no_ack) + 1 + 2 * keys.len();
    let mut command = Command::new(out, args);
    command.arg("XREADGROUP").arg("GROUP").arg(group).arg(consumer);
    command.arg("COUNT").uint(ask.count as u64);
    put_block(&mut command, ask);
    if ask.no_ack {
        command.arg("NOACK");
    }
    command.arg("STREAMS");
    for (key, _) in keys.clone() {
        command.arg(key);
    }
    for (_, after) in keys {
        match after {
            Some(after) => command.seq(after),
            None => command.arg(">"),
        };
    }
}

/// XREAD: what is later than the positions.
pub(super) fn read<'a, K>(out: &mut BytesMut, ask: Ask, keys: K)
where
    K: ExactSizeIterator<Item = (&'a [u8], SeqNo)> + Clone,
{
    let mut command = Command::new(out, 1 + 2 + block_args(ask) + 1 + 2 * keys.len());
    command.arg("XREAD").arg("COUNT").uint(ask.count as u64);
    put_block(&mut command, ask);
    command.arg("STREAMS");
    for (key, _) in keys.clone() {
        command.arg(key);
    }
    for (_, after) in keys {
        match after {
            _ if mutation::is(Mutation::TailNotPinned) => command.arg("$"),
            after if mutation::is(Mutation::PositionIncremented) => command.seq(after.next()),
            after => command.seq(after),
        };
    }
}

fn block_args(ask: Ask) -> usize {
    if ask.block_ms.is_some() { 2 } else { 0 }
}

fn put_block(command: &mut Command<'_>, ask: Ask) {
    if let Some(block_ms) = ask.block_ms {
        command.arg("BLOCK").uint(block_ms);
    }
}

/// XACK.
pub(super) fn ack(out: &mut BytesMut, key: &[u8], group: &[u8], ids: &[SeqNo]) {
    let mut command = Command::new(out, 3 + ids.len());
    command.arg("XACK").arg(key).arg(group);
    for id in ids {
        command.seq(*id);
    }
}

/// XAUTOCLAIM (6.2): entries idle for `idle_ms` become `consumer`'s.
pub(super) fn auto_claim(
    out: &mut BytesMut,
    key: &[u8],
    group: &[u8],
    consumer: &[u8],
    idle_ms: u64,
    cursor: SeqNo,
    count: usize,
) {
    let mut command = Command::new(out, 8);
    command.arg("XAUTOCLAIM").arg(key).arg(group).arg(consumer).uint(idle_ms).seq(cursor);
    command.arg("COUNT").uint(count as u64);
}

/// XPENDING, extended: one member's pending entries between two ids, both inclusive.
pub(super) fn pending(
    out: &mut BytesMut,
    key: &[u8],
    group: &[u8],
    consumer: &[u8],
    first: SeqNo,
    last: SeqNo,
    count: usize,
) {
    let mut command = Command::new(out, 7);
    command.arg("XPENDING").arg(key).arg(group).seq(first).seq(last).uint(count as u64).arg(consumer);
}

/// XCLAIM … JUSTID for own entries: their idle time starts anew, their delivery count stays, or
/// is set to `deliveries`.
pub(super) fn touch(
    out: &mut BytesMut,
    key: &[u8],
    group: &[u8],
    consumer: &[u8],
    ids: &[SeqNo],
    deliveries: Option<u32>,
) {
    let mut command = Command::new(out, 6 + ids.len() + if deliveries.is_some() { 2 } else { 0 });
    command.arg("XCLAIM").arg(key).arg(group).arg(consumer).arg("0");
    for id in ids {
        command.seq(*id);
    }
    if let Some(deliveries) = deliveries {
        command.arg("RETRYCOUNT").uint(deliveries.into());
    }
    command.arg("JUSTID");
}

/// XCLAIM … IDLE … JUSTID for own entries: they look as if nobody had touched them for `idle_ms`,
/// so that the next claim of any other member takes them.
pub(super) fn hand_back(
    out: &mut BytesMut,
    key: &[u8],
    group: &[u8],
    consumer: &[u8],
    ids: &[SeqNo],
    idle_ms: u64,
) {
    let mut command = Command::new(out, 8 + ids.len());
    command.arg("XCLAIM").arg(key).arg(group).arg(consumer).arg("0");
    for id in ids {
        command.seq(*id);
    }
    command.arg("IDLE").uint(idle_ms).arg("JUSTID");
}

/// Removes a member, unless something is pending for it: looked at and done in one step, as
/// XGROUP DELCONSUMER alone would drop its pending entries for good. Answers -1 where it stays.
pub(super) fn depart(out: &mut BytesMut, key: &[u8], group: &[u8], consumer: &[u8]) {
    const SCRIPT: &str = "if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) == 0 then \
                          return redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2]) end return -1";
    if mutation::is(Mutation::DeletedWithPending) {
        Command::new(out, 5).arg("XGROUP").arg("DELCONSUMER").arg(key).arg(group).arg(consumer);
        return;
    }
    Command::new(out, 6).arg("EVAL").arg(SCRIPT).arg("1").arg(key).arg(group).arg(consumer);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(write: impl FnOnce(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        write(&mut out);
        let text = String::from_utf8(out.to_vec()).unwrap();
        let announced: usize = text.lines().next().unwrap()[1..].parse().unwrap();
        let words: Vec<_> = text.lines().skip(2).step_by(2).collect();
        assert_eq!(announced, words.len(), "{text}");
        words.join(" ")
    }

    #[test]
    fn each_command_as_the_manual_has_it() {
        let ask = Ask { count: 10, block_ms: Some(5000), no_ack: true };
        let keys: [(&[u8], _); 2] = [(b"a", None), (b"b", Some(SeqNo::redis(1, 2)))];
        let id = SeqNo::redis(5, 1);
        let login = Login { user: Some("u".into()), password: crate::options::Secret::new("p") };
        let anonymous = Login { user: None, ..login.clone() };
        for (write, expected) in [
            (Box::new(|out: &mut _| hello(out, None)) as Box<dyn Fn(&mut BytesMut)>, "HELLO 3"),
            (Box::new(|out: &mut _| hello(out, Some(&anonymous))), "HELLO 3 AUTH default p"),
            (Box::new(|out: &mut _| auth(out, &login)), "AUTH u p"),
            (Box::new(|out: &mut _| auth(out, &anonymous)), "AUTH p"),
            (Box::new(|out: &mut _| select(out, 3)), "SELECT 3"),
            (Box::new(|out: &mut _| client_name(out, b"a b\n")), "CLIENT SETNAME tidegate:a-b-"),
            (Box::new(|out: &mut _| client_unblock(out, 7)), "CLIENT UNBLOCK 7 TIMEOUT"),
            (Box::new(|out: &mut _| exists(out, [&b"a"[..], b"b"].into_iter())), "EXISTS a b"),
            (
                Box::new(|out: &mut _| create_group(out, b"a", b"g", None, true)),
                "XGROUP CREATE a g $ MKSTREAM",
            ),
            (Box::new(|out: &mut _| create_group(out, b"a", b"g", Some(id), false)), "XGROUP CREATE a g 5-1"),
            (
                Box::new(|out: &mut _| read_group(out, b"g", b"c", ask, keys.into_iter())),
                "XREADGROUP GROUP g c COUNT 10 BLOCK 5000 NOACK STREAMS a b > 1-2",
            ),
            (
                Box::new(|out: &mut _| {
                    read(out, Ask { block_ms: None, ..ask }, [(&b"a"[..], SeqNo::ZERO)].into_iter());
                }),
                "XREAD COUNT 10 STREAMS a 0-0",
            ),
            (Box::new(|out: &mut _| ack(out, b"a", b"g", &[id, id])), "XACK a g 5-1 5-1"),
            (
                Box::new(|out: &mut _| auto_claim(out, b"a", b"g", b"c", 60_000, SeqNo::ZERO, 100)),
                "XAUTOCLAIM a g c 60000 0-0 COUNT 100",
            ),
            (Box::new(|out: &mut _| pending(out, b"a", b"g", b"c", id, id, 9)), "XPENDING a g 5-1 5-1 9 c"),
            (Box::new(|out: &mut _| touch(out, b"a", b"g", b"c", &[id], None)), "XCLAIM a g c 0 5-1 JUSTID"),
            (
                Box::new(|out: &mut _| touch(out, b"a", b"g", b"c", &[id], Some(2))),
                "XCLAIM a g c 0 5-1 RETRYCOUNT 2 JUSTID",
            ),
            (
                Box::new(|out: &mut _| hand_back(out, b"a", b"g", b"c", &[id], 60_000)),
                "XCLAIM a g c 0 5-1 IDLE 60000 JUSTID",
            ),
        ] {
            assert_eq!(words(write), expected);
        }
    }
}

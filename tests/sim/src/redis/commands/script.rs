//! EVAL: of the one script that tidegate sends, done without Lua.

use crate::redis::args::OwnedArgs;
use crate::redis::commands::{group, pending};
use crate::redis::config::Condition;
use crate::redis::node::Call;
use crate::redis::refusal::{Answer, Refusal};

/// Removes a consumer, unless something is pending for it; as tidegate-core has it.
const DEPART: &[u8] = b"if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) == 0 then return redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2]) end return -1";
/// What Redis adds to an error inside of it.
const WHERE: &str = " script: 8af3fa628a77b0b547173bccf98b1b5c232119ec, on @user_script:1.";

/// EVAL.
pub(crate) fn eval(call: &mut Call<'_>) -> Answer {
    let args = call.args;
    let keys = args.int(2)?;
    if keys > args.len() as i64 - 3 {
        return Err(Refusal::err("Number of keys can't be greater than number of args"));
    }
    if keys < 0 {
        return Err(Refusal::err("Number of keys can't be negative"));
    }
    if args.get(1) != DEPART {
        return Err(Refusal::err("this model server runs no script but the one that tidegate sends"));
    }
    if keys != 1 || args.len() < 6 {
        return Err(located(Refusal::err("Lua redis lib command arguments must be strings or integers")));
    }
    let (key, name, consumer) = (args.get(3), args.get(4), args.get(5));
    let asks = OwnedArgs::new([&b"XPENDING"[..], key, name, b"-", b"+", b"1", consumer].into_iter());
    let removes = OwnedArgs::new([&b"XGROUP"[..], b"DELCONSUMER", key, name, consumer].into_iter());
    let start = call.client.reply.out.len();
    let resp3 = std::mem::replace(&mut call.client.reply.resp3, false);
    let mut inner = Call {
        common: call.common,
        node: call.node,
        clients: call.clients,
        client: call.client,
        args: asks.args(),
    };
    let mut answer = pending::pending(&mut inner);
    let is_free = inner.client.reply.out.get(start..) == Some(b"*0\r\n");
    inner.client.reply.out.truncate(start);
    if answer.is_ok() {
        if !is_free {
            inner.client.reply.int(-1);
        } else if inner.node.condition == Condition::ReadOnly && inner.client.peer.is_some() {
            answer = Err(Refusal::new("READONLY", "You can't write against a read only replica."));
        } else {
            inner.args = removes.args();
            answer = group::del_consumer(&mut inner);
        }
    }
    call.client.reply.resp3 = resp3;
    answer.map_err(located)
}

fn located(refusal: Refusal) -> Refusal {
    Refusal::say(refusal.code, &[&refusal.text, WHERE.as_bytes()])
}

/// EVALSHA.
pub(crate) fn eval_sha(_: &mut Call<'_>) -> Answer {
    Err(Refusal::new("NOSCRIPT", "No matching script. Please use EVAL."))
}

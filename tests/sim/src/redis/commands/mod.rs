//! The commands, by what they are about. Each reads its arguments, does what it says and writes
//! its reply; or it changes nothing and says why not.

pub(crate) mod claim;
pub(crate) mod client;
pub(crate) mod cluster;
pub(crate) mod generic;
pub(crate) mod group;
pub(crate) mod info;
pub(crate) mod pending;
pub(crate) mod range;
pub(crate) mod read;
pub(crate) mod script;
pub(crate) mod server;
pub(crate) mod session;
pub(crate) mod trim;

use super::refusal::Refusal;
use super::stream::{Group, Stream};

/// The group of this name, where its stream is there too.
pub(crate) fn group_of<'a>(stream: Option<&'a mut Stream>, group: &[u8]) -> Option<&'a mut Group> {
    stream?.groups.get_mut(group)
}

/// Lines of a HELP.
pub(crate) fn help(reply: &mut super::reply::Reply, command: &str, lines: &[&str]) -> Result<(), Refusal> {
    reply.array(lines.len() + 3);
    reply.simple(&format!("{command} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for line in lines {
        reply.simple(line);
    }
    reply.simple("HELP");
    reply.simple("    Prints this help.");
    Ok(())
}

//! A second opinion about a server's state.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use redis::{FromRedisValue, RedisError, RedisResult, Value};

use crate::server::ANSWER;

/// A synchronous client for the tests' own questions, through redis-rs. Its methods panic with the
/// command and the server's words where a question fails; [`query`](Self::query) returns them.
pub struct Client {
    connection: redis::Connection,
}

/// One line of the long form of XPENDING.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The entry's id.
    pub id: String,
    /// The consumer that has it.
    pub owner: String,
    /// Milliseconds since it was handed out, claimed or kept alive.
    pub idle_ms: u64,
    /// How often it was handed out.
    pub deliveries: u64,
}

/// What CLIENT LIST says of one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientInfo {
    /// The connection's number.
    pub id: u64,
    /// What CLIENT SETNAME said, or empty.
    pub name: String,
    /// The last command, in lower case.
    pub command: String,
    /// Whether it waits in a blocking command.
    pub blocked: bool,
    /// The version of RESP that it speaks.
    pub protocol: u64,
}

impl Client {
    /// Connects by URL.
    pub fn connect(url: &str) -> RedisResult<Self> {
        let connection = redis::Client::open(url)?.get_connection_with_timeout(ANSWER)?;
        connection.set_read_timeout(Some(ANSWER))?;
        connection.set_write_timeout(Some(ANSWER))?;
        Ok(Self { connection })
    }

    /// One command and its answer.
    pub fn query<T: FromRedisValue>(&mut self, words: &[&str]) -> Result<T, RedisError> {
        command(words).query(&mut self.connection)
    }

    /// One command and its answer; panics on an error.
    #[track_caller]
    pub fn run<T: FromRedisValue>(&mut self, words: &[&str]) -> T {
        self.query(words).unwrap_or_else(|error| panic!("{}: {error}", words.join(" ")))
    }

    /// One command, whatever it answers.
    #[track_caller]
    pub fn tell(&mut self, words: &[&str]) {
        let _: Value = self.run(words);
    }

    /// Several commands in MULTI and EXEC.
    #[track_caller]
    pub fn atomically(&mut self, commands: &[&[&str]]) {
        let mut pipe = redis::pipe();
        pipe.atomic();
        for words in commands {
            pipe.add_command(command(words)).ignore();
        }
        pipe.exec(&mut self.connection).unwrap_or_else(|error| panic!("{commands:?}: {error}"));
    }

    /// Adds `msg` = each payload to a stream, pipelined; returns the ids.
    #[track_caller]
    pub fn add(&mut self, stream: &str, payloads: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<String> {
        let payloads: Vec<_> = payloads.into_iter().collect();
        let mut ids = Vec::with_capacity(payloads.len());
        for some in payloads.chunks(5_000) {
            let mut pipe = redis::pipe();
            for payload in some {
                pipe.cmd("XADD").arg(stream).arg("*").arg("msg").arg(payload.as_ref());
            }
            let some: Vec<String> =
                pipe.query(&mut self.connection).unwrap_or_else(|error| panic!("XADD {stream}: {error}"));
            ids.extend(some);
        }
        ids
    }

    /// Adds one entry with these fields and values, bytes as they are; returns its id.
    #[track_caller]
    pub fn add_fields(&mut self, stream: &str, fields: &[(&[u8], &[u8])]) -> String {
        let mut add = redis::cmd("XADD");
        add.arg(stream).arg("*");
        for (field, value) in fields {
            add.arg(*field).arg(*value);
        }
        add.query(&mut self.connection).unwrap_or_else(|error| panic!("XADD {stream}: {error}"))
    }

    /// Runs the same command once for each of these last words, pipelined.
    #[track_caller]
    pub fn each(&mut self, words: &[&str], last: impl IntoIterator<Item = impl AsRef<str>>) {
        let mut pipe = redis::pipe();
        for word in last {
            pipe.add_command(command(words)).arg(word.as_ref()).ignore();
        }
        pipe.exec(&mut self.connection).unwrap_or_else(|error| panic!("{}: {error}", words.join(" ")));
    }

    /// Reads up to `count` new entries as `consumer`, and leaves them pending; returns the ids.
    #[track_caller]
    pub fn take(&mut self, stream: &str, group: &str, consumer: &str, count: usize) -> Vec<String> {
        let count = count.to_string();
        type Entries = Vec<(String, Vec<Vec<u8>>)>;
        let reply: Option<Vec<(String, Entries)>> =
            self.run(&["XREADGROUP", "GROUP", group, consumer, "COUNT", &count, "STREAMS", stream, ">"]);
        reply.into_iter().flatten().flat_map(|(_, entries)| entries).map(|(id, _)| id).collect()
    }

    /// How many entries of the group are pending.
    #[track_caller]
    pub fn pending(&mut self, stream: &str, group: &str) -> u64 {
        let (count, ..): (u64, Value, Value, Value) = self.run(&["XPENDING", stream, group]);
        count
    }

    /// How many entries are pending with each consumer; who has none is not in the map.
    #[track_caller]
    pub fn pending_by_consumer(&mut self, stream: &str, group: &str) -> BTreeMap<String, u64> {
        type Summary = (u64, Value, Value, Option<Vec<(String, String)>>);
        let (_, _, _, consumers): Summary = self.run(&["XPENDING", stream, group]);
        let consumers = consumers.unwrap_or_default();
        consumers.into_iter().map(|(name, count)| (name, count.parse().unwrap())).collect()
    }

    /// The group's pending list, in the order of ids.
    #[track_caller]
    pub fn pending_list(&mut self, stream: &str, group: &str) -> Vec<Pending> {
        let rows: Vec<(String, String, u64, u64)> =
            self.run(&["XPENDING", stream, group, "-", "+", "1000000"]);
        let row = |(id, owner, idle_ms, deliveries)| Pending { id, owner, idle_ms, deliveries };
        rows.into_iter().map(row).collect()
    }

    /// The names of the consumers that the group knows.
    #[track_caller]
    pub fn consumers(&mut self, stream: &str, group: &str) -> Vec<String> {
        let rows: Vec<BTreeMap<String, Value>> = self.run(&["XINFO", "CONSUMERS", stream, group]);
        rows.into_iter().map(|row| String::from_redis_value(row["name"].clone()).unwrap()).collect()
    }

    /// The names of a stream's groups.
    #[track_caller]
    pub fn groups(&mut self, stream: &str) -> Vec<String> {
        let rows: Vec<BTreeMap<String, Value>> = self.run(&["XINFO", "GROUPS", stream]);
        rows.into_iter().map(|row| String::from_redis_value(row["name"].clone()).unwrap()).collect()
    }

    /// How often each command was called since the server started or CONFIG RESETSTAT, refused calls
    /// included, in lower case; `client|list` is a name too.
    #[track_caller]
    pub fn calls(&mut self) -> BTreeMap<String, u64> {
        let info: String = self.run(&["INFO", "commandstats"]);
        let number = |numbers: &str, name: &str| -> u64 {
            let found = numbers.split(',').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            found.and_then(|n| n.trim().parse().ok()).unwrap_or(0)
        };
        let line = |line: &str| {
            let (name, numbers) = line.strip_prefix("cmdstat_")?.split_once(':')?;
            Some((name.to_owned(), number(numbers, "calls") + number(numbers, "rejected_calls")))
        };
        info.lines().filter_map(line).collect()
    }

    /// The connections of others.
    #[track_caller]
    pub fn clients(&mut self) -> Vec<ClientInfo> {
        let own: u64 = self.run(&["CLIENT", "ID"]);
        let list: String = self.run(&["CLIENT", "LIST"]);
        let client = |line: &str| {
            let value = |name: &str| {
                line.split(' ')
                    .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
                    .unwrap_or_default()
            };
            ClientInfo {
                id: value("id").parse().unwrap(),
                name: value("name").to_owned(),
                command: value("cmd").to_owned(),
                blocked: value("flags").contains('b'),
                protocol: value("resp").parse().unwrap_or(2),
            }
        };
        list.lines().map(client).filter(|client| client.id != own).collect()
    }

    /// Whether some connection waits in a blocking XREAD or XREADGROUP.
    #[track_caller]
    pub fn someone_waits(&mut self) -> bool {
        self.clients().iter().any(|client| client.blocked && client.command.starts_with("xread"))
    }

    /// Cuts a connection from the server's side; false when it had gone already.
    #[track_caller]
    pub fn kill(&mut self, id: u64) -> bool {
        let killed: u64 = self.run(&["CLIENT", "KILL", "ID", &id.to_string()]);
        killed == 1
    }

    /// What a failed test wants to know of up to eight streams.
    pub(crate) fn books(&mut self) -> String {
        let mut books = String::new();
        let keys: Vec<String> = self.query(&["KEYS", "*"]).unwrap_or_default();
        writeln!(books, "{} keys", keys.len()).ok();
        for key in keys.iter().take(8) {
            let kind: String = self.query(&["TYPE", key]).unwrap_or_default();
            let length: Option<u64> = self.query(&["XLEN", key]).ok();
            writeln!(books, "{key}: {kind}, XLEN {length:?}").ok();
            let groups: Vec<BTreeMap<String, Value>> =
                self.query(&["XINFO", "GROUPS", key]).unwrap_or_default();
            for group in groups {
                let name = String::from_redis_value(group["name"].clone()).unwrap_or_default();
                let pending: Option<Value> = self.query(&["XPENDING", key, &name]).ok();
                writeln!(books, "  XINFO {group:?}\n  XPENDING {pending:?}").ok();
            }
        }
        let clients: String = self.query(&["CLIENT", "LIST"]).unwrap_or_default();
        writeln!(books, "{}", clients.trim_end()).ok();
        books
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

fn command(words: &[&str]) -> redis::Cmd {
    let mut command = redis::Cmd::new();
    for word in words {
        command.arg(*word);
    }
    command
}

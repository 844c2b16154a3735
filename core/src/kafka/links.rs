//! The connections' life: open on demand, greet, lose, and give each response to whom it
//! concerns.
//!
//! **Invariant:** TLS and login are those of the bootstrap endpoints, whatever address a broker
//! is said to have.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::fault;
use super::link::{Link, Response, State, broken};
use super::machine::Machine;
use super::task::Task;
use super::wire::{self, ErrorCode, Message, Request};
use super::wire::{ApiVersionsRequest, ApiVersionsResponse, SaslAuthenticateRequest, SaslHandshakeRequest};
use crate::command::Command;
use crate::delivery::{Notice, Reason};
use crate::desk::Phase;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::event::{Cause, ConnId};
use crate::timer::Wake;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// Metadata, and where the coordinator is; to any broker.
    Seed,
    /// The group's life, and commits.
    Coordinator,
    /// Questions to a leader about positions.
    Query(i32),
    /// Fetches from a broker.
    Data(i32),
}

/// How often a connection that isn't the seed's is tried at the start.
const START_TRIES: u32 = 3;

/// Nothing that is answered before a connection is ready is longer; what is was taken for a length,
/// and comes from something else than Kafka.
const GREETING_BYTES_MAX: usize = 1 << 20;

impl Machine {
    /// The connection for this, if it is in use; opened if it may be. What isn't asked for stays
    /// closed.
    pub(super) fn ready_link(&mut self, role: Role) -> Option<&mut Link> {
        let number = self.number_of(role)?;
        let now = self.now;
        let index = usize::from(number);
        // Proved: numbers are indices into the list, which never shrinks.
        self.links[index].wanted = true;
        if let State::Down { retry_at } = self.links[index].state {
            if retry_at <= now && !self.open(number, role) {
                self.links[index].wanted = false;
            }
            return None;
        }
        Some(&mut self.links[index]).filter(|link| link.is_ready())
    }

    fn number_of(&mut self, role: Role) -> Option<u16> {
        if let Some(&number) = self.roles.get(&role) {
            return Some(number);
        }
        let backoff = self.new_backoff();
        let number = match self.free_links.pop() {
            Some(number) => number,
            None => {
                let number = u16::try_from(self.links.len()).ok()?;
                if self.links.len() >= self.config.options.limits.connections_max {
                    return None;
                }
                self.links.push(Link::new(number, backoff.clone()));
                number
            }
        };
        let link = &mut self.links[usize::from(number)];
        link.backoff = backoff;
        link.state = State::Down { retry_at: self.now };
        self.roles.insert(role, number);
        Some(number)
    }

    /// The connection for this, if there is one.
    pub(super) fn link_for(&self, role: Role) -> Option<&Link> {
        self.links.get(usize::from(*self.roles.get(&role)?))
    }

    fn role_of(&self, number: u16) -> Option<Role> {
        self.roles.iter().find(|(_, known)| **known == number).map(|(role, _)| *role)
    }

    /// Where the connection goes next.
    fn endpoint_of(&self, role: Role) -> Option<Endpoint> {
        let brokers = &self.cluster.brokers;
        match role {
            Role::Seed => {
                // Proved: a setup without endpoints is refused.
                let bootstrap = &self.config.bootstrap;
                let at = self.seed_at % (bootstrap.len() + brokers.len());
                match at.checked_sub(bootstrap.len()) {
                    None => bootstrap.get(at).cloned(),
                    Some(at) => brokers.values().nth(at).map(|broker| broker.endpoint.clone()),
                }
            }
            Role::Coordinator => self.coordinator.endpoint.clone(),
            Role::Query(broker) | Role::Data(broker) => {
                brokers.get(&broker).map(|broker| broker.endpoint.clone())
            }
        }
    }

    /// An address that a broker named, with what the user said of TLS.
    pub(super) fn endpoint_named(&self, host: &str, port: i32) -> Option<Endpoint> {
        let port = u16::try_from(port).ok().filter(|port| *port > 0)?;
        let tls = self.config.bootstrap.first().is_some_and(|first| first.tls);
        (!host.is_empty()).then(|| Endpoint { host: host.into(), port, tls })
    }

    /// False while nobody said where that is.
    fn open(&mut self, number: u16, role: Role) -> bool {
        let Some(endpoint) = self.endpoint_of(role) else { return false };
        let until = self.now + self.config.options.limits.connect_timeout;
        let conn = self.links[usize::from(number)].open(until, endpoint.clone());
        self.desk.command(Command::Open { conn, endpoint });
        true
    }

    /// Gives up what took too long. What is to be opened is opened by who wants it.
    pub(super) fn pump_links(&mut self) {
        for at in 0..self.links.len() {
            let link = &self.links[at];
            if link.is_down() || link.deadline().is_none_or(|deadline| deadline > self.now) {
                continue;
            }
            let reason = match link.state {
                State::Opening { .. } => Reason::Connection(Cause::TimedOut),
                _ => Reason::Silent { command: link.front_name(), after: link.front_patience() },
            };
            let conn = link.conn();
            self.desk.command(Command::Close { conn });
            self.lose(conn.number, reason);
        }
        self.links.iter_mut().for_each(|link| link.wanted = false);
    }

    pub(super) fn links_wake(&self) -> Option<Wake> {
        let wake = |link: &Link| match link.state {
            State::Down { retry_at } if link.wanted => Some(Wake { at: retry_at, why: "reconnect" }),
            State::Down { .. } => None,
            State::Opening { until } => Some(Wake { at: until, why: "connect timeout" }),
            _ => link.deadline().map(|at| Wake { at, why: "response timeout" }),
        };
        self.links.iter().filter_map(wake).min_by_key(|wake| wake.at)
    }

    pub(super) fn on_opened(&mut self, conn: ConnId) {
        let (now, patience) = (self.now, self.seed_timeout());
        let client_id = self.config.options.kafka.client_id.clone();
        let Some(link) = self.links.get_mut(usize::from(conn.number)).filter(|link| link.is(conn)) else {
            return;
        };
        if matches!(link.state, State::Opening { .. }) {
            link.state = State::Greeting;
            let request = versions_request();
            link.send(now, &client_id, VERSIONS_OF_VERSIONS, &request, Task::Versions, patience);
        }
    }

    /// A connection is no more: what was not answered is put back where it came from.
    pub(super) fn lose(&mut self, number: u16, reason: Reason) {
        if self.is_over() {
            return;
        }
        let Some(role) = self.role_of(number) else { return };
        let now = self.now;
        let link = &mut self.links[usize::from(number)];
        let was_open = !matches!(link.state, State::Opening { .. });
        let was_of_use = link.is_ready();
        let wanted = link.wanted;
        let retry_at = link.backoff.next(now, &mut self.random);
        let attempt = link.backoff.attempts();
        let endpoint = link.endpoint.clone();
        let abandoned = link.shut(retry_at);
        // Who waits for an answer doesn't ask for the connection meanwhile.
        let wanted = wanted || !abandoned.is_empty();
        for task in abandoned {
            self.abandon(task);
        }
        if let Role::Seed = role {
            self.seed_at = self.seed_at.wrapping_add(1);
        } else {
            // Perhaps the broker is gone, and others have its partitions.
            self.refresh_soon();
        }
        if let Role::Data(broker) = role {
            self.leave_replica(broker);
        }
        // One that stands still takes connections, and another may be the coordinator by now.
        if role == Role::Coordinator && (!was_of_use || matches!(reason, Reason::Silent { .. })) {
            self.find_coordinator_again();
        }
        if self.phase == Phase::Starting {
            // Who listens and doesn't even greet is as good as nobody.
            let mute = matches!(reason, Reason::Silent { .. }) && !was_of_use;
            let tries = match role {
                Role::Seed if mute => self.config.bootstrap.len() as u32,
                Role::Seed => self.config.bootstrap.len() as u32 + if was_open { START_TRIES } else { 0 },
                _ => START_TRIES,
            };
            match &reason {
                Reason::Connection(cause) if attempt >= tries => {
                    let endpoint = endpoint.unwrap_or_else(|| Endpoint::tcp("?", 0));
                    return self.fail(Error::Connect { endpoint, cause: cause.clone() });
                }
                Reason::Error(error) if !matches!(error, Error::Unavailable { .. }) => {
                    return self.fail(error.clone());
                }
                Reason::Silent { .. } if mute && attempt >= tries => {
                    let endpoint = endpoint.unwrap_or_else(|| Endpoint::tcp("?", 0));
                    return self.fail(Error::Connect { endpoint, cause: Cause::TimedOut });
                }
                Reason::Silent { command, .. } if attempt >= tries => {
                    return self.fail(Error::TimedOut { command });
                }
                _ => {}
            }
        }
        if let Some(endpoint) = endpoint.filter(|_| wanted) {
            self.desk.notice(Notice::Reconnecting {
                endpoint,
                attempt,
                after: retry_at - now,
                cause: reason,
            });
        }
    }

    /// Closes a connection for what came on it.
    pub(super) fn drop_link(&mut self, number: u16, reason: Reason) {
        if let Some(link) = self.links.get(usize::from(number)).filter(|link| !link.is_down()) {
            self.desk.command(Command::Close { conn: link.conn() });
            self.lose(number, reason);
        }
    }

    /// The broker at the other end has no version of a request that can't be done without.
    pub(super) fn too_old(&mut self, number: u16, command: &'static str) {
        let endpoint = self.links.get(usize::from(number)).and_then(|link| link.endpoint.clone());
        let at = endpoint.map_or_else(String::new, |endpoint| format!(" at {endpoint}"));
        let message =
            format!("the broker{at} has no version of it that is known here: is it older than 2.1?");
        self.drop_link(number, Reason::Error(Error::Broker { command, message: message.into() }));
    }

    /// Closed without a word; whoever needs it opens it again, as soon as its backoff allows.
    pub(super) fn close_link(&mut self, role: Role) {
        let Some(&number) = self.roles.get(&role) else { return };
        let now = self.now;
        let link = &mut self.links[usize::from(number)];
        if link.is_down() {
            return;
        }
        self.desk.command(Command::Close { conn: link.conn() });
        let abandoned = link.shut(now);
        abandoned.into_iter().for_each(|task| self.abandon(task));
    }

    /// The coordinator's connection goes there from now on. To the same place as before it keeps
    /// its backoff: a coordinator that is dead is named until another one is elected.
    pub(super) fn point_coordinator(&mut self, endpoint: Endpoint) {
        let before = self.roles.get(&Role::Coordinator).map(|number| &self.links[usize::from(*number)]);
        if before.is_some_and(|link| link.endpoint.as_ref() != Some(&endpoint)) {
            self.shut_link(Role::Coordinator);
        }
        self.coordinator.endpoint = Some(endpoint);
    }

    /// A connection isn't needed any more, or must go elsewhere: closed without a word.
    pub(super) fn shut_link(&mut self, role: Role) {
        let Some(number) = self.roles.remove(&role) else { return };
        let link = &mut self.links[usize::from(number)];
        if !link.is_down() {
            self.desk.command(Command::Close { conn: link.conn() });
        }
        let abandoned = link.shut(self.now);
        self.free_links.push(number);
        abandoned.into_iter().for_each(|task| self.abandon(task));
    }

    /// No response will come to this; where it matters, it is done again.
    fn abandon(&mut self, task: Task) {
        match task {
            Task::Metadata => self.abandon_metadata(),
            Task::FindCoordinator => self.coordinator.finding = false,
            Task::Fetch(fetch) => self.abandon_fetch(&fetch),
            Task::ListOffsets(asked) | Task::EpochEnds(asked) | Task::OffsetFetch(asked) => {
                self.ask_again(&asked);
            }
            Task::Commit(commit) => self.abandon_commit(&commit),
            Task::JoinGroup
            | Task::SyncGroup
            | Task::Heartbeat
            | Task::LeaveGroup
            | Task::GroupHeartbeat
            | Task::GroupLeave => self.abandon_membership(&task),
            Task::Versions | Task::Handshake | Task::Authenticate | Task::CreateTopics => {}
        }
    }

    pub(super) fn on_received(&mut self, number: u16) {
        let max = self.config.options.limits.reply_bytes_max;
        loop {
            let now = self.now;
            let Some(link) = self.links.get_mut(usize::from(number)).filter(|link| !link.is_down()) else {
                return;
            };
            link.count_received(&mut self.stats.bytes_received);
            link.be_patient(now);
            let max = if link.is_ready() { max } else { max.min(GREETING_BYTES_MAX) };
            match link.next_response(now, max) {
                Ok(Some(response)) => self.on_response(number, response),
                Ok(None) => break,
                Err(error) => {
                    let error = self.in_greeting(number, error);
                    return self.drop_link(number, Reason::Error(error));
                }
            }
        }
        if let Some(link) = self.links.get_mut(usize::from(number)) {
            link.remember_received();
        }
    }

    /// What doesn't speak the protocol from the start is most likely something else: said with its
    /// address.
    fn in_greeting(&self, number: u16, error: Error) -> Error {
        match (error, self.links.get(usize::from(number))) {
            (Error::Protocol(words), Some(Link { state: State::Greeting, endpoint: Some(endpoint), .. })) => {
                let hint = "is a Kafka broker there, and its port one without TLS?";
                Error::Protocol(format!("{words}, from {endpoint}; {hint}").into())
            }
            (error, _) => error,
        }
    }

    fn on_response(&mut self, number: u16, response: Response) {
        let Response { task, version, frame } = response;
        let of_use = !matches!(task, Task::Versions | Task::Handshake | Task::Authenticate);
        let lost = task.clone();
        let result = match task {
            Task::Versions => self.on_versions(number, version, &frame),
            Task::Handshake => self.on_handshake(number, version, frame),
            Task::Authenticate => self.on_authenticated(number, version, frame),
            Task::Metadata => self.on_metadata(version, frame),
            Task::CreateTopics => self.on_created(version, frame),
            Task::FindCoordinator => self.on_coordinator(version, frame),
            Task::Fetch(fetch) => self.on_fetch(number, &fetch, version, frame),
            Task::ListOffsets(asked) => self.on_offsets_listed(&asked, version, frame),
            Task::EpochEnds(asked) => self.on_epoch_ends(&asked, version, frame),
            Task::OffsetFetch(asked) => self.on_offsets_fetched(&asked, version, frame),
            Task::Commit(commit) => self.on_committed(commit, version, frame),
            Task::JoinGroup => self.on_joined(version, frame),
            Task::SyncGroup => self.on_synced(version, frame),
            Task::Heartbeat => self.on_heartbeat(version, frame),
            Task::LeaveGroup => self.on_left(version, frame),
            Task::GroupHeartbeat => self.on_group_heartbeat(version, frame),
            Task::GroupLeave => self.on_group_left(version, frame),
        };
        match result {
            Ok(()) if of_use => {
                if let Some(link) = self.links.get_mut(usize::from(number)) {
                    link.backoff.handle_progress();
                }
            }
            Ok(()) => {}
            Err(error) => {
                self.abandon(lost);
                self.drop_link(number, Reason::Error(error));
            }
        }
    }

    fn on_versions(&mut self, number: u16, version: i16, frame: &Bytes) -> Result<(), Error> {
        let unsupported = frame.get(4..6) == Some(&ErrorCode::UNSUPPORTED_VERSION.0.to_be_bytes());
        let (now, patience) = (self.now, self.response_timeout());
        let client_id = self.config.options.kafka.client_id.clone();
        // A broker that doesn't know this version answers in the oldest one (KIP-511).
        let answered_in = if unsupported { 0 } else { version };
        let link = &mut self.links[usize::from(number)];
        if unsupported && version > 0 {
            let request = ApiVersionsRequest::default();
            link.send(now, &client_id, 0, &request, Task::Versions, patience);
            return Ok(());
        }
        let response: ApiVersionsResponse =
            wire::read_response::<ApiVersionsRequest>(frame.clone(), answered_in).map_err(broken)?;
        if response.error_code != 0 {
            return Err(fault::error_of(ErrorCode(response.error_code), "ApiVersions", None));
        }
        let versions: BTreeMap<_, _> =
            response.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version))).collect();
        link.set_versions(versions);
        match self.config.options.login.is_some() {
            true => self.authenticate(number),
            false => {
                self.greeted(number);
                Ok(())
            }
        }
    }

    fn authenticate(&mut self, number: u16) -> Result<(), Error> {
        let (now, patience) = (self.now, self.response_timeout());
        let client_id = self.config.options.kafka.client_id.clone();
        let link = &mut self.links[usize::from(number)];
        let version = link.version::<SaslHandshakeRequest>().filter(|version| *version >= 1);
        let version = version.ok_or_else(|| unsupported("SaslHandshake"))?;
        let request = SaslHandshakeRequest { mechanism: "PLAIN".into() };
        link.send(now, &client_id, version, &request, Task::Handshake, patience);
        Ok(())
    }

    fn on_handshake(&mut self, number: u16, version: i16, frame: Bytes) -> Result<(), Error> {
        let response = wire::read_response::<SaslHandshakeRequest>(frame, version).map_err(broken)?;
        if response.error_code != 0 {
            let words = match response.mechanisms.join(", ") {
                none if none.is_empty() => "it takes no login here (no SASL on this port)".to_owned(),
                offered => format!("PLAIN is not offered, but {}", self.conceal(&offered)),
            };
            return Err(self.login_error(number, words));
        }
        let (now, patience) = (self.now, self.response_timeout());
        let client_id = self.config.options.kafka.client_id.clone();
        let Some(login) = self.config.options.login.clone() else { return Ok(()) };
        let link = &mut self.links[usize::from(number)];
        let version = link.version::<SaslAuthenticateRequest>();
        let version = version.ok_or_else(|| unsupported("SaslAuthenticate"))?;
        // RFC 4616: no authorization identity, user, password.
        let user = login.user.unwrap_or_default();
        let auth_bytes =
            Bytes::from([b"\0", user.as_bytes(), b"\0", login.password.reveal().as_bytes()].concat());
        let request = SaslAuthenticateRequest { auth_bytes };
        link.send(now, &client_id, version, &request, Task::Authenticate, patience);
        Ok(())
    }

    fn on_authenticated(&mut self, number: u16, version: i16, frame: Bytes) -> Result<(), Error> {
        let response = wire::read_response::<SaslAuthenticateRequest>(frame, version).map_err(broken)?;
        if response.error_code != 0 {
            let words = response.error_message.unwrap_or_else(|| ErrorCode(response.error_code).to_string());
            let words = self.conceal(&words);
            return Err(self.login_error(number, words));
        }
        self.greeted(number);
        Ok(())
    }

    /// A broker's words, but never with the password.
    fn conceal(&self, words: &str) -> String {
        match self.config.options.login.as_ref().map_or("", |login| login.password.reveal()) {
            "" => words.to_owned(),
            secret => words.replace(secret, &"*".repeat(secret.len())),
        }
    }

    fn login_error(&self, number: u16, words: String) -> Error {
        let endpoint = self.links[usize::from(number)].endpoint.clone();
        Error::Login { endpoint: endpoint.unwrap_or_else(|| Endpoint::tcp("?", 0)), message: words.into() }
    }

    fn greeted(&mut self, number: u16) {
        let now = self.now;
        let link = &mut self.links[usize::from(number)];
        link.state = State::Ready;
        link.backoff.handle_success(now);
        if link.conn().generation > 1 {
            self.stats.reconnects += 1;
        }
    }
}

/// The newest version of ApiVersions that is asked with: what tells the client's name (KIP-511).
const VERSIONS_OF_VERSIONS: i16 = 3;

fn versions_request() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: "tidegate".into(),
        client_software_version: env!("CARGO_PKG_VERSION").into(),
    }
}

/// The broker is too old for a request that can't be done without.
pub(super) fn unsupported(command: &'static str) -> Error {
    Error::Broker { command, message: "this broker has no version of it that is known here".into() }
}

/// The body of a response.
pub(super) fn read<R: Request>(frame: Bytes, version: i16) -> Result<R::Response, Error>
where
    R::Response: Message,
{
    wire::read_response::<R>(frame, version).map_err(broken)
}

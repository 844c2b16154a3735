//! The connections' life: open, greet, lose, and give each reply to whom it concerns.

use super::command;
use super::fault::{Fault, Reaction};
use super::link::{Answer, State, error_of};
use super::machine::{CONTROL, Machine, READER};
use super::resp::{End, EndKind, Value};
use super::task::Task;
use crate::command::Command;
use crate::delivery::{Notice, Reason};
use crate::desk::Phase;
use crate::error::Error;
use crate::event::{Cause, ConnId};
use crate::mutation::{self, Mutation};

/// An error that repeats the password is told without it.
fn conceal(answer: &mut Answer, secret: &str) {
    let (Answer::Value(Value::Error(words)) | Answer::Stream(End { kind: EndKind::Error(words), .. })) =
        answer
    else {
        return;
    };
    let text = String::from_utf8_lossy(words);
    if !secret.is_empty() && text.contains(secret) {
        *words = text.replace(secret, &"*".repeat(secret.len())).into_bytes().into();
    }
}

/// How often a server is tried again, at the start, that accepts a connection and closes it.
const START_AGAIN: usize = 3;

impl Machine {
    /// Opens what is to be opened, gives up what took too long.
    pub(super) fn pump_links(&mut self) {
        if !self.flow.wants_read() {
            // Nobody reads, so nobody can say that the server is silent.
            self.reader.be_patient(self.now);
        }
        for number in [READER, CONTROL] {
            let link = if number == READER { &self.reader } else { &self.control };
            match link.state {
                State::Down { retry_at } if retry_at <= self.now => self.open(number),
                State::Down { .. } | State::Off => {}
                State::Greeting | State::Ready
                    if mutation::is(Mutation::LateReplyToTheNext)
                        && link.deadline().is_some_and(|deadline| deadline <= self.now) =>
                {
                    let link = if number == READER { &mut self.reader } else { &mut self.control };
                    link.forget_front(self.now).into_iter().for_each(|task| self.abandon(task));
                }
                _ if link.deadline().is_some_and(|deadline| deadline <= self.now) => {
                    let reason = match link.state {
                        State::Opening { .. } => Reason::Connection(Cause::TimedOut),
                        _ => Reason::Silent {
                            command: link.front_name(),
                            after: self.config.options.limits.response_timeout,
                        },
                    };
                    self.desk.command(Command::Close { conn: link.conn() });
                    self.lose(number, reason);
                }
                _ => {}
            }
        }
    }

    fn open(&mut self, number: u16) {
        let until = self.now + self.config.options.limits.connect_timeout;
        let (endpoint, at) = (self.endpoint().clone(), self.endpoint);
        let link = if number == READER { &mut self.reader } else { &mut self.control };
        let conn = link.open(until, at);
        self.desk.command(Command::Open { conn, endpoint });
    }

    pub(super) fn on_opened(&mut self, conn: ConnId) {
        let (now, patience) = (self.now, self.config.options.limits.response_timeout);
        let login = self.config.options.login.clone();
        let Some(link) = self.link_mut(conn) else { return };
        if matches!(link.state, State::Opening { .. }) {
            link.state = State::Greeting;
            link.send(now, Task::Hello, patience, |out| command::hello(out, login.as_ref()));
        }
    }

    /// A connection is no more: what was not answered is put back where it came from.
    pub(super) fn lose(&mut self, number: u16, reason: Reason) {
        if self.is_over() {
            return;
        }
        let now = self.now;
        let link = if number == READER { &mut self.reader } else { &mut self.control };
        let was_open = !matches!(link.state, State::Opening { .. });
        let current = link.endpoint == self.endpoint;
        let retry_at = link.backoff.next(now, &mut self.random);
        let attempt = link.backoff.attempts();
        let retry_at = if mutation::is(Mutation::ReconnectAtOnce) { now } else { retry_at };
        let abandoned: Vec<_> = link.shut(State::Down { retry_at }).collect();
        for task in abandoned {
            self.abandon(task);
        }
        if number == READER {
            self.recover_after_loss();
        } else {
            self.reads.unblocking = false;
            self.audit_all();
        }
        let cause = match reason {
            Reason::Connection(cause) => {
                if self.phase == Phase::Starting {
                    // Every endpoint is tried once before the caller is told; one that accepts,
                    // and closes before it is of use, a few times.
                    let tries = self.config.endpoints.len() + if was_open { START_AGAIN } else { 0 };
                    if attempt as usize >= tries {
                        return self.fail(self.connect_error(cause));
                    }
                    if current {
                        self.move_on(number);
                    }
                }
                Reason::Connection(cause)
            }
            // What can't serve yet will; anything else is for the caller to mend.
            Reason::Error(error)
                if self.phase == Phase::Starting && !matches!(error, Error::Unavailable { .. }) =>
            {
                return self.fail(error);
            }
            Reason::Silent { command, .. } if self.phase == Phase::Starting => {
                return self.fail(Error::TimedOut { command });
            }
            reason => reason,
        };
        if self.phase != Phase::Starting && !was_open && current {
            let other = if number == READER { &self.control } else { &self.reader };
            if !matches!(other.state, State::Ready | State::Greeting) {
                self.move_on(number);
            }
        }
        let endpoint = self.endpoint().clone();
        self.notice(Notice::Reconnecting { endpoint, attempt, after: retry_at - now, cause });
    }

    /// To the next server of the list; both connections go to the same one.
    fn move_on(&mut self, from: u16) {
        if self.config.endpoints.len() < 2 {
            return;
        }
        self.endpoint = (self.endpoint + 1) % self.config.endpoints.len();
        let other = if from == READER { CONTROL } else { READER };
        let link = if other == READER { &mut self.reader } else { &mut self.control };
        if !matches!(link.state, State::Down { .. } | State::Off) {
            self.desk.command(Command::Close { conn: link.conn() });
            let abandoned: Vec<_> = link.shut(State::Down { retry_at: self.now }).collect();
            abandoned.into_iter().for_each(|task| self.abandon(task));
        }
    }

    /// Closes a connection for what came on it.
    pub(super) fn drop_link(&mut self, number: u16, reason: Reason) {
        let link = if number == READER { &self.reader } else { &self.control };
        if !matches!(link.state, State::Down { .. } | State::Off) {
            self.desk.command(Command::Close { conn: link.conn() });
            self.lose(number, reason);
        }
    }

    /// No reply will come to this; where it matters, it is done again.
    fn abandon(&mut self, task: Task) {
        match task {
            Task::Read(read) => {
                if !mutation::is(Mutation::CreditLeak) {
                    self.flow.handle_answered(read.asked);
                }
                self.reads.recovery = None;
            }
            Task::Exists { stream, shard } => self.probes.push_back((stream, shard)),
            Task::Look { slot, .. } | Task::Create { slot } => self.look_again(slot),
            Task::Commit { id, .. } if mutation::is(Mutation::LostAckIsDone) => {
                self.buffer.ledger.committed(id)
            }
            Task::Commit { id, messages, .. } => {
                self.buffer.ledger.failed(id);
                self.buffer.schedule.handle_failed(self.now, messages);
            }
            Task::Claim(claim) => self.abandon_claim(claim),
            Task::Count(held) => self.deliver_held(held, None),
            Task::Owned { .. } => self.touching = self.touching.saturating_sub(1),
            Task::Audit { slot, from } => drop(self.audits.insert(slot, from)),
            // Asked again in its time: the ledger or a timer remembers.
            Task::ExistsAny { .. }
            | Task::Forget { .. }
            | Task::Left { .. }
            | Task::Touch
            | Task::Unblock
            | Task::Depart
            | Task::Lag { .. }
            | Task::Check { .. }
            | Task::Hello
            | Task::Auth
            | Task::Select
            | Task::Name
            | Task::ClientId => {}
        }
    }

    pub(super) fn on_received(&mut self, number: u16) {
        let mut chunks = std::mem::take(&mut self.chunks);
        loop {
            let now = self.now;
            let link = if number == READER { &mut self.reader } else { &mut self.control };
            if matches!(link.state, State::Down { .. } | State::Off) {
                break;
            }
            link.count_received(&mut self.stats.bytes_received);
            let result = link.next_reply(now, &mut chunks);
            link.be_patient(now);
            match result {
                Ok(Some((mut task, mut answer))) => {
                    if let Some(login) = &self.config.options.login {
                        conceal(&mut answer, login.password.reveal());
                    }
                    self.on_chunks(&mut task, &mut chunks);
                    self.on_answer(number, task, answer);
                }
                Ok(None) => {
                    // Entries of a reply that isn't whole yet: they needn't wait for the rest.
                    if mutation::is(Mutation::PieceOfReplyDropped) {
                        chunks.clear();
                    }
                    if !chunks.is_empty()
                        && let Some(mut task) = self.take_front(number)
                    {
                        self.on_chunks(&mut task, &mut chunks);
                        self.put_front(number, task);
                    }
                    break;
                }
                Err(error) => {
                    if let Some(mut task) = self.take_front(number) {
                        self.on_chunks(&mut task, &mut chunks);
                        self.put_front(number, task);
                    }
                    self.drop_link(number, Reason::Error(error));
                    break;
                }
            }
        }
        chunks.clear();
        self.chunks = chunks;
        let link = if number == READER { &mut self.reader } else { &mut self.control };
        link.remember_received();
    }

    fn take_front(&mut self, number: u16) -> Option<Task> {
        let link = if number == READER { &mut self.reader } else { &mut self.control };
        link.front_mut().map(|front| std::mem::replace(front, Task::Touch))
    }

    fn put_front(&mut self, number: u16, task: Task) {
        let link = if number == READER { &mut self.reader } else { &mut self.control };
        if let Some(front) = link.front_mut() {
            *front = task;
        }
    }

    fn on_answer(&mut self, number: u16, task: Task, answer: Answer) {
        if let Some(words) = error_of(&answer) {
            let words = words.clone();
            // In the life of a group a BUSYGROUP is an ordinary answer.
            if Fault::of(&words) != Fault::BusyGroup {
                self.stats.broker_errors += 1;
            }
            if Fault::of(&words) == Fault::NoAuth && !matches!(task, Task::Hello) {
                self.abandon(task);
                let error = Fault::NoAuth.error("AUTH", &words, self.endpoint(), None);
                return self.drop_link(number, Reason::Error(error));
            }
        }
        let greeting = matches!(task, Task::Hello | Task::Auth | Task::Select | Task::Name | Task::ClientId);
        if !greeting && error_of(&answer).is_none() {
            let link = if number == READER { &mut self.reader } else { &mut self.control };
            link.backoff.handle_progress();
        }
        match task {
            Task::Hello | Task::Auth | Task::Select | Task::Name | Task::ClientId => {
                self.on_greeting(number, &task, answer);
            }
            Task::Read(read) => self.on_read(read, answer),
            Task::Exists { stream, shard } => self.on_exists(stream, shard, &answer),
            Task::ExistsAny { streams } => self.on_exists_any(streams, &answer),
            Task::Look { slot, position } => self.on_look(slot, position, &answer),
            Task::Create { slot } => self.on_create(slot, &answer),
            Task::Commit { id, slot, messages, .. } => self.on_commit(id, slot, messages, &answer),
            Task::Forget { slot, messages } => self.on_forget(slot, messages, &answer),
            Task::Claim(claim) => self.on_claim(claim, answer),
            Task::Count(held) => self.deliver_held(held, Some(&answer)),
            Task::Owned { slot, ids } => self.on_owned(slot, ids, &answer),
            Task::Left { slot } => self.on_left(slot, &answer),
            Task::Audit { slot, .. } => self.on_audit(slot, &answer),
            Task::Unblock => self.on_unblock(&answer),
            Task::Lag { slot } => self.on_lag(slot, &answer),
            Task::Check { slot, position } => self.on_check(slot, position, &answer),
            Task::Touch | Task::Depart => {}
        }
    }

    /// The replies of a connection's first commands.
    fn on_greeting(&mut self, number: u16, task: &Task, answer: Answer) {
        let (now, patience) = (self.now, self.config.options.limits.response_timeout);
        if let Some(words) = error_of(&answer) {
            let fault = Fault::of(words);
            let error = fault.error(task.name(), words, self.endpoint(), None);
            match (task, fault) {
                // A server before 6.0, or one that speaks no RESP3: RESP2 does as well.
                (Task::Hello, Fault::UnknownCommand) => {
                    if let Some(login) = self.config.options.login.clone() {
                        let link = if number == READER { &mut self.reader } else { &mut self.control };
                        return link.send(now, Task::Auth, patience, |out| command::auth(out, &login));
                    }
                }
                // A name and an id are for people and for breaking off a read: not vital.
                (Task::Name | Task::ClientId, fault) if fault.reaction() != Reaction::Reconnect => {}
                _ => return self.drop_link(number, Reason::Error(error)),
            }
        }
        let (database, consumer) = (self.config.options.database, self.config.consumer.clone());
        let link = if number == READER { &mut self.reader } else { &mut self.control };
        if matches!(task, Task::Hello | Task::Auth) {
            if database != 0 {
                link.send(now, Task::Select, patience, |out| command::select(out, database));
            }
            link.send(now, Task::Name, patience, |out| command::client_name(out, &consumer));
            link.send(now, Task::ClientId, patience, command::client_id);
        }
        if let (Task::ClientId, Answer::Value(value)) = (task, &answer) {
            link.client_id = value.as_int();
        }
        if link.waiting() == 0 {
            link.state = State::Ready;
            link.backoff.handle_success(now);
            if link.conn().generation > 1 {
                self.stats.reconnects += 1;
            }
        }
    }
}

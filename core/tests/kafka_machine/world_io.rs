//! Answers on their way, and the application's side.

use std::any::Any;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use tidegate_core::kafka::wire::*;
use tidegate_core::{Assignment, Batch, ConnId, Delivery, Machine as _, Request as Ask};

use super::super::model::{Cluster, Part, part, value_of};
use super::{App, Due, Fate, Got, Parked, Seen, World, millis};

impl World {
    fn see<R: Request + 'static>(&mut self, conn: ConnId, header: &RequestHeader, request: &R) {
        let node = self.conns[&conn].node;
        self.note(|| format!("{conn} b{node} v{} {request:?}", header.request_api_version));
        self.seen.push(Seen { at: self.now, node, key: R::KEY, body: Rc::new(request.clone()) });
    }

    pub(super) fn answer<R: Request + 'static>(
        &mut self,
        conn: ConnId,
        frame: Bytes,
        act: impl FnOnce(&mut Cluster, &R) -> R::Response,
    ) where
        R::Response: 'static,
    {
        let (header, request) = read_request::<R>(frame).unwrap();
        self.see(conn, &header, &request);
        let (mut answer, mut fate) = (None, Fate::Reply);
        if let Some(at) = self.rules.iter().position(|rule| rule.key == R::KEY && rule.left > 0) {
            self.rules[at].left -= 1;
            if self.rules[at].instead {
                let (given, _) = (self.rules[at].edit)(&request, None);
                answer = given.and_then(|given| given.downcast::<R::Response>().ok()).map(|given| *given);
            } else {
                let mut made = act(&mut self.cluster, &request);
                (_, fate) = (self.rules[at].edit)(&request, Some(&mut made));
                answer = Some(made);
            }
        } else {
            answer = Some(answer.unwrap_or_else(|| act(&mut self.cluster, &request)));
        }
        self.send::<R>(conn, &header, &answer.expect("an answer"), fate);
    }

    fn send<R: Request>(&mut self, conn: ConnId, header: &RequestHeader, answer: &R::Response, fate: Fate)
    where
        R::Response: 'static,
    {
        let Some(known) = self.conns.get_mut(&conn) else { return };
        if known.mute {
            return;
        }
        let at_once = self.now + self.latency;
        self.note(|| format!("{conn} answer {answer:?}"));
        let Some(known) = self.conns.get_mut(&conn) else { return };
        let mut version = header.request_api_version;
        let answer_of_versions = (answer as &dyn Any).downcast_ref::<ApiVersionsResponse>();
        if answer_of_versions.is_some_and(|answer| answer.error_code == 35) {
            version = 0;
        }
        let mut bytes = BytesMut::new();
        write_response::<R>(&mut bytes, header.correlation_id, version, answer).unwrap();
        let mut at = at_once.max(known.last);
        match fate {
            Fate::Reply => {}
            Fate::Silent => {
                known.mute = true;
                return;
            }
            Fate::Cut => {
                known.mute = true;
                return self.schedule(at, Due::Cut(conn));
            }
            Fate::After(wait) => at = (self.now + wait).max(known.last),
            Fate::Twice => bytes.extend_from_within(..),
            Fate::Bytes(other) => bytes = BytesMut::from(&other[..]),
        }
        if let Some(known) = self.conns.get_mut(&conn) {
            known.last = at;
        }
        self.schedule(at, Due::Bytes(conn, bytes.freeze()));
    }

    /// A fetch waits at the broker until there is something to say.
    pub(super) fn serve_fetch(&mut self, conn: ConnId, frame: Bytes) {
        let (header, request) = read_request::<FetchRequest>(frame).unwrap();
        self.see(conn, &header, &request);
        let node = self.conns[&conn].node;
        if let Some(at) =
            self.rules.iter().position(|rule| rule.key == FetchRequest::KEY && rule.instead && rule.left > 0)
        {
            self.rules[at].left -= 1;
            let (given, _) = (self.rules[at].edit)(&request, None);
            let given = given.and_then(|given| given.downcast::<FetchResponse>().ok()).unwrap();
            return self.send_fetch(conn, &header, &request, *given);
        }
        match self.cluster.take_fetch(node, &request) {
            Ok(taken) => {
                let until = self.now + millis(request.max_wait_ms.max(0) as u64);
                self.parked.push(Parked { conn, header, request, taken, until });
                self.answer_parked();
            }
            Err(error_code) => {
                let answer = FetchResponse { error_code, ..Default::default() };
                self.send_fetch(conn, &header, &request, answer);
            }
        }
    }

    pub(super) fn answer_parked(&mut self) -> bool {
        let mut any = false;
        let mut at = 0;
        while at < self.parked.len() {
            let Parked { conn, taken, until, .. } = self.parked[at];
            let request = self.parked[at].request.clone();
            let Some(node) = self.conns.get(&conn).map(|known| known.node) else {
                self.parked.remove(at);
                continue;
            };
            let before =
                self.cluster.sessions.get(&(node, taken.session)).map(|session| session.told.clone());
            let (answer, something) = self.cluster.fetch(node, taken, &request);
            if something || until <= self.now {
                let Parked { header, .. } = self.parked.remove(at);
                self.send_fetch(conn, &header, &request, answer);
                any = true;
                continue;
            }
            // It was not told, after all.
            if let (Some(session), Some(before)) =
                (self.cluster.sessions.get_mut(&(node, taken.session)), before)
            {
                session.told = before;
            }
            at += 1;
        }
        any
    }

    fn send_fetch(
        &mut self,
        conn: ConnId,
        header: &RequestHeader,
        request: &FetchRequest,
        mut answer: FetchResponse,
    ) {
        let mut fate = Fate::Reply;
        let rule = |rule: &&mut super::Rule| rule.key == FetchRequest::KEY && !rule.instead && rule.left > 0;
        if let Some(rule) = self.rules.iter_mut().find(rule) {
            rule.left -= 1;
            let answer: &mut dyn Any = &mut answer;
            (_, fate) = (rule.edit)(request, Some(answer));
        }
        let data = answer.responses.iter().flat_map(|topic| &topic.partitions);
        self.record_bytes += data.map(|data| data.records.as_ref().map_or(0, Bytes::len)).sum::<usize>();
        self.send::<FetchRequest>(conn, header, &answer, fate);
    }

    pub(super) fn deliveries(&mut self) -> bool {
        let mut any = false;
        while self.app != App::Stopped && !self.ended {
            let Some(delivery) = self.machine.poll_delivery() else { break };
            any = true;
            self.note(|| format!("{delivery:?}"));
            match delivery {
                Delivery::Batch(batch) => self.take(&batch),
                Delivery::Assigned(assignment) => {
                    let part = of(&assignment);
                    self.lane.push(format!("assigned {assignment}"));
                    let before = self.assigned.insert(part, (assignment.epoch, -1));
                    assert!(before.is_none(), "{assignment} is assigned twice");
                }
                Delivery::Revoked(assignment) => {
                    let part = of(&assignment);
                    self.lane.push(format!("revoked {assignment}"));
                    let (epoch, _) = self.assigned.remove(&part).expect("revoked, and was never assigned");
                    assert_eq!(epoch, assignment.epoch, "{assignment}");
                    self.unacked.remove(&part);
                }
                Delivery::End => {
                    self.lane.push("end".into());
                    self.ended = true;
                }
                Delivery::Failed(error) => {
                    self.lane.push(format!("failed: {error}"));
                    self.ended = true;
                }
            }
        }
        while let Some(range) = self.to_ack.pop_front() {
            any |= self.machine.request(self.now, Ask::Ack(vec![range])).is_ok();
        }
        any
    }

    fn take(&mut self, batch: &Batch) {
        self.taken_bytes += batch.bytes();
        assert!(!batch.is_empty());
        let source = batch.source();
        let part: Part = part(&source.stream.to_string(), source.shard.number() as i32);
        let (epoch, last) = *self.assigned.get(&part).expect("a batch of what is not assigned");
        assert_eq!(epoch, source.epoch, "a batch of another epoch of {part:?}");
        let mut last = last;
        for message in batch.iter() {
            let offset = message.seq().low() as i64;
            assert!(offset > last, "{part:?}: {offset} after {last}");
            last = offset;
            if !self.chaos {
                let value = message.payload().map(|value| String::from_utf8_lossy(value).into_owned());
                assert_eq!(value, Some(value_of(&part.0, part.1, offset)));
            }
            let range = message.ack_range();
            assert_eq!(range.is_some(), source.segment.is_some());
            if self.acking && range.is_some() && self.app != App::Acks {
                self.unacked.entry(part.clone()).or_default().insert(offset);
            }
            let timestamp = message.timestamp().as_millis();
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            self.got.push(Got {
                part: part.clone(),
                offset,
                epoch,
                timestamp,
                range,
                key: message.key().map(<[u8]>::to_vec),
                value: message.payload().map(<[u8]>::to_vec),
                headers: message.headers().map(|(name, value)| (text(name), value.map(text))).collect(),
            });
        }
        self.assigned.insert(part, (epoch, last));
        self.to_ack.extend(batch.ack_range().filter(|_| self.app == App::Acks));
    }

    /// What was taken may be committed without the application's acks.
    pub fn relax(&mut self) {
        self.unacked.clear();
    }

    pub fn ended(&self) -> bool {
        self.ended
    }

    /// The partitions that the application knows to be its own.
    pub fn owned(&self) -> Vec<String> {
        self.assigned.keys().map(|(topic, index)| format!("{topic}/{index}")).collect()
    }
}

fn of(assignment: &Assignment) -> Part {
    part(&assignment.stream.to_string(), assignment.shard.number() as i32)
}

//! One dialogue with both sides.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_core::kafka::wire::ConsumerGroupHeartbeatRequest;

use super::ask::{Answer, Ask};
use super::generate::Generator;
use super::names::Names;
use super::normal::normal;
use super::{Model, Real, Tally};

/// For how long nothing may come from a broker that has to wait.
const SILENCE: Duration = Duration::from_millis(25);
/// Patterns are resolved beside the answer, of this heartbeat or of one of the next ones.
const PATTERNS: Duration = Duration::from_millis(100);
const RESOLVING: u32 = 4;
/// A rebalance of a group that only waits for those who were told an id has no time at all: its end is
/// a timer's.
const TIMERS: Duration = Duration::from_millis(30);

/// Both sides.
#[derive(Debug)]
pub struct Sides {
    /// A real broker.
    pub real: Real,
    /// The model of the same release.
    pub model: Model,
}

/// The last lines of a dialogue that a report has.
const TOLD: usize = 400;

/// The first differences of an answer that a report has.
const FIELDS: usize = 8;

/// A dialogue that goes on.
#[derive(Debug)]
pub struct Dialogue<'a> {
    sides: &'a mut Sides,
    model_names: Names,
    real_names: Names,
    correlation: i32,
    /// By connection: what waits for its answer.
    waiting: Vec<Option<Ask>>,
    /// By group, for how many heartbeats more patterns may be resolved.
    resolving: BTreeMap<String, u32>,
    /// All that was asked, and how it was answered.
    lines: Vec<String>,
}

impl<'a> Dialogue<'a> {
    /// Talks until it is over. The error is a difference, with all that led to it.
    pub fn run(sides: &'a mut Sides, generator: &mut Generator, tally: &mut Tally) -> Result<(), String> {
        let connections = generator.connections();
        sides.real.connect(connections);
        sides.model.connect(connections);
        generator.begin(sides);
        let waiting = vec![None; connections];
        let (model_names, real_names) = (Names::default(), Names::default());
        let mut dialogue = Dialogue {
            sides,
            model_names,
            real_names,
            correlation: 0,
            waiting,
            resolving: BTreeMap::new(),
            lines: Vec::new(),
        };
        while let Some((connection, ask)) = generator.next(&dialogue.busy()) {
            if let Some(made) = generator.maybe_grow(dialogue.sides) {
                dialogue.lines.push(made);
            }
            let talked = dialogue.ask(connection, ask, generator, tally);
            let told = |what| {
                let from = dialogue.lines.len().saturating_sub(TOLD);
                format!("{}\n{what}", dialogue.lines[from..].join("\n"))
            };
            talked.map_err(told)?;
        }
        Ok(())
    }

    fn busy(&self) -> Vec<bool> {
        self.waiting.iter().map(Option::is_some).collect()
    }

    fn ask(
        &mut self,
        connection: usize,
        ask: Ask,
        generator: &mut Generator,
        tally: &mut Tally,
    ) -> Result<(), String> {
        self.correlation += 1;
        self.lines.push(format!("{connection}> {ask:?}"));
        let to_model = self.model_names.bind(&ask);
        let to_real = self.real_names.bind(&ask);
        self.sides.model.send(connection, &to_model, self.correlation);
        self.sides.real.send(connection, &to_real, self.correlation);
        self.waiting[connection] = Some(ask.clone());
        self.collect(connection, generator, tally)?;
        if self.waiting[connection].is_some() {
            tally.waited += 1;
            self.lines.push(format!("{connection}. waits"));
            self.sides.real.settle();
            if let Some(answer) = self.sides.real.receive(connection, &ask, Some(SILENCE)) {
                return Err(format!("the model waits, the broker answers {answer:#?}"));
            }
        }
        // What waited for this one.
        for other in 0..self.waiting.len() {
            self.collect(other, generator, tally)?;
        }
        let pause = match &ask {
            Ask::ConsumerGroupHeartbeat(_, one) if self.resolves(one) => PATTERNS,
            Ask::LeaveGroup(..) => TIMERS,
            _ => return Ok(()),
        };
        std::thread::sleep(pause);
        self.sides.model.pass();
        Ok(())
    }

    /// Whether patterns may be resolved after this heartbeat: one that brings a pattern, or one of the
    /// next of its group, as the first may only have removed another pattern.
    fn resolves(&mut self, request: &ConsumerGroupHeartbeatRequest) -> bool {
        let left = self.resolving.entry(request.group_id.clone()).or_default();
        *left = if request.subscribed_topic_regex.is_some() { RESOLVING } else { left.saturating_sub(1) };
        *left > 0
    }

    /// Takes an answer from both sides, if the model has one.
    fn collect(
        &mut self,
        connection: usize,
        generator: &mut Generator,
        tally: &mut Tally,
    ) -> Result<(), String> {
        let Some(ask) = self.waiting[connection].clone() else { return Ok(()) };
        let Some(model) = self.sides.model.receive(connection, &ask) else { return Ok(()) };
        self.waiting[connection] = None;
        let model = normal(model, &mut self.model_names);
        let Some(real) = self.sides.real.receive(connection, &ask, None) else {
            return Err(format!("the broker doesn't answer {ask:?}, the model {model:#?}"));
        };
        let real = normal(real, &mut self.real_names);
        self.lines.push(format!("{connection}< {real:?}"));
        compare(&ask, &model, &real)?;
        tally.answered(ask.title(), &real);
        generator.answered(connection, &ask, &real);
        Ok(())
    }
}

fn compare(ask: &Ask, model: &Answer, real: &Answer) -> Result<(), String> {
    if model == real {
        return Ok(());
    }
    let (model, real) = (format!("{model:?}"), format!("{real:?}"));
    let fields = model.split(", ").zip(real.split(", ")).filter(|(model, real)| model != real);
    let fields = fields.take(FIELDS).map(|(model, real)| format!("  model {model}\n  real  {real}"));
    let fields: Vec<String> = fields.collect();
    Err(format!("asked {ask:?}\nmodel {model}\nreal  {real}\n{}", fields.join("\n")))
}

//! From runs to rows.

use tidegate_benches::child::Measured;
use tidegate_benches::report::{Section, thousands};
use tidegate_benches::stats::median;

use crate::alone::Alone;
use crate::contender::Contender;

/// All runs of one contender on one topic, round by round.
pub(crate) struct Column<'a> {
    pub(crate) contender: &'a dyn Contender,
    pub(crate) runs: Vec<Measured>,
}

impl<'a> Column<'a> {
    pub(crate) fn new(contender: &'a dyn Contender) -> Self {
        Self { contender, runs: Vec::new() }
    }

    fn whole(&self) -> impl Iterator<Item = &Measured> {
        self.runs.iter().filter(|run| run.failure.is_none())
    }

    fn median(&self, value: impl Fn(&Measured) -> Option<f64>) -> Option<f64> {
        median(&self.whole().filter_map(value).collect::<Vec<_>>())
    }

    /// The median over the rounds of this contender's value by the floor's.
    fn ratio(&self, floor: &Self, value: impl Fn(&Measured) -> Option<f64>) -> Option<f64> {
        let rounds = self.runs.iter().zip(&floor.runs);
        let whole = rounds.filter(|(mine, floor)| mine.failure.is_none() && floor.failure.is_none());
        let ratio = |(mine, floor): (&Measured, &Measured)| Some(value(mine)? / value(floor)?);
        median(&whole.filter_map(ratio).collect::<Vec<_>>())
    }

    fn remark(&self) -> String {
        let Some(failure) = self.runs.iter().find_map(|run| run.failure.as_deref()) else {
            return if self.contender.commits() { String::new() } else { "no group".to_owned() };
        };
        let failed = self.runs.iter().filter(|run| run.failure.is_some()).count();
        format!("{failed} of {} runs: {failure}", self.runs.len())
    }
}

/// Messages a second, from the first one on; 0 for a run that took none.
pub(crate) fn rate(run: &Measured) -> f64 {
    let seconds = run.seconds - run.first.unwrap_or_default();
    if run.taken == 0 || seconds <= 0.0 { 0.0 } else { run.taken as f64 / seconds }
}

/// CPU seconds of the client for a million messages.
pub(crate) fn cost(run: &Measured) -> f64 {
    run.cpu * 1e6 / run.taken as f64
}

fn cell(value: Option<f64>, show: impl Fn(f64) -> String) -> String {
    value.map_or("–".to_owned(), show)
}

/// One row per contender.
pub(crate) fn throughput(title: String, columns: &[Column<'_>]) -> Section {
    let headings = [
        "contender",
        "msgs/s",
        "of floor",
        "CPU s/M",
        "of floor",
        "peak MiB",
        "first after ms",
        "msgs/s min–max",
        "remark",
    ];
    let floor = columns.iter().find(|one| one.contender.is_floor());
    let rows = columns.iter().map(|column| {
        let ratio =
            |value: fn(&Measured) -> f64| floor.and_then(|floor| column.ratio(floor, |run| Some(value(run))));
        let rates = || column.whole().map(rate);
        vec![
            column.contender.title(),
            cell(column.median(|run| Some(rate(run))), thousands),
            cell(ratio(rate), |ratio| format!("{ratio:.2}")),
            cell(column.median(|run| Some(cost(run))), |cost| format!("{cost:.3}")),
            cell(ratio(cost), |ratio| format!("{ratio:.1}×")),
            cell(column.median(|run| Some(run.peak)), |peak| format!("{peak:.1}")),
            cell(column.median(|run| run.first), |first| thousands(first * 1e3)),
            match (rates().min_by(f64::total_cmp), rates().max_by(f64::total_cmp)) {
                (Some(least), Some(most)) => format!("{}–{}", thousands(least), thousands(most)),
                _ => "–".to_owned(),
            },
            column.remark(),
        ]
    });
    Section { title, columns: headings.map(String::from).into(), rows: rows.collect(), remarks: Vec::new() }
}

/// One row per contender: delays.
pub(crate) fn latency(columns: &[Column<'_>], runs: usize) -> Section {
    let headings = ["contender", "p50 µs", "of floor", "p99 µs", "of floor", "peak MiB", "remark"];
    let floor = columns.iter().find(|one| one.contender.is_floor());
    let rows = columns.iter().map(|column| {
        let ratio = |value: fn(&Measured) -> Option<f64>| floor.and_then(|floor| column.ratio(floor, value));
        vec![
            column.contender.title(),
            cell(column.median(|run| run.p50), thousands),
            cell(ratio(|run| run.p50), |ratio| format!("{ratio:.2}×")),
            cell(column.median(|run| run.p99), thousands),
            cell(ratio(|run| run.p99), |ratio| format!("{ratio:.2}×")),
            cell(column.median(|run| Some(run.peak)), |peak| format!("{peak:.1}")),
            column.remark(),
        ]
    });
    Section {
        title: format!(
            "Microseconds from just before Produce to the application, 2,000 records a second, median of {runs}"
        ),
        columns: headings.map(String::from).into(),
        rows: rows.collect(),
        remarks: remarks(),
    }
}

/// The machine alone: medians of the runs on each topic.
pub(crate) fn alone(topics: &[(String, Vec<Alone>)]) -> Section {
    let rows = topics.iter().map(|(topic, runs)| {
        let of = |value: fn(&Alone) -> f64| {
            median(&runs.iter().map(value).collect::<Vec<_>>()).unwrap_or_default()
        };
        let nanos = of(|run| run.seconds * 1e9 / run.records as f64);
        let allocations = of(|run| run.allocations as f64 / run.records as f64);
        vec![topic.clone(), thousands(1e9 / nanos), format!("{nanos:.1}"), format!("{allocations:.4}")]
    });
    Section {
        title: "The machine alone, on captured bytes: checked, delivered, acked, committed".to_owned(),
        columns: ["records", "msgs/s", "ns a record", "allocations a record"].map(String::from).into(),
        rows: rows.collect(),
        remarks: vec![
            "One core; answers of 1 MiB in pieces of 256 KiB, as a socket gives them. CRC-32C is checked."
                .to_owned(),
        ],
    }
}

fn remarks() -> Vec<String> {
    let mut remarks = vec![
        "Each run is a process of its own, the only member of a group that nobody has used; rows are interleaved, \
         and a ratio is taken against the floor of the same round."
            .to_owned(),
        "The rate is from the first message in hand until every message is taken and the last commit confirmed; \
         what joining the group takes before that stands in a column of its own. CPU and memory are of the whole \
         run."
            .to_owned(),
        "Batches are of 64 KiB before compression; values are text that lz4 halves. In the latency runs the \
         producer is a thread of the same process, one record a request, and its memory counts too."
            .to_owned(),
    ];
    if cfg!(not(feature = "peers")) {
        remarks.push("The peers were not built: add `--features peers`.".to_owned());
    }
    remarks
}

//! From runs to rows.

use tidegate_benches::Failure;
use tidegate_benches::child::Measured;
use tidegate_benches::report::{Section, thousands};
use tidegate_benches::stats::median;

use crate::contender::Contender;
use crate::{alone, cost};

/// All runs of one contender on one stream, round by round.
pub(crate) struct Column<'a> {
    pub(crate) contender: &'a dyn Contender,
    pub(crate) throughput: Vec<Measured>,
    pub(crate) latency: Vec<Measured>,
}

impl<'a> Column<'a> {
    pub(crate) fn new(contender: &'a dyn Contender) -> Self {
        Self { contender, throughput: Vec::new(), latency: Vec::new() }
    }

    fn median(&self, value: impl Fn(&Measured) -> f64) -> Option<f64> {
        let whole = self.throughput.iter().filter(|run| run.failure.is_none());
        median(&whole.map(value).collect::<Vec<_>>())
    }

    /// The median over the rounds of this contender's value by the floor's.
    fn ratio(&self, floor: &Self, value: impl Fn(&Measured) -> f64) -> Option<f64> {
        let rounds = self.throughput.iter().zip(&floor.throughput);
        let whole = rounds.filter(|(mine, floor)| mine.failure.is_none() && floor.failure.is_none());
        median(&whole.map(|(mine, floor)| value(mine) / value(floor)).collect::<Vec<_>>())
    }

    fn delay(&self, value: impl Fn(&Measured) -> Option<f64>) -> Option<f64> {
        let whole = self.latency.iter().filter(|run| run.failure.is_none());
        median(&whole.filter_map(value).collect::<Vec<_>>())
    }

    fn remark(&self) -> String {
        let runs = || self.throughput.iter().chain(&self.latency);
        if let Some(failure) = runs().find_map(|run| run.failure.as_deref()) {
            let failed = runs().filter(|run| run.failure.is_some()).count();
            return format!("{failed} of {} runs: {failure}", runs().count());
        }
        let tails: Vec<f64> = self.throughput.iter().filter_map(|run| run.tail).collect();
        median(&tails).map(|tail| format!("last ack {tail:.1} s later")).unwrap_or_default()
    }
}

/// Messages a second; 0 for a run that took none.
pub(crate) fn rate(run: &Measured) -> f64 {
    if run.taken == 0 { 0.0 } else { run.taken as f64 / run.seconds }
}

/// CPU seconds of the client for a million messages.
fn cost(run: &Measured) -> f64 {
    run.cpu * 1e6 / run.taken as f64
}

/// One row per contender.
pub(crate) fn section(title: String, columns: &[Column<'_>], live: bool) -> Section {
    let mut headings = vec!["contender", "msgs/s", "of floor", "CPU s/M", "of floor", "peak MiB"];
    if live {
        headings.extend(["p50 µs", "p99 µs"]);
    }
    headings.extend(["msgs/s min–max", "remark"]);
    let mut rows = Vec::new();
    for column in columns {
        let acks = column.contender.acks();
        let floor = columns.iter().find(|one| one.contender.is_floor() && one.contender.acks() == acks);
        let cell = |value: Option<f64>, show: &dyn Fn(f64) -> String| value.map_or("–".to_owned(), show);
        let rate_ratio = floor.and_then(|floor| column.ratio(floor, rate));
        let cost_ratio = floor.and_then(|floor| column.ratio(floor, cost));
        let mut row = vec![
            column.contender.title(),
            cell(column.median(rate), &thousands),
            cell(rate_ratio, &|ratio| format!("{ratio:.2}")),
            cell(column.median(cost), &|cost| format!("{cost:.2}")),
            cell(cost_ratio, &|ratio| format!("{ratio:.1}×")),
            cell(column.median(|run| run.peak), &|peak| format!("{peak:.1}")),
        ];
        if live {
            row.push(cell(column.delay(|run| run.p50), &thousands));
            row.push(cell(column.delay(|run| run.p99), &thousands));
        }
        let rates = || column.throughput.iter().filter(|run| run.failure.is_none()).map(rate);
        let least = rates().min_by(f64::total_cmp);
        let most = rates().max_by(f64::total_cmp);
        row.push(match (least, most) {
            (Some(least), Some(most)) => format!("{}–{}", thousands(least), thousands(most)),
            _ => "–".to_owned(),
        });
        row.push(column.remark());
        rows.push(row);
    }
    Section { title, columns: headings.into_iter().map(String::from).collect(), rows, remarks: remarks(live) }
}

fn remarks(live: bool) -> Vec<String> {
    if !live {
        return Vec::new();
    }
    let mut remarks = vec![
        "Each run is a process of its own, the only member of a group created afresh; rows are interleaved, and \
         a ratio is taken against the floor of the same round (Immediate against Immediate)."
            .to_owned(),
        "The clock runs from before the connection until every message is taken and its ack confirmed. Where a \
         client cannot tell, it stops when all is taken and acked locally, and the remark says how much later \
         the broker had the last ack."
            .to_owned(),
        "Delays: from just before XADD to the application, 2,000 messages a second, producer in the same process."
            .to_owned(),
    ];
    if cfg!(not(feature = "peers")) {
        remarks.push("The peers were not built: add `--features peers`.".to_owned());
    }
    remarks
}

/// The machine alone: medians of `runs` runs of `replies` thousand entries.
pub(crate) fn alone(runs: usize, replies: usize) -> Result<Section, Failure> {
    let mut rows = Vec::new();
    for size in [100, 1_024] {
        let runs: Vec<_> = (0..runs).map(|_| alone::run(replies, size)).collect::<Result<_, _>>()?;
        let of = |value: fn(&alone::Alone) -> f64| median(&runs.iter().map(value).collect::<Vec<_>>());
        let speed = of(|run| run.entries_per_second).unwrap_or_default();
        let allocations = of(|run| run.allocations).unwrap_or_default();
        rows.push(vec![
            format!("{size} B"),
            thousands(speed),
            format!("{:.1}", 1e9 / speed),
            format!("{allocations:.4}"),
        ]);
    }
    Ok(Section {
        title: "The machine alone, on recorded bytes: read, delivered, acked, committed".to_owned(),
        columns: ["payload", "entries/s", "ns an entry", "allocations an entry"].map(String::from).into(),
        rows,
        remarks: vec![
            "One core; replies of 1,000 entries in pieces of 64 KiB, as a socket gives them.".to_owned(),
        ],
    })
}

/// What a timer, an ack and a commit cost by the number of un-acked messages: medians of `runs`.
pub(crate) fn cost_by_size(runs: usize) -> Section {
    let tables: Vec<_> = (0..runs).map(|_| cost::table()).collect();
    let sizes = tables.first().map_or(0, Vec::len);
    let rows = (0..sizes).map(|at| {
        let of = |value: fn(&cost::Cost) -> f64| {
            let values: Vec<f64> = tables.iter().map(|table| value(&table[at])).collect();
            format!("{:.0}", median(&values).unwrap_or_default())
        };
        let unacked = tables.first().map_or(0, |table| table[at].unacked);
        vec![thousands(unacked as f64), of(|row| row.timer), of(|row| row.ack), of(|row| row.commit)]
    });
    Section {
        title: "Nanoseconds by un-acked messages".to_owned(),
        columns: ["un-acked", "a timer", "an ack", "a commit, per message"].map(String::from).into(),
        rows: rows.collect(),
        remarks: vec![
            "Single messages acked all over batches of 100, none next to another: the worst case.".to_owned(),
        ],
    }
}

// What there is: the data as it was written by mod.rs, and how times are said.

const MICRO = 1, MILLI = 1e3, SECOND = 1e6, MINUTE = 60e6, HOUR = 3600e6, DAY = 86400e6;

const ORIGINS = ["new", "recovered", "claimed"];
const ENDS = ["acked", "abandoned", "open"];
const SPANS = ["alive", "owned", "frozen", "disconnected", "outage"];
// In the order of painting: what must not be overlooked comes last.
const MARKS = [
  "committed", "notice", "assigned", "revoked", "started", "closed", "claimed", "killed", "fault", "violation",
];
/** What marks are called, where that isn't their kind. */
const MARK_LABELS = { committed: "commit", started: "start", closed: "close", claimed: "claim", killed: "kill" };

const model = (() => {
  const [members, texts, holds, spans, marks, owned] = JSON.parse(document.getElementById("data").textContent);
  let first = Infinity, last = 0;
  const see = (from, until) => {
    first = Math.min(first, from);
    last = Math.max(last, until ?? from);
  };
  const byStart = (a, b) => a.from - b.from;
  const rows = members.map((name) => ({ name, holds: [], spans: [], marks: [], messages: 0, abandoned: 0 }));
  const broker = { name: "broker", spans: [], marks: [] };
  for (const [member, shard, low, high, messages, from, until, origin, end] of holds) {
    const row = rows[member];
    see(from, until);
    row.messages += messages;
    row.abandoned += texts[end] === "abandoned";
    row.holds.push({
      shard: texts[shard], member: members[member], low, high, messages, from, until,
      origin: ORIGINS.indexOf(texts[origin]), end: ENDS.indexOf(texts[end]),
    });
  }
  for (const [member, kind, from, until, text] of spans) {
    see(from, until);
    (rows[member] ?? broker).spans.push({ kind: texts[kind], from, until, text: texts[text] });
  }
  for (const [member, kind, at, text] of marks) {
    see(at, at);
    (rows[member] ?? broker).marks.push({ kind: texts[kind], from: at, text: texts[text] });
  }
  // The same by shard: who read it, what was held of it, and when it changed hands.
  const shards = new Map();
  const shardRow = (name) => {
    if (!shards.has(name)) shards.set(name, { name, holds: [], spans: [], marks: [], messages: 0, abandoned: 0 });
    return shards.get(name);
  };
  for (const [member, shard, from, until] of owned) {
    see(from, until);
    const row = shardRow(texts[shard]);
    row.spans.push({ kind: "owned", owner: member, from, until, text: members[member] });
    row.marks.push({ kind: "assigned", from, text: `assigned to ${members[member]}` });
    if (until !== null) row.marks.push({ kind: "revoked", from: until, text: `no longer of ${members[member]}` });
  }
  for (const row of rows) {
    for (const hold of row.holds) {
      const of = shardRow(hold.shard);
      of.messages += hold.messages;
      of.abandoned += hold.end === 1;
      of.holds.push(hold);
    }
  }
  const shardRows = [...shards.values()].sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
  if (first > last) first = 0;
  // A run that begins within its first hundredth begins at 0.
  if (first < last / 100) first = 0;
  if (last - first < 10) last = first + 10;
  for (const row of [...rows, ...shardRows, broker]) {
    row.holds?.sort(byStart);
    row.spans.sort(byStart);
    row.marks.sort(byStart);
    // Where something has no end it goes on to the last moment that is known.
    for (const one of [...(row.holds ?? []), ...row.spans]) one.to = Math.max(one.until ?? last, one.from);
  }
  const counts = {};
  const count = (key) => (counts[key] = (counts[key] ?? 0) + 1);
  for (const row of rows) {
    for (const hold of row.holds) {
      count("hold " + ORIGINS[hold.origin]);
      count("end " + ENDS[hold.end]);
    }
  }
  for (const row of [...rows, broker]) {
    row.spans.forEach((span) => count("span " + span.kind));
    row.marks.forEach((mark) => count("mark " + mark.kind));
  }
  shardRows.forEach((row) => row.spans.forEach((span) => count("span " + span.kind)));
  return { rows, shardRows, broker, first, last, counts };
})();

const trimmed = (number, digits) => String(Number(number.toFixed(digits)));

/** Microseconds as people say them: "3 h 20 min 5.25 s"; not finer than `step`. */
const say = (micros, step = MILLI) => {
  const time = Math.round(micros / step) * step;
  if (time < 0) return "−" + say(-time, step);
  if (time > 0 && time < MILLI) return trimmed(time, 0) + " µs";
  if (time > 0 && time < SECOND) return trimmed(time / MILLI, 3) + " ms";
  const words = [];
  let rest = time;
  for (const [unit, name] of [[DAY, "d"], [HOUR, "h"], [MINUTE, "min"]]) {
    const whole = Math.floor(rest / unit);
    rest -= whole * unit;
    if (whole > 0) words.push(whole + " " + name);
  }
  const digits = Math.max(0, Math.ceil(-Math.log10(step / SECOND) - 1e-9));
  if (rest > 0 || words.length === 0) words.push(trimmed(rest / SECOND, digits) + " s");
  return words.join(" ");
};

/** How long something took, to the microsecond where that matters. */
const sayLong = (micros) => say(micros, micros < 10 * MILLI ? MICRO : MILLI);

const grouped = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, "\u202f");

/** Distances between ticks that people count in. */
const STEPS = (() => {
  const steps = [];
  for (let unit = MICRO; unit < SECOND; unit *= 10) steps.push(unit, 2 * unit, 5 * unit);
  for (const [unit, counts] of [
    [SECOND, [1, 2, 5, 10, 15, 30]], [MINUTE, [1, 2, 5, 10, 15, 30]], [HOUR, [1, 2, 3, 6, 12]],
    [DAY, [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10000, 100000]],
  ]) steps.push(...counts.map((count) => count * unit));
  return steps;
})();

/**
 * Puts what overlaps into lanes: at most `most`; if that isn't enough, the last one is `rest`,
 * where anything may overlap. In a lane, starts and ends both ascend.
 */
const pack = (items, most) => {
  const fill = (count) => {
    const lanes = [], ends = [], rest = [];
    for (const item of items) {
      let lane = ends.findIndex((end) => end <= item.from);
      if (lane < 0 && lanes.length < count) lane = lanes.push([]) - 1;
      if (lane < 0) rest.push(item);
      else {
        lanes[lane].push(item);
        ends[lane] = item.to;
      }
    }
    return { lanes, rest };
  };
  const packed = fill(most);
  return packed.rest.length > 0 ? fill(most - 1) : packed;
};

const firstBy = (items, key, time) => {
  let low = 0, high = items.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (items[middle][key] < time) low = middle + 1;
    else high = middle;
  }
  return low;
};

/** The first of a lane that ends at `time` or later. */
const firstAt = (lane, time) => firstBy(lane, "to", time);

/** The first that begins at `time` or later. */
const firstFrom = (items, time) => firstBy(items, "from", time);

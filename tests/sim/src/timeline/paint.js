// The picture: rows by member or by shard, lanes of holds in each, a head with the time and the broker.

const AXIS = 26, HEAD_LANE = 20, LANE_MAX = 32, LANES_MAX = 24, ROW_MIN = 13, TALL = 40;

const canvas = document.getElementById("canvas");
const c = canvas.getContext("2d");
const frame = document.getElementById("rows");

const view = {
  from: model.first, to: model.last, whole: [model.first, model.last],
  off: new Set(), members: [], shards: [], scale: 1, byShard: false,
};
/** What follows from the view and the window's size. */
const place = { width: 0, height: 0, gutter: 0, head: AXIS, plot: 1, row: ROW_MIN, rows: [], spans: [], marks: [], broken: [], lanes: [] };

const xOf = (time) => place.gutter + ((time - view.from) / (view.to - view.from)) * place.plot;
const timeOf = (x) => view.from + ((x - place.gutter) / place.plot) * (view.to - view.from);
const clampX = (x) => Math.min(Math.max(x, place.gutter - 20), place.width + 20);
const shown = (group, kind) => !view.off.has(group + " " + kind);
const fits = (text, parts) => parts.length === 0 || parts.some((part) => text.toLowerCase().includes(part));

/** Which rows and what of them is shown; after a change of filters. */
const choose = () => {
  place.rows = view.byShard
    ? model.shardRows.filter((row) => fits(row.name, view.shards))
    : model.rows.filter((row) => fits(row.name, view.members));
  for (const row of place.rows) {
    row.held = row.holds.filter((hold) =>
      shown("hold", ORIGINS[hold.origin]) && shown("end", ENDS[hold.end]) &&
      fits(hold.shard, view.shards) && fits(hold.member, view.members));
    const marks = row.marks.filter((mark) => shown("mark", mark.kind));
    row.commits = marks.filter((mark) => mark.kind === "committed");
    row.moments = marks.filter((mark) => mark.kind !== "committed");
    row.ordered = MARKS.flatMap((kind) => row.moments.filter((mark) => mark.kind === kind));
    row.packed = null;
  }
  place.deepest = null;
  place.spans = pack(model.broker.spans.filter((span) => shown("span", span.kind)), 3);
  // Broken promises of members are said at the top too.
  const broken = place.rows.flatMap((row) =>
    row.moments.filter((mark) => mark.kind === "violation").map((mark) => ({ ...mark, text: `${row.name}: ${mark.text}` })));
  const all = [...model.broker.marks.filter((mark) => shown("mark", mark.kind)), ...broken];
  all.sort((a, b) => a.from - b.from);
  place.marks = all.filter((mark) => mark.kind !== "violation");
  place.broken = all.filter((mark) => mark.kind === "violation");
  layOut();
};

/** How many lanes the fullest row could use. */
const deepest = () => {
  place.deepest ??= Math.max(0, ...place.rows.map((row) => pack(row.held, LANES_MAX).lanes.length));
  return place.deepest;
};

/** Where everything is; after a change of size. */
const layOut = () => {
  const ratio = window.devicePixelRatio || 1;
  place.width = frame.clientWidth;
  place.height = frame.clientHeight;
  canvas.width = Math.round(place.width * ratio);
  canvas.height = Math.round(place.height * ratio);
  canvas.style.width = place.width + "px";
  canvas.style.height = place.height + "px";
  c.setTransform(canvas.width / place.width, 0, 0, canvas.height / place.height, 0, 0);
  c.font = font(12.5, 500);
  const longest = [...model.rows, ...model.shardRows].reduce((most, row) => Math.max(most, c.measureText(row.name).width), 88);
  place.gutter = Math.ceil(Math.min(longest + 26, Math.max(place.width * 0.2, 110)));
  // At the right some room for arrows of what goes on.
  place.plot = Math.max(place.width - place.gutter - 14, 10);
  const { lanes, rest } = place.spans;
  place.lanes = [
    ...[...lanes, rest].map((items, at) => ({ name: at === 0 ? "broker" : "", items, draw: paintHeadSpans })),
    { name: "events", items: place.marks, draw: paintHeadMarks },
    { name: "violations", items: place.broken, draw: paintHeadMarks },
  ].filter((lane) => lane.items.length > 0);
  place.head = AXIS + HEAD_LANE * place.lanes.length;
  const room = (place.height - place.head - 2) / Math.max(place.rows.length, 1);
  // As high as there is room, but no higher than what is to be shown in it.
  const wanted = room < TALL ? room : 2 * TALL + LANE_MAX * Math.max(deepest() - 1, 0);
  place.row = Math.max(ROW_MIN, Math.floor(Math.min(room, wanted) * view.scale));
  document.getElementById("all").style.height = place.head + place.row * place.rows.length + "px";
  const tall = place.row >= TALL;
  place.strip = tall ? 16 : 0;
  place.ticks = tall ? 8 : 3;
  const inner = place.row - 4 - place.strip - (tall ? place.ticks : 0);
  const most = Math.max(1, Math.min(LANES_MAX, Math.floor(inner / (tall ? 10 : 4))));
  for (const row of place.rows) {
    if (row.packed?.most !== most) row.packed = { most, ...pack(row.held, most) };
    const units = Math.max(row.packed.lanes.length + (row.packed.rest.length > 0 ? 2 : 0), 1);
    row.lane = Math.min(LANE_MAX, Math.floor(inner / units));
    row.restHeight = inner - row.lane * row.packed.lanes.length;
    row.restHeight = Math.min(row.restHeight, 3 * LANE_MAX);
  }
  // At once: the canvas was emptied.
  paint();
};

let asked = false;
const requestPaint = () => {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    paint();
  });
};

const rowTop = (index) => place.head + index * place.row - frame.scrollTop;
const laneTop = (row, index, lane) => rowTop(index) + 2 + place.strip + lane * row.lane;
const within = (x, y, width, height, draw) => {
  c.save();
  c.beginPath();
  c.rect(x, y, width, height);
  c.clip();
  draw();
  c.restore();
};

const paint = () => {
  const { width, height, gutter, head, rows } = place;
  c.fillStyle = colors.panel;
  c.fillRect(0, 0, width, height);
  const ticks = findTicks();
  const seen = [];
  rows.forEach((row, index) => {
    const top = rowTop(index);
    if (top < height && top + place.row > head) seen.push([row, index, top]);
  });
  const bottom = Math.min(height, rowTop(rows.length));
  within(gutter, head, width - gutter, Math.max(bottom - head, 0), () => {
    for (const [row, , top] of seen) paintSpans(row, top);
    c.fillStyle = colors.grid;
    for (const tick of ticks) c.fillRect(Math.round(xOf(tick)), head, 1, bottom - head);
    paintBands(head, bottom);
    for (const [row, index, top] of seen) {
      paintCommits(row, top);
      row.packed.lanes.forEach((lane, at) =>
        paintLane(lane, laneTop(row, index, at), row.lane - (row.lane > 5 ? 2 : row.lane > 2 ? 1 : 0)));
      paintRest(row, laneTop(row, index, row.packed.lanes.length));
      paintMarks(row, top);
      c.fillStyle = colors.line;
      c.fillRect(gutter, top + place.row - 1, width, 1);
    }
    paintLines(head, bottom);
  });
  paintHead(ticks);
  paintNames(seen);
  if (rows.length === 0) {
    c.fillStyle = colors.soft;
    c.font = font(13);
    c.textAlign = "left";
    const [all, what] = view.byShard ? [model.shardRows, "shard"] : [model.rows, "member"];
    c.fillText(all.length === 0 ? `There is no ${what}.` : `No ${what} matches the filter.`, gutter + 16, head + 28);
  }
};

const findTicks = () => {
  c.font = font(11.5);
  const long = view.to - view.from;
  const step = STEPS.find((step) => {
    const room = (step / long) * place.plot;
    return room > 48 && room > c.measureText(say(Math.floor(view.to / step) * step, step)).width + 22;
  }) ?? STEPS[STEPS.length - 1];
  const ticks = [];
  for (let tick = Math.ceil(view.from / step) * step; tick <= view.to; tick += step) ticks.push(tick);
  ticks.step = step;
  return ticks;
};

const paintSpans = (row, top) => {
  const last = {};
  for (const kind of SPANS) {
    if (!shown("span", kind)) continue;
    for (const span of row.spans) {
      if (span.kind !== kind || span.to < view.from || span.from > view.to) continue;
      const left = clampX(xOf(span.from)), right = clampX(Math.max(xOf(span.to), xOf(span.from) + 1.5));
      if (right - left < 2 && left - last[kind] < 1) continue;
      last[kind] = left;
      if (kind === "owned") drawOwned(c, span, left, top + 1, right - left, place.row - 3);
      else drawSpan(c, kind, left, top + 1, right - left, place.row - 3);
    }
  }
};

/** What concerns all, over all rows. */
const paintBands = (top, bottom) => {
  for (const span of [...place.spans.lanes.flat(), ...place.spans.rest]) {
    if (span.to < view.from || span.from > view.to) continue;
    const left = clampX(xOf(span.from)), right = clampX(Math.max(xOf(span.to), xOf(span.from) + 1.5));
    c.globalAlpha = 0.8;
    drawSpan(c, span.kind, left, top, right - left, bottom - top);
    c.globalAlpha = 0.55;
    c.fillStyle = bandColor(span.kind);
    c.fillRect(left, top, 1, bottom - top);
    if (right - left > 3) c.fillRect(right - 1, top, 1, bottom - top);
    c.globalAlpha = 1;
  }
};

const bandColor = (kind) =>
  kind === "outage" ? colors.outage : kind === "frozen" ? colors["frozen-ink"] : kind === "alive" ? colors.faint : colors["cut-ink"];

/** One lane: what is wide enough is drawn, the rest is gathered by pixel. */
const paintLane = (lane, y, height) => {
  const run = { from: 0, to: 0, kind: -1, alpha: 0 };
  const flushRun = () => {
    if (run.kind < 0) return;
    c.globalAlpha = run.alpha;
    c.fillStyle = colors[ORIGINS[run.kind]];
    c.fillRect(run.from, y, run.to - run.from, height);
    c.globalAlpha = 1;
    run.kind = -1;
  };
  const abandoned = [];
  let pixel = -1, covered = 0, kind = -1;
  const flushPixel = () => {
    if (kind < 0) return;
    // How much of the pixel is covered, in steps, so that neighbours become one rectangle.
    const alpha = covered > 0.66 ? 1 : covered > 0.33 ? 0.75 : 0.5;
    if (run.kind !== kind || run.alpha !== alpha || run.to !== pixel) {
      flushRun();
      Object.assign(run, { from: pixel, kind, alpha });
    }
    run.to = pixel + 1;
    kind = -1;
    covered = 0;
  };
  for (let at = firstAt(lane, view.from); at < lane.length; at++) {
    const hold = lane[at];
    if (hold.from > view.to) break;
    const left = xOf(hold.from), right = xOf(hold.to);
    if (right - left >= 1.5) {
      flushPixel();
      flushRun();
      drawHold(c, hold, clampX(left), clampX(right), y, height, view.byShard ? hold.member : hold.shard);
      continue;
    }
    const here = Math.floor(left);
    if (here !== pixel) {
      flushPixel();
      pixel = here;
    }
    covered += right - left;
    // The rarer kind is seen.
    kind = Math.max(kind, hold.origin);
    if (hold.end === 1 && abandoned[abandoned.length - 1] !== here) abandoned.push(here);
  }
  flushPixel();
  flushRun();
  c.fillStyle = colors.ink;
  for (const x of abandoned) c.fillRect(x, y - 1, 2, height + 2);
};

/** What found no lane, as an area: how many at a time, by origin. */
const paintRest = (row, y) => {
  if (row.packed.rest.length === 0) return;
  const pixels = Math.ceil(place.plot) + 16;
  const sums = ORIGINS.map(() => new Float64Array(pixels + 2));
  const parts = ORIGINS.map(() => new Float64Array(pixels + 2));
  const abandoned = new Set();
  const clamp = (x) => Math.min(Math.max(x - place.gutter, 0), pixels);
  for (const hold of row.packed.rest) {
    if (hold.to < view.from) continue;
    if (hold.from > view.to) break;
    const left = clamp(xOf(hold.from)), right = clamp(xOf(hold.to));
    const low = Math.floor(left), high = Math.floor(right);
    const [sum, part] = [sums[hold.origin], parts[hold.origin]];
    if (low === high) part[low] += Math.max(right - left, 0.05);
    else {
      part[low] += low + 1 - left;
      part[high] += right - high;
      sum[low + 1] += 1;
      sum[high] -= 1;
    }
    if (hold.end === 1) abandoned.add(high);
  }
  let peak = 1;
  for (let x = 0; x < pixels; x++) {
    let all = 0;
    sums.forEach((sum, origin) => {
      if (x > 0) sum[x] += sum[x - 1];
      parts[origin][x] += sum[x];
      all += parts[origin][x];
    });
    peak = Math.max(peak, all);
  }
  const height = row.restHeight - 2;
  const grown = new Float64Array(pixels);
  ORIGINS.forEach((kind, origin) => {
    c.fillStyle = colors[kind];
    const part = parts[origin];
    for (let x = 0, next; x < pixels; x = next) {
      // Neighbours that are alike become one rectangle.
      const [value, below] = [part[x], grown[x]];
      for (next = x + 1; next < pixels && part[next] === value && grown[next] === below;) next++;
      if (value < 0.02) continue;
      const high = Math.max((value / peak) * height, 0.7);
      c.fillRect(place.gutter + x, y + height - below - high, next - x, high);
      grown.fill(below + high, x, next);
    }
  });
  c.fillStyle = colors.ink;
  for (const x of abandoned) c.fillRect(place.gutter + x - 1, y, 1.5, Math.min(5, height));
};

/** Under the holds, where there is no strip for them: holds say more. */
const paintCommits = (row, top) => {
  const { commits } = row;
  let last = -Infinity;
  c.globalAlpha = place.strip > 0 ? 1 : 0.6;
  for (let at = firstFrom(commits, view.from); at < commits.length && commits[at].from <= view.to; at++) {
    const x = xOf(commits[at].from);
    if (x - last < 2) continue;
    last = x;
    drawMark(c, "committed", x, top + place.row - 2 - place.ticks / 2, place.ticks - 1);
  }
  c.globalAlpha = 1;
};

const paintMarks = (row, top) => {
  const tall = place.strip > 0;
  const size = tall ? 10 : Math.min(9, place.row - 5);
  const last = {};
  let right = -Infinity;
  for (const mark of tall ? row.moments : row.ordered) {
    if (mark.from < view.from || mark.from > view.to) continue;
    const { kind } = mark;
    let x = xOf(mark.from);
    if (x - last[kind] < (kind === "violation" ? 1 : 5)) continue;
    last[kind] = x;
    // In a strip of their own marks stand side by side, if they don't have to go far for it.
    if (tall && x < right + size + 1 && right + size + 1 - x < 26) x = right + size + 1;
    right = Math.max(right, x);
    drawMark(c, kind, x, tall ? top + 9 : top + place.row / 2 - 0.5, size);
  }
};

/** Moments that concern all rows, and broken promises. */
const paintLines = (top, bottom) => {
  const line = (mark, color, dash) => {
    if (mark.from < view.from || mark.from > view.to) return;
    const x = Math.round(xOf(mark.from)) + 0.5;
    c.strokeStyle = color;
    c.lineWidth = 1;
    c.setLineDash(dash);
    c.beginPath();
    c.moveTo(x, top);
    c.lineTo(x, bottom);
    c.stroke();
    c.setLineDash([]);
  };
  let last = -Infinity;
  for (const mark of place.marks) {
    if (mark.kind !== "fault" || xOf(mark.from) - last < 2) continue;
    last = xOf(mark.from);
    line(mark, colors.fault, [3, 4]);
  }
  place.broken.forEach((mark) => line(mark, colors.bad, []));
};

const paintHead = (ticks) => {
  const { width, gutter, head } = place;
  c.fillStyle = colors.panel;
  c.fillRect(0, 0, width, head);
  within(gutter, 0, width - gutter, head, () => {
    c.font = font(11.5);
    c.textBaseline = "middle";
    for (const tick of ticks) {
      const x = Math.round(xOf(tick));
      c.fillStyle = colors.line;
      c.fillRect(x, AXIS - 6, 1, head);
      c.fillStyle = colors.soft;
      const text = say(tick, Math.min(ticks.step, SECOND));
      const half = c.measureText(text).width / 2;
      c.textAlign = "center";
      c.fillText(text, Math.min(Math.max(x, gutter + half + 2), width - half - 4), 11);
    }
    place.lanes.forEach((lane, at) => lane.draw(lane.items, AXIS + at * HEAD_LANE));
  });
  c.fillStyle = colors.line;
  c.fillRect(0, AXIS - 1, width, 1);
  c.fillRect(0, head - 1, width, 1);
};

const paintHeadSpans = (lane, y) => {
  c.font = font(11, 500);
  c.textAlign = "left";
  lane.forEach((span, at) => {
    if (span.to < view.from || span.from > view.to) return;
    const left = clampX(xOf(span.from)), right = clampX(Math.max(xOf(span.to), xOf(span.from) + 2));
    c.fillStyle = bandColor(span.kind);
    c.fillRect(left, y + 2, right - left, HEAD_LANE - 5);
    const from = Math.max(left, place.gutter);
    const text = span.text || span.kind;
    const next = at + 1 < lane.length ? xOf(lane[at + 1].from) : place.width;
    // Beside it, where that tells more.
    const isInside = c.measureText(text).width <= right - from - 8 || next - right < right - from;
    c.fillStyle = isInside ? colors.panel : colors.ink;
    const room = isInside ? right - from - 8 : next - right - 10;
    c.fillText(fitted(c, text, room), isInside ? from + 4 : right + 5, y + HEAD_LANE / 2);
  });
};

const paintHeadMarks = (lane, top) => {
  const y = top + HEAD_LANE / 2;
  const marks = lane.filter((mark) => mark.from >= view.from && mark.from <= view.to);
  c.font = font(11);
  c.textAlign = "left";
  let last = -Infinity, taken = place.gutter;
  marks.forEach((mark, at) => {
    const x = xOf(mark.from);
    if (x - last < 4 && mark.kind !== "violation") return;
    last = x;
    const next = at + 1 < marks.length ? xOf(marks[at + 1].from) - 8 : place.width;
    const isLeft = c.measureText(mark.text).width > next - x - 12 && x - taken > next - x;
    const text = fitted(c, mark.text, (isLeft ? x - taken : next - x) - 12);
    const from = isLeft ? x - 9 - c.measureText(text).width : x + 9;
    const isShown = text.length > 3 || text === mark.text;
    c.fillStyle = mark.kind === "violation" ? colors.bad : colors.ink;
    if (isShown) c.fillText(text, from, y);
    taken = isShown && !isLeft ? from + c.measureText(text).width + 6 : x + 8;
    drawMark(c, mark.kind, x, y, 10);
  });
};

const paintNames = (seen) => {
  const { gutter, head, height } = place;
  c.fillStyle = colors.panel;
  c.fillRect(0, head, gutter, height);
  c.textAlign = "left";
  c.textBaseline = "middle";
  within(0, head, gutter, height - head, () => {
    for (const [row, , top] of seen) {
      const tall = place.row >= TALL;
      c.font = font(Math.min(12.5, place.row - 3), 500);
      c.fillStyle = colors.ink;
      const middle = top + place.row / 2;
      c.fillText(fitted(c, row.name, gutter - 20), 12, tall ? top + 17 : middle);
      if (tall) {
        c.font = font(11);
        c.fillStyle = colors.soft;
        const lines = [grouped(row.messages) + " messages", grouped(row.abandoned) + " abandoned"];
        lines.slice(0, row.abandoned > 0 && place.row >= 54 ? 2 : 1).forEach((line, at) =>
          c.fillText(fitted(c, line, gutter - 20), 12, top + 33 + 14 * at));
      }
      c.fillStyle = colors.line;
      c.fillRect(0, top + place.row - 1, gutter, 1);
    }
  });
  c.font = font(11.5, 500);
  c.fillStyle = colors.soft;
  c.fillText("time", 12, 12);
  place.lanes.forEach((lane, at) => c.fillText(lane.name, 12, AXIS + (at + 0.5) * HEAD_LANE));
  c.fillStyle = colors.line;
  c.fillRect(gutter - 1, 0, 1, height);
};

/** The number of the row at this height; -1 for the head and what is below. */
const rowAt = (y) => {
  if (y < place.head) return -1;
  const row = Math.floor((y + frame.scrollTop - place.head) / place.row);
  return row < place.rows.length ? row : -1;
};

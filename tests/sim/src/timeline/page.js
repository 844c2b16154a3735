// The page around the picture: legend, filters, moving about, and what is under the pointer.

const byId = (id) => document.getElementById(id);

// ---- the legend

const LEGEND = [
  ["Holds", "hold", ORIGINS, (kind) => (c) => drawHold(c, { origin: ORIGINS.indexOf(kind), end: 0 }, 1, 20, 2, 10)],
  ["ended", "end", ENDS, (kind) => (c) => drawHold(c, { origin: 0, end: ENDS.indexOf(kind) }, 1, kind === "open" ? 14 : 20, 2, 10)],
  ["States", "span", SPANS, (kind) => (c) => drawSpan(c, kind, 1, 1, 18, 12)],
  ["Moments", "mark", [...MARKS].reverse(), (kind) => (c) => drawMark(c, kind, 10, 7, 10)],
];

const swatches = [];

const makeLegend = () => {
  const legend = byId("legend");
  for (const [title, group, kinds, draw] of LEGEND) {
    const box = document.createElement("div");
    const name = document.createElement("h2");
    name.textContent = title;
    box.append(name);
    for (const kind of kinds) {
      const count = model.counts[group + " " + kind] ?? 0;
      if (count === 0) continue;
      const button = document.createElement("button");
      const sample = document.createElement("canvas");
      const number = document.createElement("b");
      number.textContent = grouped(count);
      button.title = "Show or hide; with Shift: only this one of its kind";
      button.dataset.key = group + " " + kind;
      button.append(sample, (group === "mark" && MARK_LABELS[kind]) || kind, number);
      button.addEventListener("click", (event) => toggle(group, kind, kinds, event.shiftKey));
      box.append(button);
      swatches.push([sample, draw(kind)]);
    }
    if (box.childElementCount > 1) legend.append(box);
  }
  showLegend();
};

const toggle = (group, kind, kinds, only) => {
  const key = group + " " + kind;
  if (only) {
    const others = kinds.map((other) => group + " " + other).filter((other) => other !== key);
    const isOnly = !view.off.has(key) && others.every((other) => view.off.has(other));
    view.off.delete(key);
    others.forEach((other) => (isOnly ? view.off.delete(other) : view.off.add(other)));
  } else if (!view.off.delete(key)) view.off.add(key);
  showLegend();
  choose();
};

const showLegend = () => {
  for (const button of document.querySelectorAll("#legend button")) {
    button.setAttribute("aria-pressed", String(!view.off.has(button.dataset.key)));
  }
};

const drawSwatches = () => {
  const ratio = window.devicePixelRatio || 1;
  for (const [sample, draw] of swatches) {
    sample.width = 20 * ratio;
    sample.height = 14 * ratio;
    const c = sample.getContext("2d");
    c.scale(ratio, ratio);
    draw(c);
  }
};

// ---- moving about

const show = (from, to) => {
  const [first, last] = view.whole;
  const long = Math.min(Math.max(to - from, 10), last - first);
  view.from = Math.min(Math.max(from, first), last - long);
  view.to = view.from + long;
  const whole = long === last - first;
  byId("window").textContent = whole ? "" : `${say(view.from)} – ${say(view.to)}`;
  byId("reset").disabled = whole;
  requestPaint();
};

const zoom = (factor, x = place.gutter + place.plot / 2) => {
  const center = timeOf(x);
  show(center - (center - view.from) * factor, center + (view.to - center) * factor);
};

const pan = (pixels) => {
  const time = (pixels / place.plot) * (view.to - view.from);
  show(view.from + time, view.to + time);
};

const reset = () => show(...view.whole);

canvas.addEventListener("wheel", (event) => {
  const overNames = event.offsetX < place.gutter;
  const pixels = event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? 400 : 1;
  const [dx, dy] = [event.deltaX * pixels, event.deltaY * pixels];
  if (overNames && !event.ctrlKey) return;
  event.preventDefault();
  if (event.shiftKey) pan(dx || dy);
  else if (Math.abs(dx) > Math.abs(dy)) pan(dx);
  else zoom(Math.exp(Math.min(Math.max(dy, -400), 400) * 0.0016), event.offsetX);
}, { passive: false });

let drag = null;
canvas.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  drag = { x: event.clientX, y: event.clientY };
  canvas.setPointerCapture(event.pointerId);
  canvas.classList.add("dragging");
});
canvas.addEventListener("pointermove", (event) => {
  if (drag) {
    pan(drag.x - event.clientX);
    frame.scrollTop += drag.y - event.clientY;
    drag = { x: event.clientX, y: event.clientY };
  }
  showTip(drag ? null : event);
  showCross(event);
});
const drop = () => {
  drag = null;
  canvas.classList.remove("dragging");
};
canvas.addEventListener("pointerup", drop);
canvas.addEventListener("pointercancel", drop);
canvas.addEventListener("pointerleave", () => {
  showTip(null);
  showCross(null);
});
canvas.addEventListener("dblclick", reset);
canvas.addEventListener("keydown", (event) => {
  const keys = {
    ArrowLeft: () => pan(-place.plot / 8), ArrowRight: () => pan(place.plot / 8),
    ArrowUp: () => (frame.scrollTop -= 3 * place.row), ArrowDown: () => (frame.scrollTop += 3 * place.row),
    "+": () => zoom(0.7), "=": () => zoom(0.7), "-": () => zoom(1 / 0.7), 0: reset, Home: reset,
  };
  if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  keys[event.key]();
});
frame.addEventListener("scroll", requestPaint);
byId("in").addEventListener("click", () => zoom(0.5));
byId("out").addEventListener("click", () => zoom(2));
byId("reset").addEventListener("click", reset);
const scale = (factor) => {
  view.scale = Math.min(Math.max(view.scale * factor, 0.2), 8);
  layOut();
};
byId("lower").addEventListener("click", () => scale(0.75));
byId("higher").addEventListener("click", () => scale(1 / 0.75));
const rowsBy = (shard) => {
  view.byShard = shard;
  byId("by-member").setAttribute("aria-pressed", String(!shard));
  byId("by-shard").setAttribute("aria-pressed", String(shard));
  frame.scrollTop = 0;
  choose();
};
byId("by-member").addEventListener("click", () => rowsBy(false));
byId("by-shard").addEventListener("click", () => rowsBy(true));
for (const id of ["members", "shards"]) {
  byId(id).addEventListener("input", (event) => {
    view[id] = event.target.value.toLowerCase().split(/[\s,]+/).filter((part) => part);
    frame.scrollTop = 0;
    choose();
  });
}

// ---- broken promises: one button leads from each to the next

const violations = [...model.rows, model.broker]
  .flatMap((row, index) => row.marks.filter((mark) => mark.kind === "violation").map((mark) => ({ mark, index })))
  .sort((a, b) => a.mark.from - b.mark.from);
if (violations.length > 0) {
  let next = 0;
  const button = byId("wrong");
  button.hidden = false;
  button.textContent = violations.length === 1 ? "1 violation: show" : `${grouped(violations.length)} violations: show next`;
  button.addEventListener("click", () => {
    const { mark, index } = violations[next++ % violations.length];
    const long = (view.whole[1] - view.whole[0]) / 20;
    show(mark.from - long / 2, mark.from + long / 2);
    const row = place.rows.indexOf(model.rows[index]);
    if (row >= 0) frame.scrollTop = row * place.row - place.height / 2;
  });
}

// ---- what is under the pointer

const TIP_MAX = 5;

const describeHold = (hold) => {
  const ids = hold.low === hold.high ? hold.low : `${hold.low} … ${hold.high}`;
  const until = hold.until === null ? "" : ` – ${say(hold.until)}, for ${sayLong(hold.to - hold.from)}`;
  const end = { acked: "all acked", abandoned: "abandoned: the member was gone first", open: "still held at the end" };
  const messages = hold.messages === 1 ? "1 message" : grouped(hold.messages) + " messages";
  const name = view.byShard ? hold.member : hold.shard;
  return [`${name} · ${messages} · ${ORIGINS[hold.origin]}`, ids, `${say(hold.from)}${until}`, end[ENDS[hold.end]]];
};
const describeSpan = (span) => [
  span.kind, span.text,
  span.until === null ? `${say(span.from)} – the end` : `${say(span.from)} – ${say(span.until)}, for ${sayLong(span.to - span.from)}`,
];
const describeMark = (mark) => [MARK_LABELS[mark.kind] ?? mark.kind, mark.text, say(mark.from)];

const NEAR = 5;
const near = (mark, x) => Math.abs(xOf(mark.from) - x) <= NEAR;
const covers = (item, x, by) => xOf(item.from) - by <= x && x <= Math.max(xOf(item.to), xOf(item.from)) + by;

/** What is there: descriptions, the most telling first. */
const find = (x, y) => {
  if (x < place.gutter) return [];
  const spansAt = (spans) => spans.filter((span) => shown("span", span.kind) && covers(span, x, 2));
  const index = rowAt(y);
  if (index < 0) {
    if (y > place.head) return [];
    return [
      ...[...place.broken, ...place.marks].filter((mark) => near(mark, x)).map(describeMark),
      ...spansAt(model.broker.spans).map(describeSpan),
    ];
  }
  const row = place.rows[index];
  const top = laneTop(row, index, 0);
  const lane = Math.floor((y - top) / row.lane);
  const { lanes, rest } = row.packed;
  let holds = [];
  if (y >= top && lane < lanes.length) {
    const margin = ((view.to - view.from) / place.plot) * 3;
    for (let at = firstAt(lanes[lane], timeOf(x) - margin); at < lanes[lane].length; at++) {
      if (lanes[lane][at].from > timeOf(x) + margin) break;
      holds.push(lanes[lane][at]);
    }
    // What is exactly there, rather than its neighbours.
    const exact = holds.filter((hold) => covers(hold, x, 0));
    if (exact.length > 0) holds = exact;
  } else if (y >= top) holds = rest.filter((hold) => covers(hold, x, 0.5));
  const telling = [...row.ordered].reverse().filter((mark) => near(mark, x));
  const commits = y >= top + place.row - 2 - place.strip - place.ticks - 2 ? row.commits.filter((mark) => near(mark, x)) : [];
  const marks = place.strip > 0 && y >= top && holds.length > 0 ? [] : telling;
  return [
    ...marks.map(describeMark), ...holds.map(describeHold), ...commits.map(describeMark),
    ...spansAt([...row.spans].reverse()).map(describeSpan), ...spansAt(model.broker.spans).map(describeSpan),
  ];
};

const showTip = (event) => {
  const tip = byId("tip");
  const found = event ? find(event.offsetX, event.offsetY) : [];
  tip.hidden = found.length === 0;
  if (tip.hidden) return;
  tip.replaceChildren();
  const row = place.rows[rowAt(event.offsetY)];
  const add = (tag, text, to = tip) => {
    const element = document.createElement(tag);
    element.textContent = text;
    to.append(element);
    return element;
  };
  add("p", "").append(Object.assign(document.createElement("small"), { textContent: row ? row.name : "broker" }));
  for (const [title, ...lines] of found.slice(0, TIP_MAX)) {
    add("h3", title);
    const body = add("p", "");
    lines.filter((line) => line).forEach((line, at) => {
      if (at > 0) body.append(document.createElement("br"));
      body.append(line);
    });
  }
  if (found.length > TIP_MAX) add("p", `and ${grouped(found.length - TIP_MAX)} more here`);
  const { offsetWidth: width, offsetHeight: height } = tip;
  const beside = event.clientX + 16 + width < window.innerWidth ? event.clientX + 16 : event.clientX - width - 12;
  const below = Math.min(event.clientY + 16, window.innerHeight - height - 8);
  tip.style.left = Math.max(beside, 4) + "px";
  tip.style.top = Math.max(below, 4) + "px";
};

/** The moment under the pointer, without painting anew. */
const showCross = (event) => {
  const [cross, now] = [byId("cross"), byId("now")];
  cross.hidden = now.hidden = !event || event.offsetX < place.gutter;
  if (cross.hidden) return;
  // To a tenth of a pixel, in a step that people count in.
  const exact = (view.to - view.from) / place.plot / 10;
  now.textContent = say(timeOf(event.offsetX), Math.min(STEPS.find((step) => step >= exact) ?? SECOND, SECOND));
  const { left, top, bottom } = frame.getBoundingClientRect();
  const half = now.offsetWidth / 2;
  Object.assign(cross.style, { left: event.clientX + "px", top: top + AXIS + "px", height: bottom - top - AXIS + "px" });
  const middle = Math.min(Math.max(event.clientX, left + place.gutter + half), left + place.width - half);
  Object.assign(now.style, { left: middle - half + "px", top: top + 3 + "px" });
};

// ---- the beginning

const restyle = () => {
  readColors();
  drawSwatches();
  requestPaint();
};
const fitHeight = () => {
  const above = document.querySelector("header").offsetHeight;
  const below = document.querySelector("summary").offsetHeight + 26;
  byId("picture").style.height = `max(380px, calc(100vh - ${above + below}px))`;
};
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", restyle);
makeLegend();
fitHeight();
restyle();
// The page's address may end with it, to begin there.
rowsBy(location.hash === "#rows=shards");
reset();
new ResizeObserver(() => {
  fitHeight();
  layOut();
  drawSwatches();
}).observe(frame);

// How each kind looks: its colour, and a pattern or a shape, so that colour never is all there is.

const colors = {};
const patterns = {};

const readColors = () => {
  const style = getComputedStyle(document.documentElement);
  for (const name of [
    "panel", "ink", "soft", "faint", "line", "grid", "new", "recovered", "claimed", "on-new",
    "on-recovered", "on-claimed", "alive", "owned", "owned-too", "frozen", "frozen-ink", "cut", "cut-ink", "outage", "good", "bad", "fault",
  ]) colors[name] = style.getPropertyValue("--" + name).trim();
  makePatterns();
};

const tile = (width, height, draw) => {
  const ratio = window.devicePixelRatio || 1;
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const c = canvas.getContext("2d");
  c.scale(canvas.width / width, canvas.height / height);
  draw(c);
  const pattern = c.createPattern(canvas, "repeat");
  pattern.setTransform(new DOMMatrix().scale(width / canvas.width, height / canvas.height));
  return pattern;
};

/** Diagonal lines, drawn over the edges so that tiles meet. */
const hatch = (color, size, thick) => tile(size, size, (c) => {
  c.strokeStyle = color;
  c.lineWidth = thick;
  c.beginPath();
  for (const shift of [-size, 0, size]) {
    c.moveTo(shift - 1, size + 1);
    c.lineTo(shift + size + 1, -1);
  }
  c.stroke();
});

const makePatterns = () => {
  patterns.recovered = hatch(colors["on-recovered"], 7, 1.2);
  patterns.claimed = tile(6, 6, (c) => {
    c.fillStyle = colors["on-claimed"];
    for (const [x, y] of [[1.5, 1.5], [4.5, 4.5]]) c.fillRect(x - 0.8, y - 0.8, 1.6, 1.6);
  });
  patterns.abandoned = hatch(colors.ink, 4, 1.2);
  patterns.outage = hatch(colors.outage, 9, 1.4);
  patterns.frozen = tile(5, 5, (c) => {
    c.fillStyle = colors["frozen-ink"];
    c.fillRect(0, 2, 5, 1);
  });
  patterns.disconnected = tile(5, 5, (c) => {
    c.fillStyle = colors["cut-ink"];
    c.fillRect(2, 0, 1, 5);
  });
};

const patterned = (c, pattern, alpha, x, y, width, height) => {
  c.globalAlpha = alpha;
  c.fillStyle = pattern;
  c.fillRect(x, y, width, height);
  c.globalAlpha = 1;
};

/** A hold that is wide enough to be one. `y` and `height` are those of its lane. */
const drawHold = (c, hold, left, right, y, height, name) => {
  const width = Math.max(right - left - (right - left > 5 ? 1 : 0), 1);
  const kind = ORIGINS[hold.origin];
  c.fillStyle = colors[kind];
  c.fillRect(left, y, width, height);
  if (hold.origin > 0 && width >= 4 && height >= 5) patterned(c, patterns[kind], 0.5, left, y, width, height);
  const room = width - (hold.end === 1 ? 14 : 4);
  if (height >= 11 && room > 26) drawHoldText(c, hold, kind, left + 4, y + height / 2 + 0.5, room - 4, name);
  if (hold.end === 1) drawAbandoned(c, left, left + width, y, height);
  if (hold.end === 2) {
    c.fillStyle = colors[kind];
    c.beginPath();
    c.moveTo(left + width, y);
    c.lineTo(left + width + 6, y + height / 2);
    c.lineTo(left + width, y + height);
    c.fill();
  }
};

const drawHoldText = (c, hold, kind, x, y, room, name) => {
  const count = "×" + grouped(hold.messages);
  const width = (text) => c.measureText(text).width;
  c.font = font(10.5);
  let text = name + " " + count;
  if (width(text) > room) text = count;
  const long = width(text);
  if (long > room) return;
  if (hold.origin > 0) {
    // A quiet ground for the letters.
    c.fillStyle = colors[kind];
    c.fillRect(x - 2, y - 6, long + 4, 12);
  }
  c.fillStyle = colors["on-" + kind];
  c.textAlign = "left";
  c.textBaseline = "middle";
  c.fillText(text, x, y);
};

/** The end that nobody wanted: hatched, outlined, and a thick edge that shows at any width. */
const drawAbandoned = (c, left, right, y, height) => {
  const width = Math.min(10, (right - left) * 0.6);
  if (width >= 4 && height >= 4) {
    c.fillStyle = colors.panel;
    c.fillRect(right - width, y, width, height);
    patterned(c, patterns.abandoned, 1, right - width, y, width, height);
    c.strokeStyle = colors.ink;
    c.lineWidth = 1;
    c.strokeRect(right - width + 0.5, y + 0.5, width - 1, height - 1);
  }
  c.fillStyle = colors.ink;
  c.fillRect(right - 2, y - 1, 2, height + 2);
};

const SPAN_COLORS = { alive: "alive", owned: "owned", frozen: "frozen", disconnected: "cut" };

/** A shard in a member's hands: neighbours differ, and its name is written where there is room. */
const drawOwned = (c, span, left, y, width, height) => {
  c.fillStyle = colors[span.owner % 2 === 0 ? "owned" : "owned-too"];
  c.fillRect(left, y, width, height);
  c.fillStyle = colors.soft;
  c.fillRect(left, y, 1, height);
  if (height < 24) return;
  c.font = font(10.5, 500);
  c.textAlign = "left";
  c.textBaseline = "middle";
  const from = Math.max(left, place.gutter);
  c.fillText(fitted(c, span.text, left + width - from - 18), from + 12, y + 8);
};

const drawSpan = (c, kind, x, y, width, height) => {
  if (kind === "outage") {
    c.globalAlpha = 0.1;
    c.fillStyle = colors.outage;
    c.fillRect(x, y, width, height);
    return patterned(c, patterns.outage, 0.3, x, y, width, height);
  }
  c.fillStyle = colors[SPAN_COLORS[kind]];
  c.fillRect(x, y, width, height);
  if (patterns[kind]) patterned(c, patterns[kind], 0.45, x, y, width, height);
};

/** A mark around a point; `size` is its width and height. */
const drawMark = (c, kind, x, y, size) => {
  const r = size / 2;
  const path = (points) => {
    c.beginPath();
    points.forEach(([dx, dy], at) => (at === 0 ? c.moveTo(x + dx * r, y + dy * r) : c.lineTo(x + dx * r, y + dy * r)));
  };
  const shape = (color, points) => {
    path(points);
    c.closePath();
    // A rim of the ground, so that it stands out from what is below.
    c.strokeStyle = colors.panel;
    c.lineWidth = 2;
    c.lineJoin = "round";
    c.stroke();
    c.fillStyle = color;
    c.fill();
  };
  const lines = (color, thick, ...parts) => {
    for (const [stroke, width] of [[colors.panel, thick + 2], [color, thick]]) {
      c.strokeStyle = stroke;
      c.lineWidth = width;
      c.lineCap = "round";
      for (const part of parts) {
        path(part);
        c.stroke();
      }
    }
  };
  const cross = [[[-0.75, -0.75], [0.75, 0.75]], [[-0.75, 0.75], [0.75, -0.75]]];
  const square = [[-0.8, -0.8], [0.8, -0.8], [0.8, 0.8], [-0.8, 0.8]];
  switch (kind) {
    case "committed":
      c.fillStyle = colors.good;
      return c.fillRect(x - 0.75, y - r, 1.5, size);
    case "notice":
      return shape(colors.faint, [...Array(10).keys()].map((n) => [0.6 * Math.cos(n * 0.628), 0.6 * Math.sin(n * 0.628)]));
    case "assigned":
      return lines(colors.soft, 1.8, [[-0.8, 0], [0.8, 0]], [[0, -0.8], [0, 0.8]]);
    case "revoked":
      return lines(colors.soft, 1.8, [[-0.8, 0], [0.8, 0]]);
    case "started":
      return shape(colors.good, [[-0.75, -1], [1, 0], [-0.75, 1]]);
    case "closed":
      shape(colors.ink, square);
      c.fillStyle = colors.panel;
      return c.fillRect(x - 0.35 * r, y - 0.35 * r, 0.7 * r, 0.7 * r);
    case "claimed":
      return shape(colors.claimed, [[0, -1.1], [1.1, 0], [0, 1.1], [-1.1, 0]]);
    case "killed":
      return lines(colors.bad, 2.6, ...cross);
    case "fault":
      return shape(colors.fault, [[-1, -0.9], [1, -0.9], [0, 1]]);
    case "violation": {
      shape(colors.bad, [...Array(8).keys()].map((n) => [1.35 * Math.cos((n + 0.5) * Math.PI / 4), 1.35 * Math.sin((n + 0.5) * Math.PI / 4)]));
      c.fillStyle = colors.panel;
      c.fillRect(x - 0.22 * r, y - 0.8 * r, 0.44 * r, 0.95 * r);
      return c.fillRect(x - 0.22 * r, y + 0.4 * r, 0.44 * r, 0.42 * r);
    }
  }
};

const font = (size, weight = 400) =>
  `${weight} ${size}px system-ui, -apple-system, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif`;

/** `text`, or what fits of it with an ellipsis; "" if that is nothing. */
const fitted = (c, text, room) => {
  if (c.measureText(text).width <= room) return text;
  let low = 0, high = text.length;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (c.measureText(text.slice(0, middle) + "…").width <= room) low = middle;
    else high = middle - 1;
  }
  return low > 1 ? text.slice(0, low) + "…" : "";
};

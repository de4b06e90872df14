"use strict";
// The charts, drawn on canvas. It shares its scope with settings.js.

// --- charts -------------------------------------------------------------------------------------------------------

const FLOW = { low: -24, high: 8, every: 4 }; // decades of the large chart, whatever the settings
const UPDATE = { low: -10, high: 0, every: 2 };
const LOSS_TOP = 5;
const LOSS_SPANS = [100, 200, 500, 1000, STEPS];
const COLOURS = ["text", "quiet", "line", "page", "vanishing", "exploding", "healthy", "neutral"];
const TONES = {
  healthy: "healthy", vanishing: "vanishing", exploding: "exploding", overflow: "exploding",
  "not finite": "exploding", "learning rate too high": "exploding", diverging: "exploding",
};
const toneOf = (verdict) => (verdict && TONES[verdict.kind]) || "neutral";

// Clears a canvas for the pixels of this screen: {ink, width, height, colours, font}.
function sheet(canvas, look) {
  const width = canvas.clientWidth, height = canvas.clientHeight, dense = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * dense) || canvas.height !== Math.round(height * dense)) {
    canvas.width = Math.round(width * dense);
    canvas.height = Math.round(height * dense);
  }
  const ink = canvas.getContext("2d");
  ink.setTransform(dense, 0, 0, dense, 0, 0);
  ink.clearRect(0, 0, width, height);
  ink.font = look.font;
  return { ink, width, height, ...look };
}

// Put a plot on a sheet: where it lies, and where a share of its height is.
function plot(page, left = 42, bottom = 34) {
  const box = { left, right: page.width - 8, top: 10, bottom: page.height - bottom };
  return { ...page, ...box, across: box.right - box.left, up: box.bottom - box.top };
}

function text(page, words, x, y, { align = "left", colour = "text", halo = false } = {}) {
  const { ink, colours } = page;
  ink.textAlign = align;
  ink.textBaseline = "middle";
  if (halo) {
    const wide = ink.measureText(words).width, share = { left: 0, center: 0.5, right: 1 }[align];
    ink.fillStyle = colours.page;
    ink.fillRect(x - share * wide - 3, y - 8, wide + 6, 16);
  }
  ink.fillStyle = colours[colour];
  ink.fillText(words, x, y);
}

function rule(page, y, { colour = "line", width = 1, dash = [] } = {}) {
  const { ink, colours, left, right } = page;
  ink.strokeStyle = colours[colour];
  ink.lineWidth = width;
  ink.setLineDash(dash);
  ink.beginPath();
  ink.moveTo(left, Math.round(y) + 0.5);
  ink.lineTo(right, Math.round(y) + 0.5);
  ink.stroke();
  ink.setLineDash([]);
}

// Lines and labels at powers of ten; gives the height of a logarithm.
function decades(page, { low, high, every }) {
  const y = (value) => page.bottom - (page.up * (value - low)) / (high - low);
  const apart = (page.up * every) / (high - low) < 16 ? 2 * every : every;
  for (let e = low; e <= high; e += every) {
    rule(page, y(e), { colour: e === 0 && high > 0 ? "quiet" : "line" });
    if (e % apart === 0) text(page, power(e), page.left - 6, y(e), { align: "right", colour: "quiet" });
  }
  return y;
}

// Numbers of the layers below a plot; gives the place of a layer, 1 being the first. `after` comes behind the last.
function layersBelow(page, count, after = "") {
  const places = count + (after ? 1 : 0), inset = 12, y = page.bottom + 11;
  const quiet = { align: "center", colour: "quiet" };
  const apart = (page.across - 2 * inset) / Math.max(1, places - 1);
  const x = (layer) => page.left + inset + apart * (places > 1 ? layer - 1 : 0.5);
  const gap = [1, 2, 3, 5, 10].find((n) => n * apart > 22) || 10;
  for (let layer = 1; layer < places; layer++) {
    const shown = layer === 1 || (layer % gap === 0 && x(layer) - x(1) > 17);
    if (shown && x(places) - x(layer) > (after ? 26 : 20)) text(page, String(layer), x(layer), y, quiet);
  }
  text(page, after || String(count), x(places), y, quiet);
  text(page, "layer, from the input", page.left + page.across / 2, page.height - 8, quiet);
  return x;
}

function hairline(page, x) {
  const { ink, colours, top, bottom } = page;
  ink.fillStyle = colours.line;
  ink.fillRect(Math.round(x) - 1, top, 2, bottom - top);
}

// A line through the points that are numbers, and only inside the plot.
function path(page, points, { colour, width = 1.5, dash = [], alpha = 1 }) {
  const { ink, colours, left, top, across, up } = page;
  ink.save();
  ink.beginPath();
  ink.rect(left, top - 1, across, up + 2);
  ink.clip();
  ink.strokeStyle = colours[colour];
  ink.globalAlpha = alpha;
  ink.lineWidth = width;
  ink.lineJoin = "round";
  ink.setLineDash(dash);
  ink.beginPath();
  let drawing = false;
  for (const [x, y] of points) {
    if (!Number.isFinite(y)) {
      drawing = false;
      continue;
    }
    ink[drawing ? "lineTo" : "moveTo"](x, Math.max(-1e4, Math.min(1e4, y)));
    drawing = true;
  }
  ink.stroke();
  ink.restore();
}

function arrow({ ink, colours }, x, y, up, colour) {
  const tip = up ? -5 : 5;
  ink.fillStyle = colours[colour];
  ink.beginPath();
  ink.moveTo(x, y + tip);
  ink.lineTo(x - 4.5, y - tip * 0.6);
  ink.lineTo(x + 4.5, y - tip * 0.6);
  ink.fill();
}

const SHAPES = {
  dot: (ink, x, y, size) => ink.arc(x, y, size, 0, 7),
  ring: (ink, x, y, size) => ink.arc(x, y, size, 0, 7),
  square: (ink, x, y, size) => ink.rect(x - size, y - size, 2 * size, 2 * size),
};

// A mark at each layer; what lies beyond the plot becomes an arrow at its edge, what is no number a cross at the top.
function marks(page, x, y, values, { shape, size, colour }) {
  const { ink, colours, top, bottom } = page;
  values.forEach((value, i) => {
    const at = x(i + 1), height = y(value);
    if (value === null) return;
    if (Number.isNaN(value)) return text(page, "×", at, top + 4, { align: "center", colour: "exploding" });
    if (height < top - 1) return arrow(page, at, top + 3, true, colour);
    if (height > bottom + 1) return arrow(page, at, bottom - 3, false, colour);
    ink.beginPath();
    SHAPES[shape](ink, at, height, size);
    if (shape === "dot") {
      ink.fillStyle = colours[colour];
      ink.fill();
    } else {
      ink.strokeStyle = colours[colour];
      ink.lineWidth = 1.5;
      ink.stroke();
    }
  });
}

// Logarithms of each layer's gradient over that of the last: null where that says nothing, NaN for what overflowed.
function flowOf(row) {
  const last = row.gradient[row.gradient.length - 1];
  if (!(last > 0) || !Number.isFinite(last)) return Array.from(row.gradient, () => null);
  return Array.from(row.gradient, (value) => {
    return Number.isFinite(value) ? Math.log10(value) - Math.log10(last) : NaN;
  });
}

const logarithms = (values) =>
  Array.from(values, (value) => (Number.isNaN(value) ? null : value === Infinity ? NaN : Math.log10(value)));

// Where words beside the theory's line meet nothing that is drawn: between two lines of the grid, near to the first
// of the series.
function freePlace(page, words, series, bands) {
  const half = page.ink.measureText(words).width / 2 + 8, band = page.up / bands;
  let best = null;
  for (const share of [0.5, 0.3, 0.7, 0.15, 0.85]) {
    const x = Math.max(page.left + half, Math.min(page.right - half, page.left + share * page.across));
    const near = (points) => points.filter(([at]) => Math.abs(at - x) <= half + 12).map(([, y]) => y);
    const all = series.flatMap(near), line = near(series[0]);
    for (let i = 0; i < bands && line.length; i++) {
      const y = page.top + (i + 0.5) * band;
      const away = (heights) => Math.min(...heights.map((each) => Math.abs(each - y)));
      const far = away(line) + 10 * Math.abs(share - 0.5);
      if (away(all.filter(Number.isFinite)) > 15 && (!best || far < best.far)) best = { far, x, y };
    }
  }
  return best;
}

function drawFlow(canvas, look, { rows, row, pin, theory, tone, hover }) {
  const page = plot(sheet(canvas, look));
  if (!row) return void decades(page, FLOW);
  const depth = Math.max(row.gradient.length, pin ? pin.row.gradient.length : 0);
  const x = layersBelow(page, depth);
  if (hover) hairline(page, x(Math.min(hover, depth)));
  const y = decades(page, FLOW);
  const points = (values) => values.map((value, i) => [x(i + 1), value === null ? NaN : y(value)]);
  const size = Math.max(3, Math.min(5, page.across / depth / 2.6));
  const start = flowOf(rows[0]), now = flowOf(row);
  if (pin) {
    const values = flowOf(pin.row);
    path(page, points(values), { colour: "text", dash: [4, 4], alpha: 0.6 });
    marks(page, x, y, values, { shape: "square", size: size - 0.5, colour: "text" });
  }
  const line = theory && theory.length === row.gradient.length ? points(Array.from(theory)) : null;
  if (line) path(page, line, { colour: "text", width: 2 });
  path(page, points(now), { colour: tone, alpha: 0.5 });
  marks(page, x, y, start, { shape: "ring", size: size + 1, colour: "neutral" });
  marks(page, x, y, now, { shape: "dot", size, colour: tone });
  if (line) {
    const words = "theory, before the first step";
    const place = freePlace(page, words, [line, points(start), points(now)], (FLOW.high - FLOW.low) / FLOW.every);
    if (place) text(page, words, place.x, place.y, { align: "center", halo: true });
  }
  if (now.every((value) => value === null)) {
    const last = row.gradient[row.gradient.length - 1];
    const words = last === 0 ? "No gradient reaches the last layer." : "The gradient is no longer a number.";
    const middle = page.left + page.across / 2;
    text(page, words, middle, page.top + page.up / 3, { align: "center", colour: tone, halo: true });
  }
}

// Means of up to 20 steps: what a batch says scatters.
function smooth(rows) {
  let sum = 0;
  const window = [];
  return rows.map(({ step, loss }) => {
    window.push(loss);
    sum += loss;
    if (window.length > 20) sum -= window.shift();
    if (!Number.isFinite(loss)) return { step, loss: NaN };
    return { step, loss: sum / window.length };
  });
}

function drawLoss(canvas, look, { rows, row, pin, tone }) {
  const page = plot(sheet(canvas, look), 28), { ink, colours } = page;
  const ends = [rows, pin ? pin.rows : []].map((some) => (some.length ? some[some.length - 1].step : 0));
  const span = LOSS_SPANS.find((steps) => steps >= Math.max(...ends)) || Math.max(...ends);
  const x = (step) => page.left + 4 + ((page.across - 8) * step) / span;
  const y = (loss) => page.bottom - (page.up * loss) / LOSS_TOP;
  for (let loss = 0; loss <= LOSS_TOP; loss++) {
    rule(page, y(loss));
    text(page, String(loss), page.left - 6, y(loss), { align: "right", colour: "quiet" });
  }
  for (const [align, step, nudge] of [["left", 0, -4], ["center", span / 2, 0], ["right", span, 4]]) {
    text(page, step.toLocaleString("en"), x(step) + nudge, page.bottom + 11, { align, colour: "quiet" });
  }
  text(page, "step", page.left + page.across / 2, page.height - 8, { align: "center", colour: "quiet" });
  rule(page, y(GUESSING), { colour: "text", dash: [5, 4] });
  // beside that line, on the side where the loss is not
  const above = rows.length && Math.min(...rows.slice(-40).map(({ loss }) => loss)) < GUESSING - 0.4;
  text(page, "guessing", page.right - 2, y(GUESSING) + (above ? -10 : 10), { align: "right", halo: true });
  const places = (some) => some.map(({ step, loss }) => [x(step), y(loss)]);
  if (pin) path(page, places(smooth(pin.rows)), { colour: "text", dash: [3, 3], alpha: 0.75 });
  path(page, places(rows), { colour: tone, width: 1, alpha: rows.length > 40 ? 0.35 : 1 });
  if (rows.length > 40) path(page, places(smooth(rows)), { colour: tone, width: 2 });
  if (!row) return;
  const at = x(row.step), left = at > page.left + page.across / 2;
  const beside = (words) => text(page, words, at + (left ? -8 : 8), page.top + 6, {
    align: left ? "right" : "left", colour: "exploding", halo: true,
  });
  if (!Number.isFinite(row.loss)) {
    text(page, "×", at, page.top + 6, { align: "center", colour: "exploding" });
    beside(row.loss === Infinity ? "infinite" : "not a number");
  } else if (row.loss > LOSS_TOP) {
    arrow(page, at, page.top + 6, true, tone);
    beside(short(row.loss));
  } else {
    ink.beginPath();
    ink.arc(at, y(row.loss), 4, 0, 7);
    ink.fillStyle = colours[tone];
    ink.fill();
  }
}

function drawUpdates(canvas, look, { row, pin, tone, hover }) {
  const page = plot(sheet(canvas, look));
  if (!row) return void decades(page, UPDATE);
  const depth = Math.max(row.gradient.length, pin ? pin.row.gradient.length : 0);
  const x = layersBelow(page, depth, "out");
  if (hover) hairline(page, x(Math.min(hover, depth)));
  const y = decades(page, UPDATE);
  rule(page, y(-3), { colour: "text", dash: [5, 4] });
  // what the dashed line means, where no layer is
  const words = "dashed: 10⁻³, usual", wide = page.left + page.ink.measureText(words).width + 12;
  const shown = [row, ...(pin ? [pin.row] : [])].flatMap((each) =>
    Array.from(each.update).filter((_, i) => x(i + 1) < wide).map((value) => y(Math.log10(value))));
  const free = [-1, -5, -7, -9].find((e) => !shown.some((each) => Math.abs(each - y(e)) < 14));
  if (free !== undefined) text(page, words, page.left + 4, y(free), { halo: true });
  // the read-out stands behind the last layer, also where the pinned run has more of them
  const at = (values) => (i) => (i === values.length ? x(depth + 1) : x(i));
  const size = Math.max(2.5, Math.min(4, page.across / depth / 2.6));
  if (pin) {
    const values = logarithms(pin.row.update);
    marks(page, at(values), y, values, { shape: "square", size, colour: "text" });
  }
  const values = logarithms(row.update);
  marks(page, at(values), y, values, { shape: "dot", size, colour: tone });
  if (row.step === 0) {
    text(page, "no step yet", page.left + page.across / 2, y(-7), { align: "center", colour: "quiet", halo: true });
  }
}

function drawStuck(canvas, look, { row, tone, hover }) {
  const page = plot(sheet(canvas, look), 46), { ink, colours } = page;
  const y = (share) => page.bottom - page.up * share;
  if (!row) return;
  const depth = row.gradient.length, x = layersBelow(page, depth);
  if (hover) hairline(page, x(Math.min(hover, depth)));
  for (const share of [0, 0.5, 1]) {
    rule(page, y(share));
    text(page, percent(share), page.left - 6, y(share), { align: "right", colour: "quiet" });
  }
  const wide = Math.max(3, Math.min(14, (page.across - 24) / depth - 3));
  ink.fillStyle = colours[tone];
  let known = false;
  row.stuck.forEach((share, i) => {
    if (!Number.isFinite(share)) return;
    known = true;
    ink.fillRect(x(i + 1) - wide / 2, y(share), wide, page.bottom - y(share));
  });
  if (known) return;
  const middle = page.left + page.across / 2, words = { align: "center", colour: "quiet", halo: true };
  text(page, "This activation neither", middle, y(0.5) - 9, words);
  text(page, "saturates nor dies.", middle, y(0.5) + 9, words);
}

// --- the view -----------------------------------------------------------------------------------------------------

function figure(title, className) {
  const canvas = element("canvas", "canvas"), name = element("span", "title", title);
  const value = element("span", "value");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", title);
  const caption = element("figcaption", "caption line", name, value);
  return { whole: element("figure", className, caption, canvas), canvas, name, value };
}

const KEYS = { theory: "theory", start: "at the start", now: "now", pin: "pinned run" };

function legend() {
  const whole = element("div", "legend"), parts = {};
  for (const [name, words] of Object.entries(KEYS)) {
    const sample = element("i", `sample sample-${name}`), label = element("span", "", words);
    sample.setAttribute("aria-hidden", "true");
    parts[name] = { whole: element("span", "key", sample, label), label };
    whole.append(parts[name].whole);
  }
  return { whole, parts };
}

const FACTS = {
  step: "Step (epoch)", loss: "Loss", train: "Right, training", test: "Right, test", ratio: "Layer 1 to last",
  stuck: "Most saturated",
};

function factList() {
  const whole = element("dl", "facts"), parts = {};
  for (const [name, words] of Object.entries(FACTS)) {
    const title = element("dt", "", words);
    parts[name] = element("dd", "", "–");
    whole.append(element("div", "fact", title, parts[name]));
  }
  return { whole, parts };
}

const COLUMNS = ["Layer", "Gradient over last", "Update over weights", "Saturated or dead", "Output, RMS"];

// The numbers of every layer, for those who would rather read them.
function table() {
  const head = element("tr", "", ...COLUMNS.map((words) => element("th", "", words)));
  const body = element("tbody", ""), summary = element("summary", "", "The numbers of every layer");
  const grid = element("table", "", element("thead", "", head), body);
  const whole = element("details", "table", summary, element("div", "scroll", grid));
  const show = (row) => {
    if (!whole.open || !row) return;
    const last = row.gradient[row.gradient.length - 1];
    const lines = Array.from(row.gradient, (value, i) => {
      const measured = [short(value / last), short(row.update[i]), percent(row.stuck[i]), short(row.rms[i])];
      const cells = measured.map((words) => element("td", "", words === "not a number" ? "–" : words));
      return element("tr", "", element("td", "", String(i + 1)), ...cells);
    });
    body.replaceChildren(...lines);
  };
  return { whole, show };
}

function worstLayer(row) {
  let worst = -1;
  row.stuck.forEach((share, i) => {
    if (Number.isFinite(share) && (worst < 0 || share > row.stuck[worst])) worst = i;
  });
  return worst;
}

const STUCK_WORDS = {
  relu: ["Dead units", "Most dead"],
  sigmoid: ["Saturated units", "Most saturated"],
  tanh: ["Saturated units", "Most saturated"],
  none: ["Saturated or dead", "Most saturated"],
};

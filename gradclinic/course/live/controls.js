"use strict";
// Elements of the page, and the controls of the network. It shares its scope with settings.js.

// --- elements -----------------------------------------------------------------------------------------------------

let labs = 0; // so that no two labs of a page share an id

function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className.split(" ").map((name) => `gradclinic-lab-${name}`).join(" ");
  made.append(...children);
  return made;
}

function button(text, press, className = "button") {
  const made = element("button", className, text);
  made.type = "button";
  made.addEventListener("click", press);
  return made;
}

// Write only what has changed, so that nothing is laid out for nothing.
function say(place, text) {
  if (place.textContent !== text) place.textContent = text;
}

async function copy(text, place, done) {
  try {
    await navigator.clipboard.writeText(text);
    say(place, done);
  } catch {
    const field = element("textarea", "copied");
    field.readOnly = true;
    field.value = text;
    field.rows = Math.min(8, text.split("\n").length + 1);
    field.setAttribute("aria-label", "Text to copy");
    place.replaceChildren("Copy this:", field);
    field.select();
  }
}

// --- controls -----------------------------------------------------------------------------------------------------

const counting = (low, high) => ({
  last: high - low, value: (place) => low + place, place: (value) => value - low,
});

// A logarithmic slider: `fine` places a decade, `digits` that count; with `off`, that at the left end.
function logarithmic(low, high, fine, digits, off = false) {
  const decades = Math.log10(high / low), shift = off ? 1 : 0, last = Math.round(decades * fine) + shift;
  return {
    last,
    value: (place) =>
      off && place === 0 ? OFF : Number((low * 10 ** ((place - shift) / fine)).toPrecision(digits)),
    place: (value) => (off && value === OFF ? 0 : Math.round(Math.log10(value / low) * fine) + shift),
  };
}

const choice = (values) => ({ kind: "choice", values });
const slider = (scale, more = {}) => ({ kind: "slider", scale, ...more });
const CONTROLS = {
  depth: slider(counting(1, 30)),
  width: choice([16, 24, 32, 48, 64]),
  activation: choice(["sigmoid", "tanh", "relu", "gelu", "leaky_relu", "silu", "linear"]),
  start: slider(logarithmic(0.1, 20, 100, 3), { marks: WEIGHTS }),
  norm: choice(["none", "batch", "layer"]),
  skip: choice(["none", "plain", "scaled"]),
  seed: { kind: "number" },
  optimizer: choice(["sgd", "momentum", "adam"]),
  rate: slider(logarithmic(1e-6, 10, 20, 2)),
  epsilon: slider(logarithmic(1e-10, 1, 10, 2)),
  clip: slider(logarithmic(0.01, 100, 20, 2, true)),
  decay: slider(logarithmic(1e-6, 1, 10, 2, true)),
};
const GROUPS = {
  "The network": ["depth", "width", "activation"],
  "Its start and its form": ["start", "norm", "skip", "seed"],
  "Its training": ["optimizer", "rate", "epsilon", "clip", "decay"],
};
const BUTTON_WORDS = {
  norm: { none: "none", batch: "batch", layer: "layer" },
  width: (value) => String(value),
  start: { pytorch: "PyTorch", xavier: "Xavier", he: "He" },
};

function wordsOn(name, value) {
  const words = BUTTON_WORDS[name];
  return typeof words === "function" ? words(value) : words ? words[value] : TEXTS[name](value);
}

// Each maker returns {row, show}: an element, and what puts a value into it.
function makeChoice(name, id, change) {
  const label = element("span", "name", NAMES[name]), group = element("div", "choices");
  label.id = id;
  group.setAttribute("role", "group");
  group.setAttribute("aria-labelledby", id);
  const buttons = CONTROLS[name].values.map((value) => {
    const made = button(wordsOn(name, value), () => change({ [name]: value }), "choice");
    group.append(made);
    return { made, value };
  });
  const show = (current) => {
    for (const { made, value } of buttons) made.setAttribute("aria-pressed", String(value === current));
  };
  return { row: element("div", "control", label, group), show };
}

function makeSlider(name, id, change) {
  const { scale, marks = {} } = CONTROLS[name];
  const label = element("label", "name", NAMES[name]), shown = element("span", "value");
  if (name === "start") label.append(", σ", element("sub", "", "w"));
  const input = element("input", "range"), track = element("div", "track", input);
  label.htmlFor = input.id = id;
  Object.assign(input, { type: "range", min: 0, max: scale.last, step: 1 });
  input.addEventListener("input", () => change({ [name]: scale.value(Number(input.value)) }));
  const row = element("div", "control", element("div", "line", label, shown), track);
  const buttons = Object.entries(marks).map(([value, at]) => {
    const tick = element("i", "tick");
    tick.style.setProperty("--at", scale.place(at) / scale.last);
    track.append(tick);
    return { value, made: button(wordsOn(name, value), () => change({ [name]: value }), "choice") };
  });
  if (buttons.length) {
    const group = element("div", "choices", ...buttons.map(({ made }) => made));
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", "Starts with a name");
    row.append(group);
  }
  const show = (current) => {
    const place = scale.place(name === "start" ? weightScale(current) : current);
    if (Number(input.value) !== place) input.value = place;
    input.style.setProperty("--at", place / scale.last);
    say(shown, TEXTS[name](current));
    const words = typeof current === "number" && current !== OFF ? spoken(current) : TEXTS[name](current);
    input.setAttribute("aria-valuetext", name === "depth" ? TEXTS.depth(current) : words);
    for (const { made, value } of buttons) made.setAttribute("aria-pressed", String(value === current));
  };
  return { row, show };
}

function makeNumber(name, id, change) {
  const label = element("label", "name", NAMES[name]), input = element("input", "number");
  label.htmlFor = input.id = id;
  Object.assign(input, { type: "number", min: 0, step: 1, inputMode: "numeric" });
  input.addEventListener("change", () => change({ [name]: Number(input.value) }));
  const show = (current) => {
    if (input.value !== String(current)) input.value = current;
  };
  return { row: element("div", "control line", label, input), show };
}

const MAKERS = { choice: makeChoice, slider: makeSlider, number: makeNumber };

// All controls that are wanted, in their groups: {panel, show(settings)}.
function makeControls(wanted, prefix, change) {
  const panel = element("div", "controls"), made = {};
  for (const [title, names] of Object.entries(GROUPS)) {
    const here = names.filter((name) => !wanted || wanted.includes(name));
    if (!here.length) continue;
    const group = element("div", "group");
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", title);
    if (!wanted) group.append(element("div", "title", title));
    for (const name of here) {
      made[name] = MAKERS[CONTROLS[name].kind](name, `${prefix}-${name}`, change);
      group.append(made[name].row);
    }
    panel.append(group);
  }
  const show = (settings) => {
    for (const [name, { row, show: put }] of Object.entries(made)) {
      put(settings[name]);
      if (name === "epsilon") row.hidden = settings.optimizer !== "adam";
    }
  };
  return { panel, show };
}

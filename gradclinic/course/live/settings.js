"use strict";
// What can be set, in words, and as Python.

// --- settings -----------------------------------------------------------------------------------------------------

const WEIGHTS = { pytorch: 1 / Math.sqrt(3), xavier: 1, he: Math.SQRT2 }; // sigma_w of a start with a name
const ACTIVATIONS = {
  sigmoid: "sigmoid", tanh: "tanh", relu: "ReLU", leaky_relu: "leaky ReLU", gelu: "GELU", silu: "SiLU",
  linear: "linear",
};
const DEFAULTS = {
  depth: 20, width: 32, activation: "sigmoid", start: "xavier", norm: "none", skip: "none", optimizer: "adam",
  epsilon: 1e-8, rate: 0.003, decay: 0, clip: 0, seed: 0,
};
const OFF = 0; // of decay and clip
const GUESSING = Math.log(10); // loss of one answer for all ten digits
const STEPS = 2000; // a run ends here
const EPOCH = Math.floor(1347 / 64); // steps in which every training digit is seen once

const within = (low, high) => (value) => (value >= low && value <= high ? value : undefined);
const whole = (low, high) => (value) => (Number.isInteger(value) ? within(low, high)(value) : undefined);
const oneOf = (values) => (value) => (values.includes(value) ? value : undefined);
const orOff = (check) => (value) => (value === OFF || value === null || value === "off" ? OFF : check(value));
const CHECKS = {
  depth: whole(1, 30),
  width: oneOf([16, 24, 32, 48, 64]),
  activation: oneOf(Object.keys(ACTIVATIONS)),
  start: (value) => (Object.hasOwn(WEIGHTS, value) ? value : within(0.1, 20)(value)),
  norm: oneOf(["none", "batch", "layer"]),
  skip: oneOf(["none", "plain", "scaled"]),
  optimizer: oneOf(["sgd", "momentum", "adam"]),
  epsilon: within(1e-10, 1),
  rate: within(1e-6, 10),
  decay: orOff(within(1e-6, 1)),
  clip: orOff(within(0.01, 100)),
  seed: whole(0, 2 ** 31 - 1),
};

// `before` with those of `changes` that are settings and make sense
function merged(before, changes) {
  const settings = { ...before };
  for (const [name, check] of Object.entries(CHECKS)) {
    if (!changes || !Object.hasOwn(changes, name)) continue;
    const value = check(changes[name]);
    if (value !== undefined) settings[name] = value;
  }
  return settings;
}

function fromAddress(hash) {
  const found = {};
  for (const [name, text] of new URLSearchParams(hash.replace(/^#/, ""))) {
    if (text !== "") found[name] = Number.isNaN(Number(text)) ? text : Number(text);
  }
  return found;
}

const toAddress = (settings) => `#${new URLSearchParams(settings)}`;
const weightScale = (start) => (typeof start === "number" ? start : WEIGHTS[start]);

// --- words --------------------------------------------------------------------------------------------------------

const raised = (exponent) => Array.from(String(exponent), (sign) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[sign] || "⁻").join("");
const power = (exponent) => (exponent === 0 ? "1" : exponent === 1 ? "10" : `10${raised(exponent)}`);
const counted = (count, thing) => `${count.toLocaleString("en")} ${thing}${count === 1 ? "" : "s"}`;
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
// 100 % is all, without exception
const percent = (share) => (Number.isFinite(share) ? `${share < 1 ? Math.min(99, Math.round(100 * share)) : 100} %` : "–");

// A number as a person writes it: 0.35, 1,750, 3·10⁻¹⁷; `times` joins the two halves of the last kind.
function inWords(value, times) {
  if (Number.isNaN(value)) return "not a number";
  if (!Number.isFinite(value)) return value > 0 ? "infinite" : "minus infinite";
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 0.999e-4 && size < 99999) {
    const digits = size < 0.1 ? 2 : 3;
    return Number(value.toPrecision(digits)).toLocaleString("en", { maximumFractionDigits: 6 });
  }
  const [mantissa, exponent] = value.toExponential(0).split("e").map(Number);
  return times(mantissa, exponent);
}
const short = (value) =>
  inWords(value, (mantissa, exponent) => (mantissa === 1 ? "" : `${mantissa}·`) + power(exponent));
const spoken = (value) =>
  inWords(value, (mantissa, exponent) => {
    const sign = exponent < 0 ? "minus " : "";
    return `${mantissa === 1 ? "" : `${mantissa} times `}10 to the power ${sign}${Math.abs(exponent)}`;
  });

// A sentence with its numbers as a person writes them: 10⁻¹² for 1e-12.
const kindly = (sentence) =>
  sentence.replace(/\b\d+(\.\d+)?e[+-]?\d+\b/g, (number) => {
    const [mantissa, exponent] = number.split("e").map(Number);
    if (Math.abs(exponent) < 4) return short(Number(number));
    return (mantissa === 1 ? "" : `${mantissa}·`) + power(exponent);
  });

// "layers 1 to 12", "layers 1, 4 and 7 to 9", of numbers or of names with a number in them
function named(layers) {
  const numbers = [], others = [];
  for (const layer of layers) {
    const number = Number(String(layer).match(/\d+/)?.[0]);
    if (Number.isFinite(number)) numbers.push(number);
    else others.push(layer === "readout" ? "the read-out" : String(layer));
  }
  const spans = [];
  for (const n of [...new Set(numbers)].sort((a, b) => a - b)) {
    const span = spans[spans.length - 1];
    if (span && n === span[1] + 1) span[1] = n;
    else spans.push([n, n]);
  }
  if (spans.length > 3) spans.splice(0, spans.length, [spans[0][0], spans[spans.length - 1][1]]);
  const parts = spans.map(([a, b]) => (a === b ? `${a}` : b === a + 1 ? `${a} and ${b}` : `${a} to ${b}`));
  const words = parts.length ? [`layer${new Set(numbers).size > 1 ? "s" : ""} ${listed(parts)}`] : [];
  return listed([...words, ...others]);
}

function listed(parts) {
  return parts.length < 2 ? parts.join("") : `${parts.slice(0, -1).join(", ")} and ${parts[parts.length - 1]}`;
}

const TEXTS = {
  depth: (value) => counted(value, "layer"),
  width: (value) => counted(value, "unit"),
  activation: (value) => ACTIVATIONS[value],
  start: (value) =>
    ({ pytorch: "PyTorch, 0.58", xavier: "Xavier, 1", he: "He, 1.41" })[value] || short(value),
  norm: (value) => ({ none: "none", batch: "batch norm", layer: "layer norm" })[value],
  skip: (value) => value,
  optimizer: (value) => ({ sgd: "SGD", momentum: "momentum", adam: "Adam" })[value],
  epsilon: short,
  rate: short,
  decay: (value) => (value === OFF ? "off" : short(value)),
  clip: (value) => (value === OFF ? "off" : short(value)),
  seed: String,
};
const NAMES = {
  depth: "Depth", width: "Width", activation: "Activation", start: "Weights", norm: "Normalisation",
  skip: "Skip connections", optimizer: "Optimiser", epsilon: "Adam's ε", rate: "Learning rate",
  decay: "Weight decay", clip: "Clip the gradient at", seed: "Seed",
};

// What a pinned run had otherwise: "activation sigmoid, learning rate 0.003".
function differences(pinned, settings) {
  const names = Object.keys(NAMES).filter((name) => pinned[name] !== settings[name]);
  const told = names.filter((name) => name !== "epsilon" || pinned.optimizer === "adam");
  const lower = (text) => (/^Adam/.test(text) ? text : text.charAt(0).toLowerCase() + text.slice(1));
  return told.map((name) => `${lower(NAMES[name])}: ${TEXTS[name](pinned[name])}`).join(", ");
}

// --- Python -------------------------------------------------------------------------------------------------------

function asFloat(value) {
  if (value !== 0 && Math.abs(value) < 1e-3) return value.toExponential();
  return Number.isInteger(value) ? `${value}.0` : String(value);
}

// name(a, b), on three lines where one is too long
function call(name, parts) {
  const line = `${name}(${parts.join(", ")})`;
  return line.length <= 100 ? line : `${name}(\n    ${parts.join(", ")},\n)`;
}

function gradclinicPython(settings) {
  const s = merged(DEFAULTS, settings);
  const start = typeof s.start === "number" ? asFloat(s.start) : `"${s.start}"`;
  const network = [`depth=${s.depth}`, `width=${s.width}`, `activation="${s.activation}"`, `init=${start}`];
  if (s.norm !== "none") network.push(`norm="${s.norm}"`);
  if (s.skip !== "none") network.push("skip=True");
  if (s.skip === "scaled") network.push(`branch_scale=1 / ${s.depth}`);
  network.push(`seed=${s.seed}`);
  const rule = ["model.parameters()", `lr=${asFloat(s.rate)}`];
  if (s.optimizer === "momentum") rule.push("momentum=0.9");
  if (s.optimizer === "adam") rule.push(`eps=${asFloat(s.epsilon)}`);
  if (s.decay !== OFF) rule.push(`weight_decay=${asFloat(s.decay)}`);
  const training = ["model, data, optimizer", "epochs=20"];
  if (s.clip !== OFF) training.push(`clip_norm=${asFloat(s.clip)}`);
  training.push(`seed=${s.seed}`, "recorder=recorder", "progress=False");
  return [
    "# The network of the live lab: the same settings, other random numbers.",
    "import torch",
    "",
    "import gradclinic",
    "from gradclinic.course.data import digits",
    "from gradclinic.course.models import MLP",
    "from gradclinic.course.training import chance_loss, fit",
    "",
    "data = digits()",
    call("model = MLP", network),
    call(`optimizer = torch.optim.${s.optimizer === "adam" ? "Adam" : "SGD"}`, rule),
    "recorder = gradclinic.Recorder(model, chance_loss=chance_loss(data.y_train))",
    call("history = fit", training),
    "print(gradclinic.diagnose(recorder.record))",
    'print(f"loss {history.loss[-1]:.3g}, test accuracy {history.test_accuracy[-1]:.0%}")',
    "",
  ].join("\n");
}

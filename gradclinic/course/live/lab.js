// The live lab: what one sees and touches. It trains nothing itself: `options.start` makes the trainer, which gets
// {do: "new" | "set" | "run" | "pause" | "step" | "record"} and says {say: "frame" | "record"}. No dependency.
// gradclinicLab(place, options) fills an element; gradclinicPython(settings) writes the same network with gradclinic.
var { gradclinicLab, gradclinicPython } = (() => {
  "use strict";

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
  const percent = (share) => (Number.isFinite(share) ? `${Math.round(100 * share)} %` : "–");

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

  // --- stories ------------------------------------------------------------------------------------------------------

  // Each asks before it runs. `came` looks whether the run did what the story says; where it did not, that is told.
  const learns = (run) => run.loss < 0.8 * GUESSING;
  const guesses = (run) => Math.abs(run.loss - GUESSING) < 0.15;
  const OUTCOMES = (right) =>
    [["learn", "It learns to read digits."], ["guess", "It still guesses."], ["lost", "Its numbers overflow."]].map(
      ([name, text]) => ({ text, right: name === right }),
    );
  const STORIES = [
    {
      title: "Twenty sigmoid layers",
      tells: "A network of 20 sigmoid layers, started by Xavier's rule, trained by Adam.",
      asks: "How does it do after 300 steps?",
      answers: OUTCOMES("guess"),
      settings: {},
      until: 300,
      came: guesses,
      because: (run) =>
        `The loss is ${run.lossText}; guessing gives 2.30. Before the first step layer 1 got ${run.ratioText} of ` +
        "layer 20's gradient: every layer on the way back made it smaller.",
    },
    {
      title: "The same, with batch norm",
      tells: "Again 20 sigmoid layers, Xavier's rule and Adam, but each layer has batch normalisation.",
      asks: "How does it do after 300 steps?",
      answers: OUTCOMES("learn"),
      settings: { norm: "batch" },
      until: 300,
      came: learns,
      because: (run) =>
        `The loss is ${run.lossText}, below guessing. Batch norm brings what enters each sigmoid back to where it is ` +
        `steep, so layer 1 began with ${run.ratioText} times layer 20's gradient.`,
    },
    {
      title: "Does clipping help?",
      tells: "The 20 sigmoid layers without batch norm, but the gradient is clipped at norm 1.",
      asks: "How does it do after 300 steps?",
      answers: OUTCOMES("guess"),
      settings: { clip: 1 },
      until: 300,
      came: guesses,
      because: (run) =>
        `The loss is ${run.lossText}, that of guessing. Clipping can only make a gradient shorter. Here the one of ` +
        "the first layers is too short already.",
    },
    {
      title: "ReLU, as PyTorch starts it",
      tells: "20 ReLU layers with PyTorch's own starting weights, trained by plain SGD at rate 0.02.",
      asks: "How does it do after 500 steps?",
      answers: OUTCOMES("guess"),
      settings: { activation: "relu", start: "pytorch", optimizer: "sgd", rate: 0.02 },
      until: 500,
      came: guesses,
      because: (run) =>
        `The loss is ${run.lossText}; guessing gives 2.30. ReLU lets half of its input through, and these weights ` +
        `are too small to make up for it: layer 1 got ${run.ratioText} of layer 20's gradient.`,
    },
    {
      title: "ReLU, started by He's rule",
      tells: "The same 20 ReLU layers, SGD and rate. Only the starting weights are larger: He's rule.",
      asks: "How does it do after 500 steps?",
      answers: OUTCOMES("learn"),
      settings: { activation: "relu", start: "he", optimizer: "sgd", rate: 0.02 },
      until: 500,
      came: learns,
      because: (run) =>
        `The loss is ${run.lossText}, below guessing. He's rule makes up for the half that ReLU cuts off, so the ` +
        `gradient neither dies nor explodes: layer 1 began with ${run.ratioText} times that of layer 20.`,
    },
    {
      title: "Large weights, tanh",
      tells: "20 tanh layers whose starting weights are about 4 times those of Xavier's rule, trained by SGD.",
      asks: "Before the first step: how large is layer 1's gradient beside that of layer 20?",
      answers: [
        { text: "More than 100 times smaller.", right: false },
        { text: "About the same.", right: false },
        { text: "More than 100 times larger.", right: true },
      ],
      settings: { activation: "tanh", start: 4, optimizer: "sgd", rate: 0.02 },
      until: 100,
      came: (run) => run.ratio > 100,
      because: (run) =>
        `Look at the open points: layer 1 began with ${run.ratioText} times layer 20's gradient. Many tanh units are ` +
        "saturated and pass little, but these weights are so large that each layer on the way back still makes it " +
        "larger.",
    },
    {
      title: "ReLU, weights too large",
      tells: "30 ReLU layers whose starting weights are 1.4 times those of He's rule, trained by SGD at rate 0.01.",
      asks: "What happens in the first 50 steps?",
      answers: OUTCOMES("lost"),
      settings: { activation: "relu", start: 2, depth: 30, optimizer: "sgd", rate: 0.01 },
      until: 50,
      came: (run) => run.ended === "nonfinite",
      because: (run) =>
        `By step ${run.step} the loss was no longer a number. ReLU sets no bound: the signal grows on its way ` +
        "through the layers and the gradient on its way back, and a step along it throws the weights far away.",
    },
    {
      title: "A level gradient",
      tells: "5 tanh layers, Xavier's rule, SGD at rate 0.00001. The gradient is about the same in every layer.",
      asks: "How does it do after 300 steps?",
      answers: [
        { text: "It learns: the gradient is fine.", right: false },
        { text: "The loss hardly moves.", right: true },
        { text: "The gradient vanishes on the way.", right: false },
      ],
      settings: { activation: "tanh", depth: 5, optimizer: "sgd", rate: 1e-5 },
      until: 300,
      came: (run) => Math.abs(run.loss - run.firstLoss) < 0.25,
      because: (run) =>
        `The loss began at ${run.firstText} and is ${run.lossText}. The gradient arrives everywhere, but a step ` +
        `moves layer 1 by only ${run.updateText} of its weights. Raise the rate while it trains.`,
    },
    {
      title: "Thirty layers with skips",
      tells: "30 tanh layers, PyTorch's start, SGD at rate 0.05. From the second on each adds its answer to its input.",
      asks: "How does it do after 300 steps?",
      answers: OUTCOMES("learn"),
      settings: {
        activation: "tanh", start: "pytorch", depth: 30, optimizer: "sgd", rate: 0.05, skip: "plain",
      },
      until: 300,
      came: learns,
      because: (run) =>
        `The loss is ${run.lossText}, below guessing. The gradient has a way past every layer: layer 1 began with ` +
        `${run.ratioText} times layer 30's. Now set the skips to none and press New start.`,
    },
  ];

  const FEW = 3; // so many stories are offered at once where the window is narrow; lab.css knows it too

  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

  // What a story may refer to.
  function factsOf(rows, ended) {
    const first = rows[0], last = rows[rows.length - 1], bottom = first.gradient;
    const loss = mean(rows.slice(-20).map((row) => row.loss)), ratio = bottom[0] / bottom[bottom.length - 1];
    const update = last.update[0];
    return {
      step: last.step, ended, loss, ratio, firstLoss: first.loss,
      lossText: short(loss), ratioText: short(ratio), firstText: short(first.loss), updateText: short(update),
    };
  }

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

  // --- the lab ------------------------------------------------------------------------------------------------------

  function gradclinicLab(place, options = {}) {
    const { small = false, controls: wanted = null, address = false, python = gradclinicPython } = options;
    const stories = options.stories ?? !small;
    const preset = merged(DEFAULTS, options.settings);
    const prefix = `gradclinic-lab-${++labs}`;
    const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
    const dark = window.matchMedia("(prefers-color-scheme: dark)");
    const state = {
      settings: address ? merged(preset, fromAddress(location.hash)) : preset,
      run: null, rows: [],
      running: false, heard: false, // whether it trains; `heard`: what the trainer said last
      wished: null, // a timer: for so long the buttons show what was pressed, not what was heard
      accuracy: null, verdict: null, theory: null, ended: null,
      changed: null, // the step after which the network itself was changed
      viewed: null, // index of the row that is looked at; null: the newest
      hover: null, pin: null,
      story: null, // {index, phase: "asked" | "watched" | "told" | "left", answer}
    };
    let trainer = null, look = null, over = false;

    // --- what is on the page

    const root = element("section", "");
    root.className = "gradclinic-lab";
    root.setAttribute("aria-label", "Live training lab");
    const train = button("Train", () => (state.running ? pause() : run()), "button main");
    const one = button("1 step", () => command({ do: "step", count: 1 }));
    const anew = button("New start", () => choose({ seed: state.settings.seed + 1 }));
    one.setAttribute("aria-label", "Train for 1 step");
    anew.title = "New random weights: the next seed";
    const bar = element("div", "bar", train, one, anew);
    const kind = element("strong", "kind"), where = element("span", ""), because = element("span", "because");
    const verdict = element("p", "verdict", kind, where, because);
    verdict.setAttribute("aria-live", "polite");
    verdict.setAttribute("aria-atomic", "true");
    const flow = figure("Gradient over the last layer's", "flow"), keys = legend();
    flow.whole.append(keys.whole);
    const slide = element("input", "range"), when = element("label", "name", "Step 0");
    Object.assign(slide, { type: "range", min: 0, max: 0, step: 1, value: 0, id: `${prefix}-step` });
    when.htmlFor = slide.id;
    const newest = button("Now", () => view(null)), pinning = button("Pin this run", pinOrNot);
    const time = element("div", "time", when, element("div", "track", slide), newest, pinning);
    const pinned = element("p", "pinned");
    const controls = makeControls(wanted, prefix, choose);
    const rest = "Depth, width, starting weights and seed begin a new network. All else changes the one that runs.";
    const note = element("p", "note", rest);
    const told = element("div", "told");
    told.setAttribute("role", "status");
    const tools = element("div", "tools", button("Reset", () => choose(preset)));
    if (address) tools.append(button("Copy link", () => copy(link(), told, "The link is copied.")));
    tools.append(button("Copy as Python", () => copy(python({ ...state.settings }), told, "The Python is copied.")));
    const desk = element("div", "desk", controls.panel, ...(wanted ? [] : [note]));
    const facts = factList(), rows = table();
    const loss = figure("Loss", "chart"), update = figure("Update over weights", "chart");
    const stuck = figure("Saturated or dead", "chart");
    const more = element(
      "div", "more", pinned, facts.whole, element("div", "charts", loss.whole, update.whole, stuck.whole), rows.whole,
      tools, told,
    );
    const bench = element("div", "bench", bar, verdict, flow.whole, time, desk, more);
    const questions = element("div", "stories");
    root.append(...(stories ? [questions] : []), bench);
    if (small || wanted) root.classList.add("gradclinic-lab-small");
    place.replaceChildren(root);

    // --- settings

    let unsent = null, sending = 0, writing = 0;

    function choose(changes) {
      const before = state.settings, after = merged(before, changes);
      const changed = Object.keys(after).filter((name) => after[name] !== before[name]);
      state.settings = after;
      controls.show(after);
      if (!changed.length) return;
      leaveStory();
      unsent = { ...unsent, ...Object.fromEntries(changed.map((name) => [name, after[name]])) };
      if (!sending) sending = setTimeout(send, 40);
      remember();
      draw();
    }

    function send() {
      clearTimeout(sending);
      sending = 0;
      if (unsent && trainer) trainer.post({ do: "set", settings: { ...state.settings } });
      unsent = null;
    }

    function begin(settings) {
      state.settings = merged(preset, settings);
      unsent = null;
      controls.show(state.settings);
      command({ do: "new", settings: { ...state.settings } });
      remember();
    }

    function remember() {
      if (!address) return;
      clearTimeout(writing);
      writing = setTimeout(link, 300);
    }

    function link() {
      clearTimeout(writing);
      try {
        history.replaceState(null, "", toAddress(state.settings));
      } catch {
        location.hash = toAddress(state.settings);
      }
      return location.href;
    }

    function readAddress() {
      const found = fromAddress(location.hash), known = Object.keys(found).some((name) => Object.hasOwn(CHECKS, name));
      if (known && location.hash !== toAddress(state.settings)) choose(merged(preset, found));
    }

    // --- training

    function command(message) {
      if (over || !trainer) return;
      send();
      trainer.post(message);
    }

    function wish(running) {
      state.running = running;
      clearTimeout(state.wished);
      state.wished = setTimeout(() => {
        state.wished = null;
        state.running = state.heard;
        draw();
      }, 500);
      draw();
    }

    function run() {
      if (atEnd()) command({ do: "new", settings: { ...state.settings } });
      state.ended = null;
      state.viewed = null;
      command({ do: "run" });
      wish(true);
    }

    const atEnd = () => Boolean(state.ended) || state.rows[state.rows.length - 1]?.step >= STEPS;

    function pause() {
      command({ do: "pause" });
      wish(false);
    }

    function take(message) {
      if (over || !message) return;
      if (message.say === "record") return void options.onrecord?.(message.record);
      if (message.say !== "frame") return;
      if (message.run !== state.run) {
        Object.assign(state, { run: message.run, rows: [], accuracy: null, verdict: null, viewed: null, ended: null });
      }
      for (const row of message.rows || []) state.rows.push(row);
      state.accuracy = message.accuracy || state.accuracy;
      state.verdict = message.verdict;
      state.theory = message.theory;
      state.ended = message.ended || null;
      state.changed = message.changed ?? null;
      state.heard = message.running;
      if (!state.wished || state.ended) state.running = message.running;
      watchStory();
      draw();
    }

    // --- looking back, and beside

    function view(index) {
      state.viewed = index === null || index >= state.rows.length - 1 ? null : index;
      draw();
    }

    slide.addEventListener("input", () => view(Number(slide.value)));

    function pinOrNot() {
      if (state.pin) state.pin = null;
      else if (state.rows.length) {
        const kept = state.rows.slice();
        state.pin = { rows: kept, row: kept[kept.length - 1], settings: state.settings, accuracy: state.accuracy };
      }
      draw();
    }

    for (const { canvas } of [flow, update, stuck]) {
      const point = (event) => {
        const row = shownRow();
        if (!row) return;
        const box = canvas.getBoundingClientRect(), left = 54, across = box.width - left - 20;
        const count = canvas === update.canvas ? row.gradient.length + 1 : row.gradient.length;
        const layer = 1 + Math.round(((event.clientX - box.left - left) / across) * (count - 1));
        state.hover = Math.max(1, Math.min(row.gradient.length, layer));
        draw();
      };
      canvas.addEventListener("pointermove", point);
      canvas.addEventListener("pointerdown", point);
      canvas.addEventListener("pointerleave", () => {
        state.hover = null;
        draw();
      });
    }

    const shownRow = () => state.rows[state.viewed ?? state.rows.length - 1];

    // --- stories

    function ask(index) {
      if (state.running) pause();
      state.story = { index, phase: "asked", answer: null };
      showStories();
      questions.querySelector("button")?.focus({ preventScroll: true });
    }

    function answer(index) {
      Object.assign(state.story, { phase: "watched", answer: index, after: state.run });
      begin({ ...DEFAULTS, seed: state.settings.seed, ...STORIES[state.story.index].settings });
      state.ended = null;
      command({ do: "run" });
      wish(true);
      showStories();
      questions.scrollIntoView({ block: "nearest" });
    }

    // Once the run of a story has come far enough, the answer is told.
    function watchStory() {
      const { story } = state;
      if (!story || story.phase !== "watched" || state.run === story.after || !state.rows.length) return;
      const tale = STORIES[story.index], facts = factsOf(state.rows, state.ended);
      if (facts.step < tale.until && !state.ended) return;
      const { right } = tale.answers[story.answer];
      story.phase = "told";
      story.words = tale.came(facts)
        ? [right ? "Right." : "Not this time.", tale.because(facts)]
        : ["A surprise.", "This run did not do what such runs usually do. Press New start, and see another."];
      story.right = right;
      showStories();
    }

    function leaveStory() {
      if (state.story?.phase !== "watched") return;
      state.story.phase = "left";
      showStories();
    }

    function showStories() {
      if (!stories) return;
      const { story } = state;
      questions.replaceChildren(...(story ? [storyCard(story)] : storyList()));
    }

    function storyList() {
      const list = element("div", "choices list", ...STORIES.map(({ title }, i) => button(title, () => ask(i))));
      const rest = button(`All ${STORIES.length}`, () => {
        list.classList.add("gradclinic-lab-open");
        list.children[FEW].focus();
      }, "button rest");
      list.append(rest);
      list.setAttribute("role", "group");
      list.setAttribute("aria-label", "Questions");
      const lead = element("strong", "", "What will happen? ");
      return [element("p", "lead", lead, "Answer first, then watch it train."), list];
    }

    function storyCard(story) {
      const tale = STORIES[story.index], next = (story.index + 1) % STORIES.length;
      const card = element("div", "card"), head = element("div", "line", element("strong", "", tale.title));
      head.append(button("All questions", () => ((state.story = null), showStories())));
      card.append(head, element("p", "", tale.tells, " ", element("b", "", tale.asks)));
      if (story.phase === "asked") {
        const choices = tale.answers.map(({ text: words }, i) => button(words, () => answer(i), "button answer"));
        card.append(element("div", "choices", ...choices));
        return card;
      }
      const result = element("p", "result");
      result.setAttribute("role", "status");
      card.append(element("p", "", `You said: ${tale.answers[story.answer].text}`), result);
      if (story.phase === "watched") result.append(`Watch. The answer comes by step ${tale.until}.`);
      if (story.phase === "left") {
        result.append("You changed something, so this is a run of your own now. ");
        card.append(element("div", "choices", button("Ask again", () => ask(story.index))));
      }
      if (story.phase === "told") {
        result.append(element("strong", story.right ? "right" : "", story.words[0]), ` ${story.words[1]}`);
        card.append(element("div", "choices", button("Next question", () => ask(next))));
      }
      return card;
    }

    // --- drawing

    let waiting = false, later = 0, lastDrawn = 0;

    function draw() {
      if (waiting || later || over) return;
      const rest = calm.matches && state.running ? lastDrawn + 260 - performance.now() : 0;
      if (rest > 0) {
        later = setTimeout(() => ((later = 0), draw()), rest);
        return;
      }
      waiting = true;
      requestAnimationFrame(() => {
        waiting = false;
        lastDrawn = performance.now();
        if (!over) paint();
      });
    }

    function readLook() {
      const style = getComputedStyle(root), colours = {};
      for (const name of COLOURS) colours[name] = style.getPropertyValue(`--lab-${name}`).trim();
      look = { colours, font: `12.5px ${style.fontFamily}` };
    }

    function paint() {
      const row = shownRow(), { rows: all, pin, theory, hover, verdict: found } = state, tone = toneOf(found);
      if (!look) readLook();
      const seen = { rows: all, row, pin, theory, hover, tone };
      drawFlow(flow.canvas, look, seen);
      drawLoss(loss.canvas, look, seen);
      drawUpdates(update.canvas, look, seen);
      drawStuck(stuck.canvas, look, seen);
      showButtons();
      showLegend(tone);
      if (row) showNumbers(row);
      showTime(row);
      speak();
    }

    function showButtons() {
      say(train, state.running ? "Pause" : atEnd() ? "Again" : "Train");
      one.disabled = atEnd() || state.running;
      newest.disabled = state.viewed === null;
      say(pinning, state.pin ? "Unpin" : "Pin this run");
    }

    function showLegend(tone) {
      const { parts } = keys, past = state.viewed !== null && shownRow();
      root.dataset.tone = tone;
      parts.pin.whole.hidden = !state.pin;
      say(parts.theory.label, state.theory ? "theory" : "no theory here");
      parts.theory.whole.classList.toggle("gradclinic-lab-without", !state.theory);
      const at = past ? `after step ${past.step.toLocaleString("en")}` : "now";
      say(parts.now.label, state.verdict ? `${at}: ${state.verdict.kind}` : at);
      const { pin } = state;
      pinned.hidden = !pin;
      if (!pin) return;
      const otherwise = differences(pin.settings, state.settings) || "the same settings";
      const level = short(mean(pin.rows.slice(-20).map((each) => each.loss)));
      const result = `loss ${level} after ${counted(pin.row.step, "step")}`;
      say(pinned, `Pinned (squares, dashed line): ${otherwise}. It had ${result}.`);
    }

    function showNumbers(row) {
      const depth = row.gradient.length, { parts } = facts;
      const last = row.gradient[depth - 1], now = state.viewed === null;
      const at = Math.min(state.hover || 1, depth) - 1, ratio = (i) => short(row.gradient[i] / last);
      say(parts.step, `${row.step.toLocaleString("en")} (${(row.step / EPOCH).toFixed(1)})`);
      say(parts.loss, short(row.loss));
      say(parts.train, now && state.accuracy ? percent(state.accuracy.train) : "–");
      say(parts.test, now && state.accuracy ? percent(state.accuracy.test) : "–");
      say(parts.ratio, ratio(0));
      say(flow.name, `Gradient over layer ${depth}'s`);
      say(flow.value, `layer ${at + 1}: ${ratio(at)}`);
      say(loss.value, short(row.loss));
      say(update.value, row.step === 0 ? "" : `layer ${at + 1}: ${short(row.update[at])}`);
      const worst = worstLayer(row), share = (i) => `layer ${i + 1}: ${percent(row.stuck[i])}`;
      const [title, most] = STUCK_WORDS[state.settings.activation] || STUCK_WORDS.none;
      say(stuck.name, title);
      say(stuck.value, worst < 0 ? "" : share(state.hover ? at : worst));
      say(parts.stuck.previousSibling, most);
      say(parts.stuck, worst < 0 ? "–" : row.stuck[worst] >= 0.005 ? share(worst) : "none");
    }

    function showTime(row) {
      const last = Math.max(0, state.rows.length - 1), index = state.viewed ?? last;
      if (Number(slide.max) !== last) slide.max = last;
      if (Number(slide.value) !== index) slide.value = index;
      slide.style.setProperty("--at", last ? index / last : 0);
      slide.disabled = last === 0;
      pinning.disabled = !row;
      const step = row ? row.step : 0, end = state.rows.length ? state.rows[last].step : 0;
      const of = step === end ? "" : ` of ${end.toLocaleString("en")}`;
      const words = `Step ${step.toLocaleString("en")}${of}`;
      say(when, state.ended === "limit" && step === end ? `${words}, the end` : words);
      slide.setAttribute("aria-valuetext", `${words}${state.viewed === null ? ", the newest" : ""}`);
    }

    // Words that are read aloud change at most once a second; if only a number in them changes, once in three.
    let spokenAt = 0, spokenKind = null, speaking = 0;

    function speak() {
      const now = performance.now(), { kind: title, layers, because: sentence } = verdictWords();
      const heading = `${title}${layers}${state.running}`;
      const pauseFor = heading === spokenKind ? (state.running ? 3000 : 0) : 0;
      const due = spokenAt + Math.max(1000, pauseFor);
      if (now < due) {
        if (!speaking) speaking = setTimeout(() => ((speaking = 0), over || speak()), due - now);
        return;
      }
      const before = verdict.textContent;
      say(kind, title);
      say(where, layers);
      say(because, sentence);
      verdict.dataset.tone = toneOf(state.verdict);
      spokenKind = heading;
      if (verdict.textContent !== before) spokenAt = now;
      describe();
    }

    function verdictWords() {
      const { verdict: found, rows: all, ended } = state;
      if (!all.length) return { kind: "A moment", layers: "", because: "The network is being made." };
      const step = all[all.length - 1].step;
      if (state.changed !== null) {
        const words = `After step ${state.changed} the network itself was changed. Now watch the loss.`;
        return { kind: "Changed on the way", layers: "", because: words };
      }
      if (!found) {
        const words = step ? "Too early to say." : "Nothing is trained yet. Press Train, and change what you like.";
        return { kind: step ? "No verdict yet" : "Ready", layers: "", because: words };
      }
      const layers = found.layers?.length ? ` in ${named(found.layers)}` : "";
      const end = ended === "limit" ? ` The run ends after ${counted(STEPS, "step")}.` : "";
      return { kind: capital(found.kind), layers, because: `${kindly(found.evidence?.[0] || "")}${end}` };
    }

    function describe() {
      const row = shownRow();
      if (!row) return;
      const depth = row.gradient.length, ratio = spoken(row.gradient[0] / row.gradient[depth - 1]);
      const moved = `layer 1 by ${spoken(row.update[0])}, the read-out by ${spoken(row.update[depth])}`;
      const worst = worstLayer(row), most = worst < 0 ? 0 : `${percent(row.stuck[worst])}, in layer ${worst + 1}`;
      const name = ({ canvas }, words) => canvas.setAttribute("aria-label", words);
      name(flow, `Gradient of ${counted(depth, "layer")}: layer 1 has ${ratio} of that of layer ${depth}.`);
      name(loss, `Loss ${spoken(row.loss)} after ${counted(row.step, "step")}; guessing gives 2.3.`);
      name(update, `What a step changes, over the weights: ${row.step ? moved : "no step yet"}.`);
      name(stuck, `${stuck.name.textContent}: ${worst < 0 ? "does not apply" : `at most ${most}`}.`);
      rows.show(row);
    }

    rows.whole.addEventListener("toggle", () => rows.show(shownRow()));

    // --- what changes around it

    function relook() {
      look = null;
      draw();
    }
    const sizes = new ResizeObserver(draw), themes = new MutationObserver(relook);
    sizes.observe(root);
    for (const part of [document.documentElement, document.body]) {
      themes.observe(part, { attributes: true, attributeFilter: ["data-theme", "data-jp-theme-light", "class"] });
    }
    dark.addEventListener("change", relook);
    if (address) window.addEventListener("hashchange", readAddress);

    controls.show(state.settings);
    showStories();
    try {
      trainer = options.start(take);
      trainer.post({ do: "new", settings: { ...state.settings } });
    } catch (error) {
      say(told, `The trainer could not be started here: ${error.message}`);
    }
    draw();

    return {
      settings: () => ({ ...state.settings }),
      set: (changes) => choose(changes),
      record: () => command({ do: "record" }),
      end() {
        if (over) return;
        over = true;
        for (const timer of [sending, writing, later, speaking, state.wished]) clearTimeout(timer);
        sizes.disconnect();
        themes.disconnect();
        dark.removeEventListener("change", relook);
        window.removeEventListener("hashchange", readAddress);
        trainer?.end();
        place.replaceChildren();
      },
    };
  }

  return { gradclinicLab, gradclinicPython };
})();

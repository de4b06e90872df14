// The game of the mystery runs: one recorded run at a time, and the reason for each wrong answer.
// What is known of a run is in patients.json, which benchmarks/patients.py writes.
"use strict";

function gradclinicPatients(patients, root) {
  const KINDS = ["healthy", "vanishing", "exploding", "overflow", "dying ReLU", "saturated", "learning rate too high", "learning rate too low"];
  const KEEP = "gradclinic-patients";
  const known = (value) => value !== null;
  function percent(share) {
    if (share > 0 && share < 0.005) return "under 1 %";
    return share >= 0.995 && share < 1 ? "over 99 %" : `${Math.round(100 * share)} %`;
  }

  // --- numbers and words --------------------------------------------------------------------------------------------

  const raised = (power) => String(power).replace("-", "⁻").replace(/\d/g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]);

  function number(value) {
    if (value === 0) return "0";
    const power = Math.floor(Math.log10(Math.abs(value)));
    if (power >= -2 && power < 4) return String(Number(value.toPrecision(2)));
    return `${(value / 10 ** power).toFixed(1)}·10${raised(power)}`;
  }

  const ending = (p) => p.loss.filter(known).at(-1) / p.chance;

  const shut = (p) => p.first[0] === 0;

  function inherited(p) {
    if (!known(p.first[0])) return "In the first step the gradients are not finite";
    if (shut(p)) return "In the first step the gradient is exactly 0 in the first layer";
    return `In the first step the first layer has ${number(p.ratio)} times the gradient of the last hidden one`;
  }

  // The share of a layer's units that are so: in the first step, and in the last if its numbers are finite.
  function worst(p, shares, what, without, bound) {
    if (!known(shares[0])) return p.broken === 1 ? "In the first step its numbers are not finite." : without;
    const last = known(shares[1]) ? `, and ${percent(shares[1])} in the last` : "";
    return `In its worst layer ${percent(shares[0])} of ${what} in the first step${last}. ${bound}`;
  }

  // What this run says to each answer: a sentence about its own numbers, true whether the answer is right or wrong.
  const says = {
    healthy: (p) =>
      known(p.broken) ? `Numbers are inf or NaN in step ${p.broken}.` : `Its loss ends at ${number(ending(p))} times that of guessing.`,
    vanishing: (p) => {
      if (!known(p.first[0])) return `${inherited(p)}.`;
      if (shut(p)) return `${inherited(p)}, and not above some layer: a door that is shut, and no product of small factors.`;
      return `${inherited(p)}. Below 0.001 it vanishes, if it fades evenly from layer to layer.`;
    },
    exploding: (p) => (known(p.first[0]) && !shut(p) ? `${inherited(p)}. Above 100 it explodes.` : `${inherited(p)}.`),
    overflow: (p) => {
      if (!known(p.broken)) return "Every number of it is finite.";
      return `Numbers are inf or NaN in step ${p.broken}.${p.broken > 1 ? " Ask what was odd before." : ""}`;
    },
    "dying ReLU": (p) =>
      worst(p, p.dead, "the units are off for every image", "It has no plain ReLU.", "From 90 % on a layer is all but shut."),
    saturated: (p) =>
      worst(
        p,
        p.saturated,
        "the outputs lie where the activation is flat",
        "Its activation is not flat on both sides.",
        "From 90 % on a layer lets little through, unless large weights make up for it.",
      ),
    "learning rate too high": (p) =>
      known(p.largest_update)
        ? `Its largest early update is ${number(p.largest_update)} times the weights. Above 0.2 a step is too long; but a step may be long because the gradient was too large before it.`
        : "No update of it is finite: it broke before a rate could matter.",
    "learning rate too low": (p) =>
      known(p.usual_update)
        ? `Its usual update is ${number(p.usual_update)} times the weights. Below 0.0001 the steps are too short, if the gradient of the first step was sound.`
        : "No update of it is finite.",
  };

  const because = {
    healthy: "It learns, whatever else looks odd.",
    vanishing: "The gradient fades from layer to layer, before any update.",
    exploding: "The gradient grows on its way back, before any update.",
    overflow: "The signal grew through the layers until it left the range of the numbers.",
    "dying ReLU": "A whole layer is shut from the first step on, and no gradient passes it.",
    saturated: "From the first step on all units of a layer are so far out that their slope is next to nothing.",
    "learning rate too high": "The start was sound. The steps threw it off.",
    "learning rate too low": "Signal and gradient are sound. The steps are too short to arrive.",
  };

  // --- drawing: the same axes for every run, and no colour that betrays anything --------------------------------------

  const [WIDE, HIGH, LEFT, RIGHT, TOP, BOTTOM] = [460, 320, 74, 14, 50, 54];

  function element(name, attributes = {}, ...children) {
    const made = name.startsWith("svg:")
      ? document.createElementNS("http://www.w3.org/2000/svg", name.slice(4))
      : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  function chart(title, x, low, high, every, lowest, highest) {
    const svg = element("svg:svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", fill: "currentColor", "font-size": 18 });
    const across = (value) => LEFT + ((WIDE - LEFT - RIGHT) * (value - lowest)) / Math.max(highest - lowest, 1);
    const up = (power) => TOP + ((HIGH - TOP - BOTTOM) * (high - Math.min(Math.max(power, low), high))) / (high - low);
    const say = (text, attributes) => svg.append(element("svg:text", attributes, text));
    say(title, { x: LEFT, y: 21, "font-weight": 600 });
    for (let power = Math.ceil(low / every) * every; power <= high; power += every) {
      svg.append(element("svg:path", { d: `M${LEFT} ${up(power)}H${WIDE - RIGHT}`, stroke: "currentColor", "stroke-opacity": 0.15 }));
      say(power === 0 ? "1" : `10${raised(power)}`, { x: LEFT - 8, y: up(power) + 6, "text-anchor": "end" });
    }
    say(String(lowest), { x: across(lowest), y: HIGH - 30, "text-anchor": "middle" });
    if (highest > lowest) say(String(highest), { x: across(highest) - 6, y: HIGH - 30, "text-anchor": "middle" });
    say(x, { x: (LEFT + WIDE - RIGHT) / 2, y: HIGH - 6, "text-anchor": "middle" });
    return { svg, across, up };
  }

  // A value below the axis lies at the bottom; one above it is a triangle; one that is not finite a cross over all.
  function dot(page, x, value, low, high, hollow) {
    const [cx, top] = [page.across(x), page.up(high)];
    const bold = { stroke: "currentColor", "stroke-width": 1.5 };
    if (!known(value)) return element("svg:path", { d: `M${cx - 4} ${top - 13}l8 8m0-8l-8 8`, ...bold });
    const ink = hollow ? { fill: "none", ...bold } : {};
    const power = value > 0 ? Math.log10(value) : low;
    if (power > high) return element("svg:path", { d: `M${cx - 5} ${top + 4}h10l-5-8z`, ...ink });
    return element("svg:circle", { cx, cy: page.up(power), r: hollow ? 4.5 : 2.5, ...ink });
  }

  function lossChart(p) {
    const [low, high] = [-3, 5];
    const page = chart("loss in each step", "step", low, high, 2, p.steps[0], p.steps.at(-1));
    const level = page.up(Math.log10(p.chance));
    page.svg.append(element("svg:path", { d: `M${LEFT} ${level}H${WIDE - RIGHT}`, stroke: "currentColor", "stroke-dasharray": "2 4" }));
    p.loss.forEach((loss, i) => page.svg.append(dot(page, p.steps[i], loss, low, high, false)));
    // points may lie where it stands, so it has an edge in the colour of the page
    const edge = { stroke: "var(--pst-color-background)", "stroke-width": 5, "paint-order": "stroke" };
    page.svg.append(element("svg:text", { x: WIDE - RIGHT, y: level - 8, "text-anchor": "end", ...edge }, "guessing"));
    const end = known(p.loss.at(-1)) ? number(p.loss.at(-1)) : "inf or NaN";
    page.svg.setAttribute("aria-label", `Loss over ${p.steps.at(-1)} steps: from ${known(p.loss[0]) ? number(p.loss[0]) : "inf or NaN"} to ${end}; guessing gets ${number(p.chance)}.`);
    return page.svg;
  }

  function gradientChart(p) {
    const [low, high] = [-20, 10];
    const page = chart("gradient: ○ first step, ● last", "layer, from the input", low, high, 10, 1, p.first.length);
    p.first.forEach((norm, i) => page.svg.append(dot(page, i + 1, norm, low, high, true)));
    p.last.forEach((norm, i) => page.svg.append(dot(page, i + 1, norm, low, high, false)));
    const words = (norms) => norms.map((norm) => (known(norm) ? number(norm) : "inf or NaN")).join(", ");
    page.svg.setAttribute("aria-label", `Gradient norm at each layer. First step: ${words(p.first)}. Last step: ${words(p.last)}.`);
    return page.svg;
  }

  // --- the game -----------------------------------------------------------------------------------------------------

  function anew() {
    const order = patients.map((_, i) => i);
    for (let i = order.length - 1; i > 0; i--) {
      const j = Math.floor(Math.random() * (i + 1));
      [order[i], order[j]] = [order[j], order[i]];
    }
    return { order, at: 0, right: 0, tries: [] };
  }

  function read() {
    try {
      const kept = JSON.parse(localStorage.getItem(KEEP));
      const all = [...kept.order].sort((one, other) => one - other).every((place, i) => place === i);
      const whole = [kept.at, kept.right].every((count) => Number.isInteger(count) && count >= 0 && count <= patients.length);
      if (all && whole && kept.order.length === patients.length && Array.isArray(kept.tries)) return kept;
    } catch {
      // no storage, or something else in it
    }
    return anew();
  }

  function keep() {
    try {
      localStorage.setItem(KEEP, JSON.stringify(state));
    } catch {
      // then the score ends with the visit
    }
  }

  function button(text, act) {
    const made = element("button", { type: "button" }, text);
    made.addEventListener("click", () => made.getAttribute("aria-disabled") !== "true" && act(made));
    return made;
  }

  // These stay, whoever the patient is: a reader that listens to the reason must not lose it.
  let state = read();
  const score = element("p", { class: "gradclinic-score" });
  const stage = element("div");
  const reason = element("p", { "aria-live": "polite", class: "gradclinic-reason", id: `${KEEP}-reason` });
  const next = button("Next patient", () => move({ ...state, at: state.at + 1, tries: [] }));
  next.setAttribute("aria-describedby", reason.id);
  const again = button("Start anew", () => move(anew()));

  function move(to) {
    state = to;
    keep();
    show();
    (stage.querySelector("button") || again).focus();
  }

  const patient = () => patients[state.order[state.at]];
  const answered = () => state.at < patients.length && state.tries.includes(patient().kind);

  function tell(kind) {
    const p = patient();
    const [begin, end] = kind === p.kind ? [`Yes: ${kind}.`, ` ${because[kind]}`] : [`Not "${kind}".`, ""];
    reason.textContent = `${begin} ${says[kind](p)}${end}`;
  }

  function update() {
    const seen = state.at + (answered() ? 1 : 0);
    score.textContent = `${patients.length} patients. Seen: ${seen}. Right at the first try: ${state.right}.`;
    for (const made of stage.querySelectorAll("button")) {
      const kind = made.textContent;
      made.setAttribute("aria-disabled", String(answered() || state.tries.includes(kind)));
      made.classList.toggle("gradclinic-right", answered() && kind === patient().kind);
    }
    next.hidden = !answered();
    again.hidden = state.at < patients.length;
  }

  function answer(kind) {
    state.tries.push(kind);
    if (answered() && state.tries.length === 1) state.right += 1;
    keep();
    tell(kind);
    update();
    if (answered()) next.focus();
  }

  function show() {
    reason.textContent = "";
    if (state.at >= patients.length) {
      stage.replaceChildren(element("p", {}, "You have seen them all."));
    } else {
      const answers = KINDS.map((kind) => button(kind, () => answer(kind)));
      stage.replaceChildren(
        element("p", {}, `A network of ${patient().network}.`),
        element("div", { class: "gradclinic-figures" }, lossChart(patient()), gradientChart(patient())),
        element("div", { class: "gradclinic-answers", role: "group", "aria-label": "What is it?" }, ...answers),
      );
      if (state.tries.length) tell(state.tries.at(-1));
    }
    update();
  }

  root.replaceChildren(score, stage, reason, next, again);
  show();
}

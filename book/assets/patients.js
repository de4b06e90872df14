// The game of the mystery runs: one recorded run at a time, and the reason for each wrong answer.
// What is known of a run is in patients.json, which benchmarks/patients.py writes.
"use strict";

function gradclinicPatients(patients, root) {
  const KINDS = ["healthy", "vanishing", "exploding", "overflow", "dying ReLU", "saturated", "learning rate too high", "learning rate too low"];
  const KEEP = "gradclinic-patients";
  const known = (value) => value !== null;
  const percent = (share) => `${Math.round(100 * share)} %`;

  // --- numbers and words --------------------------------------------------------------------------------------------

  const raised = (power) => String(power).replace("-", "⁻").replace(/\d/g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]);

  function number(value) {
    if (value === 0) return "0";
    const power = Math.floor(Math.log10(Math.abs(value)));
    if (power >= -2 && power < 4) return String(Number(value.toPrecision(2)));
    return `${(value / 10 ** power).toFixed(1)}·10${raised(power)}`;
  }

  const ending = (p) => p.loss.filter(known).at(-1) / p.chance;

  function inherited(p) {
    if (!known(p.ratio)) return "In the first step the gradients are not finite";
    return `In the first step the first layer has ${number(p.ratio)} times the gradient of the last hidden one`;
  }

  // What this run says to each answer: a sentence about its own numbers, true whether the answer is right or wrong.
  const says = {
    healthy: (p) =>
      known(p.broken) ? `Numbers are inf or NaN in step ${p.broken}.` : `Its loss ends at ${number(ending(p))} times that of guessing.`,
    vanishing: (p) =>
      p.ratio === 0
        ? `${inherited(p)}: it does not fade, it is exactly 0 below one layer. That is a door that is shut, and no product of small factors.`
        : `${inherited(p)}. Below 0.001 it vanishes.`,
    exploding: (p) => `${inherited(p)}. Above 100 it explodes.`,
    overflow: (p) =>
      known(p.broken) ? `Numbers are inf or NaN in step ${p.broken}. Ask what was odd before.` : "Every number of it is finite.",
    "dying ReLU": (p) =>
      known(p.dead[0])
        ? `In its worst layer ${percent(p.dead[0])} of the units are off for every image in the first step, and ${percent(p.dead[1] ?? 1)} in the last.`
        : "It has no units that could be off for every image.",
    saturated: (p) =>
      known(p.saturated[0])
        ? `In its worst layer ${percent(p.saturated[0])} of the outputs lie at an end of their range in the first step, and ${percent(p.saturated[1] ?? 1)} in the last.`
        : "It has no activation with an end of its range on both sides.",
    "learning rate too high": (p) =>
      known(p.largest_update)
        ? `Its largest early update is ${number(p.largest_update)} times the weights. Above 0.2 a step is too long; but a step may be long because the gradient was too large before it.`
        : "No update of it is finite: it broke before a rate could matter.",
    "learning rate too low": (p) =>
      known(p.usual_update)
        ? `Its usual update is ${number(p.usual_update)} times the weights. Below 0.0001 the steps are too short; look whether the gradient reaches the layers.`
        : "No update of it is finite.",
  };

  const because = {
    healthy: "It learns, whatever else looks odd.",
    vanishing: "The gradient fades from layer to layer, before any update.",
    exploding: "The gradient grows on its way back, before any update.",
    overflow: "The signal grew through the layers until it left the range of the numbers.",
    "dying ReLU": "A whole layer is shut from the first step on, and no gradient passes it.",
    saturated: "From the first step on the units are so far out that their slope is next to nothing.",
    "learning rate too high": "The start was sound. The steps threw it off.",
    "learning rate too low": "Signal and gradient are sound. The steps are too short to arrive.",
  };

  // --- drawing: the same axes for every run, and no colour that betrays anything --------------------------------------

  const [WIDE, HIGH, LEFT, RIGHT, TOP, BOTTOM] = [460, 310, 74, 14, 36, 54];

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

  // A value that is 0 lies at the bottom; one that is not finite is a cross at the top.
  function dot(page, x, value, low, high, hollow) {
    if (!known(value)) {
      const [cx, cy] = [page.across(x), page.up(high)];
      return element("svg:path", { d: `M${cx - 4} ${cy - 4}l8 8m0-8l-8 8`, stroke: "currentColor", "stroke-width": 1.5 });
    }
    const cy = value > 0 ? page.up(Math.log10(value)) : page.up(low);
    const ink = hollow ? { fill: "none", stroke: "currentColor", "stroke-width": 1.5 } : {};
    return element("svg:circle", { cx: page.across(x), cy, r: hollow ? 4.5 : 2.5, ...ink });
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
    page.svg.setAttribute("aria-label", `Gradient norm of each layer's weights. First step: ${words(p.first)}. Last step: ${words(p.last)}.`);
    return page.svg;
  }

  // --- the game -----------------------------------------------------------------------------------------------------

  function read() {
    try {
      const kept = JSON.parse(localStorage.getItem(KEEP)) || {};
      if (Array.isArray(kept.order) && kept.order.length === patients.length && kept.at >= 0 && kept.right >= 0) return kept;
    } catch {
      // no storage, or something else in it: begin anew
    }
    const order = patients.map((_, i) => i);
    for (let i = order.length - 1; i > 0; i--) {
      const j = Math.floor(Math.random() * (i + 1));
      [order[i], order[j]] = [order[j], order[i]];
    }
    return { order, at: 0, right: 0 };
  }

  let state = read();

  function keep() {
    try {
      localStorage.setItem(KEEP, JSON.stringify(state));
    } catch {
      // then the score ends with the visit
    }
  }

  function button(text, act) {
    const made = element("button", { type: "button" }, text);
    made.addEventListener("click", () => act(made));
    return made;
  }

  function show() {
    const over = state.at >= patients.length;
    const score = element("p", { class: "gradclinic-score" });
    const count = () => {
      const seen = state.at + (answered ? 1 : 0);
      score.textContent = `${patients.length} patients. Seen: ${seen}. Right at the first try: ${state.right}.`;
    };
    let answered = false;
    const again = button("Start anew", () => {
      localStorage.removeItem(KEEP);
      state = read();
      show();
    });
    count();
    if (over) {
      root.replaceChildren(score, element("p", {}, "You have seen them all."), again);
      return;
    }
    const p = patients[state.order[state.at]];
    const said = element("p", { "aria-live": "polite", class: "gradclinic-reason" });
    const next = button("Next patient", () => {
      state.at += 1;
      keep();
      show();
      root.querySelector(".gradclinic-answers button")?.focus();
    });
    next.hidden = true;
    let tries = 0;
    const answers = KINDS.map((kind) =>
      button(kind, (made) => {
        tries += 1;
        if (kind !== p.kind) {
          made.disabled = true;
          said.textContent = `Not "${kind}". ${says[kind](p)}`;
          return;
        }
        if (tries === 1) state.right += 1;
        answered = true;
        count();
        answers.forEach((other) => (other.disabled = true));
        made.classList.add("gradclinic-right");
        said.textContent = `Yes: ${kind}. ${says[kind](p)} ${because[kind]}`;
        next.hidden = false;
        next.focus();
      }),
    );
    root.replaceChildren(
      score,
      element("div", { class: "gradclinic-figures" }, lossChart(p), gradientChart(p)),
      element("div", { class: "gradclinic-answers", role: "group", "aria-label": "What is it?" }, ...answers),
      said,
      next,
    );
  }

  show();
}

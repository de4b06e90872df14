"use strict";
// One layer as a machine: what comes in, how steep the activation is there, and the factor that follows.
function gradclinicLayer({ engine, theory }) {
  const LAYERS = 50; // how deep the layer lies whose factor is shown
  const [LEAST, MOST] = [0.3, 20]; // weight scales
  const [FAR, LOW, HIGH] = [6, -2, 2]; // pre-activations from -6 to 6; factors from a hundredth to a hundred
  const NAMES = { sigmoid: "sigmoid", tanh: "tanh", relu: "ReLU", gelu: "GELU", linear: "no activation" };

  // Variance of the pre-activations in layer 50, if the inputs have mean square 1 and there are no biases.
  function arriving(activation, scale) {
    let variance = scale ** 2;
    for (let layer = 1; layer < LAYERS; layer++) {
      variance = Math.min(Math.max(theory.varianceMap(activation, scale, variance), 1e-280), 1e280);
    }
    return variance;
  }

  function machine(activation, scale) {
    const variance = arriving(activation, scale), chi = theory.chi(activation, scale, variance);
    return { variance, chi, slope: chi / scale ** 2 };
  }

  // The scale at which the factor is 1, by halving: at either end of the slider each activation is on another side.
  function level(activation) {
    let [low, high] = [LEAST, MOST];
    const below = (scale) => machine(activation, scale).chi < 1;
    for (let turn = 0; turn < 40; turn++) {
      const middle = Math.sqrt(low * high);
      if (below(middle)) low = middle;
      else high = middle;
    }
    return Math.sqrt(low * high);
  }

  const raised = (power) => String(power).replace("-", "⁻").replace(/\d/g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]);

  function short(value) {
    const power = Math.floor(Math.log10(value));
    return power >= -3 && power < 4 ? String(Number(value.toPrecision(3))) : `10${raised(Math.round(Math.log10(value)))}`;
  }

  function make(name, attributes = {}, ...children) {
    const space = { svg: 1, path: 1, text: 1, circle: 1 }[name] ? "http://www.w3.org/2000/svg" : "http://www.w3.org/1999/xhtml";
    const made = document.createElementNS(space, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  function draw(activation, { variance, chi }) {
    const svg = make("svg", { viewBox: "0 0 460 320", fill: "currentColor", "font-size": 17, role: "img" });
    const x = (z) => 30 + (400 * (z + FAR)) / (2 * FAR), y = (height) => 190 - 130 * height;
    const write = (words, attributes) => svg.append(make("text", attributes, words));
    const line = (points) => `M${points.map(([z, height]) => `${x(z).toFixed(1)} ${y(height).toFixed(1)}`).join("L")}`;
    const grid = Array.from({ length: 241 }, (_, i) => -FAR + (2 * FAR * i) / 240);
    // the histogram of what arrives, highest where it is most, so that only its width counts
    const width = Math.max(Math.sqrt(variance), 0.08);
    const hump = grid.map((z) => [z, Math.exp(-((z / width) ** 2) / 2)]);
    svg.append(make("path", { d: `${line([[-FAR, 0], ...hump, [FAR, 0]])}Z`, "fill-opacity": 0.15 }));
    const value = engine.VALUE[activation], slope = engine.SLOPE[activation];
    const steep = grid.map((z) => [z, slope(z, value(z))]);
    svg.append(make("path", { d: line(steep), fill: "none", stroke: "currentColor", "stroke-width": 2.5 }));
    for (const z of [-FAR, 0, FAR]) write(String(z).replace("-", "−"), { x: x(z), y: 215, "text-anchor": "middle" });
    for (const height of [0, 1]) write(String(height), { x: 22, y: y(height) + 6, "text-anchor": "end" });
    write("grey: what arrives; line: the slope", { x: 30, y: 24, "font-weight": 600 });
    // the factor, on an axis that stays
    const at = (power) => 30 + (400 * (Math.min(Math.max(power, LOW), HIGH) - LOW)) / (HIGH - LOW);
    svg.append(make("path", { d: `M30 270H430M${at(0)} 256V284`, stroke: "currentColor", "stroke-width": 1.5 }));
    for (const [power, name] of [[-2, "0.01"], [0, "1"], [2, "100"]]) {
      write(name, { x: at(power), y: 306, "text-anchor": "middle" });
    }
    write("chi: vanishes", { x: 30, y: 246 });
    write("explodes", { x: 430, y: 246, "text-anchor": "end" });
    const power = Math.log10(chi), beyond = power < LOW ? -1 : power > HIGH ? 1 : 0; // then an arrow that points there
    const mark = `M${at(power) - 6 * beyond} ${270 - 9}v18l${14 * beyond}-9z`;
    svg.append(beyond ? make("path", { d: mark }) : make("circle", { cx: at(power), cy: 270, r: 8 }));
    svg.setAttribute("aria-label", `Pre-activations of deviation ${short(Math.sqrt(variance))} meet the slope of ${NAMES[activation]}; chi is ${short(chi)}.`);
    return svg;
  }

  let count = 0;

  function place(element) {
    const state = { activation: "tanh", scale: 3 };
    const named = `gradclinic-layer-${(count += 1)}`;
    const slider = make("input", { type: "range", min: Math.log(LEAST), max: Math.log(MOST), step: "any" });
    const output = make("output");
    const radios = Object.entries(NAMES).map(([activation, name]) => {
      const input = make("input", { type: "radio", name: named, value: activation });
      input.checked = activation === state.activation;
      return make("label", {}, input, make("span", {}, name));
    });
    const button = make("button", { type: "button" }, "Bring chi to 1");
    const form = make(
      "form",
      { class: "gradclinic-controls", autocomplete: "off", "aria-label": "controls of the layer below" },
      make("label", { class: "gradclinic-control" }, make("span", {}, "weight scale σ_w"), slider, output),
      make("fieldset", { class: "gradclinic-control" }, make("legend", {}, "activation"), make("div", {}, ...radios)),
      button,
    );
    const frame = make("div", { class: "gradclinic-figures" }), sum = make("p");
    function show() {
      const found = machine(state.activation, state.scale);
      slider.value = Math.log(state.scale);
      output.textContent = short(state.scale);
      slider.setAttribute("aria-valuetext", `${output.textContent}, chi ${short(found.chi)}`);
      frame.replaceChildren(draw(state.activation, found));
      sum.textContent =
        `In layer ${LAYERS}: weights ${short(state.scale)}² × mean squared slope ${short(found.slope)} = chi ${short(found.chi)}. ` +
        (Math.abs(found.chi - 1) < 0.01 ? "The gradient keeps its length." : found.chi < 1 ? "The gradient shrinks." : "The gradient grows.");
    }
    form.addEventListener("input", ({ target }) => {
      if (target === slider) state.scale = Math.exp(Number(slider.value));
      else state.activation = target.value;
      show();
    });
    form.addEventListener("submit", (event) => event.preventDefault());
    button.addEventListener("click", () => {
      state.scale = level(state.activation);
      show();
    });
    element.replaceChildren(form, frame, sum);
    show();
  }

  return { place, machine, level };
}

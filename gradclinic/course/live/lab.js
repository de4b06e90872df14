"use strict";
// The live lab: what one sees and touches. It trains nothing itself: `options.start` makes the trainer, which gets
// {do: "new" | "set" | "run" | "pause" | "step" | "record"} and says {say: "frame" | "record"}. No dependency.
// gradclinicLab(place, options) fills an element; gradclinicPython(settings) writes the same network with gradclinic.

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
  const anew = button("New start", () => choose({ seed: (state.settings.seed + 1) % 2 ** 31 }));
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
  const tools = element("div", "tools", button("Reset", reset));
  if (address) tools.append(button("Copy link", () => copy(link(), told, "The link is copied.")));
  tools.append(button("Copy as Python", () => copy(python({ ...state.settings }), told, "The Python is copied.")));
  const desk = element("div", "desk", controls.panel, ...(wanted ? [] : [note]));
  const facts = factList(), rows = table();
  const loss = figure("Loss", "chart"), update = figure("Update over weights", "chart");
  const stuck = figure("Saturated or dead", "chart");
  const charts = element("div", "charts", loss.whole, ...(small ? [] : [update.whole, stuck.whole]));
  const more = element("div", "more", pinned, facts.whole, charts, ...(small ? [told] : [rows.whole, tools, told]));
  const parts = small ? [bar, desk, verdict, flow.whole, more] : [bar, verdict, flow.whole, time, desk, more];
  const bench = element("div", "bench", ...parts);
  const questions = element("div", "stories");
  root.append(...(stories ? [questions] : []), bench);
  if (small) root.classList.add("gradclinic-lab-small");
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

  function reset() {
    leaveStory();
    if (state.running) pause();
    begin(preset);
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
    const found = fromAddress(location.hash);
    const known = Object.keys(found).some((name) => CHECKS[name]?.(found[name]) !== undefined);
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
    if (message.say === "error") return void say(told, `The training stopped: ${message.text}`);
    if (message.say !== "frame") return;
    if (message.run !== state.run) {
      Object.assign(state, { run: message.run, rows: [], accuracy: null, verdict: null, viewed: null, ended: null });
    }
    for (const row of message.rows || []) state.rows.push(row);
    state.accuracy = message.accuracy || (message.ended ? null : state.accuracy);
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
      // a pinned run that is deeper stretches the axis of the first two charts
      const deepest = Math.max(row.gradient.length, state.pin ? state.pin.row.gradient.length : 0);
      const count = canvas === stuck.canvas ? row.gradient.length : deepest + (canvas === update.canvas ? 1 : 0);
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
    const row = shownRow(), { rows: all, pin, theory, hover, verdict: found } = state;
    const tone = toneOf(past() ? null : found);
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

  // A row of the past has no verdict of its own: the verdict is on the whole run.
  const past = () => state.viewed !== null;

  function showLegend(tone) {
    const { parts } = keys;
    root.dataset.tone = tone;
    parts.pin.whole.hidden = !state.pin;
    say(parts.theory.label, state.theory ? "theory" : "no theory here");
    parts.theory.whole.classList.toggle("gradclinic-lab-without", !state.theory);
    const now = state.verdict ? `now: ${state.verdict.kind}` : "now";
    say(parts.now.label, past() ? `after step ${shownRow().step.toLocaleString("en")}` : now);
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
    const [title, most] = STUCK_WORDS[row.activation] || STUCK_WORDS.none;
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

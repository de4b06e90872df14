"use strict";
// Trains a network and tells of it, message by message: in a worker, or where there is none beside the page.
// scope has postMessage and gets onmessage; parts: { engine, theory, verdict, images, labels, training }, the first
// `training` images are for training.
function gradclinicTrainer(scope, { engine, theory, verdict, images, labels, training, inputs = 64, outputs = 10 }) {
  const BATCH = 64, LONGEST = 2000; // steps
  const TURN = 20, FRAME = 33, JUDGED = 250, TESTED = 600; // milliseconds
  const ANEW = ["depth", "width", "start", "seed"]; // what makes another network
  const OTHER = ["activation", "norm", "skip"]; // what changes the one that trains
  const chance = guessing(labels.slice(0, training));
  const now = () => performance.now();

  let settings = null, network = null, line = null, run = 0, rows = [], untold = [], running = false, ended = null;
  let changed = null, order = null, place = 0, shuffle = null;
  let watched = false, loop = 0, accuracy = null, said = null, framed = 0, judged = 0, tested = 0;

  // Loss of the best answer that ignores the image: the entropy of the classes' shares.
  function guessing(classes) {
    const counts = new Float64Array(outputs);
    classes.forEach((c) => counts[c]++);
    return counts.reduce((sum, n) => (n ? sum - (n / classes.length) * Math.log(n / classes.length) : sum), 0);
  }

  function meanSquare() {
    let sum = 0;
    for (let i = 0; i < training * inputs; i++) sum += images[i] ** 2;
    return sum / (training * inputs);
  }
  const square = meanSquare();

  // A new order for the next epoch.
  function deal() {
    place = 0;
    for (let i = training - 1; i > 0; i--) {
      const j = shuffle.below(i + 1);
      [order[i], order[j]] = [order[j], order[i]];
    }
  }

  // The next examples of the epoch; they stay the next ones until a step was taken with them.
  function batch() {
    const x = new Float32Array(BATCH * inputs), t = new Uint8Array(BATCH);
    for (let i = 0; i < BATCH; i++) {
      const k = order[place + i];
      x.set(images.subarray(k * inputs, (k + 1) * inputs), i * inputs);
      t[i] = labels[k];
    }
    return { x, t };
  }

  // Of a row of the record what the page shows: of each linear layer, the read-out's update too.
  function shown(row) {
    const { depth, norm, activation } = network.settings, stride = norm === "none" ? 1 : 2;
    const linear = (field, count) => Float64Array.from({ length: count }, (_, l) => row[field][l * stride]);
    const update = linear("update_norm", depth + 1), weight = linear("weight_norm", depth + 1);
    return {
      step: row.step, loss: row.loss,
      gradient: linear("output_gradient_norm", depth),
      update: update.map((u, l) => u / weight[l]),
      stuck: activation === "relu" ? row.dead : row.saturation,
      activation,
      rms: linear("output_rms", depth),
    };
  }

  // What a row shows depends on the network as it was then, so it is taken at once.
  function keep(row) {
    rows.push(row);
    untold.push(shown(row));
  }

  function begin(given) {
    settings = { ...given };
    network = new engine.Network(settings, { inputs, outputs, batch: BATCH });
    line = theory.profile(settings, inputs, square);
    run++;
    [rows, untold, ended, changed, accuracy, said] = [[], [], null, null, null, null];
    shuffle = engine.random(settings.seed + 7919);
    order = Uint16Array.from({ length: training }, (_, i) => i);
    deal();
    const { x, t } = batch();
    keep(network.trainOn(x, t, BATCH, false)); // row 0: before the first update, on the batch of step 1
    tell(true);
  }

  function set(changes) {
    const before = settings;
    settings = { ...settings, ...changes };
    const differs = (name) => settings[name] !== before[name];
    // where nothing goes on, a change of the network begins another one
    if (ANEW.some(differs) || ((network.step === 0 || ended) && OTHER.some(differs))) return begin(settings);
    if (OTHER.some(differs)) {
      changed = network.step;
      line = null;
    }
    network.set(settings);
    tell(true);
  }

  function step() {
    const { x, t } = batch();
    keep(network.trainOn(x, t, BATCH));
    place += BATCH;
    if (place + BATCH > training) deal(); // the few that fill no batch are left out
    if (!Number.isFinite(network.loss)) ended = "nonfinite";
    else if (network.step >= LONGEST) ended = "limit";
  }

  function record() {
    const taken = rows.slice(1);
    return taken.length && changed === null ? engine.recordOf(network, taken, chance) : null;
  }

  function tell(all) {
    const time = now();
    if (all || time - tested > TESTED) {
      const share = (from, to) => network.accuracy(images.subarray(from * inputs), labels.subarray(from, to));
      // where the scores are no numbers, none is the largest
      accuracy = ended === "nonfinite" ? null : { train: share(0, training), test: share(training, labels.length) };
      tested = now();
    }
    if (all || time - judged > JUDGED) {
      const known = record();
      said = known && verdict(known);
      judged = now();
    }
    scope.postMessage({
      say: "frame", run, step: network.step, running, rows: untold, accuracy, verdict: said,
      theory: line && Array.from(line), changed, ended, chance,
    });
    untold = [];
    framed = now();
    if (all && watched) scope.postMessage({ say: "record", record: record() });
  }

  // One stretch of training after the other; `turn` is the loop that it belongs to, so that there are never two.
  function go(turn) {
    if (!running || turn !== loop) return;
    const until = now() + TURN;
    while (!ended && now() < until) step();
    if (ended) running = false;
    if (ended || now() - framed > FRAME) tell(Boolean(ended));
    if (running) setTimeout(go, 0, turn);
  }

  const DO = {
    new: (message) => begin(message.settings),
    set: (message) => set(message.settings),
    run: () => {
      if (running || ended === "nonfinite" || network.step >= LONGEST) return;
      running = true;
      go(++loop);
    },
    pause: () => {
      running = false;
      tell(true);
    },
    step: (message) => {
      running = false;
      for (let i = 0; i < (message.count || 1) && !ended; i++) step();
      tell(true);
    },
    record: () => scope.postMessage({ say: "record", record: record() }),
    watch: () => {
      watched = true; // from now on the record comes by itself at each pause, change and end
    },
  };
  scope.onmessage = ({ data }) => DO[data.do](data);
}

// What `gradclinic.diagnosis.diagnose` answers, for the runs of the live lab: the same rules in the same order, in the
// same words. A function has the name of the one in gradclinic/diagnosis.py or gradclinic/rules/ that it follows.
// tests/course/live/test_verdict.py compares the two.
//
// Left out is what can never speak there: the lab knows its chance loss, its loss is a cross-entropy of raw scores that
// has to fall, its input is finite, each layer learns, has one optimiser and a start of its own, gradients are cleared,
// nothing is recurrent, and of what enters a layer only the size is exported. So these rules of Python have no
// counterpart: wiring.idle, uncleared, symmetric and not_trained; start.through_time, and its unscaled for targets;
// what start.stuck says of entering units; of along.output_layer all but _raw_scores; collapsed by shapes; finite for
// the input; and of progress whatever judges without a chance loss (varied, "fell"). Remedies are not answered, so no
// factor is computed.
"use strict";

/**
 * @param limits the numbers of gradclinic/rules/limits.py, by their names, and PRODUCT of finite.py
 * @returns a function of a record, with the fields of gradclinic.record.Record that the lab exports. It answers
 *   {kind, layers, evidence}, evidence being an array of sentences; or null where diagnose could not be followed.
 */
function gradclinicVerdict(limits) {
  const [WEAK, STRONG, CERTAIN] = [1, 2, 3];
  const [WELL, LEARNS, SLOWLY, NOT, UNKNOWN] = ["well", "learns", "slowly", "not", "unknown"];
  const [VANISHING, EXPLODING, DYING, SATURATED] = ["vanishing", "exploding", "dying ReLU", "saturated"];
  const [TOO_HIGH, TOO_LOW] = ["learning rate too high", "learning rate too low"];
  const [DIVERGING, COLLAPSED, OUTPUT, UNSCALED] = ["diverging", "collapsed", "output layer", "unscaled data"];
  const [NO_GRADIENT, DECAY] = ["no gradient", "weight decay too strong"];
  const [NOT_FINITE, OVERFLOW] = ["not finite", "overflow"];
  const BEFORE = "Before the first update";
  const GUIDE = "of the norm of the weights after it; about 1e-3 is usual.";
  // Rows that are needed to say "in every step".
  const ROWS = 5;

  // --- numbers -------------------------------------------------------------------------------------------------------

  const finite = Number.isFinite;
  const positive = (value) => value > 0;
  const above = (bound) => (value) => value > bound;
  const last = (values) => values[values.length - 1];
  const at = (values, indices) => indices.map((i) => values[i]);

  /** The indices of the values that pass. */
  function where(values, test) {
    const found = [];
    for (let i = 0; i < values.length; i++) if (test(values[i], i)) found.push(i);
    return found;
  }

  function some(values, test) {
    for (let i = 0; i < values.length; i++) if (test(values[i], i)) return true;
    return false;
  }

  /** Whether a flag is set. */
  function flagged(flags) {
    for (let i = 0; i < flags.length; i++) if (flags[i]) return true;
    return false;
  }

  /** Whether a value in one column of some rows passes. */
  const ever = (rows, column, test) => rows.some((row) => test(row[column]));

  /** What is finite. */
  function known(values) {
    const kept = new Float64Array(values.length);
    let count = 0;
    for (let i = 0; i < values.length; i++) if (finite(values[i])) kept[count++] = values[i];
    return kept.subarray(0, count);
  }

  /** The median of an array of float64 that may be put into another order, and holds no NaN; of none it is NaN. */
  function middleOf(values) {
    const [count, half] = [values.length, values.length >> 1];
    if (values.every((value) => value === values[0])) return count ? values[0] : NaN; // as learning rates are
    select(values, half);
    return count % 2 ? values[half] : (highest(values.subarray(0, half)) + values[half]) / 2;
  }

  const middle = (values) => middleOf(new Float64Array(values));

  /** Of what is finite; NaN if nothing is. */
  const median = (values) => middleOf(known(values));

  /** Puts into its place what would stand there if all were sorted, and before it what is no larger (Hoare 1961). */
  function select(values, place) {
    let [first, end] = [0, values.length - 1];
    while (first < end) {
      const pivot = values[place];
      let [i, j] = [first, end];
      while (i <= j) {
        while (values[i] < pivot) i += 1;
        while (values[j] > pivot) j -= 1;
        if (i > j) break;
        const kept = values[i];
        values[i] = values[j];
        values[j] = kept;
        i += 1;
        j -= 1;
      }
      if (j < place) first = i;
      if (i > place) end = j;
    }
  }

  const highest = (values) => values.reduce((most, value) => (value > most ? value : most), -Infinity);
  const lowest = (values) => values.reduce((least, value) => (value < least ? value : least), Infinity);

  /** The last tenth, but so many at least. */
  const lastTenth = (values, least) => values.slice(-Math.max(least, Math.floor(values.length / 10)));

  // --- words ---------------------------------------------------------------------------------------------------------

  /**
   * The first digits of a number above 0, and the power of ten of the first. As in Python, what lies exactly between
   * two goes to the even one; toExponential would take the larger one.
   */
  function rounded(value, digits) {
    const split = (count) => {
      const [figures, power] = value.toExponential(count - 1).split("e");
      return [figures.replace(".", ""), Number(power)];
    };
    const [exact, power] = split(101);
    const tie = /^50*$/.test(exact.slice(digits));
    return tie && exact[digits - 1] % 2 === 0 ? [exact.slice(0, digits), power] : split(digits);
  }

  /** Python's f"{value:.2g}" for 2 digits; six are those of f"{value:g}". */
  function general(value, digits = 6) {
    if (Number.isNaN(value)) return "nan";
    const sign = value < 0 || Object.is(value, -0) ? "-" : "";
    if (!finite(value)) return `${sign}inf`;
    const [figures, power] = value === 0 ? ["0", 0] : rounded(Math.abs(value), digits);
    const joined = (whole, rest) => sign + `${whole}.${rest}`.replace(/\.?0*$/, "");
    if (power < -4 || power >= digits) {
      const size = String(Math.abs(power)).padStart(2, "0");
      return `${joined(figures[0], figures.slice(1))}e${power < 0 ? "-" : "+"}${size}`;
    }
    if (power < 0) return joined("0", "0".repeat(-power - 1) + figures);
    return joined(figures.slice(0, power + 1), figures.slice(power + 1));
  }

  /** Python's f"{share:.0%}". */
  function percent(share) {
    const whole = Math.floor(100 * share);
    const rest = 100 * share - whole;
    return `${rest > 0.5 || (rest === 0.5 && whole % 2 === 1) ? whole + 1 : whole}%`;
  }

  /** Names in a sentence, few of them. */
  function listed(names) {
    return names.length <= 3 ? names.join(", ") : `${names[0]} to ${last(names)} (${names.length} layers)`;
  }

  /** What one rule has found; see Found in rules/evidence.py. */
  function found(kind, evidence, { layers = [], step = 1, weight = WEAK, follows = false } = {}) {
    return { kind, evidence, layers, step, weight, follows };
  }

  // --- progress: does it learn? --------------------------------------------------------------------------------------

  /** Medians of some twenty stretches of equal length, of three losses at least; the first loss is not among them. */
  function blocks(losses) {
    const size = Math.max(3, Math.floor((losses.length - 1) / 20));
    const whole = losses.length > size ? losses.slice(1 + ((losses.length - 1) % size)) : losses;
    if (whole.length < size) return whole;
    const count = Math.floor(whole.length / size);
    return Array.from({ length: count }, (_, i) => middle(whole.slice(i * size, (i + 1) * size)));
  }

  /** The median of the steps between neighbours, without their signs. */
  const scatterOf = (stretches) => middle(stretches.slice(1).map((value, i) => Math.abs(value - stretches[i])));

  /** Whether they fall to the end: most pairs of stretches do, and the last lie clearly below the middle ones. */
  function steadily(losses) {
    const stretches = blocks(losses);
    const count = stretches.length;
    if (count < 8) return false;
    let sum = 0;
    for (let i = 0; i < count; i++) for (let j = i + 1; j < count; j++) sum += Math.sign(stretches[j] - stretches[i]);
    const half = stretches.slice(Math.floor(count / 4), Math.floor(count / 2));
    const late = stretches.slice(Math.floor(-count / 4));
    const falls = sum / ((count * (count - 1)) / 2) < -0.4;
    return falls && middle(half) - middle(late) > 1.5 * (scatterOf(stretches) + 1e-12);
  }

  /** Judge by all told losses. */
  function progressOf(record) {
    const told = where(record.told_loss, finite);
    const [losses, steps] = [at(record.told_loss, told), at(record.told_step, told)];
    const recent = median(lastTenth(losses, 5));
    const enough = Math.max(losses.length, record.step.length) >= limits.ENOUGH_STEPS;
    const [verdict, evidence] = judged(losses, recent, record.chance_loss);
    return { verdict, evidence, reference: record.chance_loss, losses, steps, recent, enough };
  }

  function judged(losses, recent, reference) {
    if (!losses.length) {
      return [UNKNOWN, "No loss was told to the recorder (log_loss), so whether the network learns is unknown."];
    }
    const first = losses[0];
    const sensible = lowest(losses) >= 0 && first > 0; // a cross-entropy of sure answers is exactly 0
    const [now, best] = [general(recent, 3), general(reference, 3)];
    if (!sensible || reference <= 0) { // a share of it means nothing: it counts by how much it is below
      const below = reference - recent;
      const text = `the recent loss is ${now}; the best answer that ignores the input gets ${best}.`;
      if (below > 0.2 * Math.max(Math.abs(reference), Math.abs(recent)) && recent < first) {
        return [below < Math.abs(reference) ? LEARNS : WELL, `It learns: ${text}`];
      }
      return [UNKNOWN, `Whether it learns is unknown: ${text}`];
    }
    const share = recent / reference;
    const ends = `is ${now}, ${general(share, 2)} times that of the best answer that ignores the input (${best}).`;
    if (share < limits.LEARNS_BELOW) {
      return [share < limits.LEARNS_WELL_BELOW ? WELL : LEARNS, `It learns: the recent loss ${ends}`];
    }
    if (recent < first && recent < reference && steadily(losses)) {
      return [SLOWLY, `It learns slowly, and goes on: the recent loss ${ends}`];
    }
    return [NOT, `It ${share < limits.HARDLY_BELOW ? "hardly learns" : "does not learn"}: the recent loss ${ends}`];
  }

  // --- wiring: the program around the network ------------------------------------------------------------------------

  /** For each layer, whether it was used, as far as that was watched. */
  function trainable(record) {
    const watched = [[record.output_rms, finite], [record.output_nonfinite, Boolean], [record.learning_rate, finite]];
    const used = record.layers.map((_, i) => watched.some(([rows, test]) => ever(rows, i, test)));
    if (!used.includes(true)) return used.map(() => true);
    return used.map((one, i) => one || ever(record.gradient_norm, i, finite));
  }

  /** The rows of which gradients are known; every row where none are. */
  function rowsOfSteps(record) {
    const rows = where(record.gradient_norm, (row, i) => some(row, finite) || flagged(record.nonfinite[i]));
    return rows.length ? rows : where(record.step, () => true);
  }

  /** Missing or exactly 0 in every step: all of the model, or a part of it. */
  function noGradient(record) {
    const [rows, wanted] = [rowsOfSteps(record), trainable(record)];
    if (rows.length < ROWS || !wanted.includes(true)) return null;
    const [norms, bad] = [at(record.gradient_norm, rows), at(record.nonfinite, rows)];
    const none = where(wanted, (asks, i) => asks && !ever(norms, i, positive) && !ever(bad, i, Boolean));
    if (!none.length) return null;
    const names = at(record.layers, none);
    const missing = norms.every((row) => none.every((i) => Number.isNaN(row[i])));
    const start = `In all ${rows.length} recorded steps`;
    const reached = where(wanted, (asks, i) => asks && !none.includes(i));
    if (!reached.length) {
      // a gradient of exactly 0 has come through something that stopped it, and that may be known
      const same = constantAnswer(record);
      const what = missing ? "no layer has a gradient" : "the gradient of every layer is exactly 0";
      const options = { layers: names, weight: CERTAIN, follows: !missing && !same };
      return found(NO_GRADIENT, `${start} ${what}${same ? `: ${same}.` : "."}`, options);
    }
    const what = missing ? "got no gradient" : "got a gradient of exactly 0";
    const seen = record.output_rms.some((row) => none.some((i) => finite(row[i])));
    const front = seen && none[0] < reached[0];
    const options = { layers: names, weight: front ? STRONG : WEAK, follows: !missing };
    return found(NO_GRADIENT, `${start} ${listed(names)} ${what}, and layers behind did get one.`, options);
  }

  function constantAnswer(record) {
    const [low, high] = [record.answer_low, record.answer_high];
    const rows = where(low, (value, i) => finite(value) && finite(high[i]));
    if (!rows.length || !rows.every((i) => low[i] === high[i] && low[i] === low[rows[0]])) return "";
    return `every answer of the model is ${general(low[rows[0]])}, whatever the input`;
  }

  /** Where the weight decay pulls as strongly as the gradient, or a penalty does, and weights shrink to a part. */
  function decay(record) {
    const rows = where(record.weight_norm, (row) => some(row, finite));
    if (rows.length < ROWS) return null;
    const [begun, ended] = [rows[0], last(rows)].map((i) => wholeNorm(record.weight_norm[i]));
    const shrunk = begun > 0 ? ended / begun : NaN;
    if (!(shrunk < 0.5)) return null;
    const share = median(rows.slice(rows.length >> 1).map((i) => typicalPull(record, i)));
    if (share > limits.DECAY_RULES) {
      const [times, part] = [general(share, 2), general(shrunk, 2)];
      const text = `The weight decay pulls ${times} times as strongly as the gradient; weights shrank to ${part} of`;
      return found(DECAY, `${text} their size.`, { weight: shrunk < 0.1 ? STRONG : WEAK });
    }
    return penalty(record, rows, shrunk);
  }

  /** Norm of all weights of a row, without what is unknown. */
  function wholeNorm(norms) {
    return Math.sqrt(norms.reduce((sum, norm) => (Number.isNaN(norm) ? sum : sum + norm * norm), 0));
  }

  /** Over the layers, the median of the decay's part over the gradient's; the lab's decay is added to the gradient. */
  function typicalPull(record, row) {
    const [rates, weights, norms] = [record.weight_decay[row], record.weight_norm[row], record.gradient_norm[row]];
    return median(record.layers.map((_, i) => (rates[i] > 0 ? (rates[i] * weights[i]) / norms[i] : NaN)));
  }

  /** A penalty on the squared weights alone sends back so many times the weights, in each layer equally many. */
  function penalty(record, rows, shrunk) {
    if (record.layers.length < 2) return null;
    const late = rows
      .slice(-Math.max(3, Math.floor(rows.length / 5)))
      .map((row) => record.layers.map((_, i) => record.gradient_norm[row][i] / record.weight_norm[row][i]))
      .filter((times) => times.every((value) => finite(value) && value > 0))
      .map((times) => times.map(Math.log));
    const ranges = late.map((times) => highest(times) - lowest(times));
    if (late.length < 2 || !(middle(ranges) < 0.1)) return null;
    const [part, times] = [general(shrunk, 2), general(Math.exp(middle(late.flat())), 2)];
    const text = `Weights shrank to ${part} of their size, and the gradient of each layer is now ${times} times them:`;
    return found(DECAY, `${text} a penalty on them.`);
  }

  // --- finite: what became inf or NaN --------------------------------------------------------------------------------

  const faulty = (record, row) => flagged(record.output_nonfinite[row]) || flagged(record.nonfinite[row]);

  const isStep = (value) => value !== null && value !== undefined;

  /** Whether the run was still broken at its end. */
  function lasting(record) {
    const { told_loss: told, step } = record;
    if (isStep(record.first_bad_weights) || (told.length && !finite(last(told)))) return true;
    return step.length > 0 && faulty(record, step.length - 1);
  }

  /** What first was inf or NaN: its step, where and what; see Record.first_nonfinite. */
  function firstNonfinite(record) {
    const candidates = [];
    const row = record.step.findIndex((_, i) => faulty(record, i));
    if (row >= 0) {
      const outputs = where(record.output_nonfinite[row], Boolean);
      const [order, what] = outputs.length ? [1, "output"] : [3, "gradient"];
      const layer = outputs.length ? outputs[0] : last(where(record.nonfinite[row], Boolean));
      candidates.push({ step: record.step[row], order, place: record.layers[layer], what });
    }
    const weights = record.bad_weights.length ? last(record.bad_weights) : "the model";
    const watched = [
      { step: record.first_bad_answer, order: 2, place: "the model", what: "output" },
      { step: record.first_bad_weights, order: 4, place: weights, what: "weights" },
      { step: record.first_bad_loss, order: 5, place: "the loss", what: "loss" },
    ];
    candidates.push(...watched.filter((one) => isStep(one.step) && (one.order !== 4 || leftBad(record, one.step))));
    return candidates.sort((a, b) => a.step - b.step || a.order - b.order)[0] || null;
  }

  /** Whether the weights were bad after that step, and nobody has changed them since. */
  function leftBad(record, step) {
    return step > 0 && !record.step.some((one, row) => one === step && record.weight_norm[row].every(finite));
  }

  function gradientsWereFinite(record, step) {
    const row = where(record.step, (one) => one === step)[0];
    if (row === undefined) return false;
    const norms = record.gradient_norm[row];
    const infinite = [...norms].some((value) => Math.abs(value) === Infinity);
    return norms.some(finite) && !infinite && !record.nonfinite[row].some(Boolean);
  }

  /** {step, layers, words} of what first was inf or NaN. */
  function placeOf(record) {
    const first = firstNonfinite(record);
    if (first === null) return null;
    const { step, place, what } = first;
    const healthyAnswer = !isStep(record.first_bad_answer) || record.first_bad_answer > step;
    if (record.first_bad_loss === step && healthyAnswer && what !== "output") {
      return { step, layers: [], words: "the loss is inf or NaN, and the answers it was computed from are not" };
    }
    if (what === "output") {
      if (record.layers.includes(place)) {
        return { step, layers: [place], words: `the output of ${place} is inf or NaN, and nothing before it is` };
      }
      return { step, layers: [], words: "the model's answer is inf or NaN; its input and its weights were not" };
    }
    if (what === "gradient") {
      return { step, layers: [place], words: `the gradient of ${place} is inf or NaN; outputs and loss were not` };
    }
    if (what === "weights") {
      const told = last(where(record.told_step, (one) => one === step));
      const loss = told !== undefined && finite(record.told_loss[told]) ? "; the loss was not" : "";
      const detail = gradientsWereFinite(record, step) ? "; loss and gradients were not" : loss;
      const words = `the weights of ${place} are inf or NaN afterwards${detail}`;
      return { step, layers: [...record.bad_weights], words };
    }
    return { step, layers: [], words: "the loss is inf or NaN" };
  }

  /** By how much numbers had grown before they were inf or NaN, if they had. */
  function growth(record, step) {
    const told = where(record.told_step, (one, i) => one < step && finite(record.told_loss[i]));
    const losses = at(record.told_loss, told).map(Math.abs);
    if (losses.length > 1 && losses[0] !== 0) {
      const least = lowest(losses.slice(0, Math.max(1, losses.length - 3)));
      const before = highest(losses.slice(-3));
      if (least > 0 && before > limits.GROWN * Math.max(least, losses[0])) {
        return `Just before, the loss had grown to ${general(before / losses[0], 2)} times the first one.`;
      }
    }
    const first = record.step.length ? record.answer_rms[0] : NaN;
    const rows = where(record.step, (one, row) => one < step && !faulty(record, row));
    const largest = highest(at(record.output_rms, rows).map(highest)); // a NaN is higher than nothing
    if (largest > limits.HUGE) return `Before, outputs were as large as ${general(largest, 2)}, root mean square.`;
    if (first !== 0 && record.answer_rms_before > limits.GROWN * Math.max(first, 1)) {
      const times = general(record.answer_rms_before / first, 2);
      return `In the step before, the model's answers had grown to ${times} times the first ones.`;
    }
    return growthOfLayers(record, step) || throughLayers(record, step);
  }

  function growthOfLayers(record, step) {
    const rows = where(record.step, (one, row) => one < step && !faulty(record, row));
    if (rows.length < 2) return null;
    for (const what of ["output", "weight", "gradient"]) {
      const name = what === "output" ? "output_rms" : `${what}_norm`;
      const values = at(record[name], rows);
      const early = values.slice(0, values.length >> 1);
      const ratios = record.layers.map((_, i) => {
        const usual = middle(early.map((row) => row[i]).filter((value) => !Number.isNaN(value)));
        const ratio = last(values)[i] / usual;
        return finite(ratio) ? ratio : 0;
      });
      const most = highest(ratios);
      if (most > limits.GROWN * (what === "gradient" ? 30 : 1)) {
        const layer = record.layers[ratios.indexOf(most)];
        return `Before, the ${what}s of ${layer} had grown ${general(most, 2)}-fold.`;
      }
    }
    return null;
  }

  /** From the input on within the pass that broke, as far as that was finite. */
  function throughLayers(record, step) {
    const row = where(record.step, (one) => one === step)[0];
    if (row === undefined) return null;
    const broken = where(record.output_nonfinite[row], Boolean)[0];
    if (broken !== undefined) {
      const [layer, given] = [record.layers[broken], record.entering_rms[row][broken]];
      const product = record.weight_norm[row][broken] * given;
      if (product > limits.PRODUCT) {
        return `There weights and input are so large that their product reaches ${general(product, 2)}.`;
      }
      if (finite(given) && record.output_rms[row][broken] === Infinity) {
        return `The output of ${layer} is inf and not NaN: a number that is too large.`;
      }
      if (finite(given) && record.layer_kinds[broken] === "Linear") {
        return `What enters ${layer} is finite, and it only multiplies and adds: a product is too large.`;
      }
    }
    const sizes = known(record.output_rms[row]);
    if (sizes.length < 2 || !(sizes[0] > 0)) return null;
    if (last(sizes) > limits.GROWN ** 3 * sizes[0] || highest(sizes) > 1e18) {
      const times = general(last(sizes) / sizes[0], 2);
      return `On the way through the layers the signal grew ${times}-fold before it was not finite.`;
    }
    return null;
  }

  /** An overflow, if numbers had grown; else a number that an operation does not have. */
  function notFinite(record) {
    const place = placeOf(record);
    if (place === null) return null;
    const { step, layers, words } = place;
    const text = `Step ${step}: ${words}, the first that was seen.`;
    const options = { layers, step, weight: lasting(record) ? CERTAIN : WEAK };
    const grown = growth(record, step);
    if (grown !== null) return found(OVERFLOW, `${text} ${grown}`, options);
    return found(NOT_FINITE, `${text} Nothing had grown before.`, options);
  }

  // --- start: what is wrong before the first update ------------------------------------------------------------------

  /** Inputs that are far from size 1. */
  function unscaled(record) {
    const size = median(record.input_rms);
    if (!(size > limits.INPUT_LARGE || size < limits.INPUT_SMALL)) return null;
    const hard = stuck(record, 0) !== null && size > 1;
    const text = `The inputs have a root mean square of ${general(size, 3)}; networks start as if it were 1.`;
    return found(UNSCALED, text, { step: 0, weight: hard ? STRONG : WEAK });
  }

  /** Whether some layer starts so that nothing passes it, and then learns to let something pass. */
  function zeroStarted(record) {
    const later = record.gradient_norm.slice(1, 4);
    return some(record.gradient_norm[0], (norm, i) => norm === 0 && ever(later, i, positive));
  }

  /** First hidden layer over last, in the first step; in a later one where some layer starts closed. */
  function throughDepth(record) {
    const row = zeroStarted(record) ? Math.min(3, record.step.length - 1) : 0;
    const outputs = record.output_gradient_norm[row];
    const gradients = some(outputs, finite) ? outputs : record.gradient_norm[row];
    const hidden = where(gradients, finite).slice(0, -1); // without the read-out
    const norms = at(gradients, hidden);
    if (norms.length < 2 || !(last(norms) > 0)) return null;
    const ratio = norms[0] / last(norms);
    const explodes = ratio > limits.EXPLODES_ABOVE;
    if (!explodes && !(ratio < limits.VANISHES_BELOW)) return null;
    const far = (norm) => (explodes ? norm > 10 * last(norms) : norm < limits.VANISHES_BELOW * last(norms));
    const layers = hidden.filter((i) => far(gradients[i])).map((i) => record.layers[i]);
    const when = row === 0 ? BEFORE : `In step ${record.step[row]}`;
    const text = `${when} the first hidden layer has ${general(ratio, 2)} times the gradient of the last.`;
    return found(explodes ? EXPLODING : VANISHING, text, { layers });
  }

  /** A first loss far above that of knowing nothing, where the answers are large: the signal itself grows. */
  function startsFarOff(record, progress) {
    if (!(progress.reference > 0 && progress.losses.length)) return null;
    const ratio = progress.losses[0] / progress.reference;
    if (!(ratio > limits.LOSS_EXPLODES_ABOVE)) return null;
    const size = record.answer_rms[0];
    if (Math.max(size, size * size) < 0.1 * progress.losses[0]) return null;
    const text = `the loss is ${general(ratio, 2)} times that of knowing nothing: the signal grows on its way forward.`;
    return found(EXPLODING, `${BEFORE} ${text}`);
  }

  /** Units of activation modules that are dead or saturated in a row: {kind, shares, words}. */
  function stuck(record, row) {
    for (const [kind, shares, what] of [
      [DYING, record.dead[row], "units are 0 for every example"],
      [SATURATED, record.saturation[row], "outputs lie where the activation is flat"],
    ]) {
      const layers = where(shares, (share) => share >= limits.MOSTLY);
      if (!layers.length) continue;
      const names = at(record.activations, layers);
      return { kind, layers: names, words: `${percent(shares[layers[0]])} of the ${what} in ${names[0]}` };
    }
    return null;
  }

  /** All units of a kind that are stuck in a row; the sentence is about the first layer. */
  function stuckUnits(record, row, when) {
    const units = stuck(record, row);
    if (units === null) return null;
    const options = { layers: units.layers, step: row === 0 ? 1 : record.step[row] };
    return found(units.kind, `${when} ${units.words}.`, options);
  }

  /** In the order in which one causes the other. */
  function atTheStart(record, progress) {
    const depth = throughDepth(record);
    return [
      unscaled(record),
      depth && depth.kind === EXPLODING ? depth : null,
      stuckUnits(record, 0, BEFORE),
      startsFarOff(record, progress),
      depth && depth.kind === VANISHING ? depth : null,
    ];
  }

  // --- along: what goes wrong on the way -----------------------------------------------------------------------------

  /** Per step, the median of the update ratios of the layers that move at all; NaN where none does. */
  function typicalUpdate(record) {
    const grown = some(record.weight_norm[0], positive);
    return Array.from(record.step, (_, row) => {
      const [updates, weights] = [record.update_norm[row], record.weight_norm[row]];
      const [moving, all] = [new Float64Array(updates.length), new Float64Array(updates.length)];
      let [count, most] = [0, 0];
      for (let i = 0; i < updates.length; i++) {
        const ratio = updates[i] / weights[i];
        if (!finite(ratio) || !(updates[i] > 0)) continue;
        all[most++] = ratio;
        if (updates[i] < 0.95 * weights[i]) moving[count++] = ratio; // not what was nothing before the step
      }
      // where updates are larger than the weights in most layers, that is what is to be told
      return grown ? middleOf(count >= most / 2 ? moving.subarray(0, count) : all.subarray(0, most)) : NaN;
    });
  }

  /** The answers, which are raw scores, never leave the range of a ReLU, a sigmoid or a tanh. */
  function outputLayer(record) {
    const rows = where(record.answer_low, (value, i) => finite(value) && finite(record.answer_high[i]));
    if (rows.length < 5) return null;
    const low = at(record.answer_low, rows);
    const [bottom, top] = [lowest(low), highest(at(record.answer_high, rows))];
    const zero = where(low, (value) => value === 0).length / rows.length >= limits.IN_ALL;
    const squashed = bottom >= 0 && (zero || top <= 1);
    if (!squashed && !(bottom >= -1 && bottom < -0.9 && top > 0.9 && top <= 1)) return null;
    const ends = `${general(bottom, 2)} and ${general(top, 3)}`;
    const text = `The answers lie between ${ends} in all recorded steps, and the loss takes any raw score.`;
    return found(OUTPUT, text, { weight: squashed ? STRONG : WEAK });
  }

  /** The first updates change the weights by a large share, or make the loss jump; or later ones, after a warm-up. */
  function tooHigh(record, progress, ratios) {
    const { losses, steps, recent } = progress;
    const largest = highest(known(ratios.slice(0, 10)));
    if (largest > limits.UPDATE_TOO_LARGE) {
      const text = `Among the first ten updates the largest is ${general(largest, 2)} ${GUIDE}`;
      return found(TOO_HIGH, text, { step: record.step[ratios.indexOf(largest)] });
    }
    if (losses.length > 5 && losses[0] > 0) {
      const soon = losses.slice(1, 21);
      const most = highest(soon);
      // a loss of one batch scatters: it has to leave what the run knows as its usual range
      if (most > limits.LOSS_JUMPS_ABOVE * Math.max(losses[0], recent)) {
        const times = `${general(most / losses[0], 2)} times what it was before.`;
        const options = { step: steps[1 + soon.indexOf(most)] };
        return found(TOO_HIGH, `The first updates made the loss jump to ${times}`, options);
      }
    }
    const late = where(ratios, (ratio, row) => row >= 10 && ratio > limits.UPDATE_TOO_LARGE);
    if (late.length < 3) return null;
    const step = record.step[late[0]];
    const text = `In step ${step}, after small ones, the update is ${general(ratios[late[0]], 2)} ${GUIDE}`;
    return found(TOO_HIGH, text, { step });
  }

  /** Updates that are too small to get anywhere, from the start or since the rate was taken away. */
  function tooLow(record, progress, ratios) {
    const gone = takenAway(record);
    if (gone !== null) return gone;
    const { losses, reference, recent, verdict } = progress;
    const startedLow = losses.length > 0 && losses[0] < 0.8 * reference;
    const usual = median(ratios);
    // a loss that falls, but hardly, falls slowly for that very reason
    const crawls = recent > 0.9 * reference && verdict === SLOWLY;
    const bound = limits.UPDATE_TOO_SMALL * (crawls ? 3 : 1);
    // small from the start: where units have died since, small updates are what that leaves
    if (!(usual < bound && median(ratios.slice(0, 10)) < 3 * bound) || startedLow) return null;
    const options = { weight: crawls ? STRONG : WEAK };
    return found(TOO_LOW, `A typical update is ${general(usual, 2)} ${GUIDE}`, options);
  }

  function takenAway(record) {
    const all = record.learning_rate.map((row) => median(row));
    const rows = where(all, finite);
    const rates = at(all, rows);
    const high = highest(rates);
    if (rates.length < 6 || !(high > 0)) return null;
    const low = limits.RATE_TAKEN_AWAY * high;
    const first = rates.findIndex((rate, i) => rate <= low && i > rates.indexOf(high));
    const end = record.last_step || last(record.step);
    if (first < 0) return null;
    const step = record.step[rows[first]];
    if (step > 0.6 * end || last(rates) > low) return null;
    const share = general(rates[first] / high, 1);
    const text = `By step ${step} of ${end} the learning rate has fallen to ${share} of its largest value.`;
    return found(TOO_LOW, text, { step });
  }

  /** The loss rises and goes on rising, after it had been lower, and not by the first updates. */
  function diverging(record, progress) {
    const { losses, steps } = progress;
    if (losses.length < 40 || lowest(losses) < 0) return null;
    const stretches = blocks(losses);
    const least = lowest(stretches);
    const place = stretches.indexOf(least);
    const best = Math.max(least, 1e-6 * losses[0]);
    const after = stretches.slice(place);
    const risen = after.findIndex(above(limits.RISES_ABOVE * best));
    if (after.length < 4 || risen < 0) return null;
    const size = Math.max(3, Math.floor((losses.length - 1) / 20));
    const step = steps[Math.min(steps.length - 1, 1 + (place + risen) * size)];
    const late = middle(after.slice(after.length >> 1));
    const end = Math.max(last(stretches), late);
    const rising = late > middle(after.slice(0, after.length >> 1));
    const beyond = end > best + 4 * scatterOf(stretches) || end > 10 * best;
    const worse = end > losses[0] || end > 0.8 * progress.reference;
    if (!(rising && beyond && end > limits.RISES_ABOVE * best && worse)) return null;
    const answers = known(record.answer_rms);
    const grown = answers.length > 1 && answers[0] > 0 ? last(answers) / answers[0] : NaN;
    const more = grown > limits.RISES_FAR_ABOVE ? `; the answers have grown ${general(grown, 2)}-fold` : "";
    const climbed = least === stretches[0] && lowest(losses) > 0.9 * losses[0] && middle(losses.slice(1, 6)) < 1.5 * losses[0];
    const rises = stretches.slice(1).filter((value, i) => value > stretches[i]).length / (stretches.length - 1);
    if (climbed && rises > limits.IN_ALL && median(typicalUpdate(record).slice(0, 10)) < limits.UPDATE_TOO_LARGE / 2) {
      const by = `to ${general(end / best, 2)} times its lowest value.`;
      const slowly = `From its first steps on, and little by little, the loss has risen ${by}`;
      return found(DIVERGING, slowly, { step: 1, weight: STRONG });
    }
    const text = `The loss had been lower, and has risen to ${general(end / best, 2)} times its lowest value`;
    return found(DIVERGING, `${text}${more}.`, { step, weight: STRONG });
  }

  /** The gradient at the answers has died away, and the loss is no lower for it: it has become flat there. */
  function faded(record, progress) {
    const rows = where(record.answer_gradient, (value) => finite(value) && value > 0);
    if (rows.length < 10 || !progress.losses.length) return null;
    const gradients = at(record.answer_gradient, rows);
    const early = highest(gradients.slice(0, 10));
    const late = median(lastTenth(gradients, 3));
    if (!(late < 1e-4 * early && progress.recent >= progress.losses[0])) return null;
    const step = record.step[rows[gradients.findIndex((value) => value < 1e-2 * early)]];
    const text = `The gradient at the model's answers has faded to ${general(late / early, 2)} of what it was`;
    return found(VANISHING, `${text}, and the loss is no lower for it.`, { step, weight: STRONG });
  }

  /** In the last row in which units were looked at, if that is not the first. */
  function stuckByNow(record) {
    const seen = [record.entering_rms, record.dead, record.saturation];
    const row = last(where(record.step, (_, i) => seen.some((rows) => some(rows[i], finite))));
    return row > 0 ? stuckUnits(record, row, "By now") : null;
  }

  /** The answer is the same for all examples, or becomes so, and the loss says that this is not enough. */
  function collapsed(record, progress) {
    const rows = where(record.answer_spread, finite);
    if (rows.length < 5) return null;
    const spread = at(record.answer_spread, rows);
    const late = lastTenth(rows, 3);
    const [differs, size] = [median(at(record.answer_spread, late)), median(at(record.answer_rms, late))];
    const numbers = `by ${general(differs, 2)}, at a size of ${general(size, 2)}.`;
    const text = `The answers hardly differ between examples: ${numbers}`;
    const { losses, recent } = progress;
    if (losses.length && Math.abs(recent) < 0.05 * Math.abs(losses[0])) {
      // one answer is all that was asked for: a wrong one would leave a loss
      const shrunk = differs < 0.1 * median(spread.slice(0, 3)) && differs < 0.02 * size;
      return shrunk ? found(COLLAPSED, text, { weight: STRONG, follows: true }) : null;
    }
    const same = differs <= limits.SAME_BELOW * size;
    const little = recent > 0 && differs * differs < limits.SAME_ANSWERS * recent && differs < 0.5 * size;
    if (!same && !little) return null;
    const since = last(where(spread, above(3 * Math.max(differs, 1e-30))));
    const step = since === undefined ? 1 : Math.max(record.step[rows[since]], 1);
    return found(COLLAPSED, text, { step, weight: same ? STRONG : WEAK, follows: true });
  }

  /** In the order in which one causes the other. */
  function alongTheWay(record, progress) {
    const ratios = typicalUpdate(record);
    return [
      outputLayer(record),
      tooHigh(record, progress, ratios),
      tooLow(record, progress, ratios),
      diverging(record, progress),
      faded(record, progress),
      stuckByNow(record),
      collapsed(record, progress),
    ];
  }

  // --- the verdict ---------------------------------------------------------------------------------------------------

  /** What comes first in time; of what is there from the start the surest. What follows from others comes last. */
  function byTime(one, other) {
    const [when, otherwise] = [one, other].map((found) => {
      const early = found.step <= 2;
      return [Number(found.follows), early ? 1 : found.step, early ? -found.weight : 0];
    });
    return when[0] - otherwise[0] || when[1] - otherwise[1] || when[2] - otherwise[2];
  }

  /** What a finding must weigh to be an alarm, by how far the run has come. */
  function needed(progress) {
    if (!progress.enough || progress.verdict === WELL) return CERTAIN;
    return progress.verdict === NOT ? WEAK : STRONG;
  }

  /** What made numbers grow comes before an overflow; what is not finite for another reason comes itself. */
  function causeOf(broken, findings) {
    const large = [EXPLODING, TOO_HIGH, DIVERGING, UNSCALED];
    const causes = findings.filter((one) => one.step <= broken.step && large.includes(one.kind));
    return broken.kind === OVERFLOW && causes.length ? causes[0] : broken;
  }

  const undecided = (...evidence) => ({ kind: "undecided", layers: [], evidence });

  const saying = (one, ...more) => ({ kind: one.kind, layers: one.layers, evidence: [one.evidence, ...more] });

  /** No alarm: healthy, if that is known, and else what is missing to know. */
  function calm(record, progress, findings, broken) {
    const strong = findings.filter((one) => one.weight >= STRONG || one.kind === NO_GRADIENT);
    if (progress.verdict === WELL && !strong.length) {
      const passing = broken === null ? findings : [broken, ...findings];
      const weak = passing.map((one) => `${one.evidence} It learns all the same.`);
      return { kind: "healthy", layers: [], evidence: [progress.evidence, ...weak] };
    }
    if (!progress.enough && [NOT, SLOWLY].includes(progress.verdict)) {
      const missing = limits.ENOUGH_STEPS - Math.max(record.step.length, progress.losses.length);
      const steps = missing === 1 ? "1 more step" : `${missing} more steps`;
      return undecided(`The run is too short to tell: ${steps} needed.`, progress.evidence);
    }
    if (strong.length) return undecided(progress.evidence, ...strong.map((one) => one.evidence));
    if (progress.verdict === NOT) {
      const elsewhere = "No rule names its fault, so look elsewhere too: are labels and inputs paired, is the loss";
      return undecided(progress.evidence, `${elsewhere} the right one, are there enough units?`);
    }
    if (progress.verdict === LEARNS) {
      const share = "Whether that is all that there is to learn, a record does not show.";
      return undecided(progress.evidence, share, ...findings.map((one) => one.evidence));
    }
    return undecided(progress.evidence);
  }

  /** `diagnose` of diagnosis.py. */
  return function verdict(record) {
    if (!finite(record.chance_loss) || record.loss_kind !== "cross-entropy") return null;
    const progress = progressOf(record);
    const broken = notFinite(record);
    if (!record.step.length && broken === null) {
      const told = progress.losses.length ? [progress.evidence] : [];
      return undecided("Nothing was recorded: no optimiser step happened while the recorder watched.", ...told);
    }
    const rules = record.step.length ? [...atTheStart(record, progress), ...alongTheWay(record, progress)] : [];
    const findings = [noGradient(record), decay(record), ...rules].filter((one) => one !== null).sort(byTime);
    if (broken !== null && broken.weight === CERTAIN) {
      const cause = causeOf(broken, findings);
      return cause === broken ? saying(broken) : saying(cause, broken.evidence);
    }
    const alarming = findings.filter((one) => one.weight >= needed(progress));
    if (!alarming.length) return calm(record, progress, findings, broken);
    // what they follow from need not be sure by itself
    const first = alarming.every((one) => one.follows) ? findings[0] : alarming[0];
    return saying(first, progress.evidence);
  };
}

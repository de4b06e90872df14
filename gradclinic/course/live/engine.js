"use strict";
// A deep network, its gradients and its optimiser, as PyTorch computes them. No dependency; browser, worker and node.
// `kernel` holds the bytes of kernel.wasm; with null, or where WebAssembly has no SIMD, products run in plain loops.
function gradclinicEngine(kernel) {
  const TINY = 1e-5; // what PyTorch's normalisation adds to a variance
  const LEAK = 0.01;
  const FLAT = Math.sqrt(0.95); // beyond this a tanh has less than 5 % of its largest slope
  const ENTERING = 32; // of so many examples it is recorded what enters a layer
  const EXAMPLES = 512; // a unit that was 0 for so many is called dead
  const ACTIVATIONS = ["sigmoid", "tanh", "relu", "leaky_relu", "gelu", "silu", "linear"];
  const KINDS = { sigmoid: "Sigmoid", tanh: "Tanh", relu: "ReLU" }; // those that can saturate or die

  // --- numbers ------------------------------------------------------------------------------------------------------

  // Uniform and normal numbers that follow from a seed: xorshift, the start mixed so that neighbours differ.
  function random(seed) {
    const state = new Uint32Array(4);
    for (let i = 0, x = seed >>> 0; i < 4; i++) {
      x = (x + 0x9e3779b9) >>> 0;
      let y = Math.imul(x ^ (x >>> 16), 0x21f0aaad);
      y = Math.imul(y ^ (y >>> 15), 0x735a2d97);
      state[i] = y ^ (y >>> 15);
    }
    const bits = () => {
      let t = state[3];
      t ^= t << 11;
      t ^= t >>> 8;
      state[3] = state[2];
      state[2] = state[1];
      state[1] = state[0];
      t ^= state[0] ^ (state[0] >>> 19);
      return (state[0] = t) >>> 0;
    };
    const uniform = () => ((bits() >>> 5) * 67108864 + (bits() >>> 6)) / 9007199254740992;
    const normal = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
    return { uniform, normal, below: (n) => Math.floor(uniform() * n) };
  }

  // Share of a Gaussian below z: Taylor series around points 1/8 apart, whose terms follow from each other.
  const { normalShare, normalDensity } = (() => {
    const STEP = 1 / 8, REACH = 9, TERMS = 14;
    const density = (z) => Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI);
    const rows = [];
    for (let i = 0, share = 0.5; i <= REACH / STEP; i++) {
      // term k is the k-th derivative over k!; derivatives of the density: d' = -z d, d(k+1) = -z d(k) - k d(k-1)
      const z = i * STEP, terms = new Float64Array(TERMS);
      let before = 0, now = density(z), factorial = 1;
      terms[0] = share;
      for (let k = 1; k < TERMS; k++) {
        factorial *= k;
        terms[k] = now / factorial;
        [before, now] = [now, -z * now - (k - 1) * before];
      }
      rows.push(terms);
      share = 1 - tail(z + STEP);
    }
    // the other tail, by its continued fraction where that is quick, else by the series of the integral from 0
    function tail(z) {
      if (z < 2.5) {
        let term = z, sum = z;
        for (let k = 1; k < 60; k++) sum += term *= (z * z) / (2 * k + 1);
        return 0.5 - density(z) * sum;
      }
      let fraction = z;
      for (let k = 120; k > 0; k--) fraction = z + k / fraction;
      return density(z) / fraction;
    }
    const share = (z) => {
      const size = Math.abs(z);
      if (!(size < REACH)) return z > 0 ? 1 : z < 0 ? 0 : NaN;
      const i = Math.round(size / STEP), d = size - i * STEP, terms = rows[i];
      let sum = 0;
      for (let k = TERMS - 1; k >= 0; k--) sum = sum * d + terms[k];
      return z < 0 ? 1 - sum : sum;
    };
    return { normalShare: share, normalDensity: density };
  })();

  const logistic = (z) => 1 / (1 + Math.exp(-z));
  const VALUE = {
    sigmoid: logistic,
    tanh: Math.tanh,
    relu: (z) => (z > 0 ? z : z <= 0 ? 0 : z), // NaN stays NaN
    leaky_relu: (z) => (z > 0 ? z : LEAK * z),
    gelu: (z) => z * normalShare(z),
    silu: (z) => z * logistic(z),
    linear: (z) => z,
  };
  // of the pre-activation z and the value f
  const SLOPE = {
    sigmoid: (z, f) => f * (1 - f),
    tanh: (z, f) => 1 - f * f,
    relu: (z) => (z > 0 ? 1 : 0),
    leaky_relu: (z) => (z > 0 ? 1 : LEAK),
    gelu: (z) => normalShare(z) + z * normalDensity(z),
    silu: (z) => {
      const s = logistic(z);
      return s * (1 + z * (1 - s));
    },
    linear: () => 1,
  };

  function squares(array, count = array.length) {
    let sum = 0;
    for (let i = 0; i < count; i++) sum += array[i] * array[i];
    return sum;
  }
  const norm = (array, count) => Math.sqrt(squares(array, count));
  const rms = (array, count) => Math.sqrt(squares(array, count) / count);

  // --- memory and products ------------------------------------------------------------------------------------------

  let compiled = null;
  try {
    if (kernel) compiled = new WebAssembly.Module(kernel);
  } catch (error) {
    compiled = null; // no SIMD here
  }

  function plainProduct(A, si, sp, B, C, m, n, k, start) {
    for (let i = 0; i < m; i++) {
      const c = i * n;
      for (let j = 0; j < n; j++) C[c + j] = start ? start[j] : 0;
      for (let p = 0; p < k; p++) {
        const a = A[i * si + p * sp], b = p * n;
        for (let j = 0; j < n; j++) C[c + j] += a * B[b + j];
      }
    }
  }

  // Arrays in one stretch of memory, which the kernel sees, and the product of two of them.
  function workspace(Real, numbers) {
    const bytes = (numbers + 64) * Real.BYTES_PER_ELEMENT, pages = Math.ceil((bytes + 1024) / 65536);
    let memory = null, product = plainProduct;
    if (compiled) {
      memory = new WebAssembly.Memory({ initial: pages });
      const { product32, product64 } = new WebAssembly.Instance(compiled, { env: { memory } }).exports;
      const run = Real === Float32Array ? product32 : product64;
      product = (A, si, sp, B, C, m, n, k, start) =>
        run(A.byteOffset, si, sp, B.byteOffset, C.byteOffset, m, n, k, start ? start.byteOffset : 0);
    }
    const buffer = memory ? memory.buffer : new ArrayBuffer(pages * 65536);
    let used = 1024; // 0 means "none" to the kernel
    const array = (count) => {
      const made = new Real(buffer, used, count);
      used += Math.ceil((count * Real.BYTES_PER_ELEMENT) / 16) * 16;
      return made;
    };
    return { array, product };
  }

  function transposed(A, T, rows, columns) {
    for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) T[j * rows + i] = A[i * columns + j];
  }

  // --- the network --------------------------------------------------------------------------------------------------

  // sigma_w of a start, as gradclinic.course.initializers has it
  function weightScale(start, fanIn, fanOut) {
    if (typeof start === "number") return start;
    return { pytorch: 1 / Math.sqrt(3), xavier: Math.sqrt((2 * fanIn) / (fanIn + fanOut)), he: Math.SQRT2 }[start];
  }

  class Network {
    // settings: depth, width, activation, start, norm, skip, optimizer, epsilon, rate, decay, clip, seed
    constructor(settings, { inputs = 64, outputs = 10, batch = 64, precision = "float32" } = {}) {
      this.settings = { ...settings };
      this.inputs = inputs;
      this.outputs = outputs;
      this.batch = batch;
      const { depth, width } = settings, Real = precision === "float32" ? Float32Array : Float64Array;
      const widest = Math.max(inputs, width, outputs);
      const each = 6 * widest * (widest + 1) + 10 * batch * widest + 32 * widest;
      const space = workspace(Real, (depth + 2) * each);
      this.product = space.product;
      const array = (count) => space.array(count);
      this.x = array(batch * inputs); // the batch at hand, where the kernel sees it
      const parameter = (count) => ({ value: array(count), gradient: array(count), m: array(count), v: array(count) });
      this.hidden = [];
      for (let l = 0; l <= depth; l++) {
        const fanIn = l ? width : inputs, fanOut = l < depth ? width : outputs, cells = batch * fanOut;
        const layer = {
          fanIn, fanOut, weight: parameter(fanIn * fanOut), bias: parameter(fanOut), turned: array(fanIn * fanOut),
          z: array(cells), dz: array(cells), input: null,
        };
        if (l < depth) {
          layer.y = array(cells); // what the activation gets: z, or z normalised
          layer.dy = array(cells);
          layer.f = array(cells);
          layer.a = array(cells); // what leaves the layer: f, with a skip connection added
          layer.da = array(cells);
          layer.hat = array(cells);
          layer.gain = parameter(fanOut);
          layer.shift = parameter(fanOut);
          layer.inverse = array(Math.max(batch, fanOut));
          layer.mean = array(fanOut); // running, for tests
          layer.variance = array(fanOut);
          layer.asleep = new Int32Array(fanOut); // examples since a unit was last awake
          this.hidden.push(layer);
        } else this.readout = layer;
      }
      this.all = [...this.hidden, this.readout];
      this.draw();
    }

    draw() {
      const { start, seed } = this.settings, from = random(seed);
      for (const { fanIn, fanOut, weight, bias } of this.all) {
        const bound = 1 / Math.sqrt(fanIn), std = weightScale(start, fanIn, fanOut) * bound;
        if (start === "pytorch") {
          for (let i = 0; i < weight.value.length; i++) weight.value[i] = (2 * from.uniform() - 1) * bound;
          for (let i = 0; i < fanOut; i++) bias.value[i] = (2 * from.uniform() - 1) * bound;
        } else for (let i = 0; i < weight.value.length; i++) weight.value[i] = std * from.normal();
      }
      this.step = 0;
      this.freshNorm();
      this.freshOptimizer();
    }

    freshNorm() {
      for (const { gain, shift, mean, variance } of this.hidden) {
        gain.value.fill(1);
        shift.value.fill(0);
        mean.fill(0);
        variance.fill(1);
      }
    }

    freshOptimizer() {
      this.taken = 0; // steps of this optimiser
      for (const { m, v } of this.parameters(true)) {
        m.fill(0);
        v.fill(0);
      }
    }

    // Change what can be changed in a network that goes on training.
    set(changes) {
      const before = this.settings;
      this.settings = { ...before, ...changes };
      if (this.settings.norm !== before.norm) this.freshNorm();
      if (this.settings.optimizer !== before.optimizer || this.settings.norm !== before.norm) this.freshOptimizer();
      if (this.settings.activation !== before.activation) this.hidden.forEach(({ asleep }) => asleep.fill(0));
    }

    // What PyTorch's model.parameters() gives, layer by layer; all: those that are not in use, too.
    parameters(all = false) {
      const normed = all || this.settings.norm !== "none";
      return this.all.flatMap((l) => (normed && l.gain ? [l.weight, l.bias, l.gain, l.shift] : [l.weight, l.bias]));
    }

    branch() {
      return this.settings.skip === "scaled" ? 1 / this.settings.depth : 1;
    }

    // Scores of `count` rows of x (rows x inputs), from one on; the array is the network's own. A batch norm takes the
    // mean and the variance of the batch while it trains, and keeps them for later if it shall `remember` them.
    forward(x, count, { from = 0, training = true, remember = training } = {}) {
      const { norm: kind, skip, activation } = this.settings, value = VALUE[activation], scale = this.branch();
      this.x.set(x.subarray(from * this.inputs, (from + count) * this.inputs));
      let input = this.x;
      this.all.forEach((layer, l) => {
        const { fanIn, fanOut, weight, bias, turned, z } = layer, cells = count * fanOut;
        layer.input = input;
        transposed(weight.value, turned, fanOut, fanIn);
        this.product(input, fanIn, 1, turned, z, count, fanOut, fanIn, bias.value);
        if (layer === this.readout) return;
        const { y, f, a } = layer;
        if (kind === "batch") this.batchNorm(layer, count, training, remember);
        else if (kind === "layer") this.layerNorm(layer, count);
        else y.set(z);
        for (let i = 0; i < cells; i++) f[i] = value(y[i]);
        if (skip !== "none" && l > 0) for (let i = 0; i < cells; i++) a[i] = input[i] + scale * f[i];
        else a.set(f);
        input = a;
      });
      return this.readout.z;
    }

    batchNorm({ fanOut: n, z, y, hat, gain, shift, inverse, mean, variance }, count, training, remember) {
      for (let j = 0; j < n; j++) {
        let m = 0, v = 0;
        if (training) {
          for (let i = j; i < count * n; i += n) m += z[i];
          m /= count;
          for (let i = j; i < count * n; i += n) v += (z[i] - m) * (z[i] - m);
          v /= count;
          if (remember) {
            mean[j] = 0.9 * mean[j] + 0.1 * m;
            variance[j] = 0.9 * variance[j] + (0.1 * v * count) / (count - 1);
          }
        } else [m, v] = [mean[j], variance[j]];
        inverse[j] = 1 / Math.sqrt(v + TINY);
        for (let i = j; i < count * n; i += n) {
          hat[i] = (z[i] - m) * inverse[j];
          y[i] = gain.value[j] * hat[i] + shift.value[j];
        }
      }
    }

    layerNorm({ fanOut: n, z, y, hat, gain, shift, inverse }, count) {
      for (let i = 0; i < count; i++) {
        const from = i * n;
        let m = 0, v = 0;
        for (let j = 0; j < n; j++) m += z[from + j];
        m /= n;
        for (let j = 0; j < n; j++) v += (z[from + j] - m) * (z[from + j] - m);
        inverse[i] = 1 / Math.sqrt(v / n + TINY);
        for (let j = 0; j < n; j++) {
          hat[from + j] = (z[from + j] - m) * inverse[i];
          y[from + j] = gain.value[j] * hat[from + j] + shift.value[j];
        }
      }
    }

    // Gradients of the mean cross-entropy for the classes t, after forward; returns that loss.
    backward(t, count) {
      const { norm: kind, skip, activation } = this.settings, slope = SLOPE[activation], scale = this.branch();
      this.loss = this.crossEntropy(t, count);
      for (let l = this.all.length - 1; l >= 0; l--) {
        const layer = this.all[l], { fanIn, fanOut, weight, bias, z, dz, input } = layer, cells = count * fanOut;
        const skips = skip !== "none" && l > 0 && layer !== this.readout;
        if (layer !== this.readout) {
          const { y, dy, f, da } = layer, factor = skips ? scale : 1;
          for (let i = 0; i < cells; i++) dy[i] = factor * da[i] * slope(y[i], f[i]);
          if (kind === "batch") this.batchNormBack(layer, count);
          else if (kind === "layer") this.layerNormBack(layer, count);
          else dz.set(dy);
        }
        this.product(dz, 1, fanOut, input, weight.gradient, fanOut, fanIn, count, null);
        for (let j = 0; j < fanOut; j++) {
          let sum = 0;
          for (let i = j; i < cells; i += fanOut) sum += dz[i];
          bias.gradient[j] = sum;
        }
        if (!l) continue;
        const below = this.all[l - 1].da;
        this.product(dz, fanOut, 1, weight.value, below, count, fanIn, fanOut, null);
        if (skips) for (let i = 0; i < cells; i++) below[i] += layer.da[i];
      }
      return this.loss;
    }

    crossEntropy(t, count) {
      const { z, dz } = this.readout, n = this.outputs;
      let loss = 0;
      for (let i = 0; i < count; i++) {
        const row = z.subarray(i * n, i * n + n);
        let top = -Infinity, sum = 0;
        for (let j = 0; j < n; j++) if (!(row[j] <= top)) top = row[j]; // NaN wins
        for (let j = 0; j < n; j++) sum += Math.exp(row[j] - top);
        loss += Math.log(sum) + top - row[t[i]];
        for (let j = 0; j < n; j++) dz[i * n + j] = (Math.exp(row[j] - top) / sum - (j === t[i] ? 1 : 0)) / count;
      }
      return loss / count;
    }

    batchNormBack({ fanOut: n, dy, dz, hat, gain, shift, inverse }, count) {
      for (let j = 0; j < n; j++) {
        let along = 0, sum = 0;
        for (let i = j; i < count * n; i += n) {
          along += dy[i] * hat[i];
          sum += dy[i];
        }
        gain.gradient[j] = along;
        shift.gradient[j] = sum;
        const factor = (gain.value[j] * inverse[j]) / count;
        for (let i = j; i < count * n; i += n) dz[i] = factor * (count * dy[i] - sum - hat[i] * along);
      }
    }

    layerNormBack({ fanOut: n, dy, dz, hat, gain, shift, inverse }, count) {
      gain.gradient.fill(0);
      shift.gradient.fill(0);
      for (let i = 0; i < count; i++) {
        const from = i * n;
        let along = 0, sum = 0;
        for (let j = 0; j < n; j++) {
          const d = dy[from + j];
          gain.gradient[j] += d * hat[from + j];
          shift.gradient[j] += d;
          along += d * gain.value[j] * hat[from + j];
          sum += d * gain.value[j];
        }
        for (let j = 0; j < n; j++) {
          const d = dy[from + j] * gain.value[j];
          dz[from + j] = (inverse[i] / n) * (n * d - sum - hat[from + j] * along);
        }
      }
    }

    // Clip all gradients together, by their norm, as torch.nn.utils.clip_grad_norm_ does.
    clip() {
      const { clip } = this.settings;
      if (!(clip > 0)) return;
      let total = 0;
      for (const { gradient } of this.parameters()) total += squares(gradient);
      const factor = Math.min(1, clip / (Math.sqrt(total) + 1e-6));
      if (factor === 1) return;
      for (const { gradient } of this.parameters()) for (let i = 0; i < gradient.length; i++) gradient[i] *= factor;
    }

    // One step of the optimiser. Afterwards each parameter has `moved`, the squared length of its change.
    update() {
      const { optimizer, rate, decay, epsilon } = this.settings;
      this.step++;
      this.taken++;
      const first = 1 - 0.9 ** this.taken, second = Math.sqrt(1 - 0.999 ** this.taken);
      for (const parameter of this.parameters()) {
        const { value, gradient, m, v } = parameter;
        let moved = 0;
        for (let i = 0; i < value.length; i++) {
          const before = value[i], g = gradient[i] + decay * before;
          let change = rate * g;
          if (optimizer === "momentum") change = rate * (m[i] = 0.9 * m[i] + g);
          else if (optimizer === "adam") {
            m[i] += 0.1 * (g - m[i]);
            v[i] = 0.999 * v[i] + 0.001 * g * g;
            change = ((rate / first) * m[i]) / (Math.sqrt(v[i]) / second + epsilon);
          }
          value[i] = before - change;
          moved += (value[i] - before) * (value[i] - before);
        }
        parameter.moved = moved;
      }
    }

    // --- what is recorded of a step ---------------------------------------------------------------------------------

    // Names as those of gradclinic's MLP and Recorder.
    names() {
      const { norm: kind, activation, depth } = this.settings, layers = [], kinds = [], activations = [];
      for (let l = 1; l <= depth; l++) {
        layers.push(`layer${l}`);
        kinds.push("Linear");
        if (kind !== "none") {
          layers.push(`norm${l}`);
          kinds.push(kind === "batch" ? "BatchNorm1d" : "LayerNorm");
        }
        if (activation in KINDS) activations.push(`activation${l}`);
      }
      return {
        layers: [...layers, "readout"],
        layer_kinds: [...kinds, "Linear"],
        activations,
        activation_kinds: activations.map(() => KINDS[activation]),
      };
    }

    // Each recorded layer: its parameters, its output and the gradient there.
    recorded() {
      const normed = this.settings.norm !== "none";
      return this.all.flatMap(({ weight, bias, input, z, dz, gain, shift, y, dy, fanIn, fanOut }) => {
        const layer = { parameters: [weight, bias], input, enters: fanIn, output: z, gradient: dz, fanOut };
        const norm = { parameters: [gain, shift], input: z, enters: fanOut, output: y, gradient: dy, fanOut };
        return normed && gain ? [layer, norm] : [layer];
      });
    }

    // Train on one batch, and return its row of the record; with false, only look: nothing is changed.
    trainOn(x, t, count, update = true) {
      const { settings } = this, row = {};
      this.forward(x, count, { remember: update });
      row.loss = this.backward(t, count);
      const layers = this.recorded(), cells = ({ fanOut }) => count * fanOut;
      row.output_rms = Float64Array.from(layers, (l) => rms(l.output, cells(l)));
      const some = Math.min(count, ENTERING);
      row.entering_rms = Float64Array.from(layers, (l) => rms(l.input, some * l.enters));
      row.output_gradient_norm = Float64Array.from(layers, (l) => norm(l.gradient, cells(l)));
      Object.assign(row, this.units(count, update), this.answers(count));
      row.input_rms = rms(x, count * this.inputs);
      this.clip();
      const total = (l, of) => l.parameters.reduce((sum, parameter) => sum + of(parameter), 0);
      row.gradient_norm = Float64Array.from(layers, (l) => Math.sqrt(total(l, ({ gradient }) => squares(gradient))));
      if (update) this.update();
      row.weight_norm = Float64Array.from(layers, (l) => Math.sqrt(total(l, ({ value }) => squares(value))));
      row.update_norm = Float64Array.from(layers, (l) => (update ? Math.sqrt(total(l, (p) => p.moved)) : NaN));
      row.step = this.step;
      row.learning_rate = settings.rate;
      row.momentum = settings.optimizer === "sgd" ? 0 : 0.9;
      row.weight_decay = settings.decay;
      row.epsilon = settings.optimizer === "adam" ? settings.epsilon : NaN;
      return row;
    }

    // Share of saturated outputs, and of units that have been 0 for the last 512 examples, of each hidden layer.
    units(count, remember) {
      const { activation, depth } = this.settings;
      const saturation = new Float64Array(depth).fill(NaN), dead = new Float64Array(depth).fill(NaN);
      this.hidden.forEach(({ f, fanOut, asleep }, l) => {
        const cells = count * fanOut;
        if (activation === "tanh" || activation === "sigmoid") {
          const [middle, reach] = activation === "tanh" ? [0, FLAT] : [0.5, FLAT / 2];
          let found = 0;
          for (let i = 0; i < cells; i++) if (Math.abs(f[i] - middle) > reach) found++;
          saturation[l] = found / cells;
        } else if (activation === "relu") {
          const sofar = Math.min(EXAMPLES, count * (this.step + 1));
          let found = 0;
          for (let j = 0; j < fanOut; j++) {
            let awake = false;
            for (let i = j; i < cells && !awake; i += fanOut) awake = f[i] !== 0;
            const silent = awake ? 0 : asleep[j] + count;
            if (silent >= sofar) found++;
            if (remember) asleep[j] = silent;
          }
          dead[l] = found / fanOut;
        }
      });
      return { saturation, dead };
    }

    answers(count) {
      const { z, dz } = this.readout, n = this.outputs, cells = count * n;
      let low = Infinity, high = -Infinity, apart = 0;
      for (let i = 0; i < cells; i++) {
        low = Math.min(low, z[i]);
        high = Math.max(high, z[i]);
      }
      for (let j = 0; j < n; j++) {
        let mean = 0;
        for (let i = j; i < cells; i += n) mean += z[i] / count;
        for (let i = j; i < cells; i += n) apart += (z[i] - mean) * (z[i] - mean);
      }
      return {
        answer_rms: rms(z, cells), answer_low: low, answer_high: high, answer_spread: Math.sqrt(apart / cells),
        answer_gradient: norm(dz, cells),
      };
    }

    // Share of examples whose largest score is that of their class; nothing that trains is changed.
    accuracy(x, t, count = t.length) {
      let right = 0;
      for (let from = 0; from < count; from += this.batch) {
        const rows = Math.min(this.batch, count - from);
        const scores = this.forward(x, rows, { from, training: false });
        for (let i = 0; i < rows; i++) {
          let best = 0;
          for (let j = 1; j < this.outputs; j++) {
            if (scores[i * this.outputs + j] > scores[i * this.outputs + best]) best = j;
          }
          if (best === t[from + i]) right++;
        }
      }
      return right / count;
    }
  }

  // --- the record of a run ------------------------------------------------------------------------------------------

  const BY_LAYER = [
    "gradient_norm", "weight_norm", "update_norm", "output_rms", "output_gradient_norm", "entering_rms",
  ];
  const BY_ACTIVATION = ["saturation", "dead"];
  const OF_OPTIMIZER = ["learning_rate", "momentum", "weight_decay", "epsilon"];
  const OF_ANSWER = ["answer_rms", "answer_low", "answer_high", "answer_spread", "answer_gradient"];

  // What gradclinic's Record holds of it, by its names, from the rows that trainOn gave. chance: loss of guessing.
  function recordOf(network, rows, chance) {
    const names = network.names(), record = { ...names, chance_loss: chance, loss_kind: "cross-entropy" };
    const layers = names.layers.length, watched = names.activations.length;
    for (const field of ["step", "loss", "input_rms", ...OF_ANSWER]) record[field] = rows.map((row) => row[field]);
    for (const field of BY_LAYER) record[field] = rows.map((row) => row[field]);
    for (const field of BY_ACTIVATION) record[field] = rows.map((row) => row[field].subarray(0, watched));
    for (const field of OF_OPTIMIZER) record[field] = rows.map((row) => new Float64Array(layers).fill(row[field]));
    const odd = (row) => Array.from(row, (value) => !Number.isFinite(value));
    record.output_nonfinite = rows.map((row) => odd(row.output_rms));
    record.nonfinite = rows.map((row) => odd(row.gradient_norm));
    record.told_step = record.step;
    record.told_loss = record.loss;
    const first = (bad) => rows.find(bad)?.step ?? null;
    record.last_step = rows.length ? rows[rows.length - 1].step : null;
    record.first_bad_loss = first((row) => !Number.isFinite(row.loss));
    record.first_bad_answer = first((row) => !Number.isFinite(row.answer_rms));
    record.first_bad_weights = first((row) => odd(row.weight_norm).includes(true));
    const left = rows.find((row) => row.step === record.first_bad_weights);
    record.bad_weights = left ? names.layers.filter((_, i) => !Number.isFinite(left.weight_norm[i])) : [];
    const sound = rows.filter((row) => row.step < record.first_bad_answer);
    record.answer_rms_before = sound.length ? sound[sound.length - 1].answer_rms : NaN;
    return record;
  }

  return { Network, recordOf, ACTIVATIONS, VALUE, SLOPE, random, weightScale, normalShare, simd: compiled !== null };
}

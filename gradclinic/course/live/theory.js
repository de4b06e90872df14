"use strict";
// What mean-field theory predicts before a network is built, as gradclinic.course.theory has it.
// VALUE, SLOPE and weightScale are those of the engine.
function gradclinicTheory({ VALUE, SLOPE, weightScale }) {
  // Nodes and weights of an integral over [-1, 1]: the roots of the Legendre polynomial, found by Newton's method.
  function legendre(order) {
    const nodes = [], weights = [];
    for (let i = 1; i <= order; i++) {
      let x = Math.cos((Math.PI * (i - 0.25)) / (order + 0.5)), slope = 0;
      for (let turn = 0; turn < 20; turn++) {
        let before = 1, now = x;
        for (let k = 2; k <= order; k++) [before, now] = [now, ((2 * k - 1) * x * now - (k - 1) * before) / k];
        slope = (order * (x * now - before)) / (x * x - 1);
        x -= now / slope;
      }
      nodes.push(x);
      weights.push(2 / ((1 - x * x) * slope * slope));
    }
    return { nodes, weights };
  }

  // Of E[f(z)], z ~ N(0, 1): panels that halve towards 0, so that a kink at 0 falls on an edge.
  const nodes = [], weights = [];
  const { nodes: inside, weights: shares } = legendre(24);
  for (let panel = 0; panel < 25; panel++) {
    const upper = 12 * 2 ** (panel - 24), lower = panel ? upper / 2 : 0, half = (upper - lower) / 2;
    inside.forEach((x, i) => {
      const z = (upper + lower) / 2 + half * x;
      const weight = (half * shares[i] * Math.exp((-z * z) / 2)) / Math.sqrt(2 * Math.PI);
      nodes.push(z, -z);
      weights.push(weight, weight);
    });
  }

  // E[f(z)] for z ~ N(0, variance)
  function mean(f, variance) {
    const scale = Math.sqrt(variance);
    let sum = 0;
    for (let i = 0; i < nodes.length; i++) sum += weights[i] * f(scale * nodes[i]);
    return sum;
  }

  // Variance of the next layer's pre-activations, from this layer's.
  function varianceMap(activation, scale, variance, bias = 0) {
    const value = VALUE[activation];
    return scale ** 2 * mean((z) => value(z) ** 2, variance) + bias ** 2;
  }

  // Factor by which one layer multiplies the squared gradient, going backward.
  function chi(activation, scale, variance) {
    const value = VALUE[activation], slope = SLOPE[activation];
    return scale ** 2 * mean((z) => slope(z, value(z)) ** 2, variance);
  }

  // Logarithm (base 10) of the gradient at each hidden layer over that at the last, or null where theory is silent:
  // with normalisation or skip connections. square: mean square of the inputs.
  function profile({ activation, depth, width, start, norm, skip }, inputs, square) {
    if (norm !== "none" || skip !== "none") return null;
    const scale = weightScale(start, width, width), first = weightScale(start, inputs, width);
    const bias = start === "pytorch" ? 1 / Math.sqrt(3 * width) : 0;
    const logs = new Float64Array(depth);
    let variance = first ** 2 * square + bias ** 2;
    for (let l = 0; l < depth - 1; l++) {
      logs[l] = Math.log10(chi(activation, scale, variance)) / 2;
      const following = varianceMap(activation, scale, variance, bias);
      variance = variance > 0 ? Math.min(Math.max(following, 1e-300), 1e300) : following;
    }
    for (let l = depth - 2; l >= 0; l--) logs[l] += logs[l + 1];
    return logs;
  }

  return { mean, varianceMap, chi, profile };
}

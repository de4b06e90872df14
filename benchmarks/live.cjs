// Milliseconds of a step of the live lab's engine, for benchmarks/live.py: node benchmarks/live.cjs DEPTH WIDTH STEPS.
"use strict";
const fs = require("fs");
const path = require("path");

const folder = path.join(__dirname, "..", "gradclinic", "course", "live");
const source = fs.readFileSync(path.join(folder, "engine.js"), "utf8");
const { Network, random } = new Function(`${source}; return gradclinicEngine;`)()(
  fs.readFileSync(path.join(folder, "kernel.wasm")),
);
const [depth, width, steps] = process.argv.slice(2).map(Number);
const draw = random(0);
const x = Float32Array.from({ length: 64 * 64 }, () => draw.normal());
const t = Uint8Array.from({ length: 64 }, () => draw.below(10));
const settings = {
  depth, width, activation: "relu", start: "he", norm: "none", skip: "none", optimizer: "adam", epsilon: 1e-8,
  rate: 1e-4, decay: 0, clip: 0, seed: 0,
};
const network = new Network(settings);
for (let i = 0; i < 60; i++) network.trainOn(x, t, 64);
const began = performance.now();
for (let i = 0; i < steps; i++) network.trainOn(x, t, 64);
console.log((performance.now() - began) / steps);

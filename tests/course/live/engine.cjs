// Runs the live lab's engine on the cases that come in, one a line, and answers each with a line. For the tests.
"use strict";
const fs = require("fs");
const path = require("path");
const readline = require("readline");

const live = path.join(__dirname, "..", "..", "..", "gradclinic", "course", "live");
const loaded = (file, name) => new Function(`${fs.readFileSync(path.join(live, file), "utf8")}; return ${name};`)();
const engine = (simd) => loaded("engine.js", "gradclinicEngine")(simd ? fs.readFileSync(path.join(live, "kernel.wasm")) : null);
const judges = {}; // by the thresholds that they got
const judge = (limits) => (judges[JSON.stringify(limits)] ??= loaded("verdict.js", "gradclinicVerdict")(limits));
const engines = { true: engine(true), false: engine(false) };

const numbers = (text) => {
  const bytes = Buffer.from(text, "base64");
  return new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
};
const text = (array) => Buffer.from(Float64Array.from(array).buffer).toString("base64");
const joined = (arrays) => text(arrays.flatMap((array) => Array.from(array)));

function answer({ settings, parameters, x, t, count, steps, simd = true, precision = "float64", test = null, limits = null }) {
  const { Network, recordOf } = engines[simd];
  const network = new Network(settings, { batch: count, precision });
  let from = 0;
  const given = parameters && numbers(parameters), images = numbers(x);
  for (const { value } of parameters ? network.parameters() : []) {
    value.set(given.subarray(from, from + value.length));
    from += value.length;
  }
  const rows = [];
  let gradients = null;
  for (let step = 0; step < steps; step++) {
    const at = (step % Math.floor(t.length / count)) * count; // whole batches, again from the first
    rows.push(network.trainOn(images.subarray(at * network.inputs), t.slice(at, at + count), count));
    gradients ??= joined(network.parameters().map(({ gradient }) => gradient));
  }
  const record = recordOf(network, rows, Math.log(10));
  const all = joined(network.parameters().map(({ value }) => value));
  const accuracy = test && network.accuracy(images, t);
  const verdict = limits && judge(limits)(record);
  return { gradients, parameters: all, record, accuracy, verdict, simd: engines[simd].simd };
}

// JSON has no word for NaN and inf
const plain = (_, value) => {
  if (ArrayBuffer.isView(value)) return Array.from(value);
  return typeof value === "number" && !Number.isFinite(value) ? String(value) : value;
};
readline.createInterface({ input: process.stdin }).on("line", (line) => {
  process.stdout.write(`${JSON.stringify(answer(JSON.parse(line)), plain)}\n`);
});

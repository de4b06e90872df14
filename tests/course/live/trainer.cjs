// Drives the live lab's trainer as its page does, with messages; prints all that it says. For the tests.
"use strict";
const fs = require("fs");
const path = require("path");

const live = path.join(__dirname, "..", "..", "..", "gradclinic", "course", "live");
const parts = ["engine", "theory", "verdict", "trainer"].map((name) => fs.readFileSync(path.join(live, `${name}.js`), "utf8"));
const make = new Function(
  `${parts.join("\n")}; return { gradclinicEngine, gradclinicTheory, gradclinicVerdict, gradclinicTrainer };`,
);
const { limits, images, labels, training, messages } = JSON.parse(fs.readFileSync(0, "utf8"));
const { gradclinicEngine, gradclinicTheory, gradclinicVerdict, gradclinicTrainer } = make();
const engine = gradclinicEngine(fs.readFileSync(path.join(live, "kernel.wasm"))), said = [];
const scope = { postMessage: (message) => said.push(message) };
gradclinicTrainer(scope, {
  engine, theory: gradclinicTheory(engine), verdict: gradclinicVerdict(limits),
  images: Float32Array.from(images), labels: Uint8Array.from(labels), training,
});
for (const message of messages) scope.onmessage({ data: message });
const plain = (_, value) => {
  if (ArrayBuffer.isView(value)) return Array.from(value);
  return typeof value === "number" && !Number.isFinite(value) ? String(value) : value;
};
console.log(JSON.stringify(said, plain));

// The verdicts of verdict.js on records: JSON from standard input, JSON to standard output.
// In: records, an array being {shape, numbers: float64 in base64}; limits, and how many times each is judged by them;
//   expected answers, and changed limits, each of which ought to lead to another answer somewhere.
// Out: answers; milliseconds, the shortest time that one took; of each changed limits the first record where it was
//   noticed, or null; and what the script defines.
"use strict";
const fs = require("fs");
const path = require("path");
const vm = require("vm");

const script = path.join(__dirname, "../../../gradclinic/course/live/verdict.js");
const page = vm.createContext({});
vm.runInContext(fs.readFileSync(script, "utf8"), page);

function numbers({ shape, numbers }, plain) {
  const bytes = Buffer.from(numbers, "base64");
  const all = new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  const held = (part) => (plain ? Array.from(part) : part);
  const [rows, columns] = shape;
  if (columns === undefined) return held(all);
  return Array.from({ length: rows }, (_, i) => held(all.subarray(i * columns, (i + 1) * columns)));
}

function decoded(record, plain) {
  const fields = Object.entries(record).map(([name, value]) => {
    if (value === "nan") return [name, NaN];
    return [name, value !== null && value.shape ? numbers(value, plain) : value];
  });
  return Object.fromEntries(fields);
}

const told = JSON.parse(fs.readFileSync(0, "utf8"));
const { limits = {}, expected = [], changed = [], times = 1 } = told;
const records = told.records.map((record, i) => decoded(record, i % 2 === 1)); // typed arrays, and plain ones

let milliseconds = Infinity;
function timed(verdict, record) {
  let answer;
  for (let i = 0; i < times; i++) {
    const start = performance.now();
    answer = verdict(record);
    milliseconds = Math.min(milliseconds, performance.now() - start);
  }
  return answer;
}

function firstDifference(verdict) {
  const found = records.findIndex((record, i) => JSON.stringify(verdict(record)) !== JSON.stringify(expected[i]));
  return found < 0 ? null : found;
}

const verdict = page.gradclinicVerdict(limits);
const answers = expected.length ? [] : records.map((record) => timed(verdict, record));
const noticed = changed.map((one) => firstDifference(page.gradclinicVerdict(one)));
process.stdout.write(JSON.stringify({ answers, milliseconds, noticed, defined: Object.keys(page) }));

"use strict";
// Questions that are asked before a network runs. It shares its scope with settings.js.

// --- stories ------------------------------------------------------------------------------------------------------

// Each asks before it runs. `came` looks whether the run did what the story says; where it did not, that is told.
const learns = (run) => run.loss < 0.8 * GUESSING;
const guesses = (run) => Math.abs(run.loss - GUESSING) < 0.15;
const OUTCOMES = (right) =>
  [["learn", "It learns to read digits."], ["guess", "It still guesses."], ["lost", "Its numbers overflow."]].map(
    ([name, text]) => ({ text, right: name === right }),
  );
const STORIES = [
  {
    title: "Twenty sigmoid layers",
    tells: "A network of 20 sigmoid layers, started by Xavier's rule, trained by Adam.",
    asks: "How does it do after 300 steps?",
    answers: OUTCOMES("guess"),
    settings: {},
    until: 300,
    came: guesses,
    because: (run) =>
      `The loss is ${run.lossText}; guessing gives 2.30. Before the first step layer 1 got ${run.ratioText} of ` +
      "layer 20's gradient: every layer on the way back made it smaller.",
  },
  {
    title: "The same, with batch norm",
    tells: "Again 20 sigmoid layers, Xavier's rule and Adam, but each layer has batch normalisation.",
    asks: "How does it do after 300 steps?",
    answers: OUTCOMES("learn"),
    settings: { norm: "batch" },
    until: 300,
    came: learns,
    because: (run) =>
      `The loss is ${run.lossText}, below guessing. Batch norm brings what enters each sigmoid back to where it is ` +
      `steep, so layer 1 began with ${run.ratioText} times layer 20's gradient.`,
  },
  {
    title: "Does clipping help?",
    tells: "The 20 sigmoid layers without batch norm, but the gradient is clipped at norm 1.",
    asks: "How does it do after 300 steps?",
    answers: OUTCOMES("guess"),
    settings: { clip: 1 },
    until: 300,
    came: guesses,
    because: (run) =>
      `The loss is ${run.lossText}, that of guessing. Clipping can only make a gradient shorter. Here the one of ` +
      "the first layers is too short already.",
  },
  {
    title: "ReLU, as PyTorch starts it",
    tells: "20 ReLU layers with PyTorch's own starting weights, trained by plain SGD at rate 0.02.",
    asks: "How does it do after 500 steps?",
    answers: OUTCOMES("guess"),
    settings: { activation: "relu", start: "pytorch", optimizer: "sgd", rate: 0.02 },
    until: 500,
    came: guesses,
    because: (run) =>
      `The loss is ${run.lossText}; guessing gives 2.30. ReLU lets half of its input through, and these weights ` +
      `are too small to make up for it: layer 1 got ${run.ratioText} of layer 20's gradient.`,
  },
  {
    title: "ReLU, started by He's rule",
    tells: "The same 20 ReLU layers, SGD and rate. Only the starting weights are larger: He's rule.",
    asks: "How does it do after 500 steps?",
    answers: OUTCOMES("learn"),
    settings: { activation: "relu", start: "he", optimizer: "sgd", rate: 0.02 },
    until: 500,
    came: learns,
    because: (run) =>
      `The loss is ${run.lossText}, below guessing. He's rule makes up for the half that ReLU cuts off, so the ` +
      `gradient neither dies nor explodes: layer 1 began with ${run.ratioText} times that of layer 20.`,
  },
  {
    title: "Large weights, tanh",
    tells: "20 tanh layers whose starting weights are about 4 times those of Xavier's rule, trained by SGD.",
    asks: "Before the first step: how large is layer 1's gradient beside that of layer 20?",
    answers: [
      { text: "More than 100 times smaller.", right: false },
      { text: "About the same.", right: false },
      { text: "More than 100 times larger.", right: true },
    ],
    settings: { activation: "tanh", start: 4, optimizer: "sgd", rate: 0.02 },
    until: 100,
    came: (run) => run.ratio > 100,
    because: (run) =>
      `Look at the open points: layer 1 began with ${run.ratioText} times layer 20's gradient. Many tanh units are ` +
      "saturated and pass little, but these weights are so large that on the way back the gradient grows all the same.",
  },
  {
    title: "ReLU, weights too large",
    tells: "30 ReLU layers whose starting weights are 1.4 times those of He's rule, trained by SGD at rate 0.01.",
    asks: "What happens in the first 50 steps?",
    answers: OUTCOMES("lost"),
    settings: { activation: "relu", start: 2, depth: 30, optimizer: "sgd", rate: 0.01 },
    until: 50,
    came: (run) => run.ended === "nonfinite",
    because: (run) =>
      `By step ${run.step} the loss was no longer a number. ReLU sets no bound: the signal grows on its way ` +
      "through the layers and the gradient on its way back, and a step along it throws the weights far away.",
  },
  {
    title: "A level gradient",
    tells: "5 tanh layers, Xavier's rule, SGD at rate 0.00001. No layer's gradient is tiny beside another's.",
    asks: "How does it do after 300 steps?",
    answers: [
      { text: "It learns: the gradient is fine.", right: false },
      { text: "The loss hardly moves.", right: true },
      { text: "The gradient vanishes on the way.", right: false },
    ],
    settings: { activation: "tanh", depth: 5, optimizer: "sgd", rate: 1e-5 },
    until: 300,
    came: (run) => Math.abs(run.loss - run.firstLoss) < 0.25,
    because: (run) =>
      `The loss began at ${run.firstText} and is ${run.lossText}. The gradient arrives everywhere, but a step ` +
      `moves layer 1 by only ${run.updateText} of its weights. Raise the rate while it trains.`,
  },
  {
    title: "Thirty layers with skips",
    tells: "30 tanh layers, PyTorch's start, SGD at rate 0.05. From the second on each adds its answer to its input.",
    asks: "How does it do after 300 steps?",
    answers: OUTCOMES("learn"),
    settings: {
      activation: "tanh", start: "pytorch", depth: 30, optimizer: "sgd", rate: 0.05, skip: "plain",
    },
    until: 300,
    came: learns,
    because: (run) =>
      `The loss is ${run.lossText}, below guessing. The gradient has a way past every layer: layer 1 began with ` +
      `${run.ratioText} times layer 30's. Now set the skips to none and press New start.`,
  },
];

const FEW = 3; // so many stories are offered at once where the window is narrow; lab.css knows it too

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

// What a story may refer to.
function factsOf(rows, ended) {
  const first = rows[0], last = rows[rows.length - 1], bottom = first.gradient;
  const loss = mean(rows.slice(-20).map((row) => row.loss)), ratio = bottom[0] / bottom[bottom.length - 1];
  const update = last.update[0];
  return {
    step: last.step, ended, loss, ratio, firstLoss: first.loss,
    lossText: short(loss), ratioText: short(ratio), firstText: short(first.loss), updateText: short(update),
  };
}

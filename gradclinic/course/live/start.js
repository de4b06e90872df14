"use strict";
// Puts the live lab into a page: the digits as numbers, a worker that trains, and the controls.
function gradclinicStart({ kernel, pixels, classes, training, limits }) {
  // What trains; it has to stand by itself, since a worker gets it as text.
  function trainer(scope, { kernel, pixels, classes, training, limits }) {
    const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const engine = gradclinicEngine(bytes(kernel));
    const images = standardised(bytes(pixels), training, 64), labels = Uint8Array.from(classes, Number);
    const theory = gradclinicTheory(engine), verdict = gradclinicVerdict(limits);
    gradclinicTrainer(scope, { engine, theory, verdict, images, labels, training });
  }

  // Each pixel by the mean and deviation of the training images; one that does not vary becomes 0.
  function standardised(raw, training, inputs) {
    const images = new Float32Array(raw.length);
    for (let j = 0; j < inputs; j++) {
      let mean = 0, square = 0;
      for (let i = j; i < training * inputs; i += inputs) mean += raw[i] / training;
      for (let i = j; i < training * inputs; i += inputs) square += (raw[i] - mean) ** 2 / training;
      const deviation = Math.sqrt(square) || 1;
      for (let i = j; i < raw.length; i += inputs) images[i] = (raw[i] - mean) / deviation;
    }
    return images;
  }

  // A trainer in a worker; where a page may have none, one beside the page.
  function begin(onmessage) {
    const data = { kernel, pixels, classes, training, limits };
    const parts = [gradclinicEngine, gradclinicTheory, gradclinicVerdict, gradclinicTrainer, standardised, trainer];
    try {
      const source = ['"use strict";', ...parts.map(String), `trainer(self, ${JSON.stringify(data)});`].join("\n");
      const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
      const worker = new Worker(address);
      worker.onmessage = ({ data: message }) => onmessage(message);
      worker.onerror = ({ message }) => onmessage({ say: "error", text: message });
      return {
        post: (message) => worker.postMessage(message),
        end: () => {
          worker.terminate();
          URL.revokeObjectURL(address);
        },
      };
    } catch (error) {
      const scope = { postMessage: (message) => setTimeout(() => onmessage(message), 0) };
      trainer(scope, data);
      const post = (message) => setTimeout(() => scope.onmessage({ data: message }), 0);
      return { post, end: () => post({ do: "pause" }) };
    }
  }

  const number = (text) => (text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : text);

  // Fill an element, as its data-settings ("depth=20&activation=relu") and data-controls ("depth rate") ask.
  function place(element, options = {}) {
    const { settings = "", controls, small, address, stories } = element.dataset;
    const given = Object.fromEntries([...new URLSearchParams(settings)].map(([name, text]) => [name, number(text)]));
    return gradclinicLab(element, {
      settings: given,
      controls: controls ? controls.split(" ") : undefined,
      small: small !== undefined,
      address: address !== undefined,
      stories: stories !== undefined,
      start: (onmessage) => {
        const training = begin(onmessage);
        if (options.onrecord) training.post({ do: "watch" });
        return training;
      },
      ...options,
    });
  }

  function layer() {
    const engine = gradclinicEngine(Uint8Array.from(atob(kernel), (c) => c.charCodeAt(0)));
    return gradclinicLayer({ engine, theory: gradclinicTheory(engine) });
  }

  return { place, begin, standardised, layer, python: gradclinicPython };
}

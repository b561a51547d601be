// The worker: answers requests of the page, and counts correct predictions in between.

let network = null, loaded = null, pictures = null, counting = null;
const SLICE = 24; // ms of counting before other requests are handled

const handlers = {
  load({ description, bytes, allowWasm }) {
    loaded = { description, bytes, allowWasm };
    network = buildNetwork(description, bytes, allowWasm);
    pictures = readPictures(description, bytes);
    return { how: network.how };
  },
  /** Load other weights, described by `tensors`. */
  learn({ tensors }) {
    clearTimeout(counting);
    network = buildNetwork({ ...loaded.description, tensors }, loaded.bytes, loaded.allowWasm);
    return {};
  },
  /** Compute the logits of the intact and of the silenced network, and the values of wanted parts. */
  show({ input, silence, wanted }) {
    const lesion = lesionOf(network.layers, silence);
    const intact = network.run(input).slice(), logits = lesion ? network.run(input, lesion).slice() : intact;
    return { intact, logits, values: wanted.map(([name, part]) => network.parts[name][part].slice()) };
  },
  logits({ input, silence }) {
    return { logits: network.run(input, lesionOf(network.layers, silence)).slice() };
  },
  /** Count correct predictions on all pictures, and report progress until all are counted. */
  count({ silence }, reply) {
    clearTimeout(counting);
    const lesion = lesionOf(network.layers, silence);
    let done = 0, hits = 0;
    const slice = () => {
      for (const until = performance.now() + SLICE; done < pictures.length && performance.now() < until; done++) {
        hits += largest(network.run(pictures[done].values(), lesion)) === pictures[done].label;
      }
      reply({ done, hits, of: pictures.length });
      if (done < pictures.length) counting = setTimeout(slice);
    };
    slice();
  },
  stop() {
    clearTimeout(counting);
    return {};
  },
};

self.onmessage = ({ data: { id, ask, ...asked } }) => {
  const reply = (answer) => self.postMessage({ id, ...answer });
  try {
    const answer = handlers[ask](asked, reply);
    if (answer) reply(answer);
  } catch (error) {
    reply({ error: error.message });
  }
};

// Start the page.

const description = JSON.parse(document.getElementById("network").textContent);
const { layers } = description;
layers.input = description.input.shape;

const started = unpack(document.getElementById("numbers").textContent).then((bytes) => startEngine(description, bytes));

/** For tests and the console: logits of an input (C x H x W, 0 to 1), and all that every layer gives. */
window.cnnlab = {
  logits: async (input, silence = null) => (await (await started).ask("logits", { input, silence })).logits,
  values: async (input, silence = null) => {
    const wanted = layers.flatMap(({ name, ops }) => ops.map((_, part) => [name, part]));
    return (await (await started).ask("show", { input, silence, wanted })).values;
  },
};

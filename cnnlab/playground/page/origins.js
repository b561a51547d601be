// Explain how a chosen value is computed, and frame the values that it depends on.

/**
 * Make the hooks of layers for chosen values: explained, chosen, left.
 *
 * `now()` returns the engine, the input, the lesion and the weights; `sections()` the layers on the page; `seen` shows the input.
 */
function makeOrigins(layers, now, sections, seen) {
  const named = Object.fromEntries(layers.map((layer) => [layer.name, layer]));
  const lastPart = (name) => [name, name === "input" ? 0 : named[name].ops.length - 1];
  const shapeOf = (name) => (name === "input" ? layers.input : named[name].shape);

  async function explained(layer, part, place) {
    const { engine, input, lesion, tensors } = now(), graph = lesionOf(layers, lesion)?.sources;
    const sources = graph ? graph[layer.name] : layer.from;
    if (!sources) return []; // left out
    const wanted = [...sources.map(lastPart), ...layer.ops.map((_, number) => [layer.name, number])];
    const { values } = await engine.ask("show", { input, silence: lesion, wanted });
    const read = sources.map((name, i) => ({ name, values: values[i], shape: shapeOf(name) }));
    frame(layer, place, sources);
    return explain(layer, part, place, { read, parts: values.slice(sources.length), tensors });
  }

  /** Frame the window in the layer's sources, and the value's receptive field in the input. */
  function frame(layer, place, sources) {
    for (const section of sections()) section.markField(null);
    const [op] = layer.ops, end = (places) => places[places.length - 1] - places[0] + 1;
    if (op.kernel) {
      const [rows, columns] = placesUnder(op, place), channel = slides(op) ? null : place.channel;
      const field = { channel, y: rows[0], x: columns[0], height: end(rows), width: end(columns) };
      for (const section of sections()) if (sources.includes(section.layer.name)) section.markField(field);
    }
    seen.mark({ channel: null, ...fieldOf(layer, place, layers.input) });
  }

  return {
    explained,
    chosen(section) {
      for (const other of sections()) if (other !== section) other.close();
    },
    left() {
      for (const section of sections()) section.markField(null);
      seen.mark(null);
    },
  };
}

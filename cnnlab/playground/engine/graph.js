// The graph of layers and their sources when some are silenced, as in cnnlab/trained/silence.py.

const BY = { mean: "its mean over the validation pictures", zero: "zero", pass: "what it reads" };

/** Group layers by the prefix before the last underscore of their names: {prefix: [names]}. */
function blocksOf(names) {
  const blocks = {};
  for (const name of names) (blocks[name.slice(0, Math.max(name.lastIndexOf("_"), 0))] ||= []).push(name);
  return Object.fromEntries(Object.entries(blocks).filter(([prefix, members]) => prefix && members.length > 1));
}

/**
 * Remove layers from the graph; returns {name: sources} of the remaining layers, and the one that gives the logits.
 *
 * A reader of a removed layer reads that layer's source instead, of a removed merge its first one. A branch removed back
 * to its fork is dropped from the merge, and a merge with one input left is replaced by that input. Throws an Error that
 * names the layer whose weights no longer fit.
 */
function withoutLayers(layers, removed) {
  const order = ["input", ...layers.map((layer) => layer.name)];
  const behind = { input: new Set(["input"]) }, standsFor = { input: "input" }, kept = {};
  for (const { name, from } of layers) {
    behind[name] = new Set([name, ...from.flatMap((each) => [...behind[each]])]);
    let left = [];
    for (const each of from) {
      const others = new Set(from.filter((other) => other !== each).flatMap((other) => [...behind[other]]));
      const shared = order.filter((one) => behind[each].has(one) && others.has(one));
      const fork = shared[shared.length - 1];
      const gone = fork !== undefined && fork !== each && standsFor[each] === standsFor[fork];
      if (!gone && !left.includes(standsFor[each])) left.push(standsFor[each]);
    }
    if (!left.length) left = [standsFor[from[0]]];
    if (removed.has(name) || (left.length === 1 && from.length > 1)) standsFor[name] = left[0];
    else [standsFor[name], kept[name]] = [name, left];
  }
  const answers = standsFor[order[order.length - 1]], read = new Set([answers]);
  for (const name of Object.keys(kept).reverse()) {
    if (read.has(name)) kept[name].forEach((each) => read.add(each));
    else delete kept[name];
  }
  refuseMisfit(layers, kept);
  return { sources: kept, answers };
}

/** Throw if a layer would read a shape other than the one it was trained on. */
function refuseMisfit(layers, kept) {
  const named = Object.fromEntries(layers.map((layer) => [layer.name, layer]));
  const shapeOf = (name) => (name === "input" ? layers.input : named[name].shape);
  for (const [name, sources] of Object.entries(kept)) {
    const { kind, from, shape } = named[name];
    const fits = ["add", "multiply"].includes(kind)
      ? sources.every((each) => sameShape(shapeOf(each), shape)) || (sameShape(sources, from))
      : sources.length === from.length && sources.every((each, i) => sameShape(shapeOf(each), shapeOf(from[i])));
    if (!fits) throw new Error(`then ${name} reads ${sources.map((each) => showShape(shapeOf(each))).join(" and ")}, for which it has no weights`);
  }
}

/** Merges silenced together with some, but not all, of their sources: they still pass on the others, such as a shortcut. */
function stillMerging(layers, silent) {
  const rest = new Set(silent), spared = new Set();
  for (const { name, from } of layers) {
    const among = from.filter((each) => rest.has(each)).length;
    if (rest.has(name) && among && among < from.length) {
      spared.add(name);
      rest.delete(name);
    }
  }
  return spared;
}

/**
 * Convert a request of silencing to the lesion that the engine computes: {sources, answers, replaced: Map(name -> channels or null), by}.
 *
 * `silence` is {by, layers: {name: null for the whole layer, or its channels}}; returns null if nothing is silenced.
 */
function lesionOf(layers, silence) {
  if (!silence || !Object.keys(silence.layers).length) return null;
  const whole = Object.keys(silence.layers).filter((name) => silence.layers[name] === null);
  const replaced = new Map(Object.entries(silence.layers));
  stillMerging(layers, whole).forEach((name) => replaced.delete(name));
  if (silence.by !== "pass") return { by: silence.by, replaced, sources: null };
  whole.forEach((name) => replaced.delete(name));
  const named = Object.fromEntries(layers.map((layer) => [layer.name, layer]));
  for (const name of replaced.keys()) {
    const [first] = named[name].from, shape = first === "input" ? layers.input : named[first].shape;
    if (!sameShape(shape, named[name].shape)) throw new Error(`${name} changes ${showShape(shape)} to ${showShape(named[name].shape)}`);
  }
  return { by: "pass", replaced, ...withoutLayers(layers, new Set(whole)) };
}

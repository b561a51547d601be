// A network in one memory: every operation has its own buffer for its output, so that all outputs can be shown.

const SLACK = 16; // floats after every buffer, which the product may read but does not use

/** Build a network: {run(input, lesion), layers, how}; `allowWasm` false computes everything in JavaScript. */
function buildNetwork(description, bytes, allowWasm = true) {
  const tensors = readTensors(description.tensors, bytes), layers = description.layers;
  layers.input = description.input.shape;
  const steps = [{ name: "input", from: [], ops: [{ op: "normalise", shape: layers.input, ...description.input }] }, ...layers];
  const shapes = { input: layers.input };
  let kept = 0, passing = 0;
  eachOperation(steps, shapes, (op, its) => {
    const needs = OPERATIONS[op.op].needs(op, its, op.shape);
    kept += needs.kept + count(op.shape) + 4 * SLACK; // at most three buffers, each with its slack
    passing = Math.max(passing, needs.passing);
  });
  const memory = makeMemory(4 * (kept + passing + count(layers.input) + 4 * SLACK), allowWasm);
  const floats = new Float32Array(memory.buffer);
  let used = SLACK;
  const keep = (size) => floats.subarray(used, (used += upTo(size, 4) + SLACK) - SLACK).subarray(0, size);
  const scratch = keep(passing), image = keep(count(layers.input));
  const tools = { memory, keep, tensors, passing: (start, size) => scratch.subarray(start, start + size) };
  const runs = new Map(steps.map(({ name }) => [name, []]));
  eachOperation(steps, shapes, (op, its, name) => {
    const run = OPERATIONS[op.op].prepare(op, its, op.shape, tools);
    runs.get(name).push({ run, out: keep(count(op.shape)) });
  });
  const means = Object.fromEntries(layers.filter((layer) => layer.mean !== null).map((layer) => [layer.name, tensors[layer.mean].values]));

  /** Compute the logits of an input, and fill `parts` with every operation's output; the next run overwrites both. */
  function run(input, lesion = null) {
    image.set(input);
    const values = { input: image };
    for (const { name, from } of steps) {
      const sources = lesion?.sources ? lesion.sources[name] : from;
      if (!sources && name !== "input") continue; // removed
      const read = name === "input" ? [image] : sources.map((each) => values[each]);
      let given = read;
      for (const { run, out } of runs.get(name)) {
        run(given, out);
        given = [out];
      }
      values[name] = given[0];
      if (lesion?.replaced.has(name)) replace(values[name], shapes[name], lesion, name, read[0]);
    }
    return values[lesion?.answers ?? steps[steps.length - 1].name];
  }

  function replace(values, shape, lesion, name, read) {
    const each = count(shape) / shape[0], channels = lesion.replaced.get(name) ?? [...Array(shape[0]).keys()];
    for (const c of channels) {
      const own = values.subarray(c * each, (c + 1) * each);
      if (lesion.by === "pass") own.set(read.subarray(c * each, (c + 1) * each));
      else own.fill(lesion.by === "mean" ? means[name][c] : 0);
    }
  }

  const parts = Object.fromEntries([...runs].map(([name, ops]) => [name, ops.map(({ out }) => out)]));
  return { run, parts, layers, how: memory.how };
}

/** Visit every operation with the shapes of its inputs; adds each layer's output shape to `shapes`. */
function eachOperation(steps, shapes, visit) {
  for (const { name, from, ops } of steps) {
    let its = from.length ? from.map((each) => shapes[each]) : [shapes.input];
    for (const op of ops) {
      visit(op, its, name);
      its = [op.shape];
    }
    shapes[name] = its[0];
  }
}

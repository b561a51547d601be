// The lesson on backpropagation: through a convolution, and through softmax with cross-entropy.

function lesson({ input, kernel, wanted, logits, target, rate }, root) {
  const convolution = make("section", { "aria-labelledby": "h-conv" }, make("h2", { id: "h-conv" }, "Through a convolution"));
  const softmax = make("section", { "aria-labelledby": "h-soft" }, make("h2", { id: "h-soft" }, "Through softmax with cross-entropy"));
  root.append(convolution, softmax);
  throughConvolution({ x: input, w: kernel, t: wanted }, rate, convolution);
  throughSoftmax(logits, target, rate, softmax);
}

const minus = (a, b, factor = 1) => a.map((row, y) => row.map((value, x) => value - factor * b[y][x]));

/** E = half the sum of (H - T) squared, H the input X correlated with the weights W. */
function throughConvolution(given, rate, root) {
  const { x, w, t } = given, step = makeField("learning rate", rate, { min: 0 }, show);
  const tables = {};
  for (const [name, caption] of Object.entries({ x: "X, the input", w: "W, the weights", t: "T, what is wanted" })) {
    tables[name] = makeNumbers(caption, { edited: (row, column, value) => ((given[name][row][column] = value), show()) });
  }
  for (const [name, caption] of Object.entries({ h: "H = X * W", dh: "dE/dH = H − T", dx: "dE/dX" })) tables[name] = makeNumbers(caption);
  tables.dw = makeNumbers("dE/dW = X * dE/dH", { picked: (y, column) => stepper.go(y * w[0].length + column) });
  tables.next = makeNumbers("W − learning rate · dE/dW");
  const said = make("p", { class: "said", id: "sum" }), error = make("p", { id: "error" }), after = make("p", { id: "after" });
  const stepper = makeStepper(() => w.length * w[0].length, show);

  /** Compute the output, the gradients and the new weights from X, W and T. */
  function compute() {
    const h = correlate(x, w), dh = minus(h, t), dw = correlate(x, dh), dx = correlate(dh, turned(w), 1, w.length - 1);
    return { x, w, t, h, dh, dw, dx, next: minus(w, dw, step.value()) };
  }
  const errorOf = (h) => minus(h, t).flat().reduce((sum, value) => sum + value * value, 0) / 2;

  function show() {
    const all = compute(), [y, column] = [Math.floor(stepper.at() / w[0].length), stepper.at() % w[0].length], chosen = (row, at) => row === y && at === column;
    const framed = { x: inside(y, column, all.dh.length, all.dh[0].length), dh: () => true, dw: chosen, next: chosen };
    for (const [name, table] of Object.entries(tables)) table.show(all[name], { framed: framed[name] });
    const total = all.dw[y][column];
    said.textContent = `dE/dW, row ${y}, column ${column}: ${productsInWords(windowOf(x, all.dh, y, column, 1, 0))} = ${shortly(total)}; the weight becomes ${shortly(w[y][column])} − ${shortly(step.value())} · ${inSum(total)} = ${shortly(all.next[y][column])}`;
    error.textContent = `E = ½ · sum of (H − T)² = ${shortly(errorOf(all.h))}`;
    after.textContent = `With the new weights E is ${shortly(errorOf(correlate(x, all.next)))}.`;
    announce(said.textContent);
  }

  const update = make("button", { type: "button", onclick: () => (compute().next.forEach((row, y) => row.forEach((value, i) => (w[y][i] = value))), show()) }, "Take the new weights");
  stepper.element.append(step.element, update);
  root.append(
    make("p", {}, "The weights' gradient is the input correlated with the output's gradient: a weight has met each value of its window once. The input's gradient is the output's, with zeros around, correlated with the weights turned by half."),
    make("div", { class: "row" }, ...["x", "w", "h", "t"].map((name) => tables[name].element)), error, stepper.element, said,
    make("div", { class: "row" }, ...["dh", "dw", "next", "dx"].map((name) => tables[name].element)), after,
  );
  show();
}

/** Logits z to probabilities y = e^z / sum of e^z, E = -ln y of the right class; dE/dz = y - t. */
function throughSoftmax(logits, target, rate, root) {
  const z = [...logits], step = makeField("learning rate of the logits", rate, { min: 0 }, show), said = make("p", { id: "soft-error" });
  const right = makeField("right class", target, { min: 0, max: logits.length - 1, step: 1 }, show);
  const tables = { z: makeNumbers("z, the logits", { edited: (_, i, value) => ((z[i] = value), show()) }) };
  for (const [name, caption] of Object.entries({ y: "y, softmax of z", t: "t, 1 for the right class", dz: "dE/dz = y − t", next: "z − learning rate · (y − t)" })) tables[name] = makeNumbers(caption);

  function show() {
    const top = Math.max(...z), powers = z.map((value) => Math.exp(value - top)), total = powers.reduce((a, b) => a + b), y = powers.map((power) => power / total);
    const t = z.map((_, i) => Number(i === right.value())), dz = y.map((value, i) => value - t[i]), next = z.map((value, i) => value - step.value() * dz[i]);
    for (const [name, row] of Object.entries({ z, y, t, dz, next })) tables[name].show([row]);
    said.textContent = `E = −ln ${shortly(y[right.value()])} = ${shortly(-Math.log(y[right.value()]))}`;
  }
  root.append(
    make("p", {}, "The gradient of the logits is what the network gives minus what is wanted: the right class is pushed up, the others down by their probability."),
    make("p", { class: "controls" }, right.element, step.element), make("div", { class: "row" }, ...Object.values(tables).map(({ element }) => element)), said,
  );
  show();
}

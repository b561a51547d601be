// The lesson on convolution: a window slides over a picture.

function lesson({ pictures, kernels, start }, root) {
  let rows = copied(pictures[start.picture]), kernel = copied(kernels[start.kernel]), flipped = false;
  const input = makeNumbers("input", { edited: changed });
  const weights = makeNumbers("kernel", { edited: (y, x, value) => change(() => (kernel[y][x] = value)) });
  const laid = makeNumbers("the kernel as it is laid on the input"), output = makeNumbers("output", { picked: (y, x) => stepper.go(y * result[0].length + x) });
  const stride = makeField("stride", 1, { min: 1, max: 8, step: 1 }, () => change()), padding = makeField("padding", 0, { min: 0, max: 8, step: 1 }, () => change());
  const size = makeField("kernel size", kernel.length, { min: 1, max: 7, step: 1 }, () => change(() => (kernel = resized(kernel, size.value()))));
  const mean = makeCheck("divided by n, the number of weights", start.divided, () => change());
  const formula = make("p", { id: "formula" }), said = make("p", { class: "said", id: "sum" });
  const how = make("fieldset", {}, make("legend", {}, "The kernel is laid"), ...[[false, "as it is written: correlation, what networks compute"], [true, "turned by half: convolution as mathematics defines it"]].map(([turn, words]) =>
    make("label", {}, make("input", { type: "radio", name: "how", checked: !turn, onchange: () => change(() => (flipped = turn)) }), ` ${words} `)));
  const file = make("label", { class: "file" }, "Open a picture", make("input", { type: "file", accept: "image/*", onchange: ({ target }) => target.files[0] && opened(target.files[0]) }));
  let result = [[]];
  const stepper = makeStepper(() => result.length * (result[0]?.length ?? 0), show);

  function change(act = () => {}) {
    act();
    compute();
    stepper.go(Math.min(stepper.at(), Math.max(0, result.length * (result[0]?.length ?? 0) - 1)));
  }

  /** Take an edited cell of the padded input; the zeros around it stay. */
  function changed(y, x, value) {
    const [top, left] = [y - padding.value(), x - padding.value()];
    change(() => rows[top]?.[left] !== undefined && (rows[top][left] = value));
  }

  function compute() {
    const [its, divisor] = [flipped ? turned(kernel) : kernel, mean.on() ? kernel.flat().length : 1];
    result = correlate(rows, its, stride.value(), padding.value()).map((row) => row.map((value) => value / divisor));
  }

  function show() {
    const its = flipped ? turned(kernel) : kernel, [s, p] = [stride.value(), padding.value()], width = result[0]?.length ?? 0;
    const sizes = [rows.length, rows[0].length].map((n, axis) => outputSize(n, [kernel.length, kernel[0].length][axis], s, p));
    formula.textContent = sizes[0].words === sizes[1].words ? `(N − F + 2P) / S + 1: ${sizes[0].words}` : `(N − F + 2P) / S + 1: down ${sizes[0].words}; across ${sizes[1].words}`;
    formula.classList.toggle("wrong", !sizes.every(({ fits }) => fits));
    weights.show(kernel);
    laid.element.hidden = !flipped;
    laid.show(its);
    const [y, x] = width ? [Math.floor(stepper.at() / width), stepper.at() % width] : [0, 0];
    input.show(padded(rows, p), { framed: width && result.length ? inside(y * s, x * s, its.length, its[0].length) : undefined, name: p ? `input, ${p} zeros around it` : "input" });
    output.element.hidden = !(width && result.length);
    if (output.element.hidden) return void (said.textContent = "The window does not fit into the input.");
    output.show(result, { framed: (row, column) => row === y && column === x });
    const terms = windowOf(rows, its, y, x, s, p), total = sumOf(terms), n = terms.length;
    said.textContent = `row ${y}, column ${x}: ${productsInWords(terms)} = ${shortly(total)}${mean.on() ? `, ÷ ${n} = ${shortly(total / n)}` : ""}`;
    announce(said.textContent);
  }

  async function opened(chosen) {
    const bitmap = await createImageBitmap(chosen).catch(() => null);
    if (!bitmap) return void (said.textContent = `${chosen.name} is no picture that this browser reads.`);
    const factor = Math.min(1, 28 / Math.max(bitmap.width, bitmap.height)), [width, height] = [bitmap.width, bitmap.height].map((n) => Math.max(1, Math.round(n * factor)));
    const on = new OffscreenCanvas(width, height).getContext("2d");
    on.drawImage(bitmap, 0, 0, width, height);
    const { data } = on.getImageData(0, 0, width, height);
    const grey = (i) => (0.299 * data[i] + 0.587 * data[i + 1] + 0.114 * data[i + 2]) / 255;
    change(() => (rows = Array.from({ length: height }, (_, y) => Array.from({ length: width }, (_, x) => grey(4 * (y * width + x))))));
  }

  root.append(
    make("p", { class: "controls" }, makeChoice("picture", Object.keys(pictures), (name) => change(() => (rows = copied(pictures[name])))), file,
      makeChoice("kernel", Object.keys(kernels), (name) => change(() => (kernel = copied(kernels[name]), size.set(kernel.length)))), size.element, stride.element, padding.element, mean.element),
    how, stepper.element, make("div", { class: "row" }, input.element, make("div", {}, weights.element, laid.element), output.element), said, formula,
    make("p", { class: "note" }, "Cells of the input and of the kernel can be changed. A value of the output is clicked to see its window."),
  );
  change();
}

const copied = (rows) => rows.map((row) => [...row]);

/** Resize a kernel: values keep their positions, new ones are 0. */
const resized = (kernel, size) => Array.from({ length: size }, (_, y) => Array.from({ length: size }, (_, x) => kernel[y]?.[x] ?? 0));

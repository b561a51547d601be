// Start the page: one input at a time goes through the network, and everything that is in sight shows it.

const description = JSON.parse(byId("network").textContent);
const { layers, classes, input: inputOf, prepare } = description;
layers.input = inputOf.shape;

let engine = null, currentInput = null;
const started = start();

async function start() {
  const bytes = await unpack(byId("numbers").textContent);
  engine = await startEngine(description, bytes);
  openPage(bytes);
  return engine;
}

function openPage(bytes) {
  const pictures = readPictures(description, bytes), [channels, height, width] = inputOf.shape;
  const hasMeans = layers.some(({ mean }) => mean !== null), answer = makeAnswer(classes);
  const under = new OffscreenCanvas(width, height), seen = makeGrid("as the network sees it", inputOf.shape, () => {}, channels > 1 ? 36 : 84);
  const ink = channels === 1 ? 1 - prepare.paper : null;
  const paper = () => new Float32Array(channels * height * width).fill(prepare.paper);
  let base = paper(), title = channels === 1 ? "your drawing" : "an empty picture", input = base;

  // ---- the input
  const canvas = byId("canvas");
  const drawing = makeDrawing(canvas, inputOf, prepare, extentOf(pictures, inputOf.shape, prepare.paper), () => redraw(), begin);

  /** A first stroke is drawn on paper where the data are drawings; on colours it covers a part of the picture. */
  function begin() {
    if (channels === 1 && title !== "your drawing") setBase(paper(), "your drawing");
  }

  /** The input: the picture below, and what is drawn over it, in ink or, on colours, in the data's mean. */
  function makeInput() {
    const mask = drawing.mask();
    if (!mask) return base;
    const cover = asInput(mask, inputOf, { ...prepare, crop: null }, false), size = height * width;
    return base.map((value, i) => {
      const share = clamp(cover[i % size], 0, 1);
      return value * (1 - share) + share * (ink ?? inputOf.mean[Math.floor(i / size)]);
    });
  }

  function redraw() {
    input = currentInput = makeInput();
    const over = drawing.empty() ? title : title === "your drawing" ? title : `${title}, painted over`;
    byId("shown").textContent = over;
    drawing.paint(under, `rgb(${inputOf.mean.length === 3 ? inputOf.mean.map((m) => 255 * m) : Array(3).fill(255 * ink)})`);
    seen.show(input.map((value, i) => (value - inputOf.mean[Math.floor(i / (height * width))]) / inputOf.std[Math.floor(i / (height * width))]), new Set());
    refresh();
  }

  function setBase(values, its) {
    drawing.clear();
    [base, title] = [values, its];
    const its_ = document.createElement("canvas");
    paintPicture(its_, values, inputOf.shape);
    under.getContext("2d").drawImage(its_, 0, 0);
    drawing.settings.centred = byId("centred").checked && title === "your drawing";
    redraw();
  }

  // ---- what is silenced
  const silence = makeSilence(layers, hasMeans, silenceChanged);
  let lesion = null;

  function silenceChanged() {
    lesion = silence.computable();
    const sources = lesion && lesionOf(layers, lesion).sources;
    for (const section of sections) section.mark(silence.channels(section.layer.name), Boolean(sources && !sources[section.layer.name]));
    for (const button of document.querySelectorAll("[data-block]")) {
      const members = layers.filter(({ name, answers }) => !answers && blocks[button.dataset.block].includes(name)).map(({ name }) => name);
      button.setAttribute("aria-pressed", String(silence.isSilent(members)));
    }
    refresh();
    countSilenced();
  }

  const tensors = readTensors(description.tensors, bytes);
  const origins = makeOrigins(layers, tensors, () => ({ engine, input, lesion }), () => sections, seen);

  const blocks = blocksOf(layers.map(({ name }) => name));
  const sections = makeLayers(layers, { toggle: silence.toggle, toggleBlock: (_, members) => silence.toggleAll(members), ...origins }, byId("layers"));

  // ---- through the network: one question at a time, the newest drawing next
  const inSight = new Set();
  let busy = false, again = false;

  async function refresh() {
    if (busy) return void (again = true);
    busy = true;
    do {
      again = false;
      const shown = sections.filter(({ element }) => inSight.has(element)), wanted = shown.flatMap((section) => section.wanted);
      const asked = { input, silence: lesion, wanted }, answered = await engine.ask("show", asked);
      answer.show(answered.intact, answered.logits, Boolean(asked.silence));
      let taken = 0;
      for (const section of shown) section.show(answered.values.slice(taken, (taken += section.wanted.length)));
      await new Promise(requestAnimationFrame);
    } while (again);
    busy = false;
  }

  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) isIntersecting ? inSight.add(target) : inSight.delete(target);
    refresh();
  }, { rootMargin: "300px" });

  // ---- right answers among the pictures
  let intactCounted = false;

  function countSilenced() {
    byId("accuracy-silenced").hidden = true; // until it is counted
    if (!intactCounted) return;
    const its = lesion;
    if (its && pictures.length) engine.ask("count", { silence: its }, (progress) => its === lesion && answer.counted("silenced", progress));
    else engine.ask("stop");
  }

  function countIntact() {
    if (!pictures.length) return;
    engine.ask("count", { silence: null }, (progress) => {
      answer.counted("intact", progress);
      if (progress.done < progress.of || intactCounted) return;
      intactCounted = true;
      if (lesion) countSilenced();
    });
  }

  // ---- controls
  byId("seen").append(seen.element);
  byId("clear").addEventListener("click", () => setBase(paper(), channels === 1 ? "your drawing" : "an empty picture"));
  byId("undo").addEventListener("click", () => (drawing.undo(), redraw()));
  byId("centred").addEventListener("change", ({ target }) => {
    drawing.settings.centred = target.checked && title === "your drawing";
    redraw();
  });
  byId("centred").closest("label").hidden = !drawing.settings.centred;
  byId("pen").value = drawing.pen.width;
  byId("pen").addEventListener("input", ({ target }) => (drawing.pen.width = Number(target.value)));
  canvas.addEventListener("focus", () => redraw());
  canvas.addEventListener("blur", () => redraw());
  canvas.style.aspectRatio = `${width} / ${height}`;
  makeChooser(pictures, description.pictures.names, inputOf.shape, setBase);
  takeFiles(
    (bitmap, name) => setBase(asInput(valuesOf(bitmap, channels), inputOf, prepare), name),
    (why) => announce((byId("shown").textContent = why)),
  );
  new ResizeObserver(() => drawing.paint(under, "gray") || redraw()).observe(canvas.parentElement);

  makeEdges(byId("edges"), sections, byId("column"));
  for (const { element } of sections) observer.observe(element);
  const [first] = spread(pictures);
  if (first === undefined) setBase(paper(), "an empty picture");
  else setBase(pictures[first].values(), description.pictures.names[first]);
  countIntact();
  document.body.classList.add("ready");
}

/** For tests and the console: logits of an input (C x H x W, 0 to 1), and all that every layer gives. */
window.cnnlab = {
  input: async () => (await started, currentInput),
  /** What computes: WebAssembly or JavaScript; `restart(false)` keeps to JavaScript. */
  how: () => engine.how,
  restart: async (allowWasm) => (engine = await startEngine(description, await unpack(byId("numbers").textContent), allowWasm)),
  logits: async (input, silence = null) => (await (await started, engine).ask("logits", { input, silence })).logits,
  values: async (input, silence = null) => {
    const wanted = layers.flatMap(({ name, ops }) => ops.map((_, part) => [name, part]));
    return (await (await started, engine).ask("show", { input, silence, wanted })).values;
  },
};

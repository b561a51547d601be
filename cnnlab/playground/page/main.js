// Start the page: run one input at a time through the networks, and update everything in view.

const description = JSON.parse(byId("network").textContent);
const { layers, input: inputOf, prepare, drawn = true, axes = [null, null] } = description, SUFFIXES = ["", "-b"]; // of the ids of both networks' elements
const networks = [description, ...(description.beside ? [{ ...description, ...description.beside }] : [])];
for (const its of networks) its.layers.input = its.input.shape;

let engines = [], currentInput = null;
const started = start();

async function start() {
  const bytes = await unpack(byId("numbers").textContent);
  engines = await Promise.all(networks.map((its) => startEngine(its, bytes)));
  openPage(bytes);
}

function openPage(bytes) {
  const pictures = readPictures(description, bytes), [channels, height, width] = inputOf.shape;
  const hasMeans = networks.every(({ layers }) => layers.some(({ mean }) => mean !== null));
  const under = new OffscreenCanvas(width, height), seen = makeGrid("as the network sees it", inputOf.shape, () => {}, channels > 1 ? 36 : 84);
  const ink = channels === 1 ? 1 - prepare.paper : null;
  const paper = () => new Float32Array(channels * height * width).fill(prepare.paper);
  let base = paper(), title = channels === 1 ? "your drawing" : "an empty picture", input = base;

  // ---- the input
  const canvas = byId("canvas");
  const drawing = makeDrawing(canvas, inputOf, prepare, extentOf(pictures, inputOf.shape, prepare.paper), () => redraw(), begin);

  /** Start a stroke: for grey data on an empty background, for colours over the picture. */
  function begin() {
    if (channels === 1 && title !== "your drawing") setBase(paper(), "your drawing");
  }

  /** Make the input: the picture with the drawing over it, in ink or, for colours, in the data's mean. */
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
    const { mean, std } = current.its.input, channelOf = (i) => Math.floor(i / (height * width));
    seen.show(input.map((value, i) => (value - mean[channelOf(i)]) / std[channelOf(i)]), new Set());
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

  // ---- the networks: one request at a time, the newest drawing next
  const silence = makeSilence(layers, hasMeans, silenceChanged);
  const shared = { input: () => input, pictures, silence, seen, refresh };
  const players = networks.map((its, i) => makePlayer(its, bytes, () => engines[i], SUFFIXES[i], shared));
  let current = players[0], busy = false, again = false;

  function silenceChanged() {
    const chosen = silence.request()?.layers ?? {}, request = silence.computable();
    for (const player of players) player === current ? player.silenced(chosen, request) : player.silenced({}, null);
    refresh();
  }

  async function refresh() {
    if (busy) return void (again = true);
    busy = true;
    do {
      again = false;
      announce((await Promise.all(players.map((player) => player.follow()))).join("; "));
      await new Promise(requestAnimationFrame);
    } while (again);
    busy = false;
  }

  /** Show the layers of one of two networks. */
  function lookAt(player) {
    current = player;
    for (const other of players) other.inView(other === player);
    silence.use(player.its.layers);
    redraw();
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
  frameWithAxes(byId("framed"), axes);
  if (drawn) takeFiles(
    (bitmap, name) => setBase(asInput(valuesOf(bitmap, channels), inputOf, prepare), name),
    (why) => announce((byId("shown").textContent = why)),
  );
  new ResizeObserver(() => drawing.paint(under, "gray") || redraw()).observe(canvas.parentElement);

  for (const [i, radio] of document.querySelectorAll("input[name=which]").entries()) radio.addEventListener("change", () => lookAt(players[i]));
  const [first] = spread(pictures);
  if (first === undefined) setBase(paper(), "an empty picture");
  else setBase(pictures[first].values(), description.pictures.names[first]);
  for (const player of players) player.countIntact();
  if (description.time?.length) makeTime([...description.time, { tensors: description.tensors }], players[0].learn);
  document.body.classList.add("ready");
}

/** For tests and the console: logits of an input (C x H x W, 0 to 1), and the outputs of all operations. */
window.cnnlab = {
  input: async () => (await started, currentInput),
  /** The backend: WebAssembly or JavaScript; `restart(false)` forces JavaScript. */
  how: () => engines[0].how,
  restart: async (allowWasm) => (engines[0] = await startEngine(description, await unpack(byId("numbers").textContent), allowWasm)),
  /** `network` is 0, or 1 for the second network. */
  logits: async (input, silence = null, network = 0) => (await (await started, engines[network]).ask("logits", { input, silence })).logits,
  values: async (input, silence = null) => {
    const wanted = layers.flatMap(({ name, ops }) => ops.map((_, part) => [name, part]));
    return (await (await started, engines[0]).ask("show", { input, silence, wanted })).values;
  },
};

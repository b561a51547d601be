// A layer on the page: its description, its values before and after the activation, and the chosen value.

const SLIDE = 350; // ms between two values

/** The parts of a layer to show: [index, title], before and after the activation if it has one. */
function shownParts({ ops, kind }) {
  const last = ops.length - 1, active = ops.findIndex((op) => op.op === "activation");
  if (active < 1) return [[last, operationWords(ops[last])]];
  const its = operationWords(ops[active]);
  return [[active - 1, `before ${its}`], [last, `after ${its}`]];
}

/**
 * Make the section of a layer.
 *
 * `hooks` are toggle(name, channel or null), which silences it or restores it; explained(layer, part, place), a promise
 * of elements that show how a value is computed; chosen(section); and left(), when no value is chosen any more.
 */
function makeLayer(layer, before, hooks, suffix) {
  const parts = shownParts(layer), head = make("div", { class: "head" }), sum = make("div");
  const panel = make("div", { class: "value", role: "region", "aria-label": `a value of ${layer.name}`, hidden: true }, head, sum);
  const slide = make("button", { type: "button", "aria-pressed": "false", onclick: () => play(!sliding) }, "Slide");
  const passing = make("p", { class: "note", hidden: true }, "Left out: those behind it read what it reads.");
  const silence = layer.answers ? null : make("button", { type: "button", "aria-pressed": "false", onclick: () => hooks.toggle(layer.name, null) }, "Silence", make("span", { class: "hidden" }, ` ${layer.name}`));
  const grids = parts.map(([part, title], i) => makeGrid(title, layer.ops[part].shape, (place) => chosen(i, place)));
  const element = make(
    "section",
    { class: "layer", id: `layer${suffix}-${layer.name}`, "aria-labelledby": `name${suffix}-${layer.name}` },
    make("header", {}, make("h3", { id: `name${suffix}-${layer.name}` }, layer.name), make("p", { class: "what" }, layerWords(layer)), silence),
    make("p", { class: "facts" }, layerFacts(layer, before)),
    passing,
    make("div", { class: "grids" }, ...grids.map((grid) => grid.element)),
    panel,
  );
  let place = null, silent = new Set(), sliding = null;

  function chosen(grid, its) {
    grids.forEach((other, i) => i !== grid && other.pick(null));
    place = { ...its, grid };
    describe(true);
    hooks.chosen(self);
  }

  /** Show the chosen value, with a button that silences its channel. */
  function describe(aloud) {
    const { channel, y, x, grid } = place, [, height, width] = asMaps(layer.ops[parts[grid][0]].shape);
    const single = height * width === 1, where = single ? `value ${channel}` : `map ${channel}, row ${y}, column ${x}`;
    const value = grids[grid].valueAt(place);
    panel.hidden = false;
    head.replaceChildren(
      make("p", {}, `${where}, ${parts[grid][1]}: `, make("b", {}, value === undefined ? "" : showNumber(value))),
      ...(layer.answers ? [] : [make("button", { type: "button", class: "channel", "aria-pressed": String(silent.has(channel)), onclick: () => hooks.toggle(layer.name, channel) }, `Silence ${single ? "value" : "map"} ${channel}`)]),
      ...(single ? [] : [slide]),
      make("button", { type: "button", class: "quiet", onclick: close }, "Close"),
    );
    hooks.explained(layer, parts[grid][0], place).then((elements) => place && elements && sum.replaceChildren(...elements));
    if (aloud) announce(`${layer.name}, ${where}: ${value === undefined ? "" : showNumber(value)}`);
  }

  /** Slide the window over the map value by value, until it is stopped or reaches the end. */
  function play(on) {
    clearInterval(sliding);
    sliding = on ? setInterval(() => next() || play(false), SLIDE) : null;
    slide.setAttribute("aria-pressed", String(on));
  }

  function next() {
    if (!place) return false;
    const [, height, width] = asMaps(layer.ops[parts[place.grid][0]].shape), after = place.y * width + place.x + 1;
    if (after >= height * width) return false;
    grids[place.grid].pick({ channel: place.channel, y: Math.floor(after / width), x: after % width });
    return true;
  }

  function close() {
    play(false);
    place = null;
    panel.hidden = true;
    grids.forEach((grid) => grid.pick(null));
    hooks.left();
  }

  const self = {
    close: () => place && close(),
    /** Frame, in the last part, the values that a value of another layer reads; null for none. */
    markField: (field) => grids[grids.length - 1].mark(field),
    element,
    layer,
    wanted: parts.map(([part]) => [layer.name, part]),
    show(values) {
      grids.forEach((grid, i) => grid.show(values[i], silent));
      if (place) describe(false);
    },
    mark(channels, removed) {
      const whole = channels === null;
      silent = new Set(whole ? Array(layer.shape[0]).keys() : channels ?? []);
      element.classList.toggle("silent", whole);
      element.classList.toggle("removed", removed);
      passing.hidden = !removed;
      silence?.setAttribute("aria-pressed", String(whole));
      if (place) describe(false);
    },
  };
  return self;
}

/** Make the sections of all layers, grouped by block, with ids that begin with `layer` and the suffix; returns them in order. */
function makeLayers(layers, hooks, onto, suffix) {
  const blocks = blocksOf(layers.map(({ name }) => name));
  const blockOf = (name) => Object.keys(blocks).find((prefix) => blocks[prefix].includes(name));
  let open = null, before = "input";
  return layers.map((layer) => {
    const block = blockOf(layer.name), section = makeLayer(layer, before, hooks, suffix);
    if (block && open?.block !== block) {
      const members = layers.filter(({ name, answers }) => blocks[block].includes(name) && !answers).map(({ name }) => name);
      const button = make("button", { type: "button", "aria-pressed": "false", "data-block": block, onclick: () => hooks.toggleBlock(block, members) }, "Silence block");
      const element = make("div", { class: "block", role: "group", "aria-label": `block ${block}` }, make("header", {}, make("h2", {}, `block ${block}`), button));
      open = { block, element };
      onto.append(element);
    }
    if (!block) open = null;
    (open?.element ?? onto).append(section.element);
    before = layer.name;
    return section;
  });
}

// A layer on the page: what it is, its values before and after the activation, and the value that was chosen.

/** The parts of a layer that are shown: [number, title], before and after the activation where it has one. */
function shownParts({ ops, kind }) {
  const last = ops.length - 1, active = ops.findIndex((op) => op.op === "activation");
  if (active < 1) return [[last, operationWords(ops[last])]];
  const its = operationWords(ops[active]);
  return [[active - 1, `before ${its}`], [last, `after ${its}`]];
}

/**
 * Make the section of a layer.
 *
 * `hooks` are toggle(name, channel or null), which silences it or lets it speak again, and asked(layer, place), which is
 * called when a value is chosen.
 */
function makeLayer(layer, before, hooks) {
  const parts = shownParts(layer), panel = make("div", { class: "value", hidden: true });
  const silence = layer.answers ? null : make("button", { type: "button", "aria-pressed": "false", onclick: () => hooks.toggle(layer.name, null) }, "Silence", make("span", { class: "hidden" }, ` ${layer.name}`));
  const grids = parts.map(([part, title], i) => makeGrid(title, layer.ops[part].shape, (place) => chosen(i, place)));
  const element = make(
    "section",
    { class: "layer", id: `layer-${layer.name}`, "aria-labelledby": `name-${layer.name}` },
    make("header", {}, make("h3", { id: `name-${layer.name}` }, layer.name), make("p", { class: "what" }, layerWords(layer)), silence),
    make("p", { class: "facts" }, layerFacts(layer, before)),
    make("div", { class: "grids" }, ...grids.map((grid) => grid.element)),
    panel,
  );
  let place = null, silent = new Set();

  function chosen(grid, its) {
    grids.forEach((other, i) => i !== grid && other.unpick());
    place = { ...its, grid };
    describe(true);
  }

  /** Say which value is chosen, and offer to silence its channel. */
  function describe(aloud) {
    const { channel, y, x, grid } = place, [, height, width] = asMaps(layer.ops[parts[grid][0]].shape);
    const single = height * width === 1, where = single ? `value ${channel}` : `map ${channel}, row ${y}, column ${x}`;
    const value = grids[grid].valueAt(place);
    panel.hidden = false;
    panel.replaceChildren(
      make("p", {}, `${where}, ${parts[grid][1]}: `, make("b", {}, value === undefined ? "" : showNumber(value))),
      ...(layer.answers ? [] : [make("button", { type: "button", class: "channel", "aria-pressed": String(silent.has(channel)), onclick: () => hooks.toggle(layer.name, channel) }, `Silence ${single ? "value" : "map"} ${channel}`)]),
      make("button", { type: "button", class: "quiet", onclick: close }, "Close"),
    );
    if (aloud) announce(`${layer.name}, ${where}: ${value === undefined ? "" : showNumber(value)}`);
  }

  function close() {
    place = null;
    panel.hidden = true;
    grids.forEach((grid) => grid.unpick());
  }

  return {
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
      silence?.setAttribute("aria-pressed", String(whole));
      if (place) describe(false);
    },
  };
}

/** All layers, those of a block together; returns the sections of layers in order. */
function makeLayers(layers, hooks, onto) {
  const blocks = blocksOf(layers.map(({ name }) => name));
  const blockOf = (name) => Object.keys(blocks).find((prefix) => blocks[prefix].includes(name));
  let open = null, before = "input";
  return layers.map((layer) => {
    const block = blockOf(layer.name), section = makeLayer(layer, before, hooks);
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

// The lesson on the X and O network: every value of every layer, one after the other.

function lesson({ letters, filters, votes }, root) {
  const names = Object.keys(filters), classes = Object.keys(letters);
  let rows = letters.X.map((row) => [...row]), layers = [], steps = [];
  const input = makeNumbers("input", { edited: (y, x, value) => change(() => (rows[y][x] = value)) });
  const shownFilters = names.map((name) => makeNumbers(`filter ${name}`)), shownVotes = makeNumbers("weights of the votes, X above O");
  const captions = ["mean of the products", "ReLU", "pooled", "pooled again"];
  const grids = captions.map((caption, layer) => names.map((name, map) => makeNumbers(`${caption}, ${name}`, { picked: (y, x) => goTo(layer, map, y, x) })));
  grids.push([makeNumbers("flatten: all values in one row", { picked: (y, x) => goTo(4, 0, y, x) })], [makeNumbers("votes for X and for O", { picked: (y, x) => goTo(5, 0, y, x) })]);
  const stepper = makeStepper(() => steps.length, show), hide = makeCheck("hide what is not computed yet", false, () => show());
  const said = make("p", { class: "said", id: "sum" }), answer = make("p", { class: "answer", id: "answer" });
  const nextLayer = make("button", { type: "button", onclick: () => stepper.go(steps.findIndex(({ layer }) => layer === (steps[stepper.at()].layer + 1) % layers.length)) }, "Next layer");

  function change(act = () => {}) {
    act();
    const maps = names.map((name) => correlate(rows, filters[name]).map((row) => row.map((value) => value / 9)));
    const positive = maps.map((map) => map.map((row) => row.map((value) => Math.max(0, value)))), once = positive.map(pooled), twice = once.map(pooled);
    const flat = twice.flat(2), given = votes.map((weights) => weights.reduce((sum, weight, i) => sum + weight * flat[i], 0));
    layers = [maps, positive, once, twice, [[flat]], [[given]]];
    steps = layers.flatMap((its, layer) => its.flatMap((map, m) => map.flatMap((row, y) => row.map((_, x) => ({ layer, map: m, y, x })))));
    show();
  }

  function goTo(layer, map, y, x) {
    stepper.go(steps.findIndex((step) => step.layer === layer && step.map === map && step.y === y && step.x === x));
  }

  /** Explain the value at a step: in words, and by the cells it reads, [layer, map, cells]; layer -1 is the input. */
  function origin({ layer, map, y, x }) {
    const value = layers[layer][map][y][x], before = layers[layer - 1];
    if (layer === 0) {
      const terms = windowOf(rows, filters[names[map]], y, x, 1, 0), total = sumOf(terms);
      return { words: `${productsInWords(terms)} = ${shortly(total)}, ÷ 9 = ${shortly(value)}`, reads: () => [-1, 0, inside(y, x, 3, 3)] };
    }
    if (layer === 1) return { words: `max(0, ${shortly(before[map][y][x])}) = ${shortly(value)}`, reads: () => [0, map, inside(y, x, 1, 1)] };
    if (layer <= 3) {
      const seen = before[map].slice(2 * y, 2 * y + 2).flatMap((row) => row.slice(2 * x, 2 * x + 2));
      return { words: `the largest of ${seen.map(shortly).join(", ")} is ${shortly(value)}`, reads: () => [layer - 1, map, inside(2 * y, 2 * x, 2, 2)] };
    }
    if (layer === 4) {
      const from = Math.floor(x / 4), [row, column] = [Math.floor((x % 4) / 2), x % 2];
      return { words: `value ${x} is row ${row}, column ${column} of ${names[from]}: ${shortly(value)}`, reads: () => [3, from, inside(row, column, 1, 1)] };
    }
    const terms = votes[x].map((weight, i) => ({ value: before[0][0][i], weight })).filter(({ weight }) => weight);
    return { words: `for ${classes[x]}: ${productsInWords(terms)} = ${shortly(value)}`, reads: () => [4, 0, (_, i) => votes[x][i] !== 0] };
  }

  function show() {
    const place = stepper.at(), step = steps[place], { words, reads } = origin(step), [from, its, cells] = reads();
    input.show(rows, { framed: from === -1 ? cells : undefined, reach: 1 });
    names.forEach((name, i) => shownFilters[i].show(filters[name], { framed: () => step.layer === 0 && step.map === i }));
    shownVotes.show(votes, { framed: (row) => step.layer === 5 && step.x === row });
    grids.forEach((maps, layer) => maps.forEach((grid, map) => grid.show(layers[layer][map], {
      reach: 1,
      framed: (y, x) => (step.layer === layer && step.map === map && step.y === y && step.x === x) || (from === layer && its === map && cells(y, x)),
      later: (y, x) => hide.on() && steps.findIndex((other) => other.layer === layer && other.map === map && other.y === y && other.x === x) > place,
    })));
    said.textContent = `${[...captions, "flatten", "votes"][step.layer]}${step.layer < 4 ? `, ${names[step.map]}, row ${step.y}, column ${step.x}` : ""}: ${words}`;
    const given = layers[5][0][0], best = largest(given);
    answer.textContent = `${classes.map((name, i) => `${name} ${shortly(given[i])}`).join(", ")}: ${given[0] === given[1] ? "a tie" : `it is an ${classes[best]}`}`;
    announce(said.textContent);
  }

  stepper.element.append(nextLayer, hide.element);
  root.append(
    make("p", { class: "controls" }, makeChoice("picture", classes, (name) => change(() => (rows = letters[name].map((row) => [...row]))))),
    stepper.element, said, make("div", { class: "row" }, input.element, ...shownFilters.map(({ element }) => element)),
    ...grids.slice(0, 5).map((maps) => make("div", { class: "row" }, ...maps.map(({ element }) => element))),
    make("div", { class: "row" }, shownVotes.element, grids[5][0].element), answer,
    make("p", { class: "note" }, "Cells of the input can be changed: 1 is ink, −1 is paper. A value is clicked to see where it comes from."),
  );
  change();
}

// Explain a value: for each operation the numbers from which it is computed.

const TERMS = 12, MAPS = 8; // terms of a dense sum, and maps of a convolution, shown at first

/**
 * Explain a value by elements, one or more for each operation of its layer up to the chosen part.
 *
 * `place` is {channel, y, x}; `read` are the layer's sources {name, shape, values}; `parts` the outputs of the layer's
 * operations; `tensors` the network's weights.
 */
function explain(layer, part, place, { read, parts, tensors }) {
  const found = [];
  let sources = read;
  for (let number = 0; number <= part; number++) {
    const op = layer.ops[number], make_ = SUMS[op.op], result = at(parts[number], op.shape, place);
    if (make_) found.push(...make_({ op, place, sources, tensors, result, read }));
    sources = [{ name: "", shape: op.shape, values: parts[number] }];
  }
  return found;
}

function at(values, shape, { channel, y, x }) {
  const [channels, height, width] = asMaps(shape);
  return values[(Math.min(channel, channels - 1) * height + Math.min(y, height - 1)) * width + Math.min(x, width - 1)];
}

const line = (...words) => make("p", { class: "sum" }, ...words.map((word) => (typeof word === "number" ? make("b", {}, showNumber(word)) : word)));
const signed = (value) => (value < 0 ? ` − ${showNumber(-value)}` : ` + ${showNumber(value)}`);
const numbersOf = (tensors, index) => (index === null || index === undefined ? null : tensors[index].values);

/** The values of a map under a window; NaN beyond the edge. */
function windowValues({ values, shape }, channel, rows, columns) {
  const [, height, width] = asMaps(shape);
  return rows.flatMap((y) => columns.map((x) => (y >= 0 && y < height && x >= 0 && x < width ? values[(channel * height + y) * width + x] : NaN)));
}

const ladder = (start, step, steps) => Array.from({ length: steps }, (_, i) => start + i * step);

function placesUnder(op, { y, x }) {
  const dilation = op.dilation ?? [1, 1], before = slides(op) ? [op.padding[0], op.padding[2]] : op.padding;
  return [y, x].map((n, axis) => ladder(n * op.stride[axis] - before[axis], dilation[axis], op.kernel[axis]));
}

/** Indices of a value's filter and bias: those of its channel, or its own where filters are not shared. */
function filterAt(op, { channel, y, x }) {
  if (op.op === "convolution") return { filter: channel, bias: channel };
  const [outputs, height, width] = asMaps(op.shape);
  return { filter: (y * width + x) * outputs + channel, bias: (channel * height + y) * width + x };
}

const SUMS = {
  convolution({ op, place, sources: [source], tensors, result }) {
    const [rows, columns] = placesUnder(op, place), area = rows.length * columns.length, [channels] = source.shape;
    const [groups, its] = [op.groups ?? 1, filterAt(op, place)], inGroup = channels / groups;
    const first = Math.floor(place.channel / (op.shape[0] / groups)) * inGroup;
    const weights = numbersOf(tensors, op.weight), bias = numbersOf(tensors, op.bias)?.[its.bias] ?? 0;
    const terms = Array.from({ length: inGroup }, (_, c) => {
      const window = windowValues(source, first + c, rows, columns), start = (its.filter * inGroup + c) * area;
      const row = Array.from(weights.subarray(start, start + area)), products = row.map((weight, i) => weight * (window[i] || 0));
      return { map: first + c, window, its: row, products, sum: products.reduce((a, b) => a + b, 0) };
    });
    terms.sort((a, b) => Math.abs(b.sum) - Math.abs(a.sum));
    const reach = (key) => reachOf(terms.flatMap((term) => term[key].filter((value) => !Number.isNaN(value))));
    const [low, high, most] = [reach("window"), reach("its"), reach("products")], wide = columns.length;
    const rowOf = ({ map, window, its, products, sum }) =>
      make("div", { class: "term" }, make("span", { class: "from" }, `map ${map}`), makeMatrix(`window of map ${map}`, window, wide, low), " × ", makeMatrix(`weights on map ${map}`, its, wide, high), " = ", makeMatrix(`products of map ${map}`, products, wide, most), line("sum ", sum));
    const rest = terms.slice(MAPS), all = make("div", { class: "terms" }, ...terms.slice(0, MAPS).map(rowOf));
    if (rest.length) all.append(restOf(rest, rest.reduce((total, { sum }) => total + sum, 0), "maps", () => rest.map(rowOf)));
    const total = terms.reduce((sum, term) => sum + term.sum, 0);
    return [heading("window × weights, the largest sums first"), all, line("all products ", total, `, bias${signed(bias)}, together `, result)];
  },
  dense({ op, place, sources: [source], tensors, result, read: [{ shape }] }) {
    const [, height, width] = asMaps(shape), inMap = height * width;
    const nameOf = (i) => (inMap === 1 ? String(i) : `map ${Math.floor(i / inMap)}, row ${Math.floor((i % inMap) / width)}, column ${i % width}`);
    const weights = numbersOf(tensors, op.weight), bias = numbersOf(tensors, op.bias)?.[place.channel] ?? 0, values = source.values;
    const terms = Array.from(values, (value, i) => ({ i, value, weight: weights[place.channel * values.length + i] }));
    terms.forEach((term) => (term.product = term.value * term.weight));
    terms.sort((a, b) => Math.abs(b.product) - Math.abs(a.product));
    const row = ({ i, value, weight, product }) => make("tr", {}, make("th", { scope: "row" }, nameOf(i)), ...[value, weight, product].map((n) => make("td", {}, showNumber(n))));
    const head = make("tr", {}, ...["value", "reads", "weight", "product"].map((name) => make("th", { scope: "col" }, name)));
    const rest = terms.slice(TERMS), sum = (of) => of.reduce((total, { product }) => total + product, 0), body = make("tbody", {}, ...terms.slice(0, TERMS).map(row));
    return [
      heading("its largest terms"),
      make("table", { class: "terms" }, make("thead", {}, head), body),
      line("these ", sum(terms.slice(0, TERMS)), rest.length ? `, the other ${rest.length}${signed(sum(rest))}` : "", `, bias${signed(bias)}, together `, result),
    ];
  },
  local: (given) => SUMS.convolution(given),
  maxpool: (given) => pooled(given, "largest"),
  avgpool: (given) => pooled(given, "mean"),
  lppool: (given) => pooled(given, `${given.op.p}-norm`),
  batchnorm({ op, place: { channel }, sources: [source], place, tensors, result }) {
    const [mean, factor, bias] = [op.mean, op.factor, op.bias].map((index) => numbersOf(tensors, index)[channel]);
    return [line("batch norm: (", at(source.values, source.shape, place), ` ${signed(-mean).trim()}) × `, factor, `${signed(bias)} = `, result)];
  },
  affine({ op, place: { channel }, sources: [source], place, tensors, result }) {
    const [factor, bias] = [op.factor, op.bias].map((index) => numbersOf(tensors, index)[channel]);
    return [line("coefficient and bias: ", at(source.values, source.shape, place), " × ", factor, `${signed(bias)} = `, result)];
  },
  groupnorm: plainly,
  lrn: plainly,
  scale: plainly,
  activation: plainly,
  add: ({ sources, place, result }) => [line(...joined(sources.map((source) => [`${source.name} `, at(source.values, source.shape, place)]), " + "), " = ", result)],
  multiply: ({ sources, place, result }) => [line(...joined(sources.map((source) => [`${source.name} `, at(source.values, source.shape, place)]), " × "), " = ", result)],
  concat({ sources, place, result }) {
    let channel = place.channel;
    const from = sources.find(({ shape }) => channel < shape[0] || ((channel -= shape[0]), false));
    return [line(`map ${channel} of ${from.name}: `, result)];
  },
};

const heading = (words) => make("p", { class: "note" }, words);
const joined = (lists, between) => lists.flatMap((list, i) => (i ? [between, ...list] : list));

function plainly({ op, sources: [source], place, result }) {
  return [line(`${operationWords(op)} of `, at(source.values, source.shape, place), " = ", result)];
}

function restOf(rest, total, what, open) {
  const button = make("button", { type: "button", class: "quiet", onclick: () => button.replaceWith(...open()) }, `the other ${rest.length} ${what}: ${showNumber(total)}`);
  return button;
}

function pooled({ op, place, sources: [source], result }, what) {
  const [, height, width] = asMaps(source.shape), [, outHeight, outWidth] = asMaps(op.shape);
  const span = (n, size, outputs) => ladder(Math.floor((n * size) / outputs), 1, Math.ceil(((n + 1) * size) / outputs) - Math.floor((n * size) / outputs));
  const [rows, columns] = op.adaptive ? [span(place.y, height, outHeight), span(place.x, width, outWidth)] : placesUnder(op, place);
  const values = windowValues(source, place.channel, rows, columns), inside = values.filter((value) => !Number.isNaN(value));
  const won = what === "largest" ? values.indexOf(inside.reduce((a, b) => Math.max(a, b))) : -1;
  const where = won < 0 ? "" : `, at row ${rows[Math.floor(won / columns.length)]}, column ${columns[won % columns.length]}`;
  return [make("div", { class: "term" }, makeMatrix(`window of map ${place.channel}`, values, columns.length, reachOf(inside), won), line(`${what}${where}: `, result))];
}

/** The receptive field of a value in the input: {y, x, height, width}, clipped to the edges. */
function fieldOf({ reach: { first, size, step } }, { y, x }, [, height, width]) {
  const [top, bottom, left, right] = [0, 1].flatMap((axis) => {
    const start = first[axis] + [y, x][axis] * step[axis];
    return [Math.max(start, 0), Math.min(start + size[axis], [height, width][axis])];
  });
  return { y: top, x: left, height: bottom - top, width: right - left };
}

// Draw the values of a part of a layer: a tile for each map, or a cell for each value of a vector.

const TILE = 72, GAP = 6, CAPTION = 13, CELL = 16, MANY = 48;

/**
 * Make a canvas of tiles with its scale.
 *
 * `title` names the values; `picked({channel, y, x})` is called when a value is chosen by mouse or keys. Maps are about
 * `tile` pixels wide. Marked maps are crossed out and labelled with `word`.
 */
function makeGrid(title, shape, picked, tile = TILE, word = "silent") {
  const [channels, height, width] = asMaps(shape), cells = height * width === 1, scale = makeScale();
  const canvas = make("canvas", { tabindex: 0, role: "img", "aria-label": title }), figure = make("figure", { class: "grid" });
  const more = make("button", { type: "button", class: "quiet", onclick: () => ((all = true), more.remove(), paint()) }, `show all ${channels}`);
  figure.append(make("figcaption", {}, make("span", {}, title), scale.element), canvas);
  let all = cells || channels <= MANY, values = null, marked = new Set(), at = null, field = null, columns = 1, painted = 0;
  if (!all) figure.append(more);
  const factor = width >= tile ? 1 : Math.max(1, Math.round(tile / width));
  const tileWidth = cells ? CELL : Math.min(width * factor, 1.5 * tile), tileHeight = cells ? CELL : (tileWidth * height) / width;
  const stepX = tileWidth + (cells ? 1 : GAP), stepY = tileHeight + (cells ? 1 : GAP + CAPTION);

  const shown = () => (all ? channels : MANY);

  /** Size the canvas for the width of the figure. */
  function layout() {
    painted = figure.clientWidth;
    columns = Math.max(1, Math.min(shown(), Math.floor((painted + GAP) / stepX)));
    const total = columns * stepX, tall = Math.ceil(shown() / columns) * stepY;
    canvas.style.width = `${total}px`;
    return sharp(canvas, total, tall);
  }
  const source = new OffscreenCanvas(width, height * channels);

  function paint() {
    if (!figure.clientWidth) return;
    const on = layout();
    if (!values) return;
    const reach = reachOf(values), inner = source.getContext("2d"), image = inner.createImageData(width, height * channels);
    colour(values, reach, new Uint32Array(image.data.buffer));
    inner.putImageData(image, 0, 0);
    on.imageSmoothingEnabled = width > 112;
    on.font = "10px system-ui, sans-serif";
    on.fillStyle = getComputedStyle(figure).color;
    for (let c = 0; c < shown(); c++) {
      const [x, y] = [(c % columns) * stepX, Math.floor(c / columns) * stepY];
      on.drawImage(source, 0, c * height, width, height, x, y, tileWidth, tileHeight);
      if (!cells && channels > 1) on.fillText(marked.has(c) ? `${c} ${word}` : c, x, y + tileHeight + 10);
      if (marked.has(c) && marked.size < channels) cross(on, x, y);
    }
    if (at) frame(on, at.channel, { ...at, height: 1, width: 1 });
    for (let c = 0; field && c < shown(); c++) if (field.channel === null || field.channel === c) frame(on, c, field);
    scale.show(reach);
    canvas.setAttribute("aria-label", `${title}: ${channels} ${cells ? "values" : `maps of ${showShape([height, width])}`}, from ${showNumber(Math.min(...range(values)))} to ${showNumber(Math.max(...range(values)))}. Arrow keys choose a value${cells ? "" : ", Page Up and Page Down a map"}.`);
  }

  function cross(on, x, y) {
    on.strokeStyle = "#e8590c";
    on.lineWidth = 2;
    on.beginPath();
    on.moveTo(x + 2, y + 2);
    on.lineTo(x + tileWidth - 2, y + tileHeight - 2);
    on.stroke();
  }

  /** Frame a part of a tile. */
  function frame(on, channel, { y, x, height: rows, width: places }) {
    const left = (channel % columns) * stepX, top = Math.floor(channel / columns) * stepY;
    const [w, h] = [tileWidth / width, tileHeight / height];
    on.lineWidth = 2;
    on.strokeStyle = "#f08c00";
    on.strokeRect(left + x * w - 1, top + y * h - 1, Math.max(places * w, 3) + 2, Math.max(rows * h, 3) + 2);
  }

  function pick(place) {
    at = place;
    if (at && at.channel >= shown()) ((all = true), more.remove());
    paint();
    if (at) picked(at);
  }

  canvas.addEventListener("click", (event) => {
    const box = canvas.getBoundingClientRect(), shrunk = parseFloat(canvas.style.width) / box.width;
    const x = (event.clientX - box.left) * shrunk, y = (event.clientY - box.top) * shrunk;
    const channel = Math.floor(y / stepY) * columns + Math.floor(x / stepX);
    const inX = x % stepX, inY = y % stepY;
    if (channel >= shown() || Math.floor(x / stepX) >= columns || inX >= tileWidth + (cells ? 1 : 0) || inY >= tileHeight + (cells ? 1 : CAPTION)) return;
    pick({ channel, x: clamp(Math.floor((inX / tileWidth) * width), 0, width - 1), y: clamp(Math.floor((inY / tileHeight) * height), 0, height - 1) });
  });
  canvas.addEventListener("keydown", (event) => {
    const { channel, x, y } = at ?? { channel: 0, x: 0, y: 0 };
    const moves = cells
      ? { ArrowLeft: [-1, 0, 0], ArrowRight: [1, 0, 0], ArrowUp: [-columns, 0, 0], ArrowDown: [columns, 0, 0] }
      : { ArrowLeft: [0, -1, 0], ArrowRight: [0, 1, 0], ArrowUp: [0, 0, -1], ArrowDown: [0, 0, 1], PageUp: [-1, 0, 0], PageDown: [1, 0, 0] };
    const move = event.key === "Enter" ? [0, 0, 0] : moves[event.key];
    if (!move) return;
    event.preventDefault();
    const next = { channel: clamp(channel + move[0], 0, channels - 1), x: clamp(x + move[1], 0, width - 1), y: clamp(y + move[2], 0, height - 1) };
    pick(at ? next : { channel, x, y });
  });
  new ResizeObserver(() => Math.abs(figure.clientWidth - painted) > 1 && paint()).observe(figure);
  dark.addEventListener("change", paint);

  return {
    element: figure,
    show(its, silent) {
      [values, marked] = [its, silent];
      paint();
    },
    valueAt: ({ channel, y, x }) => values?.[(channel * height + y) * width + x],
    pick,
    /** Frame the values that a chosen value of another layer reads: {channel or null for all, y, x, height, width}; null for none. */
    mark(its) {
      field = its;
      paint();
    },
  };
}

/** The lowest and the highest of values. */
function range(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
  return [low, high];
}

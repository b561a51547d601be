// Draw a few values as cells with their numbers.

/**
 * Make a canvas of cells (rows x columns), coloured from -reach to reach, with numbers if there is room.
 *
 * NaN is a position beyond the edge. `framed` is the index of a cell to frame.
 */
function makeMatrix(label, values, columns, reach, framed = -1) {
  const rows = values.length / columns, cell = columns > 7 || rows > 7 ? 12 : 34;
  const canvas = make("canvas", { class: "matrix", role: "img", "aria-label": label });
  canvas.style.width = `${columns * cell}px`;
  const on = sharp(canvas, columns * cell, rows * cell), pixels = new Uint32Array(values.length);
  colour(values.map((value) => value || 0), reach, pixels);
  on.font = "10px system-ui, sans-serif";
  on.textAlign = "center";
  on.textBaseline = "middle";
  pixels.forEach((pixel, i) => {
    const [x, y] = [(i % columns) * cell, Math.floor(i / columns) * cell], beyond = Number.isNaN(values[i]);
    const [red, green, blue] = [pixel & 255, (pixel >> 8) & 255, (pixel >> 16) & 255];
    on.fillStyle = beyond ? "transparent" : `rgb(${red} ${green} ${blue})`;
    on.fillRect(x, y, cell - 1, cell - 1);
    if (cell < 30) return;
    on.fillStyle = beyond ? "gray" : 0.3 * red + 0.6 * green + 0.1 * blue > 140 ? "black" : "white";
    on.fillText(beyond ? "·" : short(values[i]), x + cell / 2, y + cell / 2);
  });
  if (framed >= 0) {
    on.strokeStyle = "#f08c00";
    on.lineWidth = 3;
    on.strokeRect((framed % columns) * cell + 1, Math.floor(framed / columns) * cell + 1, cell - 3, cell - 3);
  }
  return canvas;
}

/** Format a number in at most five characters. */
function short(value) {
  const size = Math.abs(value);
  if (size >= 1000 || (size > 0 && size < 0.005)) return value.toExponential(0).replace("-", "−").replace("e+", "e");
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2).replace("-", "−");
}

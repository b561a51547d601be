// A drawing: strokes over an empty background or a picture, with mouse, pen, finger or keys.

const RESOLUTION = 20; // pixels of a drawing per image pixel, so that strokes have soft edges

/**
 * Make the drawing of an input.
 *
 * `begin()` is called before a stroke, `changed()` while it is drawn. `mask()` returns the covered share of every pixel, in the size of the
 * dataset's own images, or null if nothing is drawn.
 */
function makeDrawing(canvas, { shape: [, height, width] }, { own: [ownHeight, ownWidth] }, extent, changed, begin) {
  const strokes = [], cell = Math.max(1, Math.ceil(RESOLUTION / Math.max(1, ownHeight / 14)));
  const inner = new OffscreenCanvas(ownWidth * cell, ownHeight * cell);
  const context = inner.getContext("2d", { willReadFrequently: true });
  const pen = { width: ownWidth < 16 ? 1.2 / ownWidth : 2.6 / 28, x: 0.5, y: 0.5, down: false };
  const settings = { centred: extent !== null };

  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    canvas.setPointerCapture(event.pointerId);
    begin();
    strokes.push({ width: pen.width, points: [at(event)] });
    changed();
    event.preventDefault();
    canvas.focus({ preventScroll: true });
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!canvas.hasPointerCapture(event.pointerId)) return;
    const between = event.getCoalescedEvents?.() ?? [];
    strokes[strokes.length - 1].points.push(...(between.length ? between : [event]).map(at));
    changed();
  });
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  canvas.addEventListener("keydown", (event) => {
    if (event.key === " ") {
      pen.down = !pen.down;
      if (pen.down) begin();
      if (pen.down) strokes.push({ width: pen.width, points: [[pen.x, pen.y]] });
      announce(pen.down ? "pen down" : "pen up");
    } else if (steps[event.key]) {
      const [dx, dy] = steps[event.key];
      [pen.x, pen.y] = [clamp(pen.x + dx / ownWidth / 2, 0, 1), clamp(pen.y + dy / ownHeight / 2, 0, 1)];
      if (pen.down) strokes[strokes.length - 1].points.push([pen.x, pen.y]);
    } else {
      return;
    }
    event.preventDefault();
    changed();
  });
  canvas.addEventListener("blur", () => (pen.down = false));

  /** Draw all strokes on a context of a width and a height, under the context's transform. */
  function trace(on, across, down, style) {
    on.lineCap = on.lineJoin = "round";
    on.strokeStyle = style;
    for (const { width: its, points } of strokes) {
      on.lineWidth = its * across;
      on.beginPath();
      points.forEach(([x, y], i) => (i ? on.lineTo(x * across, y * down) : on.moveTo(x * across, y * down)));
      if (points.length === 1) on.lineTo(points[0][0] * across + 0.01, points[0][1] * down);
      on.stroke();
    }
  }

  /** The covered share of each cell, 0 to 1. */
  function covered() {
    const { data } = context.getImageData(0, 0, inner.width, inner.height), out = new Float32Array(ownHeight * ownWidth);
    for (let y = 0; y < inner.height; y++) {
      for (let x = 0; x < inner.width; x++) {
        out[Math.floor(y / cell) * ownWidth + Math.floor(x / cell)] += data[4 * (y * inner.width + x) + 3];
      }
    }
    return out.map((sum) => sum / (255 * cell * cell));
  }

  function mask() {
    if (!strokes.length) return null;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, inner.width, inner.height);
    if (settings.centred) place();
    trace(context, inner.width, inner.height, "black");
    return { values: covered(), channels: 1, height: ownHeight, width: ownWidth };
  }

  /** Normalise the drawing like the dataset's images: to their size, with the centre of mass in the middle. */
  function place() {
    const all = strokes.flatMap(({ width: its, points }) => points.map(([x, y]) => [x, y, its / 2]));
    const left = Math.min(...all.map(([x, , r]) => x - r)), right = Math.max(...all.map(([x, , r]) => x + r));
    const top = Math.min(...all.map(([, y, r]) => y - r)), bottom = Math.max(...all.map(([, y, r]) => y + r));
    const scale = extent / Math.max(right - left, bottom - top, 1e-6);
    let [x, y] = [(left + right) / 2, (top + bottom) / 2];
    if (extent < 0.9) {
      trace(context, inner.width, inner.height, "black");
      [x, y] = centreOfMass(covered()) ?? [x, y];
      context.clearRect(0, 0, inner.width, inner.height);
    }
    context.setTransform(scale, 0, 0, scale, inner.width * (0.5 - x * scale), inner.height * (0.5 - y * scale));
  }

  function centreOfMass(values) {
    let mass = 0, across = 0, down = 0;
    values.forEach((value, i) => {
      mass += value;
      across += value * ((i % ownWidth) + 0.5);
      down += value * (Math.floor(i / ownWidth) + 0.5);
    });
    return mass > 0 ? [across / mass / ownWidth, down / mass / ownHeight] : null;
  }

  /** Paint the background or picture, the strokes, and the pen if keys move it. */
  function paint(under, ink) {
    const size = Math.round(canvas.clientWidth) || 280, tall = (size * height) / width, on = sharp(canvas, size, tall);
    on.imageSmoothingEnabled = false;
    on.drawImage(under, 0, 0, size, tall);
    trace(on, size, tall, ink);
    if (document.activeElement === canvas && canvas.matches(":focus-visible")) {
      on.strokeStyle = pen.down ? "#e8590c" : "#888";
      on.lineWidth = 2;
      on.beginPath();
      on.arc(pen.x * size, pen.y * tall, Math.max(4, (pen.width * size) / 2), 0, 7);
      on.stroke();
    }
  }

  return {
    pen, settings, mask, paint,
    empty: () => !strokes.length,
    clear: () => (strokes.length = 0),
    undo: () => strokes.pop(),
  };
}

/** The share of the side that objects fill in a dataset's pictures: the median of their larger extent. */
function extentOf(pictures, [channels, height, width], paper) {
  if (channels !== 1 || !pictures.length) return null;
  const shares = pictures.map((picture) => {
    const values = picture.values(), rows = [], columns = [];
    values.forEach((value, i) => {
      if (Math.abs(value - paper) > 0.3) rows.push(Math.floor(i / width)), columns.push(i % width);
    });
    const span = (places) => (places.length ? Math.max(...places) - Math.min(...places) + 1 : 0);
    return Math.max(span(rows) / height, span(columns) / width);
  });
  return shares.sort((a, b) => a - b)[Math.floor(shares.length / 2)];
}

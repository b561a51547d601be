// Compute convolution and pooling on rows of numbers, and the sizes of their outputs.

/** Compute (N - F + 2P) / S + 1, in words and as a number of positions. */
function outputSize(n, f, s, p) {
  const exact = (n - f + 2 * p) / s + 1, places = Math.max(0, Math.floor(exact)), fits = n - f + 2 * p >= 0 && Number.isInteger(exact);
  const sum = `(${n} − ${f} + 2·${p}) / ${s} + 1 = ${shortly(exact)}`;
  if (n - f + 2 * p < 0) return { exact, places: 0, fits, words: `does not fit: a window of ${f} on ${n + 2 * p}` };
  const left = (n - f + 2 * p) % s;
  return { exact, places, fits, words: fits ? sum : `does not fit: ${sum}; ${places} places, and the last ${left} of ${n + 2 * p} left out` };
}

/** The terms of the window at an output's position: {y, x, value, weight}, y and x in the padded input. */
function windowOf(rows, kernel, y, x, stride, padding) {
  return kernel.flatMap((line, i) => line.map((weight, j) => {
    const at = { y: y * stride + i, x: x * stride + j };
    return { ...at, value: rows[at.y - padding]?.[at.x - padding] ?? 0, weight };
  }));
}

const sumOf = (terms) => terms.reduce((sum, { value, weight }) => sum + value * weight, 0);

/** Correlate rows with a kernel, which is not flipped. */
function correlate(rows, kernel, stride = 1, padding = 0) {
  const height = outputSize(rows.length, kernel.length, stride, padding).places;
  const width = outputSize(rows[0].length, kernel[0].length, stride, padding).places;
  return Array.from({ length: height }, (_, y) => Array.from({ length: width }, (_, x) => sumOf(windowOf(rows, kernel, y, x, stride, padding))));
}

/** Rotate a kernel by 180 degrees, as a true convolution does. */
const turned = (kernel) => kernel.map((row) => [...row].reverse()).reverse();

/** Pad rows with zeros. */
function padded(rows, padding) {
  const width = rows[0].length + 2 * padding;
  return Array.from({ length: rows.length + 2 * padding }, (_, y) => Array.from({ length: width }, (_, x) => rows[y - padding]?.[x - padding] ?? 0));
}

/** The maximum of each 2 x 2 window; windows that reach over the edge are kept. */
function pooled(rows) {
  const half = (n) => Math.ceil(n / 2);
  return Array.from({ length: half(rows.length) }, (_, y) => Array.from({ length: half(rows[0].length) }, (_, x) =>
    Math.max(...[0, 1].flatMap((i) => [0, 1].map((j) => rows[2 * y + i]?.[2 * x + j] ?? -Infinity)))));
}

/** A function (y, x) that returns whether a cell lies in a window. */
const inside = (top, left, height, width) => (y, x) => y >= top && y < top + height && x >= left && x < left + width;

/** Format a sum of products; those that are 0 are left out if there are many. */
function productsInWords(terms) {
  const shown = terms.length > 12 ? terms.filter(({ value, weight }) => value * weight !== 0) : terms;
  return shown.map(({ value, weight }) => `${inSum(value)}·${inSum(weight)}`).join(" + ") || "0";
}

// Shapes and indices. A shape is [channels], [channels, length] or [channels, height, width]; values are stored channel
// by channel, row by row.

const count = (shape) => shape.reduce((product, n) => product * n, 1);
const asMaps = ([channels, ...axes]) => [channels, ...Array(2 - axes.length).fill(1), ...axes];
const sameShape = (a, b) => a.length === b.length && a.every((n, i) => n === b[i]);
const showShape = (shape) => shape.join(" × ");
const upTo = (n, multiple) => Math.ceil(n / multiple) * multiple;
const clamp = (x, low, high) => Math.min(Math.max(x, low), high);

/** Index of the largest value, the first of equals. */
function largest(values) {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}

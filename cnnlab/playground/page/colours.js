// Diverging colours with 0 in the middle: blue below, the page's background at 0, red above.

const dark = window.matchMedia("(prefers-color-scheme: dark)");

const STEPS = 255; // colours on each side of 0
const ENDS = {
  light: [[5, 48, 97], [67, 147, 195], [247, 247, 247], [214, 96, 77], [103, 0, 31]],
  dark: [[146, 197, 222], [33, 102, 172], [28, 29, 32], [192, 57, 43], [253, 190, 160]],
};

/** Colours as 32-bit pixels, from the lowest value to the highest. */
function ramp(stops) {
  const pixels = new Uint32Array(2 * STEPS + 1), bytes = new Uint8Array(pixels.buffer);
  for (let i = 0; i < pixels.length; i++) {
    const at = (i / (pixels.length - 1)) * (stops.length - 1), first = Math.min(Math.floor(at), stops.length - 2);
    for (let c = 0; c < 3; c++) bytes[4 * i + c] = stops[first][c] + (at - first) * (stops[first + 1][c] - stops[first][c]);
    bytes[4 * i + 3] = 255;
  }
  return pixels;
}

const RAMPS = { light: ramp(ENDS.light), dark: ramp(ENDS.dark) };
const colours = () => (dark.matches ? RAMPS.dark : RAMPS.light);

/** The largest magnitude among values: the ends of their scale. */
function reachOf(values) {
  let reach = 0;
  for (const value of values) reach = Math.max(reach, Math.abs(value));
  return reach || 1;
}

/** Write the colours of values to pixels. */
function colour(values, reach, pixels) {
  const its = colours(), factor = STEPS / reach;
  for (let i = 0; i < values.length; i++) pixels[i] = its[STEPS + Math.round(clamp(values[i] * factor, -STEPS, STEPS))];
}

/** Make the element of a scale, with a function that sets its ends. */
function makeScale() {
  const low = make("span"), high = make("span"), bar = make("canvas", { width: 2 * STEPS + 1, height: 1, "aria-hidden": "true" });
  const paint = () => {
    const context = bar.getContext("2d"), image = context.createImageData(bar.width, 1);
    new Uint32Array(image.data.buffer).set(colours());
    context.putImageData(image, 0, 0);
  };
  paint();
  dark.addEventListener("change", paint);
  const element = make("span", { class: "scale" }, low, bar, high, make("span", { class: "hidden" }, " 0 is in the middle"));
  return { element, show: (reach) => ([low.textContent, high.textContent] = [showNumber(-reach), showNumber(reach)]) };
}

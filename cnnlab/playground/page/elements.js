// Helpers that make elements and format numbers.

/** Make an element: attributes, `on...` listeners, children that are elements or text. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

const byId = (id) => document.getElementById(id);

/** Size a canvas for sharp pixels; returns its context, scaled so that one unit is one CSS pixel. */
function sharp(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  canvas.style.aspectRatio = `${width} / ${height}`;
  const context = canvas.getContext("2d");
  context.setTransform(canvas.width / width, 0, 0, canvas.height / height, 0, 0);
  return context;
}

/** Announce changes to screen readers, once there is none for half a second. */
const announce = (() => {
  let waiting = null;
  return (text) => {
    clearTimeout(waiting);
    waiting = setTimeout(() => (byId("announced").textContent = text), 500);
  };
})();

const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)} %`;

/** Format a number with three significant digits. */
function showNumber(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  const text = size >= 1e5 || size < 1e-3 ? value.toExponential(1) : value.toPrecision(3);
  return text.replace("-", "−");
}

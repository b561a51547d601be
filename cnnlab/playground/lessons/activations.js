// The lesson on activations: each with its derivative and adjustable parameters.

const REACH = 5, NEAR = 1e-5; // range of the plot on each side of 0; step of finite differences

function lesson({ activations, start }, root) {
  const plot = makePlot(), fields = make("p", { class: "controls" }), body = make("tbody"), said = make("p", { class: "said", id: "sum" });
  const at = makeField("x", 1.5, { min: -100, max: 100 }, () => show());
  const head = make("thead", {}, make("tr", {}, ...["x", "value", "derivative"].map((words) => make("th", { scope: "col" }, words))));
  let its = null, options = {};

  function choose(name) {
    its = activations[name];
    options = {};
    fields.replaceChildren(...Object.entries(its.options).map(([option, given]) => {
      const several = Array.isArray(given);
      options[option] = several ? given.map((value, i) => makeField(given.length > 1 ? `${option} ${i}` : option, value, { step: "any" }, show)) : makeField(option, given, { step: "any" }, show);
      return make("span", { class: "controls" }, ...[options[option]].flat().map(({ element }) => element));
    }));
    if (!fields.childElementCount) fields.append("It has no parameters.");
    show();
  }

  /** The chosen activation with its current parameters: a function of one value. */
  function current() {
    if (its.kind === "identity") return (x) => x;
    const given = Object.fromEntries(Object.entries(options).map(([name, field]) => [name, Array.isArray(field) ? field.map((one) => one.value()) : field.value()]));
    const f = ACTIVATIONS[its.kind]({ ...its.fixed, ...given, channels: 1 });
    return (x) => f(x, 0);
  }

  function show() {
    const f = current(), x = at.value(), { words } = derivative(f, x);
    plot.show(f, (value) => derivative(f, value).right);
    said.textContent = `at ${shortly(x)}: value ${shortly(f(x))}, derivative ${words}`;
    body.replaceChildren(...[-4, -2.5, -1, -0.5, 0, 0.5, 1, 2.5, 4].map((place) => {
      const slope = derivative(f, place), cells = [make("td", {}, shortly(f(place))), make("td", { class: slope.smooth ? "smooth" : "kink" }, slope.words)];
      [cells[0].dataset.value, cells[1].dataset.value] = [f(place), slope.right];
      return make("tr", {}, make("th", { scope: "row" }, shortly(place)), ...cells);
    }));
  }

  root.append(
    make("p", { class: "controls" }, makeChoice("activation", [start, ...Object.keys(activations).filter((name) => name !== start)], choose), at.element), fields,
    make("p", { class: "note" }, "The value is the line, the derivative the dashes."), plot.element, said, make("table", { class: "listed" }, head, body),
  );
  choose(start);
}

/** The derivative by finite differences, on both sides of a kink: {right, smooth, words}. */
function derivative(f, x) {
  const left = (f(x) - f(x - NEAR)) / NEAR, right = (f(x + NEAR) - f(x)) / NEAR, smooth = Math.abs(right - left) < 1e-3;
  const middle = (f(x + NEAR) - f(x - NEAR)) / (2 * NEAR);
  return { right: smooth ? middle : right, smooth, words: smooth ? shortly(middle) : `${shortly(left)} on the left, ${shortly(right)} on the right: a kink` };
}

/** A plot of a value and its derivative: {element, show(f, slope)}. */
function makePlot() {
  const svg = (tag, attributes, ...children) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };
  const scale = 50, [value, slope] = ["value", "slope"].map((name) => svg("path", { class: name }));
  const label = (text, x, y) => svg("text", { x, y }, text), end = REACH * scale;
  const element = svg("svg", { class: "plot", viewBox: `${-end} ${-end / 2} ${2 * end} ${end}`, role: "img", "aria-label": "the activation and its derivative from −5 to 5" },
    svg("path", { class: "axis", d: `M${-end} 0H${end}M0 ${-end}V${end}` }), label("1", 4, -scale + 4), label("1", scale - 3, 14), svg("path", { class: "axis", d: `M-4 ${-scale}H4M${scale} -4V4` }), slope, value);
  const line = (f) => "M" + Array.from({ length: 401 }, (_, i) => (i / 200 - 1) * REACH).map((x) => `${(x * scale).toFixed(2)} ${(-clamp(f(x), -9, 9) * scale).toFixed(2)}`).join("L");
  return { element, show: (f, its) => (value.setAttribute("d", line(f)), slope.setAttribute("d", line(its))) };
}

// Numbers as tables whose cells are coloured, and the buttons that step through them.

/** Format a number with at most three decimals. */
const shortly = (value) => (Number.isNaN(value) ? "" : String(Number(value.toFixed(3))).replace("-", "−"));

/** Format a number for a sum: in brackets if it is negative. */
const inSum = (value) => (value < 0 ? `(${shortly(value)})` : shortly(value));

/**
 * Make a table of numbers: {element, show(rows, options)}.
 *
 * `edited(y, x, value)` is called when a cell is changed; without it cells are read-only. `picked(y, x)` is called when
 * a cell is clicked.
 */
function makeNumbers(caption, { edited = null, picked = null } = {}) {
  const title = make("caption", {}, caption), body = make("tbody"), table = make("table", { class: "numbers" }, title, body);
  let cells = [];

  function build(height, width) {
    const small = Math.max(height, width) > 14;
    table.classList.toggle("small", small);
    cells = Array.from({ length: height }, (_, y) => Array.from({ length: width }, (_, x) => makeCell(y, x, small)));
    body.replaceChildren(...cells.map((row) => make("tr", {}, ...row)));
  }

  function makeCell(y, x, small) {
    const cell = make("td");
    if (edited && !small) {
      const take = ({ target }) => {
        const value = Number(target.value.replace("−", "-").replace(",", "."));
        if (target.value.trim() !== "" && Number.isFinite(value)) edited(y, x, value);
      };
      cell.append(make("input", { type: "text", inputmode: "decimal", "aria-label": `${caption}, row ${y}, column ${x}`, oninput: take }));
    }
    if (picked) {
      cell.classList.add("pickable");
      cell.addEventListener("click", () => picked(y, x));
    }
    return cell;
  }

  /** Show rows; `framed(y, x)` and `later(y, x)` mark cells, colours go from -reach to reach. */
  function show(rows, { framed = () => false, later = () => false, reach = reachOf(rows.flat().filter((value) => !Number.isNaN(value))), name = caption } = {}) {
    title.textContent = name;
    if (cells.length !== rows.length || cells[0]?.length !== rows[0]?.length) build(rows.length, rows[0].length);
    const pixels = new Uint32Array(rows.flat().length);
    colour(rows.flat().map((value) => value || 0), reach, pixels);
    rows.forEach((row, y) => row.forEach((value, x) => {
      const cell = cells[y][x], pixel = pixels[y * row.length + x], parts = [pixel & 255, (pixel >> 8) & 255, (pixel >> 16) & 255];
      const input = cell.querySelector("input");
      cell.dataset.value = value;
      cell.style.background = `rgb(${parts.join(" ")})`;
      cell.style.color = 0.3 * parts[0] + 0.6 * parts[1] + 0.1 * parts[2] > 140 ? "black" : "white";
      if (!input) cell.textContent = shortly(value);
      else if (document.activeElement !== input) input.value = shortly(value);
      cell.classList.toggle("framed", framed(y, x));
      cell.classList.toggle("later", later(y, x));
    }));
  }
  return { element: make("div", { class: "scrolled" }, table), show };
}

/** Make buttons that step through positions 0 to count() - 1: {element, at(), go(place)}; `moved` is called after each step. */
function makeStepper(count, moved) {
  let place = 0, timer = null;
  const play = make("button", { type: "button", onclick: () => (timer ? stop() : start()) }, "Play");
  const step = (by) => go((place + by + count()) % count());

  function go(to) {
    place = clamp(to, 0, Math.max(0, count() - 1));
    moved();
  }
  function start() {
    play.textContent = "Pause";
    timer = setInterval(() => (place + 1 < count() ? step(1) : stop()), 400);
  }
  function stop() {
    play.textContent = "Play";
    clearInterval(timer);
    timer = null;
  }
  const button = (text, act) => make("button", { type: "button", onclick: () => (stop(), act()) }, text);
  const element = make("p", { class: "controls" }, button("First", () => go(0)), button("Back", () => step(-1)), button("Step", () => step(1)), play);
  return { element, at: () => Math.min(place, Math.max(0, count() - 1)), go: (to) => (stop(), go(to)) };
}

/** Make a labelled field for a number: {element, value(), set(to)}. */
function makeField(words, value, { min = null, max = null, step = "any" }, changed) {
  const input = make("input", { type: "number", value, min, max, step, oninput: () => its() !== null && changed() });
  const its = () => (input.value === "" || !input.checkValidity() ? null : Number(input.value));
  let last = value;
  return {
    element: make("label", {}, `${words} `, input),
    value: () => (last = its() ?? last),
    set: (to) => (input.value = last = to),
  };
}

/** Make a labelled choice among names. */
function makeChoice(words, names, chosen) {
  const select = make("select", { "aria-label": words, onchange: () => chosen(select.value) }, ...names.map((name) => make("option", {}, name)));
  return make("label", {}, `${words} `, select);
}

/** Make a labelled check box: {element, on()}. */
function makeCheck(words, on, changed) {
  const input = make("input", { type: "checkbox", onchange: changed, checked: on });
  return { element: make("label", {}, input, ` ${words}`), on: () => input.checked };
}

// The lesson on sizes: the number of positions of a window, and the values left over.

function lesson({ cases }, root) {
  const fields = { n: makeField("N, values of the input", 7, { min: 1, max: 64, step: 1 }, show), f: makeField("F, of the window", 3, { min: 1, max: 64, step: 1 }, show), s: makeField("S, stride", 2, { min: 1, max: 16, step: 1 }, show), p: makeField("P, padding at each end", 0, { min: 0, max: 32, step: 1 }, show) };
  const formula = make("p", { class: "said", id: "formula" }), places = makeNumbers("places of the window"), same = make("p", { id: "same" });
  const body = make("tbody"), table = make("table", { class: "listed" }, make("thead", {}, make("tr", {}, ...["N", "F", "S", "P", "places"].map((head) => make("th", { scope: "col" }, head)))), body);

  function show() {
    const [n, f, s, p] = ["n", "f", "s", "p"].map((name) => fields[name].value()), size = outputSize(n, f, s, p);
    formula.textContent = `(N − F + 2P) / S + 1: ${size.words}`;
    formula.classList.toggle("wrong", !size.fits);
    places.element.hidden = size.places === 0;
    // one row for each position of the window, with the indices of the input's values; padding is empty
    const row = Array.from({ length: n + 2 * p }, (_, at) => (at < p || at >= n + p ? NaN : at - p));
    const last = (size.places - 1) * s + f, name = `places of the window, one in each row${last < n + 2 * p ? `; column${last + 1 < n + 2 * p ? "s" : ""} ${last}${last + 1 < n + 2 * p ? ` to ${n + 2 * p - 1}` : ""} never seen` : ""}`;
    if (size.places) places.show(Array.from({ length: size.places }, () => row), { name, framed: (y, x) => x >= y * s && x < y * s + f, later: (_, x) => x >= last });
    const keeps = (f - 1) / 2;
    same.textContent = Number.isInteger(keeps) ? `At stride 1 a padding of (F − 1) / 2 = ${keeps} keeps the size.` : "An even window has no padding that keeps the size at stride 1 and is the same at both ends.";
  }

  for (const its of cases) {
    const choose = () => (Object.entries(fields).forEach(([name, field]) => field.set(its[name])), show());
    const button = make("button", { type: "button", "aria-label": `Try ${its.n}, ${its.f}, ${its.s}, ${its.p}`, onclick: choose }, "Try");
    const { fits, places: number } = outputSize(its.n, its.f, its.s, its.p);
    body.append(make("tr", {}, ...["n", "f", "s"].map((name) => make("td", {}, String(its[name]))), make("td", {}, String(its.p)), make("td", {}, fits ? String(number) : "does not fit"), make("td", {}, button)));
  }
  root.append(make("p", { class: "controls" }, ...Object.values(fields).map(({ element }) => element)), formula, make("div", { class: "row" }, places.element), same, make("h2", {}, "The lectures' examples"), table);
  show();
}

// The lesson on losses: two networks that make the same number of errors.

function lesson({ networks, targets, classes }, root) {
  const all = Object.entries(networks).map(([name, given]) => makeNetwork(name, given.map((row) => [...row])));

  /** Compute the three losses of probabilities, {words, value} each. */
  function lossesOf(rows) {
    const n = rows.length, wrong = rows.filter((row, i) => largest(row) !== targets[i]).length;
    const squares = rows.map((row, i) => row.reduce((sum, p, c) => sum + (p - (c === targets[i])) ** 2, 0)), right = rows.map((row, i) => row[targets[i]]);
    const mean = (values) => values.reduce((sum, value) => sum + value, 0) / n;
    return {
      "error rate": { value: wrong / n, words: `${wrong} / ${n}` },
      "squared error": { value: mean(squares), words: `(${squares.map(shortly).join(" + ")}) / ${n}` },
      "cross-entropy": { value: mean(right.map((p) => -Math.log(p))), words: `−(${right.map((p) => `ln ${shortly(p)}`).join(" + ")}) / ${n}` },
    };
  }

  function makeNetwork(name, rows) {
    const table = makeNumbers(`${name}: probabilities of ${classes.join(" and ")}`, { edited: (y, x, value) => change(y, x, value) });
    const body = make("tbody"), trouble = make("p", { class: "wrong", role: "alert" });
    function change(y, x, value) {
      rows[y][x] = value;
      show();
    }
    function show() {
      table.show(rows, { reach: 1, framed: (y, x) => x === targets[y] });
      const unfit = rows.findIndex((row) => row.some((p) => p < 0 || p > 1) || Math.abs(row.reduce((a, b) => a + b) - 1) > 1e-6);
      trouble.textContent = unfit < 0 ? "" : `Row ${unfit} is no probabilities: they lie from 0 to 1 and add up to 1.`;
      body.replaceChildren(...Object.entries(lossesOf(rows)).map(([what, { value, words }]) => {
        const cell = make("td", {}, `${words} = ${shortly(value)}`);
        cell.dataset.value = value;
        return make("tr", {}, make("th", { scope: "row" }, what), cell);
      }));
    }
    show();
    return make("section", { "aria-label": name }, table.element, trouble, make("table", { class: "listed" }, body));
  }

  root.append(
    make("div", { class: "row" }, ...all),
    make("p", {}, "A row is an image, the right class framed. Both networks err once in three images, so that the error rate cannot tell them apart. The second is sure of its error and unsure where it is right: squared error and cross-entropy tell."),
    make("p", { class: "note" }, "Squared error: over the classes added up, over the images the mean. Cross-entropy: minus the logarithm of the right class's probability, the mean over the images. Probabilities can be changed."),
  );
}

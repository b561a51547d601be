// The silenced layers, blocks and channels, and the replacement of their outputs.

/** Keep the state of silencing; `changed()` is called after every change. */
function makeSilence(layers, hasMeans, changed) {
  const chosen = new Map(); // name -> null for the whole layer, or a set of channels
  let how = hasMeans ? "mean" : "zero";
  const list = byId("silent-list"), trouble = byId("trouble");

  const request = () => {
    if (!chosen.size) return null;
    const of = [...chosen].map(([name, channels]) => [name, channels === null ? null : [...channels].sort((a, b) => a - b)]);
    return { by: how, layers: Object.fromEntries(of) };
  };

  /** The request if it can be computed; else null, with the reason on the page. */
  function computable() {
    const asked = request();
    try {
      lesionOf(layers, asked);
      trouble.textContent = "";
      return asked;
    } catch (error) {
      trouble.textContent = `Cannot pass on what it reads: ${error.message}. Choose the mean or zero.`;
      return null;
    }
  }

  function update() {
    list.replaceChildren(
      ...[...chosen].map(([name, channels]) => {
        const what = channels === null ? name : `${name}: ${[...channels].sort((a, b) => a - b).join(", ")}`;
        const back = () => (chosen.delete(name), update());
        return make("li", {}, make("button", { type: "button", onclick: back, "aria-label": `let ${what} speak again` }, what, make("span", { "aria-hidden": "true" }, " ✕")));
      }),
    );
    byId("silent").hidden = !chosen.size;
    changed();
  }

  for (const radio of document.querySelectorAll("input[name=by]")) {
    if (radio.value === "mean" && !hasMeans) radio.closest("label").hidden = true;
    radio.checked = radio.value === how;
    radio.addEventListener("change", () => ((how = radio.value), update()));
  }
  byId("all-speak").addEventListener("click", () => (chosen.clear(), update(), byId("canvas").focus()));

  return {
    request,
    computable,
    /** Reset to the layers of another network. */
    use(its) {
      layers = its;
      chosen.clear();
      update();
    },
    toggle(name, channel) {
      const its = chosen.get(name);
      if (channel === null) its === null ? chosen.delete(name) : chosen.set(name, null);
      else if (its instanceof Set && its.has(channel)) its.size > 1 ? its.delete(channel) : chosen.delete(name);
      else if (its instanceof Set) its.add(channel);
      else chosen.set(name, new Set([channel]));
      update();
    },
    toggleAll(names) {
      const silent = names.every((name) => chosen.get(name) === null);
      for (const name of names) silent ? chosen.delete(name) : chosen.set(name, null);
      update();
    },
  };
}

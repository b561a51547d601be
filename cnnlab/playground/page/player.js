// A network on the page: its prediction, its layers, its lesion, and its accuracy on the pictures.

/**
 * Put a network on the page.
 *
 * `its` describes it and `engine()` computes it. Its elements have ids that end in `suffix`. `page` is shared by the
 * networks: input(), pictures, silence, seen (the grid of the input), refresh().
 */
function makePlayer(its, bytes, engine, suffix, page) {
  const { layers } = its, answer = makeAnswer(its.classes, suffix), inSight = new Set(), column = byId(`column${suffix}`);
  const blocks = blocksOf(layers.map(({ name }) => name));
  let lesion = null, intactCounted = false, tensors = readTensors(its.tensors, bytes);

  const origins = makeOrigins(layers, () => ({ engine: engine(), input: page.input(), lesion, tensors }), () => sections, page.seen);
  const hooks = { toggle: page.silence.toggle, toggleBlock: (_, members) => page.silence.toggleAll(members), ...origins };
  const sections = makeLayers(layers, hooks, byId(`layers${suffix}`), suffix);
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) isIntersecting ? inSight.add(target) : inSight.delete(target);
    page.refresh();
  }, { rootMargin: "300px" });
  for (const { element } of sections) observer.observe(element);
  const filters = its.time?.length ? sections.map(makeFilters).filter(Boolean) : [];
  for (const show of filters) show(tensors);
  makeEdges(byId(`edges${suffix}`), sections, column);

  /** Run the input and show the values; returns a promise of the prediction in words. */
  async function follow() {
    const shown = sections.filter(({ element }) => inSight.has(element)), wanted = shown.flatMap((section) => section.wanted);
    const asked = { input: page.input(), silence: lesion, wanted }, answered = await engine().ask("show", asked);
    let taken = 0;
    for (const section of shown) section.show(answered.values.slice(taken, (taken += section.wanted.length)));
    return answer.show(answered.intact, answered.logits, Boolean(asked.silence));
  }

  /** Silence the chosen layers, {name: null or channels}; `request` is the lesion if it can be computed, or null. */
  function silenced(chosen, request) {
    lesion = request;
    const sources = lesion && lesionOf(layers, lesion).sources;
    for (const section of sections) section.mark(chosen[section.layer.name], Boolean(sources && !sources[section.layer.name]));
    for (const button of column.querySelectorAll("[data-block]")) {
      const members = layers.filter(({ name, answers }) => !answers && blocks[button.dataset.block].includes(name)).map(({ name }) => name);
      button.setAttribute("aria-pressed", String(members.every((name) => chosen[name] === null)));
    }
    countSilenced();
  }

  function countSilenced() {
    byId(`accuracy-silenced${suffix}`).hidden = true; // until it is counted
    if (!intactCounted) return;
    const own = lesion;
    if (own && page.pictures.length) engine().ask("count", { silence: own }, (progress) => own === lesion && answer.counted("silenced", progress));
    else engine().ask("stop");
  }

  function countIntact() {
    if (!page.pictures.length) return;
    engine().ask("count", { silence: null }, (progress) => {
      answer.counted("intact", progress);
      if (progress.done < progress.of || intactCounted) return;
      intactCounted = true;
      if (lesion) countSilenced();
    });
  }

  /** Load the weights of another moment of the training. */
  async function learn(described) {
    await engine().ask("learn", { tensors: described });
    tensors = readTensors(described, bytes);
    for (const show of filters) show(tensors);
    byId(`accuracy-silenced${suffix}`).hidden = true;
    intactCounted = false;
    countIntact();
    await page.refresh();
  }

  return {
    its,
    learn,
    follow,
    silenced,
    countIntact,
    /** Show or hide its layers. */
    inView(on) {
      column.hidden = !on;
      if (!on) sections.forEach((section) => section.close());
    },
  };
}

// Lines beside the layers that show the sources of those that do not read the layer above.

const LANE = 9, NEAR = 10;

/** Draw the lines, and redraw them when the layout changes. */
function makeEdges(svg, sections, column) {
  const order = ["input", ...sections.map(({ layer }) => layer.name)];
  const skips = sections.flatMap(({ layer }, i) => layer.from.filter((name) => name !== order[i]).map((name) => ({ from: order.indexOf(name), to: i + 1 })));
  skips.sort((a, b) => a.to - a.from - (b.to - b.from));
  const lanes = [];
  for (const skip of skips) { // short ones nearest to the layers, without overlap
    skip.lane = lanes.findIndex((taken) => taken.every((other) => skip.to <= other.from || skip.from >= other.to));
    if (skip.lane < 0) skip.lane = lanes.push([]) - 1;
    lanes[skip.lane].push(skip);
  }
  const wide = skips.length ? NEAR + LANE * Math.min(lanes.length, 6) : 0;
  column.style.setProperty("--edges", `${wide}px`);
  svg.toggleAttribute("hidden", !wide);

  function paint() {
    const top = column.getBoundingClientRect().top;
    const ends = sections.map(({ element }) => {
      const box = element.getBoundingClientRect();
      return { top: box.top - top, bottom: box.bottom - top };
    });
    svg.setAttribute("width", wide);
    svg.setAttribute("height", column.scrollHeight);
    svg.replaceChildren(
      ...skips.map(({ from, to, lane }) => {
        const start = from ? ends[from - 1].bottom - 14 : 6, end = ends[to - 1].top + 14;
        const x = wide - NEAR - LANE * (lane % 6), path = document.createElementNS(svg.namespaceURI, "path");
        path.setAttribute("d", `M ${wide} ${start} Q ${x} ${start} ${x} ${start + 12} L ${x} ${end - 12} Q ${x} ${end} ${wide} ${end}`);
        return path;
      }),
    );
  }
  if (wide) new ResizeObserver(paint).observe(column);
}

// Label the rows and the columns of an input, such as the seconds and hertz of a spectrogram.

/** Frame an element with ticks: `axes` are those of the rows and of the columns, each {name, places (0 to 1), labels} or null. */
function frameWithAxes(frame, [rows, columns]) {
  for (const [side, axis] of [["rows", rows], ["columns", columns]]) {
    if (!axis) continue;
    const edge = side === "rows" ? "top" : "left";
    const ticks = axis.places.map((place, i) => make("span", {}, axis.labels[i]));
    ticks.forEach((tick, i) => (tick.style[edge] = `${100 * axis.places[i]}%`)); // the content security policy forbids style attributes
    frame.append(make("div", { class: `ticks ${side}`, role: "img", "aria-label": `${axis.name}, ${axis.labels.join(", ")}` }, ...ticks));
    frame.classList.add(`has-${side}`);
  }
}

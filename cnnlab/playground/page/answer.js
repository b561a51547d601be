// The prediction: a bar for each class, or for the five most probable, and the accuracy on the pictures.

const MOST = 10, GUESSES = 5;

function softmax(logits) {
  const most = Math.max(...logits), powers = Array.from(logits, (value) => Math.exp(value - most));
  const sum = powers.reduce((total, value) => total + value, 0);
  return powers.map((value) => value / sum);
}

/** Make the prediction's part of the page: show(intact, logits, silenced), which returns it in words, and counted(which, progress). */
function makeAnswer(classes, suffix) {
  const part = (id) => byId(id + suffix), body = part("bars"), rows = Array.from({ length: Math.min(classes.length, classes.length > MOST ? GUESSES : MOST) }, () => {
    const name = make("th", { scope: "row" }), bars = ["now", "before"].map((kind) => make("span", { class: `bar ${kind}` }));
    const numbers = ["now", "before"].map((kind) => make("span", { class: `number ${kind}` }));
    const row = make("tr", {}, name, make("td", { class: "track", "aria-hidden": "true" }, ...bars), ...numbers.map((number) => make("td", {}, number)));
    body.append(row);
    return { row, name, bars, numbers };
  });

  function show(intact, logits, silenced) {
    const now = softmax(logits), before = softmax(intact), best = largest(now), was = largest(before);
    const order = classes.map((_, i) => i);
    if (classes.length > MOST) order.sort((a, b) => now[b] - now[a]);
    part("answers").classList.toggle("silenced", silenced);
    rows.forEach(({ row, name, bars, numbers }, i) => {
      const c = order[i];
      name.textContent = classes[c];
      row.classList.toggle("best", c === best);
      [now, before].forEach((shares, which) => {
        bars[which].style.width = percent(shares[c], 2).replace(" ", "");
        numbers[which].textContent = which && !silenced ? "" : percent(shares[c]);
      });
    });
    const answer = `${classes[best]}, ${percent(now[best])}`, intactly = `${classes[was]}, ${percent(before[was])}`;
    for (const place of ["answer", "strip-answer"]) part(place).textContent = classes[best];
    for (const place of ["sureness", "strip-sureness"]) part(place).textContent = percent(now[best]);
    part("intact-answer").textContent = silenced ? `intact: ${intactly}` : "";
    return silenced ? `answer with layers silenced: ${answer}; intact: ${intactly}` : `answer: ${answer}`;
  }

  function counted(which, { hits, of, done }) {
    const place = part(`accuracy-${which}`), finished = done === of;
    place.hidden = !done;
    place.querySelector("b").textContent = done ? percent(hits / done) : "";
    place.querySelector("span").textContent = finished ? `${hits} of ${of} ${description.example ?? "picture"}s` : `${hits} of ${done}, counting to ${of}`;
  }

  return { show, counted };
}

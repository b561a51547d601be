// Pictures to choose from: those in the page, and files that the user drops or opens.

const SHOWN = 40; // pictures of the page at most, spread over the classes

/** Paint values (0 to 1) on a canvas, one pixel for each. */
function paintPicture(canvas, values, [channels, height, width]) {
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d"), image = context.createImageData(width, height), size = height * width;
  for (let i = 0; i < size; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = 255 * values[(channels === 3 ? c * size : 0) + i];
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

/** Indices of the pictures to choose from: the first of every class, then the second, ... */
function spread(pictures) {
  const seen = {}, turn = pictures.map(({ label }) => (seen[label] = (seen[label] || 0) + 1));
  return pictures.map((_, i) => i).sort((a, b) => turn[a] - turn[b] || pictures[a].label - pictures[b].label).slice(0, SHOWN);
}

/** Make radio buttons of pictures; arrow keys move between them. */
function makeChooser(pictures, names, shape, chosen) {
  const labels = spread(pictures).map((number) => {
    const canvas = make("canvas", { "aria-hidden": "true" });
    paintPicture(canvas, pictures[number].values(), shape);
    const choose = () => chosen(pictures[number].values(), names[number]);
    const radio = make("input", { type: "radio", name: "picture", onchange: choose, onclick: choose });
    return make("label", { title: names[number] }, radio, canvas, make("span", { class: "hidden" }, names[number]));
  });
  byId("pictures").append(...labels);
  byId("chooser").hidden = !labels.length;
}

/** Accept picture files that are opened, dropped or pasted; `opened` is called with a bitmap and the file's name. */
function takeFiles(opened, refused) {
  const take = async (file) => {
    try {
      opened(await createImageBitmap(file, { colorSpaceConversion: "none" }), file.name || "the pasted picture");
    } catch {
      refused(`${file.name} is no picture that this browser can open.`);
    }
  };
  byId("file").addEventListener("change", ({ target }) => {
    if (target.files.length) take(target.files[0]);
    target.value = "";
  });
  const over = (on) => document.body.classList.toggle("dropping", on);
  document.addEventListener("dragover", (event) => (event.preventDefault(), over(true)));
  document.addEventListener("dragleave", () => over(false));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    over(false);
    if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
  });
  document.addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) take(event.clipboardData.files[0]);
  });
}

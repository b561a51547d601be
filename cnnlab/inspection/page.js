// Draw the values of the layers for the chosen image, and signed pictures in the colours of values.

const STEPS_OF_A_BYTE = 127;

/** Make a grid that shows the values of one image at a time, and an element that shows the chosen value. */
function makeValues(spec, bytes) {
  const size = count(spec.shape), read = make("p", { class: "read", role: "status" });
  const grid = makeGrid(spec.title, spec.shape, ({ channel, y, x }) => {
    const [, height, width] = spec.shape, single = height * width === 1, value = grid.valueAt({ channel, y, x });
    const where = single ? `value ${channel}` : `${spec.shape[0] > 1 ? `tile ${channel}, ` : ""}row ${y}, column ${x}`;
    read.textContent = `${where}: ${showNumber(value)}`;
  }, spec.tile, "dead");
  const dead = new Set(spec.dead);
  return {
    elements: [grid.element, read],
    show(image) {
      const chosen = Math.min(image, spec.images - 1), start = spec.start + chosen * size;
      const factor = spec.reach[chosen] / STEPS_OF_A_BYTE;
      grid.show(Float32Array.from(bytes.subarray(start, start + size), (step) => step * factor), dead);
    },
  };
}

/** Replace a grey picture, in which mid-grey is 0, by a canvas in the colours of values. */
async function colourPicture(picture) {
  await picture.decode();
  const { naturalWidth: width, naturalHeight: height } = picture, source = new OffscreenCanvas(width, height).getContext("2d");
  source.drawImage(picture, 0, 0);
  const grey = source.getImageData(0, 0, width, height).data, values = Float32Array.from({ length: width * height }, (_, i) => grey[4 * i] - 127.5);
  const canvas = make("canvas", { width, height, role: "img", "aria-label": picture.alt }), on = canvas.getContext("2d");
  canvas.style.width = `${picture.width}px`;
  const paint = () => {
    const image = on.createImageData(width, height);
    colour(values.map((value) => (Math.abs(value) < 1 ? 0 : value)), STEPS_OF_A_BYTE, new Uint32Array(image.data.buffer));
    on.putImageData(image, 0, 0);
  };
  paint();
  dark.addEventListener("change", paint);
  picture.replaceWith(canvas);
}

async function draw() {
  const grids = JSON.parse(byId("grids").textContent), bytes = new Int8Array(await unpack(byId("numbers").textContent));
  const drawn = [...document.querySelectorAll("[data-grid]")].map((place) => {
    const values = makeValues(grids[place.dataset.grid], bytes);
    place.append(...values.elements);
    return values;
  });
  const choose = (image) => {
    for (const values of drawn) values.show(image);
    for (const element of document.querySelectorAll("[data-image]")) element.hidden = Number(element.dataset.image) !== image;
  };
  for (const input of document.querySelectorAll("#pictures input")) input.addEventListener("change", () => choose(Number(input.value)));
  choose(Number(document.querySelector("#pictures input:checked")?.value ?? 0));
  await Promise.all([...document.querySelectorAll("img.signed")].map(colourPicture));
}

draw().then(() => (document.body.dataset.ready = "true"));

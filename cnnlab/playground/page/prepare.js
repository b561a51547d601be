// Convert pictures and drawings to inputs as cnnlab/data/images.py does: scale, crop, trim, permute.

/** Weights of bilinear scaling with antialiasing, as in torch and Pillow: [first, weights] for each output position. */
function weightsOf(from, to) {
  const scale = from / to, support = Math.max(scale, 1);
  return Array.from({ length: to }, (_, at) => {
    const centre = (at + 0.5) * scale;
    const first = Math.max(Math.floor(centre - support + 0.5), 0), end = Math.min(Math.floor(centre + support + 0.5), from);
    const weights = [];
    for (let i = first; i < end; i++) weights.push(Math.max(0, 1 - Math.abs((i + 0.5 - centre) / support)));
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return [first, weights.map((weight) => weight / sum)];
  });
}

/** Resize maps (channels, height, width). */
function resize({ values, channels, height, width }, toHeight, toWidth) {
  if (height === toHeight && width === toWidth) return { values, channels, height, width };
  const rows = weightsOf(height, toHeight), columns = weightsOf(width, toWidth);
  const between = new Float32Array(channels * height * toWidth), out = new Float32Array(channels * toHeight * toWidth);
  for (let line = 0; line < channels * height; line++) {
    columns.forEach(([first, weights], x) => {
      let sum = 0;
      for (let i = 0; i < weights.length; i++) sum += weights[i] * values[line * width + first + i];
      between[line * toWidth + x] = sum;
    });
  }
  for (let c = 0; c < channels; c++) {
    rows.forEach(([first, weights], y) => {
      for (let x = 0; x < toWidth; x++) {
        let sum = 0;
        for (let i = 0; i < weights.length; i++) sum += weights[i] * between[(c * height + first + i) * toWidth + x];
        out[(c * toHeight + y) * toWidth + x] = sum;
      }
    });
  }
  return { values: out, channels, height: toHeight, width: toWidth };
}

function cut({ values, channels, height, width }, top, left, rows, columns) {
  const out = new Float32Array(channels * rows * columns);
  for (let c = 0, i = 0; c < channels; c++) {
    for (let y = 0; y < rows; y++) for (let x = 0; x < columns; x++) out[i++] = values[(c * height + top + y) * width + left + x];
  }
  return { values: out, channels, height: rows, width: columns };
}

const even = (n) => { // half to even, as Python rounds
  const low = Math.floor(n);
  return n - low < 0.5 || (n - low === 0.5 && low % 2 === 0) ? low : low + 1;
};

/** Convert a picture's values (0 to 1) to an input of the network; `rounded` to bytes, as values of files are. */
function asInput(picture, { shape: [, height, width] }, { resize: short, crop, trim, order }, rounded = true) {
  const uncut = [height + 2 * trim, width + 2 * trim];
  let sized;
  if (crop) {
    const side = Math.min(picture.height, picture.width), scale = (n) => Math.floor((short * n) / side);
    const scaled = short ? resize(picture, scale(picture.height), scale(picture.width)) : picture;
    sized = cut(scaled, even((scaled.height - uncut[0]) / 2), even((scaled.width - uncut[1]) / 2), ...uncut);
  } else {
    sized = resize(picture, ...uncut);
  }
  let { values } = cut(sized, trim, trim, height, width);
  if (order) values = permuted(values, order);
  return rounded ? values.map((value) => Math.round(clamp(value, 0, 1) * 255) / 255) : values;
}

function permuted(values, order) {
  const out = new Float32Array(values.length);
  for (let start = 0; start < values.length; start += order.length) order.forEach((from, i) => (out[start + i] = values[start + from]));
  return out;
}

/** Read the values of a picture file: grey by Pillow's weights, transparency on white. */
function valuesOf(bitmap, channels) {
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height), context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height), size = canvas.width * canvas.height;
  const values = new Float32Array(channels * size);
  for (let i = 0; i < size; i++) {
    const [r, g, b] = [data[4 * i], data[4 * i + 1], data[4 * i + 2]];
    if (channels === 1) values[i] = ((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16) / 255;
    else [values[i], values[size + i], values[2 * size + i]] = [r / 255, g / 255, b / 255];
  }
  return { values, channels, height: canvas.height, width: canvas.width };
}

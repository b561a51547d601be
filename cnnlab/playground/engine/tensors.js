// Read the network's tensors and the pictures from the bytes in the page.

/** Read all tensors as floats: stored as floats, or as 16-bit integers with a factor for each row. */
function readTensors(described, bytes) {
  return described.map(({ shape, stored, start, factors }) => {
    const size = count(shape);
    if (stored === "float32") return { shape, values: new Float32Array(bytes, start, size) };
    const whole = new Int16Array(bytes, start, size), each = size / shape[0];
    const scale = new Float32Array(bytes, factors, shape[0]), values = new Float32Array(size);
    for (let i = 0; i < size; i++) values[i] = whole[i] * scale[Math.floor(i / each)];
    return { shape, values };
  });
}

/** Read the pictures: bytes, converted to floats from 0 to 1 on demand. */
function readPictures({ pictures, input }, bytes) {
  const size = count(input.shape), all = new Uint8Array(bytes, pictures.start, size * pictures.labels.length);
  const values = (i) => Float32Array.from(all.subarray(i * size, (i + 1) * size), (byte) => byte / 255);
  return pictures.labels.map((label, i) => ({ label, values: () => values(i) }));
}

// The matrix product C = A B, which takes most of the time, in WebAssembly with SIMD, or in JavaScript without.
//
// A (rows x depth) are weights, packed four rows side by side: A[panel][k][4], so rows is a multiple of 4.
// B is never copied: row k of B begins `offsets[k]` bytes after its start and holds `columns` floats, a multiple of 8.
// A convolution of stride 1 over a padded image is such a product: row (c, i, j) of B is the image itself, starting at
// (c, i, j). C (rows x columns) is stored row by row. All positions are bytes from the start of the memory.

// The instructions of the kernel (WebAssembly core specification, SIMD included).
const I32 = 0x7f, V128 = 0x7b;
const uleb = (n) => (n < 128 ? [n] : [(n & 127) | 128, ...uleb(n >>> 7)]);
const sleb = (n) => (n >= -64 && n < 64 ? [n & 127] : [(n & 127) | 128, ...sleb(n >> 7)]);
const get = (local) => [0x20, ...uleb(local)], set = (local) => [0x21, ...uleb(local)];
const i32 = (n) => [0x41, ...sleb(n)], add = [0x6a], multiply = [0x6c], shiftLeft = [0x74], below = [0x49];
const loadI32 = (offset) => [0x28, 2, ...uleb(offset)];
const simd = (code) => [0xfd, ...uleb(code)];
const load = (offset) => [...simd(0), 2, ...uleb(offset)], splat = (offset) => [...simd(9), 2, ...uleb(offset)];
const store = (offset) => [...simd(11), 2, ...uleb(offset)];
const zeros = [...simd(12), ...Array(16).fill(0)], addF32 = simd(228), multiplyF32 = simd(230);
const loop = (body, again) => [0x03, 0x40, ...body, ...again, 0x0d, 0, 0x0b]; // do body while (again)
const advance = (local, by) => [...get(local), ...by, ...add, ...set(local)];

/** Assemble a WebAssembly module that exports gemm(A, offsets, B, C, rows, columns, depth) on an imported memory. */
function gemmModule() {
  const [A, OFFSETS, B, C, ROWS, COLUMNS, DEPTH, end, endOfDepth, a, c, row, offset, b] = Array(14).keys();
  const sum = (r, half) => 14 + 2 * r + half, low = 22, high = 23, weight = 24;
  const four = [0, 1, 2, 3];
  const product = [ // adds four weights at one k times eight values of row k to eight sums of four
    ...get(B), ...get(offset), ...loadI32(0), ...add, ...set(b),
    ...get(b), ...load(0), ...set(low), ...get(b), ...load(16), ...set(high),
    ...four.flatMap((r) => [
      ...get(a), ...splat(4 * r), ...set(weight),
      ...get(weight), ...get(low), ...multiplyF32, ...get(sum(r, 0)), ...addF32, ...set(sum(r, 0)),
      ...get(weight), ...get(high), ...multiplyF32, ...get(sum(r, 1)), ...addF32, ...set(sum(r, 1)),
    ]),
    ...advance(a, i32(16)), ...advance(offset, i32(4)),
  ];
  const fourRows = [
    ...four.flatMap((r) => [...zeros, ...set(sum(r, 0)), ...zeros, ...set(sum(r, 1))]),
    ...get(OFFSETS), ...set(offset),
    ...loop(product, [...get(offset), ...get(endOfDepth), ...below]),
    ...four.flatMap((r) => [
      ...get(c), ...get(sum(r, 0)), ...store(0), ...get(c), ...get(sum(r, 1)), ...store(16),
      ...advance(c, [...get(COLUMNS), ...i32(2), ...shiftLeft]),
    ]),
    ...advance(row, i32(4)),
  ];
  const eightColumns = [
    ...get(A), ...set(a), ...get(C), ...set(c), ...i32(0), ...set(row),
    ...loop(fourRows, [...get(row), ...get(ROWS), ...below]),
    ...advance(B, i32(32)), ...advance(C, i32(32)),
  ];
  const body = [
    ...get(C), ...get(COLUMNS), ...i32(2), ...shiftLeft, ...add, ...set(end),
    ...get(OFFSETS), ...get(DEPTH), ...i32(2), ...shiftLeft, ...add, ...set(endOfDepth),
    ...loop(eightColumns, [...get(C), ...get(end), ...below]),
    0x0b,
  ];
  const locals = [2, 7, I32, 11, V128];
  const code = [...locals, ...body];
  const text = (s) => [s.length, ...[...s].map((letter) => letter.charCodeAt(0))];
  const section = (id, content) => [id, ...uleb(content.length), ...content];
  return new Uint8Array([
    0, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
    ...section(1, [1, 0x60, 7, ...Array(7).fill(I32), 0]), // types: one function of seven i32
    ...section(2, [1, ...text("of"), ...text("memory"), 2, 0, 1]), // imports: a memory of at least a page
    ...section(3, [1, 0]),
    ...section(7, [1, ...text("gemm"), 0, 0]),
    ...section(10, [1, ...uleb(code.length), ...code]),
  ]);
}

/** The same product in JavaScript, over the floats and integers of a memory. */
function gemmInJavaScript(buffer) {
  const floats = new Float32Array(buffer), integers = new Int32Array(buffer);
  return (A, offsets, B, C, rows, columns, depth) => {
    for (let column = 0; column < columns; column++) {
      for (let row = 0, a = A >> 2; row < rows; row += 4) {
        let s0 = 0, s1 = 0, s2 = 0, s3 = 0;
        for (let k = 0; k < depth; k++, a += 4) {
          const value = floats[((B + integers[(offsets >> 2) + k]) >> 2) + column];
          s0 += floats[a] * value;
          s1 += floats[a + 1] * value;
          s2 += floats[a + 2] * value;
          s3 += floats[a + 3] * value;
        }
        const c = (C >> 2) + row * columns + column;
        floats[c] = s0;
        floats[c + columns] = s1;
        floats[c + 2 * columns] = s2;
        floats[c + 3 * columns] = s3;
      }
    }
  };
}

/** Make a memory of at least `bytes` bytes with the fastest product on it: {buffer, gemm, how}. */
function makeMemory(bytes, allowWasm = true) {
  const module = gemmModule();
  if (allowWasm && typeof WebAssembly === "object" && WebAssembly.validate(module)) {
    const memory = new WebAssembly.Memory({ initial: Math.ceil(bytes / 65536) });
    const { gemm } = new WebAssembly.Instance(new WebAssembly.Module(module), { of: { memory } }).exports;
    return { buffer: memory.buffer, gemm, how: "WebAssembly" };
  }
  const buffer = new ArrayBuffer(Math.ceil(bytes / 8) * 8);
  return { buffer, gemm: gemmInJavaScript(buffer), how: "JavaScript" };
}

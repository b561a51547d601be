// A convolution as one matrix product per group, without a copy of every window: the image is padded once, and for
// strides above 1 split into its phases, so that each weight is always multiplied with contiguous values.

/** Index of the value that pads a position beyond the edge, by torch's padding modes; -1 for zero. */
const BEYOND = {
  zeros: () => -1,
  replicate: (at, size) => clamp(at, 0, size - 1),
  reflect: (at, size) => (at < 0 ? -at : 2 * (size - 1) - at),
  circular: (at, size) => (at + size) % size,
};
const source = (at, size, mode) => (at >= 0 && at < size ? at : BEYOND[mode](at, size));

/** The sizes of a convolution: of the padded image, its phases and the matrix product. */
function convolutionSizes(op, [shape], [outputs, ...outShape]) {
  const [channels, height, width] = asMaps(shape), [outHeight, outWidth] = asMaps([1, ...outShape]).slice(1);
  const [top, bottom, left, right] = op.padding, [down, across] = op.stride, [kernelHeight, kernelWidth] = op.kernel;
  const phaseHeight = Math.ceil((height + top + bottom) / down), phaseWidth = Math.ceil((width + left + right) / across);
  return {
    channels, height, width, outputs, outHeight, outWidth, phaseHeight, phaseWidth,
    plain: top + bottom + left + right === 0 && down * across === 1, // the image is used without a copy
    image: channels * down * across * phaseHeight * phaseWidth,
    columns: upTo((outHeight - 1) * phaseWidth + outWidth, 8),
    rows: upTo(outputs / op.groups, 4),
    depth: (channels / op.groups) * kernelHeight * kernelWidth,
  };
}

const convolution = {
  /** Floats of temporary memory while the convolution is computed (`passing`), and of permanent memory (`kept`). */
  needs(op, shapes, outShape) {
    const size = convolutionSizes(op, shapes, outShape);
    return { passing: size.image + size.rows * size.columns + 64, kept: op.groups * size.rows * size.depth + size.depth };
  },

  prepare(op, shapes, outShape, { memory, passing, keep, tensors }) {
    const size = convolutionSizes(op, shapes, outShape);
    const { channels, height, width, phaseHeight, phaseWidth, rows, columns, depth } = size;
    const [top, bottom, left, right] = op.padding, [down, across] = op.stride, [kernelHeight, kernelWidth] = op.kernel;
    const weights = tensors[op.weight].values, bias = op.bias === null ? null : tensors[op.bias].values;
    const perGroup = size.outputs / op.groups, inGroup = channels / op.groups, phase = phaseHeight * phaseWidth;
    const packed = keep(op.groups * rows * depth), offsets = new Int32Array(memory.buffer, keep(depth).byteOffset, depth);
    for (let o = 0; o < size.outputs; o++) {
      const group = Math.floor(o / perGroup), row = o % perGroup;
      const start = group * rows * depth + (row >> 2) * 4 * depth + (row & 3);
      for (let k = 0; k < depth; k++) packed[start + 4 * k] = weights[o * depth + k];
    }
    for (let c = 0, k = 0; c < inGroup; c++) {
      for (let i = 0; i < kernelHeight; i++) {
        for (let j = 0; j < kernelWidth; j++, k++) {
          const y = i * op.dilation[0], x = j * op.dilation[1];
          const its = (c * down + (y % down)) * across + (x % across);
          offsets[k] = 4 * (its * phase + Math.floor(y / down) * phaseWidth + Math.floor(x / across));
        }
      }
    }
    const image = passing(0, size.image), product = passing(upTo(size.image, 16) + 16, rows * columns);
    const rowsOf = Array.from({ length: height + top + bottom }, (_, y) => source(y - top, height, op.mode));
    const columnsOf = Array.from({ length: width + left + right }, (_, x) => source(x - left, width, op.mode));

    function pad(input) {
      image.fill(0);
      for (let c = 0; c < channels; c++) {
        rowsOf.forEach((from, y) => {
          if (from < 0) return;
          const read = (c * height + from) * width;
          for (let p = 0; p < across; p++) {
            let write = ((c * down + (y % down)) * across + p) * phase + Math.floor(y / down) * phaseWidth;
            for (let x = p; x < columnsOf.length; x += across, write++) {
              if (columnsOf[x] >= 0) image[write] = input[read + columnsOf[x]];
            }
          }
        });
      }
    }

    return ([input], out) => {
      if (!size.plain) pad(input);
      const from = size.plain ? input : image;
      for (let group = 0, o = 0; group < op.groups; group++) {
        const start = from.byteOffset + 4 * group * inGroup * down * across * phase;
        const own = packed.byteOffset + 4 * group * rows * depth;
        memory.gemm(own, offsets.byteOffset, start, product.byteOffset, rows, columns, depth);
        for (let row = 0; row < perGroup; row++, o++) {
          const constant = bias ? bias[o] : 0;
          for (let y = 0, write = o * size.outHeight * size.outWidth; y < size.outHeight; y++) {
            let read = row * columns + y * phaseWidth;
            for (let x = 0; x < size.outWidth; x++) out[write++] = product[read++] + constant;
          }
        }
      }
    };
  },
};

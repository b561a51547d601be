// The operations of layers: each is prepared for its shapes and returns a function (inputs, out).

const NOTHING = { passing: 0, kept: 0 };
const simple = (prepare) => ({ needs: () => NOTHING, prepare });

/** An elementwise operation, which also takes the channel of a value. */
const elementwise = (make) =>
  simple((op, shapes, outShape, tools) => {
    const size = count(outShape) / outShape[0], value = make(op, outShape[0], tools);
    return ([input], out) => {
      for (let c = 0, i = 0; c < outShape[0]; c++) for (const end = i + size; i < end; i++) out[i] = value(input[i], c);
    };
  });

/** A window that slides over maps; `value(map, row, column, width)` is its output for the window at `row` and `column`. */
const pool = (make) =>
  simple((op, [shape], outShape) => {
    const [channels, height, width] = asMaps(shape), [, outHeight, outWidth] = asMaps(outShape);
    const rows = windows(op, 0, height, outHeight), columns = windows(op, 1, width, outWidth), value = make(op);
    return ([input], out) => {
      for (let c = 0, write = 0; c < channels; c++) {
        const map = input.subarray(c * height * width, (c + 1) * height * width);
        for (const row of rows) for (const column of columns) out[write++] = value(map, row, column, width);
      }
    };
  });

/** The windows along an axis: start and end inside the map, and their size with padding. */
function windows(op, axis, size, outputs) {
  return Array.from({ length: outputs }, (_, at) => {
    if (op.adaptive) {
      const start = Math.floor((at * size) / outputs), end = Math.ceil(((at + 1) * size) / outputs);
      return { start, end, places: end - start };
    }
    const first = at * op.stride[axis] - op.padding[axis];
    const last = Math.min(first + op.kernel[axis], size + op.padding[axis]);
    return { start: Math.max(first, 0), end: Math.min(last, size), places: last - first };
  });
}

function sumOver(map, row, column, width, of) {
  let sum = 0;
  for (let y = row.start; y < row.end; y++) {
    for (let x = column.start; x < column.end; x++) sum += of(map[y * width + x]);
  }
  return sum;
}

const itself = (x) => x;

const OPERATIONS = {
  convolution,
  local: simple((op, [shape], outShape, { tensors }) => {
    const [channels, height, width] = asMaps(shape), [outputs, outHeight, outWidth] = asMaps(outShape);
    const weights = tensors[op.weight].values, bias = op.bias === null ? null : tensors[op.bias].values;
    const [top, , left] = op.padding, [down, across] = op.stride, [kernelHeight, kernelWidth] = op.kernel;
    return ([input], out) => {
      for (let y = 0, w = 0; y < outHeight; y++) {
        for (let x = 0; x < outWidth; x++) {
          for (let o = 0; o < outputs; o++) {
            const place = (o * outHeight + y) * outWidth + x;
            let sum = bias ? bias[place] : 0;
            for (let c = 0; c < channels; c++) {
              for (let i = 0, row = y * down - top; i < kernelHeight; i++, row++) {
                for (let j = 0, column = x * across - left; j < kernelWidth; j++, column++, w++) {
                  const inside = row >= 0 && row < height && column >= 0 && column < width;
                  if (inside) sum += weights[w] * input[(c * height + row) * width + column];
                }
              }
            }
            out[place] = sum;
          }
        }
      }
    };
  }),
  dense: simple((op, _, [features], { tensors }) => {
    const weights = tensors[op.weight].values, bias = op.bias === null ? null : tensors[op.bias].values;
    return ([input], out) => {
      for (let f = 0, w = 0; f < features; f++) {
        let sum = bias ? bias[f] : 0;
        for (let i = 0; i < input.length; i++) sum += weights[w++] * input[i];
        out[f] = sum;
      }
    };
  }),
  maxpool: pool(() => (map, row, column, width) => {
    let largest = -Infinity;
    for (let y = row.start; y < row.end; y++) {
      for (let x = column.start; x < column.end; x++) largest = Math.max(largest, map[y * width + x]);
    }
    return largest;
  }),
  avgpool: pool((op) => (map, row, column, width) => {
    const inside = (row.end - row.start) * (column.end - column.start);
    const over = op.divisor || (op.count_padding ? row.places * column.places : inside);
    return sumOver(map, row, column, width, itself) / over;
  }),
  lppool: pool((op) => (map, row, column, width) =>
    sumOver(map, row, column, width, (x) => Math.abs(x) ** op.p) ** (1 / op.p)),
  normalise: elementwise(({ mean, std }) => (x, c) => (x - mean[c]) / std[c]),
  batchnorm: elementwise((op, _, { tensors }) => {
    const [mean, factor, bias] = [op.mean, op.factor, op.bias].map((index) => tensors[index].values);
    return (x, c) => (x - mean[c]) * factor[c] + bias[c];
  }),
  affine: elementwise((op, _, { tensors }) => {
    const [factor, bias] = [op.factor, op.bias].map((index) => tensors[index].values);
    return (x, c) => x * factor[c] + bias[c];
  }),
  scale: elementwise(({ factor }) => (x) => x * factor),
  activation: elementwise((op, channels, { tensors }) => {
    const learned = Object.entries(op.learned || {}).map(([name, index]) => [name, tensors[index].values]);
    return ACTIVATIONS[op.kind]({ ...op, ...Object.fromEntries(learned), channels });
  }),
  groupnorm: simple((op, [shape], _, { tensors }) => {
    const [weight, bias] = [op.weight, op.bias].map((index) => index !== null && tensors[index].values);
    const each = count(shape) / shape[0], size = count(shape) / op.groups;
    return ([input], out) => {
      for (let start = 0; start < input.length; start += size) {
        let sum = 0, squares = 0;
        for (let i = start; i < start + size; i++) sum += input[i];
        const mean = sum / size;
        for (let i = start; i < start + size; i++) squares += (input[i] - mean) ** 2;
        const factor = 1 / Math.sqrt(squares / size + op.eps);
        for (let i = start; i < start + size; i++) {
          const c = Math.floor(i / each), value = (input[i] - mean) * factor;
          out[i] = weight ? value * weight[c] + bias[c] : value;
        }
      }
    };
  }),
  lrn: simple((op, [shape]) => {
    const [channels] = shape, each = count(shape) / channels, before = Math.floor(op.size / 2), after = op.size - 1 - before;
    return ([input], out) => {
      for (let i = 0; i < each; i++) {
        for (let c = 0; c < channels; c++) {
          let squares = 0;
          for (let n = Math.max(c - before, 0); n <= Math.min(c + after, channels - 1); n++) squares += input[n * each + i] ** 2;
          out[c * each + i] = input[c * each + i] / (op.k + (op.alpha * squares) / op.size) ** op.beta;
        }
      }
    };
  }),
  rbf: simple((op, [[features]], [classes], { tensors }) => {
    const codes = tensors[op.codes].values;
    return ([input], out) => {
      for (let c = 0; c < classes; c++) {
        let distance = 0;
        for (let f = 0; f < features; f++) distance += (input[f] - codes[c * features + f]) ** 2;
        out[c] = -distance;
      }
    };
  }),
  add: simple(() => (inputs, out) => {
    out.set(inputs[0]);
    for (const other of inputs.slice(1)) for (let i = 0; i < out.length; i++) out[i] += other[i];
  }),
  multiply: simple((op, shapes, outShape) => {
    const places = shapes.map((shape) => broadcast(shape, outShape));
    return (inputs, out) => {
      out.fill(1);
      inputs.forEach((input, n) => {
        for (let i = 0; i < out.length; i++) out[i] *= input[places[n][i]];
      });
    };
  }),
  concat: simple(() => (inputs, out) => {
    let start = 0;
    for (const input of inputs) {
      out.set(input, start);
      start += input.length;
    }
  }),
  copy: simple(() => ([input], out) => out.set(input)),
};

/** Indices that broadcast values of a shape to `outShape`. */
function broadcast(shape, outShape) {
  const [channels, height, width] = asMaps(shape), [outChannels, outHeight, outWidth] = asMaps(outShape);
  const places = new Int32Array(outChannels * outHeight * outWidth);
  for (let c = 0, i = 0; c < outChannels; c++) {
    for (let y = 0; y < outHeight; y++) {
      for (let x = 0; x < outWidth; x++, i++) {
        const row = (channels > 1 ? c : 0) * height + (height > 1 ? y : 0);
        places[i] = row * width + (width > 1 ? x : 0);
      }
    }
  }
  return places;
}

// The weights of convolutions as pictures, at each moment of the training.

/** Add the filters of a layer to its section; returns a function that shows them, or null without filters above 1 × 1. */
function makeFilters({ element, layer }) {
  const op = layer.ops.find((each) => each.op === "convolution");
  if (!op || op.kernel[0] * op.kernel[1] === 1) return null;
  let grid = null;

  return (tensors) => {
    const { values, shape } = tensors[op.weight], each = shape[1];
    if (!grid) {
      const title = each === 1 ? "filters" : `filters, each on ${each} maps in turn`;
      grid = makeGrid(title, [values.length / (op.kernel[0] * op.kernel[1]), ...op.kernel], (place) => announce(`weight ${showNumber(grid.valueAt(place))}`), 36);
      element.querySelector(".grids").append(grid.element);
    }
    grid.show(values, new Set());
  };
}

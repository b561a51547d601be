// Describe a layer in words.

const by = (sizes) => sizes.join(" × ");
const unless = (usual, sizes, words) => (sizes.every((n) => n === usual) ? "" : `, ${words} ${sizes[0] === sizes[1] ? sizes[0] : by(sizes)}`);
const slides = (op) => op.op === "convolution" || op.op === "local"; // a window of weights
const paddingOf = (op) => unless(0, op.padding, "padding").replace(/^(, padding \d+).*/, "$1");
const windowOf = (op) => (op.adaptive ? `to ${by(op.shape.slice(1))}` : `${by(op.kernel)}${unless(slides(op) ? 1 : op.kernel[0], op.stride, "stride")}`);

const OPERATION_WORDS = {
  convolution: (op) => `convolution ${windowOf(op)}${unless(1, op.dilation, "dilation")}${paddingOf(op)}${op.groups > 1 ? `, ${op.groups} groups` : ""}`,
  local: (op) => `unshared convolution ${windowOf(op)}${paddingOf(op)}`,
  dense: () => "dense",
  maxpool: (op) => `maximum ${windowOf(op)}`,
  avgpool: (op) => `mean ${windowOf(op)}`,
  lppool: (op) => `${op.p}-norm ${windowOf(op)}`,
  batchnorm: () => "batch norm",
  groupnorm: (op) => (op.groups === 1 ? "layer norm" : op.groups === op.shape[0] ? "instance norm" : `group norm, ${op.groups} groups`),
  lrn: () => "local response norm",
  affine: () => "coefficient and bias",
  scale: (op) => `times ${showNumber(op.factor)}`,
  rbf: () => "distance to bitmaps",
  add: () => "sum",
  multiply: () => "product",
  concat: () => "one behind the other",
  copy: (op) => (op.shape.length === 1 ? "flatten" : "unchanged"),
  normalise: () => "normalised",
  activation: (op) => op.kind.replaceAll("_", " "),
};
const operationWords = (op) => OPERATION_WORDS[op.op](op);

/** Describe a layer's operations: "convolution 5 × 5, then tanh". */
function layerWords(layer) {
  const shown = layer.ops.filter((op) => op.op !== "copy" || layer.ops.length === 1);
  return shown.map(operationWords).join(", then ");
}

/** Describe a layer's shape, parameters, receptive field, and sources if they are not the layer before. */
function layerFacts(layer, before) {
  const sees = [layer.sees].flat(), parameters = layer.params.toLocaleString("en");
  return [
    showShape(layer.shape) + (layer.shape.length === 1 ? " values" : ""),
    layer.params ? `${parameters} parameter${layer.params === 1 ? "" : "s"}` : "",
    layer.shape.length > 1 ? `each value sees ${by(sees.length > 1 ? sees : [sees[0], sees[0]])} pixels` : "",
    sameShape(layer.from, [before]) ? "" : `reads ${layer.from.join(" and ")}`,
  ].filter(Boolean).join(" · ");
}

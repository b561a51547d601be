// The activations, as cnnlab/models/activations.py and torch define them: from options to a function of one value.
// Those with learned parameters for each channel also take the channel's index.

const softplus = (x, beta, threshold) => (x * beta > threshold ? x : Math.log1p(Math.exp(x * beta)) / beta);

/** 1 - erf(x), with a relative error below 1.2e-7 (a Chebyshev fit; Press et al. 1992, "Numerical Recipes", erfcc). */
function erfc(x) {
  const z = Math.abs(x), t = 1 / (1 + 0.5 * z);
  const fit = [1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587, -0.82215223, 0.17087277];
  const series = fit.reduceRight((sum, coefficient) => coefficient + t * sum, 0);
  const value = t * Math.exp(-z * z - 1.26551223 + t * series);
  return x >= 0 ? value : 2 - value;
}

const ACTIVATIONS = {
  apl: ({ a, b, pieces, channels }) => (x, c) => {
    let sum = Math.max(x, 0);
    for (let s = 0; s < pieces; s++) sum += a[s * channels + c] * Math.max(b[s * channels + c] - x, 0);
    return sum;
  },
  bent_identity: () => (x) => (Math.sqrt(x * x + 1) - 1) / 2 + x,
  elu: ({ alpha }) => (x) => (x > 0 ? x : alpha * Math.expm1(x)),
  gelu: ({ tanh }) =>
    tanh
      ? (x) => (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)))
      : (x) => (x / 2) * erfc(-x * Math.SQRT1_2),
  hardswish: () => (x) => (x * clamp(x + 3, 0, 6)) / 6,
  isrlu: ({ alpha }) => (x) => (x < 0 ? x / Math.sqrt(1 + alpha * x * x) : x),
  leaky_relu: ({ slope }) => (x) => (x < 0 ? slope * x : x),
  mish: () => (x) => x * Math.tanh(softplus(x, 1, 20)),
  prelu: ({ slopes }) => (x, c) => (x < 0 ? slopes[slopes.length > 1 ? c : 0] * x : x),
  relu: () => (x) => (x < 0 ? 0 : x),
  relu6: () => (x) => clamp(x, 0, 6),
  scaled_tanh: () => (x) => 1.7159 * Math.tanh((x * 2) / 3),
  selu: () => (x) => 1.0507009873554805 * (x > 0 ? x : 1.6732632423543772 * Math.expm1(x)),
  sigmoid: () => (x) => 1 / (1 + Math.exp(-x)),
  silu: () => (x) => x / (1 + Math.exp(-x)),
  softplus: ({ beta, threshold }) => (x) => softplus(x, beta, threshold),
  softpp: ({ k, c }) => (x) => softplus(k * x, 1, 20) + x / c - Math.LN2,
  srelu: ({ t_l, a_l, t_r, a_r }) => (x, c) =>
    x < t_l[c] ? t_l[c] + a_l[c] * (x - t_l[c]) : x > t_r[c] ? t_r[c] + a_r[c] * (x - t_r[c]) : x,
  tanh: () => Math.tanh,
};

import pytest
import torch
from torch.autograd import gradcheck

from cnnlab.models.activations import ACTIVATIONS, activation

# values at these points, worked out by hand from the formulas
X = torch.tensor([-2.0, -0.5, 0.0, 0.5, 2.0], dtype=torch.float64)
E = torch.e
BY_HAND = {
    "sigmoid": 1 / (1 + (-X).exp()),
    "tanh": (X.exp() - (-X).exp()) / (X.exp() + (-X).exp()),
    "scaled_tanh": 1.7159 * torch.tanh(2 * X / 3),
    "relu": [0, 0, 0, 0.5, 2],
    "leaky_relu": [-0.02, -0.005, 0, 0.5, 2],
    "prelu": [-0.5, -0.125, 0, 0.5, 2],
    "elu": [E**-2 - 1, E**-0.5 - 1, 0, 0.5, 2],
    "selu": [1.0507 * 1.67326 * (E**-2 - 1), 1.0507 * 1.67326 * (E**-0.5 - 1), 0, 1.0507 / 2, 1.0507 * 2],
    "srelu": [-1 + 0.2 * -1, -0.5, 0, 0.5, 1 + 0.2 * 1],
    # two pieces, a = 0.2, b = -1 and 1
    "apl": [0.2 * 1 + 0.2 * 3, 0.2 * 1.5, 0.2 * 1, 0.5 + 0.2 * 0.5, 2],
    "isrlu": [-2 / 5**0.5, -0.5 / 1.25**0.5, 0, 0.5, 2],
    "softplus": (1 + X.exp()).log(),
    "bent_identity": ((X**2 + 1).sqrt() - 1) / 2 + X,
    "softpp": (1 + X.exp()).log() + X / 2 - torch.tensor(2.0).log(),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_values(name):
    module = activation(name, 1).double().eval()
    expected = torch.as_tensor(BY_HAND[name], dtype=torch.float64)
    assert torch.allclose(module(X.view(-1, 1)).flatten(), expected, atol=1e-5)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_gradients(name):
    module = activation(name, 3).double().eval()  # rrelu is random in training
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)  # away from the corners, almost surely
    parameters = list(module.parameters())

    def run(x, *parameters):
        return torch.func.functional_call(
            module, dict(zip(dict(module.named_parameters()), parameters, strict=True)), x
        )

    assert gradcheck(run, (x, *parameters))


def test_rrelu_is_between_its_slopes_in_training():
    module = activation({"kind": "rrelu", "lower": 0.1, "upper": 0.3}, 1).train()
    out = module(torch.full((1000, 1), -1.0))
    assert -0.3 <= out.min() < out.max() <= -0.1


def test_softplus_has_the_logistic_function_as_its_derivative():
    x = X.clone().requires_grad_()
    activation("softplus", 1)(x).sum().backward()
    assert torch.allclose(x.grad, 1 / (1 + (-X).exp()))


@pytest.mark.parametrize("name", ["prelu", "srelu", "apl"])
def test_some_learn_for_each_channel(name):
    module = activation(name, 5)
    assert all(p.shape[-1] == 5 for p in module.parameters())
    assert module(torch.rand(2, 5, 4, 4)).shape == (2, 5, 4, 4)


def test_options_and_errors():
    assert activation({"kind": "leaky_relu", "negative_slope": 0.2}, 1)(torch.tensor(-1.0)) == -0.2
    with pytest.raises(ValueError, match='unknown activation "rellu"; did you mean "relu"'):
        activation("rellu", 1)
    with pytest.raises(ValueError, match="slope"):
        activation({"kind": "relu", "slope": 1}, 1)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_any_of_them_runs_in_a_network(composed, name):
    from cnnlab.models.network import Network

    network = Network(composed(f"model.activation={name}", "model=xo_cnn")["model"], (1, 9, 9), 2)
    assert network(torch.rand(3, 1, 9, 9)).isfinite().all()

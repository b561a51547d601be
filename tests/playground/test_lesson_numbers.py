"""The lessons on sizes, losses, activations and backpropagation: their numbers are PyTorch's."""

import pytest
import torch
import torch.nn.functional as F
from test_lessons import EXAMPLES, enter, equal, numbers
from torch import Tensor, nn

from cnnlab.models.activations import ACTIVATIONS, activation
from cnnlab.models.network import Network


def test_sizes_are_those_of_layers(lesson):
    page = lesson("sizes")
    listed = [row.split("\t")[:5] for row in page.locator(".listed tbody tr").all_inner_texts()]
    cases = [[*(str(c[key]) for key in "nfsp"), str(c["out"] or "does not fit")] for c in EXAMPLES["output_sizes"]]
    assert listed == cases
    for n, f, s, p in [(7, 3, 3, 0), (7, 3, 3, 1), (12, 4, 3, 2), (3, 5, 1, 0), (3, 5, 2, 1), (30, 7, 4, 0)]:
        for label, value in zip(
            ("N, values of the input", "F, of the window", "S, stride", "P, padding at each end"),
            (n, f, s, p),
            strict=True,
        ):
            enter(page, label, value)
        conv = {"kind": "conv", "channels": 1, "kernel_size": f, "stride": s, "padding": p}
        words = page.inner_text("#formula")
        try:
            row = Network({"layers": {"conv1": conv, "head": {"kind": "classifier"}}}, (1, n, n), 2).table[0]
        except ValueError:
            assert "does not fit" in words
            continue
        assert len(numbers(page, "places")) == row.output_shape[1]
        assert ("does not fit" in words) == bool(row.note)


def test_losses_of_the_two_networks(lesson):
    page = lesson("losses")
    read = "[...document.querySelectorAll('.listed td')].map((cell) => Number(cell.dataset.value))"
    keys = ("classification_error", "mean_squared_error", "cross_entropy")
    expected = [EXAMPLES["losses"][name][key] for name in ("nn1", "nn2") for key in keys]
    assert equal(torch.tensor(page.evaluate(read)), expected)
    for y, row in enumerate([[0.2, 0.8], [0.5, 0.5], [0.7, 0.3]]):
        for x, p in enumerate(row):
            page.get_by_label(f"network 1: probabilities of class 0 and class 1, row {y}, column {x}").fill(str(p))
    p, targets = torch.tensor([[0.2, 0.8], [0.5, 0.5], [0.7, 0.3]]), torch.tensor(EXAMPLES["losses"]["targets"])
    squares = (p - F.one_hot(targets, 2)).square().sum(1).mean()
    assert equal(torch.tensor(page.evaluate(read)[:3]), [2 / 3, squares, F.nll_loss(p.log(), targets)])
    page.get_by_label("network 2: probabilities of class 0 and class 1, row 1, column 0").fill("0.9")
    assert "Row 1 is no probabilities" in page.locator("[role=alert]").all_inner_texts()[1]


PLACES = [-4, -2.5, -1, -0.5, 0, 0.5, 1, 2.5, 4]
OWN_NAMES = {"slope": "negative_slope", "slopes": "weight"}  # of torch's modules


@pytest.mark.parametrize("shift", [0, 0.25])
def test_activations_and_their_derivatives_are_pytorchs(lesson, shift):
    page = lesson("activations")
    for name in ACTIVATIONS:
        page.get_by_label("activation", exact=True).select_option(name)
        module = activation(name, 1).eval()
        for field in page.locator("p.controls span.controls label").all():
            option, _, i = field.inner_text().strip().partition(" ")
            value = float(field.locator("input").input_value()) + shift
            field.locator("input").fill(str(value))
            if isinstance(module, nn.RReLU):
                module.lower = module.upper = value
            elif isinstance(mine := getattr(module, OWN_NAMES.get(option, option)), Tensor):
                mine.data.view(-1)[int(i or 0)] = value
            else:
                setattr(module, OWN_NAMES.get(option, option), value)
        x = torch.tensor(PLACES, dtype=torch.float64).view(-1, 1).requires_grad_()
        y = module.double()(x)
        y.sum().backward()
        cells = "[...document.querySelectorAll('.listed td')].map((cell) => [cell.dataset.value, cell.className])"
        (values, _), (slopes, kinds) = (
            zip(*part, strict=True) for part in (page.evaluate(cells)[i::2] for i in (0, 1))
        )
        values, slopes = (torch.tensor([float(value) for value in part]) for part in (values, slopes))
        there = torch.tensor([kind == "smooth" for kind in kinds])
        assert equal(values, y.detach().flatten()), name
        assert torch.allclose(slopes.double()[there], x.grad.flatten()[there], atol=1e-3), name
        assert (~there).sum() <= 3
    page.get_by_label("activation", exact=True).select_option("relu")
    enter(page, "x", 0)
    assert page.inner_text("#sum") == "at 0: value 0, derivative 0 on the left, 1 on the right: a kink"


def test_backpropagation_is_pytorchs(lesson):
    page = lesson("backprop")
    page.get_by_label("X, the input, row 1, column 2", exact=True).fill("-1.5")
    enter(page, "learning rate", 0.05)
    x, w, t = (numbers(page, name)[None, None].double().requires_grad_() for name in ("X, ", "W, ", "T, "))
    error = F.conv2d(x, w).sub(t).square().sum() / 2
    error.backward()
    assert equal(numbers(page, "dE/dW"), w.grad[0, 0])
    assert equal(numbers(page, "dE/dX"), x.grad[0, 0])
    stepped = (w - 0.05 * w.grad).detach()
    assert equal(numbers(page, "W \u2212 learning"), stepped[0, 0])
    assert page.inner_text("#error").endswith(f"= {round(error.item(), 3):g}")
    page.get_by_role("button", name="Take the new weights").click()
    assert equal(numbers(page, "W, "), stepped[0, 0])

    page.get_by_label("z, the logits, row 0, column 0", exact=True).fill("-0.5")
    enter(page, "right class", 2)
    z = numbers(page, "z, ").double().requires_grad_()
    loss = F.cross_entropy(z, torch.tensor([2]))
    loss.backward()
    assert equal(numbers(page, "dE/dz"), z.grad)
    assert equal(numbers(page, "z \u2212 learning"), (z - 0.1 * z.grad).detach())
    assert page.inner_text("#soft-error").endswith(f"= {round(loss.item(), 3):g}")

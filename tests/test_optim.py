from copy import deepcopy
from functools import partial

import pytest
import torch
from torch import nn

from cnnlab.training.muon import Muon, as_matrix
from cnnlab.training.optim import (
    Constant,
    Cosine,
    Exponential,
    OneCycle,
    Step,
    decay_groups,
    optimizer_of,
    schedule,
)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4))


def test_decay_groups_spare_biases_and_norms():
    weights, others = decay_groups(network())
    assert [p.ndim for p in weights["params"]] == [4, 2]
    assert {p.ndim for p in others["params"]} == {1}
    assert others["weight_decay"] == 0
    # a pull towards zero is all that happens without gradients
    net = network()
    before = [p.clone() for p in net.parameters()]
    optimizer = torch.optim.SGD(decay_groups(net), lr=0.1, weight_decay=0.5)
    for p in net.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for old, new in zip(before, net.parameters(), strict=True):
        assert torch.allclose(new, old * (0.95 if old.ndim > 1 else 1.0))


def rates(cls, epochs=4, steps=10, **options) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    scheduler = cls(optimizer, epochs, steps, **options)
    out = []
    for _ in range(epochs * steps):
        out.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return out


def test_schedules_are_factors_of_the_start_value():
    assert rates(Constant) == [2.0] * 40
    assert rates(Step, every=2, gamma=0.5)[::10] == [2.0, 2.0, 1.0, 1.0]
    # the lectures' 0.01 * 0.6^epoch changes once an epoch
    assert rates(Exponential, gamma=0.6)[::10] == pytest.approx([2.0, 1.2, 0.72, 0.432])
    assert len(set(rates(Exponential, gamma=0.6)[:10])) == 1
    cosine = rates(Cosine, final=0.5)
    assert cosine[0] == 2.0
    assert cosine[20] == pytest.approx(1.5)
    assert cosine == sorted(cosine, reverse=True)
    cycle = rates(OneCycle, peak=0.25, start=0.1)
    assert cycle[0] == pytest.approx(0.2)
    assert max(cycle) == cycle[10] == 2.0
    assert cycle[-1] < 0.02


def test_warmup_grows_linearly_over_fractions_of_an_epoch():
    assert rates(Constant, warmup_epochs=0.5)[:6] == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0, 2.0])
    with pytest.raises(ValueError, match="warmup_epochs=9 of 4"):
        rates(Constant, warmup_epochs=9)


def test_torchs_own_schedules_move_every_epoch():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    assert schedule(Cosine, optimizer, 3, 7.0)["interval"] == "step"
    plateau = schedule(torch.optim.lr_scheduler.ReduceLROnPlateau, optimizer, 3, 7.0)
    assert (plateau["interval"], plateau["monitor"]) == ("epoch", "val/loss")


def test_muon_sees_filters_as_matrices_in_both_memory_formats():
    weight = torch.rand(8, 3, 5, 5)
    last = weight.to(memory_format=torch.channels_last)
    for w in (weight, last):
        matrix = as_matrix(w)
        assert matrix.shape == (8, 75)
        assert matrix.data_ptr() == w.data_ptr()  # the same memory, or steps would be lost


def muon_steps(net: nn.Module, steps: int, optimizer: Muon | None = None) -> Muon:
    optimizer = optimizer or Muon(decay_groups(net), lr=0.02)
    for step in range(steps):
        torch.manual_seed(step)
        optimizer.zero_grad()
        net(torch.rand(16, 3, 8, 8).to(memory_format=torch.channels_last)).square().mean().backward()
        optimizer.step()
    return optimizer


def test_muon_steps_are_torchs_muon_on_flattened_filters():
    ours, theirs = network(), network()
    optimizer = Muon(decay_groups(ours), lr=0.02, momentum=0.9)
    x = torch.rand(16, 3, 8, 8)
    ours(x).square().mean().backward()
    optimizer.step()
    theirs(x).square().mean().backward()
    flat = nn.Parameter(theirs[0].weight.detach().flatten(1))
    flat.grad = theirs[0].weight.grad.flatten(1)
    torch.optim.Muon([flat], lr=0.02, weight_decay=0.0, momentum=0.9).step()
    assert torch.allclose(ours[0].weight.flatten(1), flat, atol=1e-6)


def test_muon_learns_and_its_state_travels():
    net = network().to(memory_format=torch.channels_last)
    optimizer = muon_steps(net, 3)
    copy = network().to(memory_format=torch.channels_last)
    copy.load_state_dict(net.state_dict())
    other = Muon(decay_groups(copy), lr=0.02)
    other.load_state_dict(deepcopy(optimizer.state_dict()))  # torch's optimizers share what they are given
    muon_steps(net, 2, optimizer)
    muon_steps(copy, 2, other)
    for a, b in zip(net.parameters(), copy.parameters(), strict=True):
        assert torch.equal(a, b)
    fresh = network()
    assert not torch.allclose(net[0].weight, fresh[0].weight)


def test_a_schedule_moves_both_parts_of_muon():
    optimizer = Muon(decay_groups(network()), lr=0.02, adamw_lr=0.002)
    scheduler = Step(optimizer, 4, 1, every=1, gamma=0.5)
    optimizer.step()
    scheduler.step()
    assert sorted({g["lr"] for g in optimizer.param_groups}) == [0.001, 0.01]


# --- options by parameter name


def rates_by_name(net: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, float]:
    known = {id(p): name for name, p in net.named_parameters()}
    return {known[id(p)]: group["lr"] for group in optimizer.param_groups for p in group["params"]}


@pytest.mark.parametrize(
    ("cls", "options"), [(OneCycle, {}), (Cosine, {"warmup_epochs": 1}), (Step, {"every": 1}), (Exponential, {})]
)
def test_a_factor_of_the_learning_rate_is_kept_by_every_schedule(cls, options):
    net = network()
    optimizer = optimizer_of(partial(torch.optim.SGD, lr=0.5), net, {"4.*": {"lr_factor": 3}})
    plain = optimizer_of(partial(torch.optim.SGD, lr=0.5), net, None)
    schedules = [cls(o, 4, 5, **options) for o in (optimizer, plain)]
    for _ in range(20):
        rates, usual = rates_by_name(net, optimizer), plain.param_groups[0]["lr"]
        assert rates == {name: pytest.approx(usual * (3 if name.startswith("4.") else 1)) for name in rates}
        assert optimizer.param_groups[0]["lr"] == pytest.approx(usual)  # the one that is logged
        for o, s in zip((optimizer, plain), schedules, strict=True):
            o.step()
            s.step()


def test_the_last_name_that_matches_counts_and_biases_still_do_not_decay():
    net = network()
    own = {"*": {"momentum": 0.5}, "*.weight": {"lr_factor": 2}, "4.weight": {"lr_factor": 4, "weight_decay": 0.5}}
    optimizer = optimizer_of(partial(torch.optim.SGD, lr=1.0, momentum=0.9, weight_decay=0.1), net, own)
    names = {id(p): name for name, p in net.named_parameters()}
    found = {
        names[id(p)]: (g["lr"], g["momentum"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]
    }
    assert found == {
        "0.weight": (2, 0.5, 0.1),
        "0.bias": (1, 0.5, 0),
        "1.weight": (2, 0.5, 0),
        "1.bias": (1, 0.5, 0),
        "4.weight": (4, 0.5, 0.5),
        "4.bias": (1, 0.5, 0),
    }


def test_without_options_of_their_own_the_groups_are_the_usual_ones():
    net = network()
    for own in (None, {}):
        groups = optimizer_of(partial(torch.optim.SGD, lr=1.0), net, own).param_groups
        assert [[id(p) for p in g["params"]] for g in groups] == [
            [id(p) for p in g["params"]] for g in decay_groups(net)
        ]
        assert not any("lr_factor" in g for g in groups)


def test_muon_multiplies_both_of_its_learning_rates():
    net = network()
    own = {"4.*": {"lr_factor": 2}, "0.bias": {"lr": 0.7}}
    optimizer = optimizer_of(partial(Muon, lr=0.1, adamw_lr=0.01), net, own)
    rates = [g["lr"] for inner in optimizer._inner for g in inner.param_groups]
    assert sorted(rates) == pytest.approx([0.01, 0.02, 0.1, 0.2, 0.7])


def test_a_factor_of_zero_leaves_a_layer_as_it_was():
    net = network()
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    optimizer = optimizer_of(partial(torch.optim.Adam, lr=0.1), net, {"0.*": {"lr_factor": 0}})
    net(torch.randn(4, 3, 8, 8)).square().mean().backward()
    optimizer.step()
    for name, p in net.named_parameters():
        assert torch.equal(p, before[name]) == name.startswith("0.")

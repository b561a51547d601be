"""The layer table and the graph of a network, as the command prints them."""

import json
import re
import shutil
import xml.etree.ElementTree as ET

import pytest

from cnnlab.config.compose import compose, plain
from cnnlab.inspection import dot
from cnnlab.inspection.summary import layer_table, summary
from cnnlab.reporting.tables import Bytes, show

RESIDUAL = ("model=resnet20", "data=cifar10")


def result_of(*overrides: str) -> dict:
    return summary(plain(compose("summary", overrides)[0], "summary"))


def test_the_table_of_a_chain_has_no_column_from(command):
    done = command("summary", "model=lenet5", "data=mnist")
    head, first, *_, total = done.stdout.splitlines()[2:]
    assert head.split() == ["layer", "kind", "output", "shape", "params", "macs", "memory", "receptive", "field"]
    assert first.split() == ["conv1", "conv", "6x28x28", "156", "117,600", "37", "KiB", "5"]
    assert total.split() == ["total", "61,706", "416,520", "57", "KiB"]


def test_from_is_filled_where_a_layer_does_not_read_the_one_before():
    table = layer_table(result_of(*RESIDUAL))
    read = {row["layer"]: row["from"] for row in table[:-1] if row["from"]}
    assert read["s1b1_add"] == "s1b1_conv2, stem"
    assert read["s2b1_proj"] == "s1b3_add"
    assert len(read) == 9 + 2  # a sum in each block, and the projections of two
    assert "frozen" not in table.columns


def test_json_names_what_every_layer_reads_and_counts_bytes(command):
    result = json.loads(command("summary", *RESIDUAL, "format=json").stdout)
    read = {layer["name"]: layer["from"] for layer in result["layers"]}
    assert read["stem"] == ["input"]
    assert read["s1b1_conv1"] == ["stem"]
    assert read["s1b1_add"] == ["s1b1_conv2", "stem"]
    memory = {layer["name"]: layer["memory"] for layer in result["layers"]}
    assert memory["stem"] == 3 * 16 * 32 * 32 * 4  # convolution, norm, activation
    assert result["memory"] == sum(memory.values())


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1,023 B"), (1024, "1.0 KiB"), (10 * 1024, "10 KiB"), (2**20 * 3 // 2, "1.5 MiB"),
     (2**42, "4,096 GiB")],
)  # fmt: skip
def test_bytes_are_shown_in_units(count, text):
    assert show(Bytes(count)) == text


def test_the_graph_has_each_layer_edge_and_block(command):
    text = command("summary", *RESIDUAL, "model.freeze=[stem]", "format=dot").stdout
    result = result_of(*RESIDUAL)
    nodes = dict(re.findall(r'^ +"(\w+)" \[label=<(.+)>; fillcolor', text, re.MULTILINE))
    assert list(nodes) == sorted(nodes, key=[layer["name"] for layer in result["layers"]].index)
    assert nodes["stem"] == "<b>stem</b><br/>conv &#8594; 16x32x32<br/>464 params, frozen"
    assert nodes["s1b1_add"] == "<b>s1b1_add</b><br/>add &#8594; 16x32x32"
    edges = re.findall(r'"(\w+)" -> "(\w+)"', text)
    assert edges == [(source, layer["name"]) for layer in result["layers"] for source in layer["from"]]
    blocks = re.findall(r"subgraph \"cluster_(\w+)\" \{(.*?)\}", text, re.DOTALL)
    assert [name for name, _ in blocks] == [f"s{s}b{b}" for s in (1, 2, 3) for b in (1, 2, 3)]
    inside = re.findall(r'^ +"(\w+)"', blocks[3][1], re.MULTILINE)
    assert inside == ["s2b1_conv1", "s2b1_conv2", "s2b1_proj", "s2b1_add"]
    assert text.count("{") == text.count("}")


def test_a_removed_layer_is_in_neither_table_nor_graph(command):
    text = command("summary", *RESIDUAL, "model.remove=[s1b1_add]", "format=dot").stdout
    assert "s1b1_add" not in text
    assert '"s1b1_conv2" -> "s1b2_conv1"' in text


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
@pytest.mark.parametrize(("model", "block"), [("resnet20", "s1b1"), ("googlenet", "i3a"), ("densenet40", "d1l1")])
def test_graphviz_draws_it(command, model, block):
    name = "model.name='a \"quoted\" \\ <name>'"
    root = ET.fromstring(command("summary", f"model={model}", "data=cifar10", name, "format=svg").stdout)
    assert root.tag.endswith("svg")
    titles = [element.text for element in root.iter() if element.tag.endswith("title")]
    assert {"input", "head", f"cluster_{block}"} <= {*titles}


def test_without_graphviz_svg_is_refused_in_one_line(command, monkeypatch):
    monkeypatch.setattr(dot, "which", lambda name: None)
    done = command("summary", "format=svg")
    assert (done.status, done.stdout) == (1, "")
    assert done.stderr == (
        "cnnlab: format=svg: Graphviz is not installed; install it (package graphviz), or take format=dot\n"
    )

"""The networks that ship, and the images or sentences that each is meant for."""

from cnnlab.config.compose import conf_dir

SENTENCES = ("bag_of_words", "sentence_cnn")  # which read ids of words, and have tests of their own
MODELS = sorted(p.stem for p in (conf_dir() / "model").glob("*.yaml") if p.stem not in SENTENCES)
MNIST, CIFAR, ILSVRC = ((1, 28, 28), 10), ((3, 32, 32), 10), ((3, 224, 224), 1000)
_SMALL = ("airbench", "alexnet_cifar", "all_cnn", "densenet40", "inception_cifar", "plain20", "plain56", "resnet20",
          "resnet56", "torchvision", "vgg_cifar")  # fmt: skip
_LARGE = ("alexnet_torchvision", "googlenet", "resnet18", "resnet34", "resnet50", "squeezenet", "vgg11", "vgg16",
          "vgg19", "zfnet")  # fmt: skip
INPUTS = {
    **dict.fromkeys(_SMALL, CIFAR),
    **dict.fromkeys(_LARGE, ILSVRC),
    "alexnet": ((3, 227, 227), 1000),
    "convnetjs_mnist": ((1, 24, 24), 10),
    **dict.fromkeys(SENTENCES, ((37,), 6, ("<pad>", "<unk>", *(f"word{n}" for n in range(30))))),
    "xo_cnn": ((1, 9, 9), 2),
    "xo_slides": ((1, 9, 9), 2),
}
LARGE = ("alexnet", *_LARGE)  # for ILSVRC: many tests narrow them, to be quick
# without those that are made of the blocks of another: for tests that take long for each layer
DISTINCT = [m for m in MODELS if m not in ("plain20", "plain56", "resnet34", "resnet56", "vgg16", "vgg19")]
# one network for each kind of layer, activation and way to join layers that ships, narrow and without repeated blocks:
# for tests that take long for each network and tell networks apart by their layers alone
VARIED = {
    "airbench": ("model.width=0.25",),  # frozen whitening, GELU, a scale behind the classifier
    "alexnet": ("model.width=0.125",),  # groups, local response norm, dropout, strides that leave a rest
    "alexnet_cifar": ("model.width=0.125",),  # batch norm of vectors
    "all_cnn": ("model.width=0.125",),  # a convolution gives the classes
    "inception_cifar": ("model.width=0.25", "model.remove=['i1b*','i2*','i3*']"),  # branches are put side by side
    "lenet5": (),  # a plain chain, tanh
    "lenet5_1998": (),  # connections, trained pools, distances in place of logits
    "local": (),  # weights that are not shared
    "mlp_sigmoid": (),  # no maps
    "resnet20": ("model.width=0.25", "model.remove=['s*b2_*','s*b3_*','s3*']"),  # sums, projections, batch norm
    "torchvision": (),  # one layer holds a whole network
    "xo_slides": (),  # given weights, two classes
}


def usual_input(model: str) -> tuple:
    """The images and the number of classes that a shipped network is meant for; behind these the words, if any."""
    return INPUTS.get(model, MNIST)

"""Blocks and heads of nets, from the input up."""

from __future__ import annotations

from torch import nn

from trainkit.models import CNN, MLP, VisionModel, ViT
from trainkit.models.anatomy import anatomy_of


def test_a_resnet_has_its_stem_its_blocks_and_its_head() -> None:
    anatomy = anatomy_of(VisionModel("resnet18", 3, 2, 64))
    assert anatomy.head == ("net.fc",)
    assert anatomy.blocks[0] == ("net.conv1", "net.bn1")
    assert [block[0] for block in anatomy.blocks[1:]] == [f"net.layer{at}.{of}" for at in (1, 2, 3, 4) for of in (0, 1)]
    assert (anatomy.depth_of("net.fc.weight"), anatomy.depth_of("net.layer4.1.conv1.weight")) == (0, 1)
    assert anatomy.depth_of("net.conv1.weight") == anatomy.depth_of("net.bn1.bias") == 9


def test_a_transformer_has_its_layers_and_what_lies_outside_counts_as_the_stem() -> None:
    anatomy = anatomy_of(ViT(1, 3, 8, 8, width=12, depth=3, mlp_width=8))
    assert anatomy.head == ("net.heads.head",)
    names = [f"net.encoder.layers.encoder_layer_{at}" for at in range(3)]
    assert [block[0] for block in anatomy.blocks] == ["net.conv_proj", *names]
    assert anatomy.blocks[-1] == (names[-1], "net.encoder.ln")
    assert anatomy.depth_of("net.class_token") == 4


def test_nets_of_timm_and_of_trainkit_have_several_blocks() -> None:
    for net, head in (
        (VisionModel("tf_efficientnet_lite0", 3, 2, 64, package="timm"), "net.classifier"),
        (VisionModel("squeezenet1_1", 3, 2, 64), "net.classifier.1"),
        (CNN(1, 3, 28), None),
        (MLP(4, 3, [8, 8]), None),
    ):
        anatomy = anatomy_of(net)
        assert len(anatomy.blocks) > 1 and (head is None or anatomy.head == (head,))
        names = [name for name, _ in net.named_parameters()]
        assert anatomy.depth_of(names[-1]) == 0 and anatomy.depth_of(names[0]) == len(anatomy.blocks)


def test_a_net_of_ones_own_may_name_its_head() -> None:
    net = nn.ModuleDict({"out": nn.Linear(2, 1), "body": nn.Linear(2, 2)})
    assert anatomy_of(net).head == ("body",)
    net.head_names = ("out",)  # type: ignore[assignment]
    assert anatomy_of(net).head == ("out",) and anatomy_of(net).blocks == (("body",),)

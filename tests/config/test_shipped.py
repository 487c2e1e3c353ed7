from __future__ import annotations

from trainkit.config.shipped import contents, groups


def test_groups_and_their_choices() -> None:
    assert groups()["model"] == [
        *("auto", "cnn", "cnn1d", "custom", "hist_gradient_boosting", "knn", "linear", "logistic", "mlp"),
        *("pretrained", "random_forest", "resnet18", "tabular", "timm", "torchvision", "vit_tiny"),
    ]
    assert groups()["optimizer"] == ["adam", "adamw", "muon", "sgd"]
    assert "_common" not in groups()["data"]


def test_contents_of_a_group() -> None:
    assert contents("model")["mlp"]["_target_"] == "trainkit.models.MLP"
    assert contents("nonsense") == {}

"""Plain ``nn.Module``s: nets, and the preprocessing that stands before them. No Lightning here.

A model added here needs one class and one YAML in ``conf/model``; sizes that the data decides (``in_features``,
``in_channels``, ``num_outputs``, …) are ``???`` in the YAML and filled from the ``DataSpec``. ``README.md`` shows how.
"""

from trainkit.models.auto import auto
from trainkit.models.cnn import CNN
from trainkit.models.cnn1d import CNN1d
from trainkit.models.mlp import MLP
from trainkit.models.network import Network
from trainkit.models.tabular import Tabular
from trainkit.models.vision import VisionModel, ViT

__all__ = ["CNN", "MLP", "CNN1d", "Network", "Tabular", "ViT", "VisionModel", "auto"]

"""Augmentation on the device: a step's samples at once, with draws of their own for each of them.

One more is a subclass of ``Augmentation`` and, to be chosen by name, a YAML in ``conf/augment``.
"""

from trainkit.data.augment.base import Augment, Augmentation, Samples, samples_of
from trainkit.data.augment.color import ColorJitter
from trainkit.data.augment.draws import Draws
from trainkit.data.augment.erasing import Erase
from trainkit.data.augment.geometry import Crop, Flip, ResizedCrop, Rotate
from trainkit.data.augment.mixing import CutMix, Mixup
from trainkit.data.augment.policies import OneOf, RandAugment, TrivialAugment
from trainkit.data.augment.signals import Noise, Shift
from trainkit.data.augment.views import View, make_views

__all__ = [
    "Augment",
    "Augmentation",
    "ColorJitter",
    "Crop",
    "CutMix",
    "Draws",
    "Erase",
    "Flip",
    "Mixup",
    "Noise",
    "OneOf",
    "RandAugment",
    "ResizedCrop",
    "Rotate",
    "Samples",
    "Shift",
    "TrivialAugment",
    "View",
    "make_views",
    "samples_of",
]

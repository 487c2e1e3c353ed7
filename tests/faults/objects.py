"""Bad objects of a script: Datasets, arrays, nets and what else is given to ``tk.fit``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

import trainkit as tk
from tests.faults.harness import SMALLEST

N = 60
X = np.random.default_rng(0).normal(size=(N, 4)).astype(np.float32)
Y = np.arange(N) % 3
WITHOUT_MODEL = [word for word in SMALLEST if not word.startswith("model=")]


class Samples(Dataset[Any]):
    """A Dataset of what a function gives for a row."""

    def __init__(self, sample: Callable[[int], Any], length: Any = N) -> None:
        self.sample, self.length = sample, length

    def __len__(self) -> int:
        length: int = self.length  # or what is none: that is the fault
        return length

    def __getitem__(self, index: int) -> Any:
        return self.sample(int(index))


class Endless(IterableDataset[Any]):
    """Samples without end."""

    def __iter__(self) -> Iterator[Any]:
        while True:
            yield torch.zeros(4), 0


class NoLength(Dataset[Any]):
    """Samples without a length."""

    def __getitem__(self, index: int) -> Any:
        return torch.zeros(4), index % 3


class Net(nn.Module):
    """A net that does with its outputs what a function says."""

    def __init__(self, change: Callable[[Tensor], Any], outputs: int = 3) -> None:
        super().__init__()
        self.layer, self.change = nn.Linear(4, outputs), change

    def forward(self, inputs: Tensor) -> Any:
        return self.change(self.layer(inputs))


def _raise(error: BaseException) -> Any:
    raise error


def _at(place: int, bad: Callable[[], Any]) -> Samples:
    return Samples(lambda i: bad() if i == place else (torch.tensor(X[i]), int(Y[i])))


class Given(NamedTuple):
    """One bad call of ``tk.fit``.

    Attributes:
        name: In a few words; the id of its test.
        keywords: Makes its keywords.
        says: Text that the mistake has to hold; None where training is right, empty for either.
        short: Whether the ordinary suite runs it.
    """

    name: str
    keywords: Callable[[], dict[str, Any]]
    says: str | None = ""
    short: bool = False

    def fit(self) -> Any:
        """Calls it, as the shortest run."""
        keywords = self.keywords()
        words = WITHOUT_MODEL if "model" in keywords or "module" in keywords else SMALLEST
        return tk.fit(**keywords, overrides=list(words))


def data(name: str, make: Callable[[], Any], says: str | None = "", short: bool = False, **more: Any) -> Given:
    return Given(f"data: {name}", lambda: {"train": make(), **more}, says, short)


def net(name: str, make: Callable[[], Any], says: str | None = "", short: bool = False, **more: Any) -> Given:
    return Given(f"net: {name}", lambda: {"train": (X, Y), "model": make(), **more}, says, short)


def other(called: str, /, says: str | None = "", short: bool = False, **keywords: Any) -> Given:
    return Given(f"fit: {called}", lambda: {"train": (X, Y), **keywords}, says, short)


def _frame() -> pd.DataFrame:
    return pd.DataFrame(X).assign(y=Y)


DATA = [
    data("item raises", lambda: _at(7, lambda: _raise(ValueError("no such scan"))), short=True),
    data("first item raises", lambda: _at(0, lambda: _raise(KeyError("scan"))), short=True),
    data("item raises an IndexError", lambda: _at(7, lambda: _raise(IndexError(7)))),
    data("item raises StopIteration", lambda: _at(7, lambda: _raise(StopIteration())), short=True),
    data("item raises an OSError without text", lambda: _at(7, lambda: _raise(OSError()))),
    data("item is None", lambda: _at(7, lambda: None), short=True),
    data("all items are None", lambda: Samples(lambda i: None)),
    data("item is a number", lambda: Samples(lambda i: 3.0), short=True),
    data("item is a text", lambda: Samples(lambda i: "ab"), short=True),
    data("item is a tensor", lambda: Samples(lambda i: torch.zeros(4))),
    data("item is a single", lambda: Samples(lambda i: (torch.zeros(4),)), short=True),
    data("item is empty", lambda: Samples(lambda i: ())),
    data("item is an empty dict", lambda: Samples(lambda i: {}), short=True),
    data("item is a dict without target", lambda: Samples(lambda i: {"x": torch.zeros(4)}), short=True),
    data("item is a dict with None", lambda: Samples(lambda i: {"x": None, "target": i % 3})),
    data("target is None", lambda: Samples(lambda i: (torch.zeros(4), None)), short=True),
    data("target is a text", lambda: Samples(lambda i: (torch.zeros(4), "ab"[i % 2])), short=True),
    data("target is a list", lambda: Samples(lambda i: (torch.zeros(4), [i % 2, 1]))),
    data("target is complex", lambda: Samples(lambda i: (torch.zeros(4), 1j * i))),
    data("target is a matrix", lambda: Samples(lambda i: (torch.zeros(4), torch.zeros(2, 2))), short=True),
    data("target of no element", lambda: Samples(lambda i: (torch.zeros(4), torch.zeros(0)))),
    data("target is nan", lambda: _at(7, lambda: (torch.zeros(4), float("nan")))),
    data("target is huge", lambda: _at(7, lambda: (torch.zeros(4), 2**70)), short=True),
    data("target negative", lambda: _at(7, lambda: (torch.zeros(4), -1))),
    data("target constant", lambda: Samples(lambda i: (torch.tensor(X[i]), 1)), short=True),
    data("number constant", lambda: Samples(lambda i: (torch.tensor(X[i]), 1.5)), short=True),
    data("target in a gap", lambda: _at(7, lambda: (torch.zeros(4), 1_000_000)), short=True),
    data("target sometimes a float", lambda: _at(7, lambda: (torch.zeros(4), 0.5)), short=True),
    data("shapes ragged", lambda: _at(7, lambda: (torch.zeros(5), 1)), short=True),
    data("shape of no dims once", lambda: _at(7, lambda: (torch.tensor(1.0), 1))),
    data("inputs of no dims", lambda: Samples(lambda i: (torch.tensor(float(i)), i % 3)), short=True),
    data("inputs of no elements", lambda: Samples(lambda i: (torch.zeros(0), i % 3)), short=True),
    data("dtype changes", lambda: _at(7, lambda: (torch.zeros(4, dtype=torch.int64), 1)), short=True),
    data("inputs complex", lambda: Samples(lambda i: (torch.zeros(4, dtype=torch.complex64), i % 3)), short=True),
    data("inputs of texts", lambda: Samples(lambda i: ("ab", i % 3)), short=True),
    data("inputs a list", lambda: Samples(lambda i: ([1.0, 2.0], i % 3))),
    data("inputs objects", lambda: Samples(lambda i: (np.array([None, 1], dtype=object), i % 3)), short=True),
    data("inputs sparse", lambda: Samples(lambda i: (torch.eye(2).to_sparse(), i % 3)), short=True),
    data("inputs nan", lambda: _at(7, lambda: (torch.full((4,), float("nan")), 1))),
    data("inputs with gradients", lambda: Samples(lambda i: (torch.zeros(4, requires_grad=True) * i, i % 3)),
         short=True),
    data("inputs on no device", lambda: Samples(lambda i: (torch.zeros(4, device="meta"), i % 3)), short=True),
    data("length 0", lambda: Samples(lambda i: (torch.zeros(4), 0), 0), short=True),
    data("length 1", lambda: Samples(lambda i: (torch.zeros(4), 0), 1)),
    data("length below 0", lambda: Samples(lambda i: (torch.zeros(4), 0), -3), short=True),
    data("length a float", lambda: Samples(lambda i: (torch.zeros(4), 0), 3.5), short=True),
    data("length too long", lambda: Samples(lambda i: (torch.tensor(X[i]), int(Y[i])), N + 5), short=True),
    data("length huge", lambda: Samples(lambda i: (torch.zeros(4), i % 3), 2**62), short=True),
    data("no length", NoLength, short=True),
    data("endless", Endless, short=True),
    data("a DataLoader", lambda: DataLoader(TensorDataset(torch.tensor(X), torch.tensor(Y))), short=True),
    data("a generator", lambda: (x for x in X)),
    data("a frame", _frame, short=True),
    data("a list of pairs", lambda: list(zip(X, Y, strict=True))),
    data("an empty list", list, short=True),
    data("an empty dict", dict, short=True),
    data("a number", lambda: 3, short=True),
    data("a text", lambda: "train", short=True),
    data("a class", lambda: Samples, short=True),
    data("one array", lambda: X, short=True),
    data("a pair of one array", lambda: (X,), short=True),
    data("a triple", lambda: (X, Y, Y), short=True),
    data("a pair of lists", lambda: (X.tolist(), Y.tolist()), short=True),
    data("a pair of None", lambda: (None, None), short=True),
    data("lengths differ", lambda: (X, Y[:-1])),
    data("arrays of objects", lambda: (X.astype(object), Y), short=True),
    data("a Subset out of range", lambda: Subset(TensorDataset(torch.tensor(X), torch.tensor(Y)), range(N + 9)),
         short=True),
    data("tensors of one class", lambda: TensorDataset(torch.tensor(X), torch.zeros(N, dtype=torch.int64))),
    data("test part of other width", lambda: (X, Y), test=(X[:, :2], Y), short=True),
    data("test part empty", lambda: (X, Y), test=(X[:0], Y[:0]), short=True),
    data("test part of other classes", lambda: (X, Y), test=(X, Y + 9), short=True),
    data("test Dataset of other width", lambda: _at(99, list), test=Samples(lambda i: (torch.zeros(5), i % 3)),
         short=True),
    data("test Dataset of other classes", lambda: _at(99, list), test=Samples(lambda i: (torch.zeros(4), 3 + i % 3)),
         short=True),
    data("train and data", lambda: (X, Y), data="wine", short=True),
]  # fmt: skip
NETS = [
    net("too few outputs", lambda: Net(lambda o: o[:, :2]), short=True),
    net("one dim too many", lambda: Net(lambda o: o[:, None])),
    net("no batch dim", lambda: Net(lambda o: o[0])),
    net("a scalar", lambda: Net(lambda o: o.sum()), short=True),
    net("half the batch", lambda: Net(lambda o: o[: len(o) // 2]), short=True),
    net("None", lambda: Net(lambda o: None), short=True),
    net("a list", lambda: Net(lambda o: [o]), short=True),
    net("a dict", lambda: Net(lambda o: {"logits": o}), short=True),
    net("an array", lambda: Net(lambda o: o.detach().numpy()), short=True),
    net("integers", lambda: Net(lambda o: o.long()), short=True),
    net("complex", lambda: Net(lambda o: o.to(torch.complex64)), short=True),
    net("nan", lambda: Net(lambda o: o * float("nan")), "nan", short=True),
    net("infinite", lambda: Net(lambda o: o / 0), short=True),
    net("detached", lambda: Net(lambda o: o.detach()), short=True),
    net("raises", lambda: Net(lambda o: _raise(RuntimeError("shapes"))), short=True),
    net("raises without text", lambda: Net(lambda o: _raise(AssertionError()))),
    net("raises for small batches", lambda: Net(lambda o: o if len(o) > 40 else _raise(ValueError("small"))),
         short=True),
    net("raises in evaluation", lambda: nn.Sequential(nn.Linear(4, 3), _Raising()), short=True),
    net("nan in evaluation", lambda: nn.Sequential(nn.Linear(4, 3), _Spoiling()), short=True),
    net("no parameters", nn.Identity),
    net("lazy", lambda: nn.LazyLinear(3), short=True),
    net("on no device", lambda: nn.Linear(4, 3, device="meta"), short=True),
    net("in float64", lambda: nn.Linear(4, 3).double(), short=True),
    net("in float16", lambda: nn.Linear(4, 3).half(), short=True),
    net("parameters nan", lambda: _filled(float("nan")), short=True),
    net("parameters infinite", lambda: _filled(float("inf"))),
    net("a class that needs arguments", lambda: Net, short=True),
    net("a function", lambda: lambda x: x, short=True),
    net("a number", lambda: 3, short=True),
    net("an unknown name", lambda: "mpl", "mlp", short=True),
    net("a path", lambda: "model.pt"),
    net("a state dict", lambda: nn.Linear(4, 3).state_dict(), short=True),
    net("of other inputs", lambda: nn.Linear(5, 3)),
    net("that forward takes nothing", lambda: _Nothing(), short=True),
    net("BatchNorm of one row", lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)), batch_size=1, short=True),
]  # fmt: skip
OTHERS = [
    other("epochs 0", short=True, max_epochs=0),
    other("epochs -1", max_epochs=-1),
    other("epochs a float", short=True, max_epochs=1.5),
    other("epochs infinite", max_epochs=float("inf"), short=True),
    other("batch size 0", batch_size=0),
    other("batch size a text", batch_size="many", short=True),
    other("devices 0", devices=0, short=True),
    other("seed a float", seed=0.5),
    other("seed None", None, seed=None),
    other("precision a number", precision=8, short=True),
    other("name with slashes", name="a/b", short=True),
    other("name a number", name=3, short=True),
    other("optimizer a text", optimizer="adan", short=True),
    other("optimizer built", optimizer=torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1), short=True),
    other("optimizer a class", optimizer=torch.optim.SGD),
    other("scheduler a text", scheduler="cosin", short=True),
    other("scheduler a number", scheduler=3, short=True),
    other("task a text", task="clasification", short=True),
    other("task a number", task=3, short=True),
    other("task of another kind", task="regression"),
    other("callbacks None", callbacks=[None], short=True),
    other("callbacks of texts", callbacks=["early_stopping"], short=True),
    other("callbacks of classes", callbacks=[nn.ReLU], short=True),
    other("callback alone", callbacks=3, short=True),
    other("loggers of texts", loggers=["tensorboard"], short=True),
    other("augment a text", augment="flipp", short=True),
    other("augment a number", augment=3, short=True),
    other("finetune a text", finetune="all", short=True),
    other("resume_from a number", resume_from=3, short=True),
    other("resume_from nowhere", resume_from="nowhere"),
    other("init_from nowhere", init_from="nowhere", short=True),
    other("module and model", module=nn.Linear(4, 3), model=nn.Linear(4, 3), short=True),
    other("module is no LightningModule", module=nn.Linear(4, 3), short=True),
    other("cfg a dict", cfg={"seed": 1}, short=True),
    other("cfg a text", cfg="fit", short=True),
]  # fmt: skip


class _Raising(nn.Module):
    def forward(self, outputs: Tensor) -> Tensor:
        return outputs if self.training else _raise(ValueError("not in evaluation"))


class _Spoiling(nn.Module):
    def forward(self, outputs: Tensor) -> Tensor:
        return outputs if self.training else outputs * float("nan")


class _Nothing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self) -> Tensor:
        return torch.zeros(3)


def _filled(value: float) -> nn.Module:
    layer = nn.Linear(4, 3)
    nn.init.constant_(layer.weight, value)
    return layer

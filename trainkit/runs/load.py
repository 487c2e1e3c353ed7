"""A run directory gives back its model, data and config, with nothing repeated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning as L
import numpy as np
from omegaconf import DictConfig, OmegaConf
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from trainkit.config.targets import judge_config
from trainkit.data import DataModule, Splits
from trainkit.data.augment import View, make_views
from trainkit.data.preprocessing import build_inputs
from trainkit.data.reader import Samples
from trainkit.errors import DataError, RunError
from trainkit.models import Network
from trainkit.rundir import RunDirectory
from trainkit.runs.build import build, build_augment, without_weights
from trainkit.runs.computing import lay_out
from trainkit.runs.estimators import load_estimator
from trainkit.runs.new_samples import read_samples
from trainkit.runs.own_module import build_data
from trainkit.runs.predictors import ClassicalPredictor, NetPredictor, Predictor
from trainkit.runs.result import Result
from trainkit.runs.score import predictions_frame
from trainkit.runs.stored import load_config, say_changes
from trainkit.runs.weights import SavedModel, load_weights
from trainkit.tasks import Task
from trainkit.types import DataSpec, Inputs

if TYPE_CHECKING:
    import pandas as pd
    from torch.utils.data import Dataset


class Run:
    """A run, loaded.

    Attributes:
        directory: Its files.
        config: The config it was trained with, every size filled in.
        spec: What the model knows of the data.
        model: The net behind its preprocessing, in evaluation mode: raw inputs go in. None for a classical model.
        module: A LightningModule of the user's own, in evaluation mode, else None.
        estimator: The scikit-learn estimator of a classical model, else None.
        task: Its task; None for a LightningModule of your own.
        result: What it came to.
    """

    def __init__(self, directory: RunDirectory, config: DictConfig, saved: SavedModel, task: Task | None) -> None:
        self.directory, self.config, self.task = directory, config, task
        self.spec: DataSpec = saved.spec
        self.saved = saved
        self.model: Network | None = None
        self.module: L.LightningModule | None = None
        self.estimator: Any = None
        self.result = Result.load(directory) if directory.result.is_file() else None
        self._data: DataModule | None = None
        self._predictor: Predictor | None = None

    @property
    def path(self) -> Path:
        """The run's directory."""
        return self.directory.path

    @property
    def lineage(self) -> dict[str, Any] | None:
        """The run that this one comes from: ``resume_from`` or ``init_from``, sha256, step, data_fingerprint."""
        return self.directory.lineage()

    @property
    def predictor(self) -> Predictor:
        """Predicts rows in padded batches of the size that the run was scored with.

        Raises:
            RunError: The run is of a LightningModule of the user's own, which alone knows what it predicts.
        """
        self._refuse_own_module()
        assert self._predictor is not None
        return self._predictor

    def _refuse_own_module(self) -> None:
        if self.module is not None:
            name = type(self.module).__name__
            raise RunError(
                f"'{self.path}' is a run of {name}, a LightningModule of your own",
                where="RUN",
                hint=f"in Python, load_run(RUN).module is the trained {name}",
            )

    @property
    def data(self) -> DataModule:
        """The data, set up with the run's own splits.

        Raises:
            DataError: It is not there any more, or was given in Python.
        """
        if self._data is None:
            node = self.config.data
            if node is not None and "_target_" not in node:
                raise DataError("the data of this run was given in Python", where="data", hint="load_run(RUN, data=…)")
            is_own = self.module is not None
            data = build_data(self.config, self.module) if is_own else build(self.config.data, "data", DataModule)
            self._set_data(data)
        assert self._data is not None
        return self._data

    def _set_data(self, data: DataModule) -> None:
        data.given_splits = Splits.load(self.directory.splits)
        self.directory.check(self.directory.splits)
        data.setup()
        self._data = data

    def predict(
        self, source: str | Path | pd.DataFrame | np.ndarray | Tensor | Dataset[Any] | list[Any]
    ) -> pd.DataFrame:
        """Predicts new samples.

        Args:
            source: A file (.csv, .parquet; .npy, .npz; an image, or a folder of them), a DataFrame for a table, an
                array or tensor [N, ...], a map-style ``Dataset``, or a list of image files, Pillow images or arrays
                [height, width, 3]. In a file or frame the target may be missing.

        Returns:
            A row per sample: ``row``, ``file`` where samples are files, ``prediction``, and ``p_<class>`` for classes.

        Raises:
            DataError: It is not what the model was trained on.
        """
        return self.predict_samples(self.samples(source))

    def predict_inputs(self, inputs: Inputs) -> pd.DataFrame:
        """Predictions of inputs that ``read`` gave, as ``predict`` gives them."""
        return self.predict_samples(Samples(inputs, {}))

    def predict_samples(self, samples: Samples) -> pd.DataFrame:
        """Predictions of what ``samples`` gave, as ``predict`` gives them."""
        predicted = self.predictor.predict_inputs(samples.inputs)
        files = None if samples.files is None else np.array(samples.files, dtype=object)
        made = self.predictor.predictions(predicted, rows=np.arange(len(predicted)), target=None, files=files)
        return predictions_frame({"new": made}).drop(columns="split")

    def samples(self, source: Any) -> Samples:
        """New samples as the model takes them, with the names of their files."""
        self._refuse_own_module()
        return self.saved.reader.read_named(source) or Samples(*self.read(source))

    def read(self, source: Any) -> tuple[Inputs, dict[str, int]]:
        """Inputs of new samples, and unseen values by column."""
        self._refuse_own_module()
        return read_samples(source, self.saved.reader, self.spec, self.config.data.get("target") or "target")


def load_run(
    run: str | Path,
    *,
    model: nn.Module | None = None,
    module: L.LightningModule | None = None,
    data: DataModule | None = None,
    task: Task | None = None,
    trust: Sequence[str] = (),
) -> Run:
    """Loads a run: its model with the weights to use, its config, and on demand its data.

    Nothing is unpickled, and only classes of trainkit, torch, torchvision, lightning and scikit-learn are built unless
    you trust more.

    Args:
        run: The run's directory.
        model: The net, where it was given in Python as an object; gets the run's weights.
        module: The LightningModule, likewise.
        data: The data module, likewise.
        task: The task, likewise.
        trust: Packages of yours whose classes the config may name.

    Returns:
        The run.

    Raises:
        RunError: The directory holds no finished run, or a damaged one.
        ConfigError: The config names code that is not trusted.
    """
    directory = RunDirectory.open(run)
    config = load_config(directory)
    given = {"model": model, "module": module, "data": data, "task": task}
    judged = {name: node for name, node in config.items() if given.get(str(name)) is None}
    judge_config({name: judged[name] for name in ("data", "model", "module", "task") if judged.get(name)}, trust)
    saved = load_weights(directory)
    say_changes(directory)
    if config.get("module") is not None:
        own = module if module is not None else _built(config, "module", L.LightningModule)
        _load(own, "", saved.state)
        loaded = Run(directory, config, saved, None)
        loaded.module = own.eval()
        return loaded
    task = task if task is not None else _built(config, "task", Task)
    _load(task, "task.", saved.state)
    loaded = Run(directory, config, saved, task)
    if data is not None:
        loaded._set_data(data)
    batch_size = int(config.data.get("eval_batch_size") or 256)
    inputs = _inputs(directory, saved)
    if directory.classical_model.is_file():
        _load(inputs, "inputs.", saved.state)
        loaded.estimator = load_estimator(directory)
        loaded._predictor = ClassicalPredictor(inputs, loaded.estimator, saved.spec, batch_size)
        return loaded
    network = Network(model if model is not None else _built(config, "model", nn.Module), inputs, task.merge)
    lay_out(network, config, saved.spec)
    _load(network.inputs, "inputs.", saved.state)
    _load(network.net, "net.", saved.state)
    loaded.model = network.eval()
    loaded._predictor = NetPredictor(network, task, saved.spec, batch_size, views=_views(config, saved.spec, trust))
    return loaded


def _inputs(directory: RunDirectory, saved: SavedModel) -> nn.Module:
    try:
        return nn.Identity() if saved.inputs["kind"] == "identity" else build_inputs(saved.inputs)
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        what = f"'{directory.weights}' does not say how inputs are prepared: {error}"
        raise RunError(what, where="RUN") from error


def _views(config: DictConfig, spec: DataSpec, trust: Sequence[str]) -> Sequence[View]:
    tta = OmegaConf.select(config, "evaluation.tta")
    if not isinstance(tta, int):
        return make_views(tta, spec)
    judge_config({"augment": config.augment}, trust)
    return make_views(tta, spec, build_augment(config))


def load_best(directory: RunDirectory, network: Network, task: Task) -> None:
    """Puts the run's weights to use into a network and task built already."""
    saved = load_weights(directory)
    _load(network.inputs, "inputs.", saved.state)
    _load(network.net, "net.", saved.state)
    _load(task, "task.", saved.state)


def load_initial(directory: RunDirectory, model: nn.Module) -> None:
    """Puts the weights that a run began with, where its config alone does not give them, into a net of the same shape.

    Such are those of a model given as an object, and those taken over by ``init_from``.

    Raises:
        RunError: They do not fit.
    """
    if directory.initial_weights.is_file():
        try:
            state = load_file(directory.initial_weights)
        except (SafetensorError, OSError, ValueError) as error:
            raise RunError(f"'{directory.initial_weights}' is damaged: {error}", where="RUN") from error
        _load(model, "", state, "initial.safetensors")
    directory.check(directory.initial_weights)


def _built(config: DictConfig, section: str, kind: type) -> Any:
    node = config.get(section)
    if not isinstance(node, DictConfig) or "_target_" not in node:
        name = node.get("live") if isinstance(node, DictConfig) else None
        raise RunError(
            f"the {section} of this run was given in Python as an object" + (f" ({name})" if name else ""),
            where="RUN",
            hint=f"load_run(RUN, {section}=…) with an object of the same shape",
        )
    return build(without_weights(node), section, kind)


def _load(module: nn.Module, prefix: str, state: dict[str, Tensor], file: str = "model.safetensors") -> None:
    own = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    try:
        module.load_state_dict(own)
    except RuntimeError as error:
        reason = " ".join(line.strip() for line in str(error).splitlines()[1:3])
        name = type(module).__name__
        raise RunError(f"the saved weights do not fit {name}: {reason}", where=file) from error

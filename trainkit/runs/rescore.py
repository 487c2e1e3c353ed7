"""Predictions of a finished run's parts: made anew where its data is there and unchanged, else as it saved them."""

from __future__ import annotations

from collections.abc import Sequence

from trainkit.data.module import Part
from trainkit.errors import RunError, TrainkitError
from trainkit.rundir import RunDirectory
from trainkit.runs.load import Run, load_run
from trainkit.runs.score import PART_NAMES, saved_predictions
from trainkit.runs.stored import load_config, say_changes
from trainkit.runs.weights import load_weights, stored_fingerprint
from trainkit.types import Predictions


def predictions_again(directory: RunDirectory, part: Part, trust: Sequence[str] = ()) -> tuple[str, Predictions]:
    """Predictions of a part, and in words where they come from.

    Args:
        directory: A finished run.
        part: A part that is not empty.
        trust: Packages of the user's own that the run may name.

    Raises:
        RunError: The run is not finished, or has neither its data nor saved predictions.
        ConfigError: It names code that is not trusted.
    """
    spec = load_weights(directory).spec
    directory.check(directory.splits)
    if _has_objects(directory):
        why = "the model was given in Python"
        say_changes(directory)
    else:
        why, made = _fresh(load_run(directory.path, trust=trust), part)
        if made is not None:
            return "the run's own data, unchanged", made
    if not directory.predictions.is_file():
        raise RunError(f"'{directory.path}' has no saved predictions, and {why}", where="RUN")
    return f"saved predictions ({why})", saved_predictions(directory, PART_NAMES[part], spec)


def _has_objects(directory: RunDirectory) -> bool:
    config = load_config(directory)
    return any("live" in (config.get(section) or {}) for section in ("model", "task"))


def _fresh(loaded: Run, part: Part) -> tuple[str, Predictions | None]:
    try:
        data = loaded.data
    except TrainkitError as error:
        return error.what, None
    if data.fingerprint != stored_fingerprint(loaded.directory):
        return "the data has changed since", None
    return "", loaded.predictor.predict_part(data, part)

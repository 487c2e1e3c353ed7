"""Rules on the data: one function each over ``DataFacts``, all in ``DATA_RULES``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from trainkit.evaluation import wilson
from trainkit.runs.inspection.data_facts import DataFacts
from trainkit.runs.inspection.finding import Finding, Rule, error, listed, note, warning
from trainkit.runs.inspection.values import PartLook

SHARED = 0.01
"""Share of a part's rows that stand in training too, from which it counts: a score can be too good by that share, and
one per cent is less than the interval of a test part of 1,000 rows. The share's own 95 % interval must lie above it, so
that a twin or two in a small part (iris has three) do not count."""

ONE_CLASS = 0.99
"""Share of the commonest label from which a net learns to say nothing else."""

EXPECTED = 3
"""Rows of a class that a part should have before their absence counts: chance leaves them out once in e³ = 20 parts."""

SMALLEST_PART = 20
"""Rows below which a part says little: 20 rows give half right an interval from 0.30 to 0.70 (Wilson, 1927)."""

BEYOND_CHANCE = 2.0
"""Share of equal rows over that expected of independent columns, from which they are no chance; columns that depend on
each other make more rows equal than independent ones."""

FEWEST_LABELS = 100
"""Samples of one label below which chance may be the reason."""

CHANNELS = (1, 3, 4)
"""Channels of images as they are stored."""

OTHER_SCALE = 20.0
"""Deviation of the inputs of a part over that of training, and distance of their means in deviations, from which both
were not scaled alike."""

NAMES = {"val": "validation", "test": "test", "train": "training"}


def same_dataset(facts: DataFacts) -> Iterator[Finding]:
    """One Dataset object for training and another part."""
    for part in facts.same_dataset:
        what = f"training and {NAMES[part]} read the same samples of one Dataset object"
        hint = f"leave {part} out: it is then drawn from the training data"
        if facts.is_own:
            hint = "cut it into parts that share no rows, as torch.utils.data.random_split does"
        yield error("same_dataset", what, f"data.{part}", hint)


def shared_rows(facts: DataFacts) -> Iterator[Finding]:
    """Rows that stand in training and in another part, target included (Kapoor & Narayanan, 2023, *Patterns* 4:9)."""
    for part in ("val", "test"):
        count, size = facts.shared(part), len(facts.keys.get(part, ()))
        if not count or part in facts.same_dataset:
            continue
        what = f"{count:,} of {size:,} {NAMES[part]} rows ({100 * count / size:.1f} %) stand in training too"
        if _is_chance(facts, count / size):
            few = ", no more than columns of so few different values make equal by chance"
            yield note("shared_rows", what + few, f"data, {part}")
        elif wilson(count / size, size)[0] > SHARED:
            yield error("shared_rows", what, f"data, {part}", "remove duplicates before the parts are drawn")


def _is_chance(facts: DataFacts, share: float) -> bool:
    return share <= BEYOND_CHANCE * facts.chance_share


def conflicting_labels(facts: DataFacts) -> Iterator[Finding]:
    """Equal inputs with different classes: no model can be right on all of them."""
    if not facts.class_names or facts.several or not facts.num_compared:
        return
    keys = np.concatenate(list(facts.keys.values()))
    labels = np.concatenate(list(facts.key_targets.values()))
    order = np.lexsort((labels, keys))
    keys, labels = keys[order], labels[order]
    conflict = np.unique(keys[1:][(keys[1:] == keys[:-1]) & (labels[1:] != labels[:-1])])
    count = int(np.isin(keys, conflict).sum())
    share = count / len(keys)
    if not _is_chance(facts, share) and wilson(share, len(keys))[0] > SHARED:
        what = f"{count:,} of {len(keys):,} rows have inputs equal to those of a row of another class"
        yield warning(
            "conflicting_labels", what, "data", "look at how the labels were made, or add what tells them apart"
        )


def constant_labels(facts: DataFacts) -> Iterator[Finding]:
    """A training part of nearly one label."""
    if facts.several:
        yield from _constant_of_several(facts)
        return
    values, counts = np.unique(facts.targets["train"], return_counts=True)
    share, commonest = counts.max() / counts.sum(), values[counts.argmax()]
    if share >= ONE_CLASS:
        name = facts.class_names[int(commonest)] if facts.class_names else f"{commonest:g}"
        what = f"{100 * share:.1f} % of the training targets are {name}"
        hint = "task.class_weights=balanced, or more rows of the others" if facts.class_names else "look at the target"
        yield error("constant_labels", what, "data", hint)


def _constant_of_several(facts: DataFacts) -> Iterator[Finding]:
    """Targets that are the same in all training rows that have them."""
    targets = facts.targets["train"]
    constant = [
        name
        for name, values in zip(facts.several, targets.T, strict=True)
        if len(np.unique(values[~np.isnan(values)])) < 2
    ]
    if constant:
        kind = "label" if facts.class_names else "target"
        what = f"the same in all training rows, or missing: {kind} {listed(constant)}"
        yield error("constant_labels", what, "data", "more rows that have it, or leave it out of data.target")


def _no_positive(facts: DataFacts) -> Iterator[Finding]:
    """Labels that a part should have some rows of, and that all or none of its rows have."""
    shares = np.nanmean(np.concatenate(list(facts.targets.values())), axis=0)
    for part in ("val", "test"):
        targets = facts.targets.get(part, np.empty((0, len(shares))))
        expected = np.minimum(shares, 1 - shares) * len(targets)
        lacking = [
            name
            for name, values, count in zip(facts.several, targets.T, expected, strict=True)
            if count >= EXPECTED and len(np.unique(values[~np.isnan(values)])) < 2
        ]
        if lacking:
            what = f"no {NAMES[part]} row has, or every one has, the label {listed(lacking)}, whose AUROC is left out"
            yield error("single_class", what, f"data, {part}", "shuffle before you cut parts, or data.stratify=true")


def one_label(facts: DataFacts) -> Iterator[Finding]:
    """Samples of the user's own loaders that all end in the same number."""
    labels = facts.targets.get("train", np.empty(0))
    if len(labels) >= FEWEST_LABELS and (labels == labels[0]).all():
        what = f"the last value of all {len(labels):,} training samples that were read is {labels[0]:g}"
        yield error("constant_labels", what, "data, train", "look at how the labels are read")


def single_class(facts: DataFacts) -> Iterator[Finding]:
    """A validation or test part of one class only: its AUROC does not exist, its accuracy is that of a constant."""
    if facts.several:
        yield from _no_positive(facts) if facts.class_names else ()
        return
    for part in ("val", "test"):
        targets = facts.targets.get(part, np.empty(0))
        if facts.class_names and len(targets) and (targets == targets[0]).all():
            what = f"all {len(targets):,} {NAMES[part]} rows are of class {facts.class_names[int(targets[0])]}"
            yield error("single_class", what, f"data, {part}", "shuffle before you cut parts, or data.stratify=true")


def missing_class(facts: DataFacts) -> Iterator[Finding]:
    """A class that a part lacks though it should have some rows of it."""
    if not facts.class_names or facts.several:
        return
    counts = {part: np.bincount(t, minlength=len(facts.class_names)) for part, t in facts.targets.items()}
    everywhere = np.sum(list(counts.values()), axis=0) / sum(facts.sizes.values())
    for part, seen in counts.items():
        expected = everywhere * facts.sizes[part]
        lacking = [
            name for name, n, e in zip(facts.class_names, seen, expected, strict=True) if not n and e >= EXPECTED
        ]
        if lacking and (seen > 0).sum() > 1:
            what = f"the {NAMES[part]} part has no row of class {listed(lacking)}"
            yield error("missing_class", what, f"data, {part}", "shuffle before you cut parts, or data.stratify=true")


def small_part(facts: DataFacts) -> Iterator[Finding]:
    """A validation or test part too small to tell anything."""
    for part in ("val", "test"):
        size = facts.sizes.get(part, SMALLEST_PART)
        if size < SMALLEST_PART:
            low, high = wilson(round(size / 2) / size, size)
            what = f"the {NAMES[part]} part has {size} rows: half right is {low:.2f} to {high:.2f}"
            yield warning("small_part", what, f"data.{part}_share", "more rows, or folds over several split seeds")


def swapped_axes(facts: DataFacts) -> Iterator[Finding]:
    """Images with their channels last."""
    if len(facts.input_shape) == 3:
        first, second, last = facts.input_shape
        if last in CHANNELS and first > max(CHANNELS) and second > max(CHANNELS):
            shape = "×".join(map(str, facts.input_shape))
            what = f"images are {shape}: the channels stand last"
            yield error("swapped_axes", what, "data", "inputs are [channels, height, width]: permute(2, 0, 1)")


def other_shape(facts: DataFacts) -> Iterator[Finding]:
    """Inputs of another shape than those of training, as images with height and width swapped."""
    for part, look in _others(facts):
        shape = facts.looks["train"].shape
        if shape is not None and look.shape is not None and look.shape != shape:
            sizes = ["×".join(map(str, sizes)) or "single numbers" for sizes in (look.shape, shape)]
            what = f"{NAMES[part]} inputs are {sizes[0]}, training inputs are {sizes[1]}"
            yield warning("other_shape", what, f"data.{part}", "read and transform both in the same way")


def other_scale(facts: DataFacts) -> Iterator[Finding]:
    """Inputs of another scale than those of training, as pixels divided by 255 in one part only."""
    for part, look in _others(facts):
        train = facts.looks["train"]
        low, high = sorted([look.std, train.std])
        is_shifted = train.std > 0 and abs(look.mean - train.mean) > OTHER_SCALE * max(train.std, look.std)
        if (low > 0 and high > OTHER_SCALE * low) or is_shifted:
            numbers = [f"mean {one.mean:.3g}, deviation {one.std:.3g}" for one in (look, train)]
            what = f"{NAMES[part]} inputs have {numbers[0]}; training inputs {numbers[1]}"
            yield error("other_scale", what, f"data.{part}", "scale both in the same way")


def _others(facts: DataFacts) -> list[tuple[str, PartLook]]:
    return [(part, look) for part, look in facts.looks.items() if part != "train" and "train" in facts.looks]


def sentinel_values(facts: DataFacts) -> Iterator[Finding]:
    """Numbers that stand for missing values, and ruin the scale of their column."""
    if facts.sentinels:
        named = listed(f"{one.value:g} in {100 * one.share:.0f} % of {one.feature}" for one in facts.sentinels)
        what = f"values far beyond all others of their column: {named}"
        instead = "leave the cells empty" if facts.input_kind == "table" else "put the mean in their place"
        yield warning("sentinel_values", what, "data", f"if they mark what is missing: {instead}")


def swapped_batch(facts: DataFacts) -> Iterator[Finding]:
    """Vectors with as many features as another part, or the whole data, has rows, and few rows: a transposed matrix."""
    if len(facts.input_shape) != 1:
        return
    width, total = facts.input_shape[0], sum(facts.sizes.values())
    others = [size for part, size in facts.sizes.items() if part != "train"]
    if width > facts.sizes["train"] and width in (total, *others, *(a + b for a, b in pairwise(others))):
        what = f"samples have {width:,} features, and a part of the data has {width:,} rows"
        yield error("swapped_batch", what, "data", "inputs are [rows, features]: transpose them")


def leaking_feature(facts: DataFacts) -> Iterator[Finding]:
    """A feature that alone gives the target (Kaufman et al., 2012, *TKDD* 6:4)."""
    if facts.leaks:
        named = listed(f"{leak.feature} ({leak.measure} {leak.value:.3f})" for leak in facts.leaks)
        names = facts.columns_of(leak.feature for leak in facts.leaks)
        hint = f"if it is not known when you predict: 'data.ignore=[{names}]'" if facts.input_kind == "table" else ""
        yield error("leaking_feature", f"alone gives the target: {named}", "data", hint or "leave it out")


def identifier(facts: DataFacts) -> Iterator[Finding]:
    """A feature that numbers the rows, of which a net learns the training rows by heart."""
    if facts.identifiers:
        hint = (
            f"'data.ignore=[{facts.columns_of(facts.identifiers)}]'" if facts.input_kind == "table" else "leave it out"
        )
        yield warning("identifier", f"numbers the rows: {listed(facts.identifiers)}", "data", hint)


def changing_validation(facts: DataFacts) -> Iterator[Finding]:
    """Validation samples that are not the same each time: augmentation belongs to training."""
    if facts.num_changing:
        what = f"{facts.num_changing} of {facts.num_read_twice} validation samples changed between two reads"
        hint = "give val a Dataset without random augmentation"
        yield warning("changing_validation", what, "data.val", hint)


DATA_RULES: tuple[Rule[DataFacts], ...] = (
    same_dataset,
    shared_rows,
    conflicting_labels,
    constant_labels,
    single_class,
    missing_class,
    small_part,
    swapped_axes,
    other_shape,
    other_scale,
    sentinel_values,
    swapped_batch,
    leaking_feature,
    identifier,
    changing_validation,
)
"""Every rule on data, in the order in which findings are printed."""

OWN_DATA_RULES: tuple[Rule[DataFacts], ...] = (same_dataset, shared_rows, one_label, other_shape, other_scale)
"""Those that hold for samples of the user's own loaders."""

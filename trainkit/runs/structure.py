"""Checks of the trees in an estimator just loaded: scikit-learn follows the numbers in them beyond any bounds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
from sklearn.neighbors import BallTree, KDTree
from sklearn.tree._tree import Tree

_LEAF = -1


def check_structure(estimator: Any) -> None:
    """Raises ValueError for a tree that leads out of its own arrays or the features, or back to where it came from.

    Args:
        estimator: Fitted.
    """
    for tree, width in _trees_in(estimator, 0, set()):
        if isinstance(tree, Tree):
            inner = tree.children_left != _LEAF
            _check_children(tree.children_left, tree.children_right, inner)
            _check_range(tree.feature[inner], width, "feature")
        elif isinstance(tree, TreePredictor):
            nodes, inner = tree.nodes, tree.nodes["is_leaf"] == 0
            _check_children(nodes["left"].astype(np.int64), nodes["right"].astype(np.int64), inner)
            _check_range(nodes["feature_idx"][inner], width, "feature")
            _check_range(nodes["bitset_idx"][nodes["is_categorical"] != 0], len(tree.raw_left_cat_bitsets), "category")
        else:
            _check_neighbours(tree, width)


def _check_neighbours(tree: KDTree | BallTree, width: int) -> None:
    data, order, nodes, bounds = map(np.asarray, tree.get_arrays())
    _check_range(order, len(data), "row")
    for key in ("idx_start", "idx_end"):
        _check_range(nodes[key], len(data) + 1, "row")
    own = np.arange(len(nodes))
    _check_children(2 * own + 1, 2 * own + 2, nodes["is_leaf"] == 0)
    if data.shape[1:] != (width,) or bounds.shape[1:] != (len(nodes), width):
        raise ValueError("a tree of neighbours is of another width than its data")


def _check_children(left: np.ndarray, right: np.ndarray, inner: np.ndarray) -> None:
    """Children come after their node, so that every way down ends."""
    own = np.arange(len(left))[inner]
    for child in (left[inner], right[inner]):
        _check_range(child, len(left), "node")
        if (child <= own).any():
            raise ValueError("a node of a tree leads back")


def _check_range(numbers: np.ndarray, size: int, what: str) -> None:
    if len(numbers) and not (numbers.min() >= 0 and numbers.max() < size):
        raise ValueError(f"a tree names a {what} that is not there")


def _trees_in(thing: Any, width: int, seen: set[int]) -> Iterator[tuple[Any, int]]:
    """Every tree in an estimator, wherever it is nested, with the number of features of the estimator it is in."""
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, (Tree, TreePredictor, KDTree, BallTree)):
        yield thing, width
        return
    inner: Iterable[Any] = ()
    if isinstance(thing, np.ndarray):
        inner = thing.ravel() if thing.dtype == object else ()
    elif isinstance(thing, Mapping):
        inner = thing.values()
    elif isinstance(thing, (list, tuple)):
        inner = thing
    elif hasattr(thing, "__dict__"):
        width = vars(thing).get("n_features_in_", width)
        inner = vars(thing).values()
    for item in inner:
        yield from _trees_in(item, width, seen)

"""Data: sources, splits, preprocessing, and the loaders that hand out whole executions.

A data set added here needs one ``DataModule`` (``load`` and ``prepare``, or ``ArrayData.arrays``) and one YAML in
``conf/data``.
"""

from trainkit.data.array_files import ArrayFiles, GivenArrays
from trainkit.data.arrays import ArrayData
from trainkit.data.bundled import BundledTable, Digits
from trainkit.data.dataset import DatasetData
from trainkit.data.evaluation_loader import EvaluationBatch, EvaluationLoader
from trainkit.data.images.data import ImageData
from trainkit.data.loader import BatchLoader, Execution, Step
from trainkit.data.loaders import LoaderData
from trainkit.data.module import DataModule
from trainkit.data.plan import ExecutionPlan, LoaderState
from trainkit.data.splits import Splits
from trainkit.data.table import TableData

__all__ = [
    "ArrayData",
    "ArrayFiles",
    "BatchLoader",
    "BundledTable",
    "DataModule",
    "DatasetData",
    "Digits",
    "EvaluationBatch",
    "EvaluationLoader",
    "Execution",
    "ExecutionPlan",
    "GivenArrays",
    "ImageData",
    "LoaderData",
    "LoaderState",
    "Splits",
    "Step",
    "TableData",
]

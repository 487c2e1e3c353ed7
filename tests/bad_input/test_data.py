"""A user's mistake in files, columns, arrays, datasets and splits: told before training, with nothing left behind."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Case = tuple[str, str]
TABLE = "fit data=table data.target=Churn data.path="
MINE = "fit data._target_=faulty.Vectors +data.fault="
DATASET = "fit data=dataset +data.train._target_=faulty.Samples +data.train.fault="
CASES: list[Case] = [
    # files and columns
    (f"{TABLE}tt.csv", "there is no file tt.csv\n  where    data.path\n  hint     did you mean 't.csv'?\n"),
    (f"{TABLE}no/t.csv", "there is no file no/t.csv\n  where    data.path\n  hint     the folder no does not exist\n"),
    ("fit data=table data.path=t.csv", "data.target is not given\n  where    data.target\n  hint     data.target=…\n"),
    (f"{TABLE}t.csv data.target=Chrun",
     "the table has no column 'Chrun'\n  where    data.target\n"
     "  expected one of age, city, Churn\n  hint     did you mean 'Churn'?\n"),
    (f"{TABLE}t.csv data.target=xyz",
     "the table has no column 'xyz'\n  where    data.target\n  expected one of age, city, Churn\n"),
    (f"{TABLE}t.csv data.ignore=[citty]",
     "data.ignore names 'citty', which is not a column of the table\n  where    data.ignore\n"
     "  expected one of age, city\n  hint     did you mean 'city'?\n"),
    (f"{TABLE}t.csv data.test_path=other.csv",
     "'other.csv' lacks the columns age\n  where    data\n  expected those of t.csv\n"),
    (f"{TABLE}empty.csv", "empty.csv is empty\n  where    empty.csv\n  expected a header and at least one row\n"),
    (f"{TABLE}header.csv",
     "header.csv has no rows\n  where    header.csv\n  expected a header and at least one row\n"),
    (f"{TABLE}one.csv", "target 'Churn' has one class only: 'yes' in all 30 rows\n  where    data.target\n"
                        "  expected at least two classes\n"),
    (f"{TABLE}gaps.csv", "target 'Churn' is missing in 1 row: 4 (counted from 0)\n  where    data.target\n"
                         "  expected a value in every row\n  hint     remove these rows from the table\n"),
    (f"{TABLE}inf.csv", "column 'age' holds inf in row 6\n  where    column 'age'\n"
                        "  expected a finite number below 3.4e+38 in size\n  hint     rows are counted from 0\n"),
    (f"{TABLE}inf.csv data.target=age",
     "target 'age' is inf in row 6\n  where    data.target\n  expected a finite number in every row\n"),
    (f"{TABLE}three.csv data.target=age",
     "the val part is empty: 0.15 of 3 rows\n  where    the split\n"
     "  expected a row in each part; train 2 · val 0 · test 1\n"
     "  hint     more rows, or other data.val_share and data.test_share\n"),
    # arrays and datasets of the user's own
    (f"{MINE}hole", "2 rows of the inputs of vectors have numbers that are NaN or infinite\n"
                    "  where    data, rows 3, 8\n"
                    "  expected finite numbers\n"
                    "  hint     rows are counted from 0; leave them out, or fill them in\n"),
    (f"{MINE}infinite", "1 row of the inputs of vectors has numbers that are NaN or infinite\n  where    data, row 5\n"
                        "  expected finite numbers\n"
                    "  hint     rows are counted from 0; leave them out, or fill them in\n"),
    (f"{MINE}label", "label 3 of vectors is out of range\n  where    data, row 7\n"
                     "  expected an integer from 0 to 2\n"),
    (f"{MINE}'one class'", "every target of vectors is of one class (1)\n  where    data\n  expected at least two\n"),
    (f"{MINE}short", "vectors has 60 inputs and 59 targets\n  where    data\n"),
    (f"{MINE}empty", "vectors is empty\n  where    data\n"),
    (f"{DATASET}'nan'", "inputs has NaN or infinite values\n  where    data, sample 9\n  expected finite numbers\n"),
    (f"{DATASET}'inf'", "inputs has NaN or infinite values\n  where    data, sample 9\n  expected finite numbers\n"),
    (f"{DATASET}label", "label -1 of samples is out of range\n  where    data, row 7\n"
                        "  expected an integer from 0 to 2\n"),
    (f"{DATASET}'one class'",
     "every target of samples is of one class (1)\n  where    data\n  expected at least two\n"),
    (f"{DATASET}empty", "Samples is empty\n  where    data.train\n"),
    (f"{DATASET}triple", "a sample is a list of 3\n  where    data.train\n"
                         "  expected (inputs, target), or a dict with the target\n"),
    (f"{DATASET}few", "the val part is empty: 0.15 of 4 rows\n  where    the split\n"
                      "  expected a row in each part; train 3 · val 0 · test 1\n"
                      "  hint     more rows, or other data.val_share and data.test_share\n"),
    ("fit data=dataset", "data.train is not given\n  where    data.train\n  hint     data.train=…\n"),
    # splits and batches
    ("fit data.test_share=0.0001", "the test part is empty: 0.0001 of 1,797 rows\n  where    the split\n"
                                   "  expected a row in each part; train 1527 · val 270 · test 0\n"
                                   "  hint     more rows, or other data.val_share and data.test_share\n"),
    ("fit data.val_share=0.5 data.test_share=0.5",
     "data.val_share and data.test_share leave no rows to train on\n  where    data\n"
     "  expected a sum below 1, not 1\n"),
    ("fit data.batch_size=9999 data.drop_last=true",
     "1258 training samples make no whole batch of 9999\n  where    data.batch_size\n"),
    ("fit model=mlp model.norm=batch data.batch_size=1257",
     "BatchNorm would get a micro-batch of one sample\n  where    data.batch_size\n"
     "  expected larger micro-batches\n  hint     data.drop_last=true, or another data.batch_size\n"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "text"), CASES, ids=[command for command, _ in CASES])
def test_a_mistake_is_told_in_a_few_lines_and_leaves_nothing(
    refused: Callable[[str, str], None], command: str, text: str
) -> None:
    refused(command, text)

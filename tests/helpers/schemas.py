"""Small schemas of columns, and a column read by one."""

import math

import numpy as np

from torch_ref.encode import encode

NAN = math.nan
MISSING = [
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
]


def column(kind, **changes):
    settings = {
        "number": {"decimal": ".", "thousands": ""},
        "count": {"decimal": ".", "thousands": ""},
        "datetime": {"format": None, "zoned": False},
        "category": {"levels": ["a", "b"]},
    }
    return {"kind": kind, "name": "x", **settings.get(kind, {}), **changes}


def schema(*columns, marks=()):
    marks = list(marks)
    return {
        "schema_version": 3,
        "columns": list(columns),
        "left_out": [],
        "label": None,
        "missing": MISSING + marks,
        "marks": marks,
    }


def read(cells, kind, *, marks=(), **changes):
    """One column's codes or numbers."""
    return encode(schema(column(kind, **changes), marks=marks), {"x": cells})[:, 0].tolist()


def same(found, expected):
    np.testing.assert_array_equal(np.array(found), np.array(expected, float))

"""The scales of columns in PyTorch give what jaxrep gives, compiled and exported too."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

from jaxrep.data import Columns, fit
from jaxrep.data.columns import SCALES
from jaxrep.data.transform import drawn, scaled, to_raw, unscaled
from torch_ref.scaling import Scaling
from torch_ref.serving import RawRows

MAX = np.finfo(np.float64).max


def table():
    rng = np.random.default_rng(0)
    tail = rng.lognormal(0, 3, 3000)
    return pa.table(
        {
            "tail": tail,
            "zeros": np.where(rng.random(3000) < 0.5, 0.0, -tail),
            "tiny": 1e-9 * rng.normal(size=3000),
            "count": rng.integers(0, 30, 3000),
            "two": np.where(rng.random(3000) < 0.6, 2.0, 5.0),
            "born": rng.integers(10**9, 2 * 10**9, 3000),
            "huge": rng.choice([-1e150, 1e150, 0.0, 1.0], 3000),
            "job": rng.choice(["a", "b"], 3000),
        }
    )


def made(scale, **scales):
    """Returns numeric columns on a scale, their raw rows and others far off or missing."""
    schema = fit(lambda: [table()], source="x", columns=Columns(scale=scale, scales=scales)).schema
    raw = to_raw(schema, table(), source="x")[:, :-1]
    far = np.array([0.0, -5e-324, 1e-300, -1e-12, 1e12, -1e12, 1e200, -1e200, np.nan])
    raw = np.concatenate([raw, np.repeat(far[:, None], raw.shape[1], axis=1)])
    return schema.columns[:-1], raw


def features_of(columns, raw):
    return np.stack([scaled(c, x) for c, x in zip(columns, raw.T, strict=True)], axis=1)


def numbers_of(columns, features):
    return np.stack([unscaled(c, x) for c, x in zip(columns, features.T, strict=True)], axis=1)


def same(found, expected):
    """Says whether each column is the same in float64, relative to its largest number."""
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    # The large ones apart, which would hide the others.
    for is_large in (np.abs(expected) > 1e6, np.abs(expected) <= 1e6):
        for c in range(expected.shape[1]):
            ours, theirs = found[is_large[:, c], c], expected[is_large[:, c], c]
            size = np.abs(theirs).max(initial=0.0)
            assert np.abs(ours - theirs).max(initial=0.0) <= 1e-12 * size


class Inverse(nn.Module):
    def __init__(self, scaling):
        super().__init__()
        self.scaling = scaling

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        numbers: torch.Tensor = self.scaling.invert(features)
        return numbers


class Draw(Inverse):
    def forward(self, features: torch.Tensor) -> torch.Tensor:
        numbers: torch.Tensor = self.scaling.draw(features)
        return numbers


def plain(module, width):
    return lambda x: module(torch.from_numpy(x)).numpy()


def torchscript(module, width):
    return plain(torch.jit.script(module), width)


def exported(module, width):
    rows = torch.zeros(2, width, dtype=torch.float64)
    shapes = ({0: torch.export.Dim("batch")},)
    return torch.export.export(module, (rows,), dynamic_shapes=shapes)


def pt2(module, width):
    return plain(exported(module, width).module(), width)


def onnx(module, width):
    onnxruntime = pytest.importorskip("onnxruntime")
    program = torch.onnx.export(
        exported(module, width), input_names=["x"], opset_version=18, dynamo=True, verbose=False
    )
    session = onnxruntime.InferenceSession(
        program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return lambda x: session.run(None, {"x": x})[0]


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")
@pytest.mark.parametrize("form", [plain, torchscript, pt2, onnx])
def test_features_and_numbers_are_those_of_jaxrep(form):
    scales = {"tail": "log1p", "tiny": "log1p", "two": "robust", "born": "standard"}
    scales |= {"zeros": "spikes", "huge": "spikes"}
    columns, raw = made("quantile", **scales)
    twin = Scaling(plain_data(columns)).eval()
    features = features_of(columns, raw)
    same(form(twin, len(columns))(raw), features)
    numbers = numbers_of(columns, features)
    same(form(Inverse(twin), len(columns))(features), numbers)
    drawn_numbers = np.stack(
        [drawn(c, x) for c, x in zip(columns, features.T, strict=True)], axis=1
    )
    same(form(Draw(twin), len(columns))(features), drawn_numbers)


def plain_data(columns):
    from jaxrep.data.schema import Schema

    return Schema(tuple(columns)).to_json()["columns"]


@pytest.mark.parametrize("scale", SCALES)
def test_all_columns_may_be_on_one_scale(scale):
    columns, raw = made(scale)
    twin = Scaling(plain_data(columns))
    same(plain(twin, len(columns))(raw), features_of(columns, raw))


@pytest.mark.parametrize("kind", ["log1p", "quantile"])
def test_the_largest_numbers_are_finite(kind):
    knots = {"values": [-MAX, MAX], "scores": [-1.0, 1.0]} if kind == "quantile" else {}
    column = {"mean": 0.0, "scale": 1.0, "scaling": {"kind": kind, **knots}}
    x = torch.tensor([[-MAX], [-MAX / 3], [MAX / 3], [MAX]], dtype=torch.float64)
    back = Scaling([column]).invert(Scaling([column])(x))
    assert torch.allclose(back / MAX, x / MAX, rtol=0, atol=1e-12)


def test_kept_values_come_back_to_the_bit():
    columns, _ = made("quantile")
    for column, data in zip(columns, plain_data(columns), strict=True):
        twin = Scaling([data])
        kept = torch.tensor(column.scaling.values, dtype=torch.float64)[:, None]
        scores = torch.tensor(column.scaling.scores, dtype=torch.float64)[:, None]
        assert torch.equal(twin(kept), scores) and torch.equal(twin.invert(scores), kept)


def test_a_far_feature_is_the_largest_number_and_no_infinity():
    column = {"mean": 0.0, "scale": 1.0, "scaling": {"kind": "log1p"}}
    far = Scaling([column]).invert(torch.tensor([[1e30], [-1e30]], dtype=torch.float64))
    assert torch.isfinite(far).all() and (far.abs() > 1e308).all()


@pytest.mark.parametrize("scale", SCALES)
def test_served_rows_are_on_the_scales_of_their_columns(scale):
    columns = Columns(scale=scale, drop=("huge",))  # beyond float32
    schema = fit(lambda: [table()], source="x", columns=columns).schema
    raw = to_raw(schema, table(), source="x")
    rows = RawRows(schema.to_json()["columns"])
    batch = rows(torch.from_numpy(raw))
    expected = features_of(schema.columns[:-1], raw[:, :-1]).astype(np.float32)
    found = batch.numbers.numpy()
    size = np.abs(expected).max(axis=0)
    assert (np.abs(found - expected) <= 2.0**-23 * size).all()
    back = rows.invert(batch).numpy()
    same(back[:, :-1], numbers_of(schema.columns[:-1], found))
    np.testing.assert_array_equal(back[:, -1], raw[:, -1])

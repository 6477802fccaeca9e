"""The suites of pure functions: losses, views, optimisers."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrep.batch import MISSING, Batch, RowSpec
from jaxrep.methods import AnyMethod, hyperparameters_of, make, names
from jaxrep.parity import _oracles
from jaxrep.parity._check import Check
from jaxrep.parity._cross_check import Case, Reference
from jaxrep.parity._evaluate import Inputs, compiled
from jaxrep.parity._mixed import draw_rows
from jaxrep.parity._models import all_views, noise_in_jax, twin_of, twins

HALF = ("bfloat16", "float16")
ARGUMENTS = {
    "mse_loss": ("x", "x_hat"),
    "gaussian_kl": ("mu", "log_var"),
    "elbo_loss": ("x", "x_hat", "mu", "log_var"),
    "nt_xent_loss": ("z1", "z2"),
    "cross_entropy": ("logits", "classes"),
    "half_squared_error": ("prediction", "targets"),
}
SETTINGS: dict[str, list[dict[str, float]]] = {
    "mse_loss": [{}],
    "gaussian_kl": [{}],
    "elbo_loss": [{"beta": beta} for beta in (0.0, 1.0, 4.0)],
    "nt_xent_loss": [{"temperature": temperature} for temperature in (1.0, 0.5, 0.1, 0.01)],
    "cross_entropy": [{"label_smoothing": smoothing} for smoothing in (0.0, 0.1)],
    "half_squared_error": [{}],
}

OBSERVED = ("mse_loss", "elbo_loss")  # which may be told that cells are missing

# Every optimiser, and what a run may do to its steps.
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "Adam": {},
    "Adam with L2": {"weight_decay": 0.1},
    "AdamW": {"optimizer": "adamw", "weight_decay": 0.1},
    "Adam along a cosine": {"schedule": "cosine"},
    "AdamW, warmed up": {
        "optimizer": "adamw",
        "weight_decay": 0.1,
        "schedule": "warmup_cosine",
        "warmup_fraction": 0.3,
    },
    "Adam on clipped gradients": {"clip_norm": 1.0},
    "Adam with another β₂": {"beta2": 0.9},
}


def loss_cases(quick: bool) -> Iterator[Case]:
    """Yields every loss over shapes, row weights, settings, extreme inputs and dtypes."""
    for name, arguments in ARGUMENTS.items():
        ours, theirs = _looked_up("jaxrep.losses", name), _looked_up("torch_ref.losses", name)
        for case, inputs, dtypes in _loss_inputs(name, quick):
            for settings in SETTINGS[name]:
                told = [f"{key}={value:g}" for key, value in settings.items()]
                yield Case(
                    check=name,
                    case=", ".join([*told, case]),
                    jax_function=ours,
                    torch_function=theirs,
                    inputs=inputs | {key: np.float64(value) for key, value in settings.items()},
                    wanted=arguments,
                    dtypes=dtypes,
                    oracle=functools.partial(_apply, getattr(_oracles, name)),
                )
    yield from tiled_cases(quick)


def tiled_cases(quick: bool) -> Iterator[Case]:
    """Yields NT-Xent on tiles, some of them padded, with one shift and with running maxima."""
    tile = 10  # 17 rows are 34 embeddings: four blocks
    ours = functools.partial(_looked_up("jaxrep.nt_xent", "nt_xent"), tile=tile)
    theirs = functools.partial(_looked_up("torch_ref.nt_xent", "nt_xent"), tile=tile)
    plain = _draw("nt_xent_loss", 17, 8)
    extremes = {} if quick else _extremes("nt_xent_loss", 17, 8)
    for case, arrays in ({"B=17, D=8": plain} | extremes).items():
        for temperature in (0.5, 0.01):
            yield Case(
                check="nt_xent on tiles",
                case=f"temperature={temperature:g}, {case}, some weights 0",
                jax_function=ours,
                torch_function=theirs,
                inputs=arrays
                | _weightings(17)["some weights 0"]
                | {"temperature": np.float64(temperature)},
                wanted=ARGUMENTS["nt_xent_loss"],
                dtypes=("float64", "float32") if quick else ("float64", "float32", *HALF),
                oracle=functools.partial(_apply, _oracles.nt_xent_loss),
            )


def view_cases(quick: bool) -> Iterator[Case | Check]:
    """Yields the views on given noise, and what the noise that is drawn must be like."""
    for shape in ((17, 8),) if quick else ((1, 1), (17, 8), (2, 17, 8)):
        yield from _cases_of_views(shape, RowSpec(shape[-1]), f"shape {shape}")
        rows = RowSpec(shape[-1], (4, 3, 6), (True,) * shape[-1] + (True, False, True))
        yield from _cases_of_views(shape, rows, f"shape {shape}, with codes and gaps")
    yield from _noise_checks(quick)


def _cases_of_views(shape: tuple[int, ...], rows: RowSpec, case: str) -> Iterator[Case]:
    """Yields every view on rows, numbers of a shape."""
    rng = np.random.default_rng(0)
    leading, size = shape[:-1], int(np.prod(shape[:-1]))

    def draw(seed: int) -> Batch:
        drawn = draw_rows(rows, size, seed=seed)
        shaped: Batch = jax.tree.map(lambda array: array.reshape(*leading, array.shape[-1]), drawn)
        return shaped

    batch, other = draw(0), draw(1)
    chosen = rng.random(shape) > 0.3
    of_codes = None if batch.codes is None else rng.random(batch.codes.shape) > 0.3
    views: dict[str, Inputs] = {
        "add_noise": {"normal": rng.normal(size=shape), "noise_std": np.float64(0.1)},
        "drop_columns": {"keep": chosen, "keep_codes": of_codes},
        "replace_columns": {
            "replace": chosen,
            "values": other.numbers,
            "replace_codes": of_codes,
            "codes": other.codes,
        },
        "hide": {"numbers": chosen, "codes": of_codes},
        "replace_by_other": {"noise": {} if of_codes is None else {"other": of_codes}},
    }
    for name, noise in views.items():
        yield Case(
            check=name,
            case=case,
            jax_function=_looked_up("jaxrep.views", name),
            torch_function=_view_in_torch(name),
            inputs={"batch": batch, **noise},
            wanted=[argument for argument in ("batch", "values") if argument in ("batch", *noise)],
            oracle=_VIEW_ORACLES[name],
        )


def _view_in_torch(name: str) -> Any:
    """A view of the twin, which takes its own batches."""
    view = _looked_up("torch_ref.views", name)

    def function(*, batch: Any, **noise: Any) -> Any:
        import torch_ref.batch

        return view(batch=torch_ref.batch.Batch(*batch), **noise)

    return function


def optimizer_cases(quick: bool) -> Iterator[Case]:
    """Yields 1 and 100 steps of each optimiser on given gradients, from the same parameters."""
    for title, settings in OPTIMIZERS.items():
        method = make(hyperparameters_of(names()[0])(learning_rate=0.1, **settings))
        ours = functools.partial(_steps_in_jax, method)
        theirs = functools.partial(_steps_in_torch, twin_of(method))
        for steps in (1, 100):
            for seed in range(1 if quick else 5):
                yield Case(
                    check=f"{title}, {steps} step{'s' * (steps > 1)}",
                    case=f"seed {seed}",
                    jax_function=ours,
                    torch_function=theirs,
                    inputs=_draw_gradients(steps, seed, at_zero="weight_decay" not in settings),
                )


def _draw_gradients(steps: int, seed: int, *, at_zero: bool) -> Inputs:
    """Draws gradients of many sizes, and the parameters to start from.

    From zero, the parameters become the sum of the updates, and show what is wrong with these.
    """
    rng = np.random.default_rng(seed)
    inputs: Inputs = {"params": {}, "gradients": {}}
    for key, shape in {"kernel": (6, 4), "bias": (4,)}.items():
        size = 10.0 ** rng.uniform(-3, 1, shape)
        inputs["params"][key] = np.zeros(shape) if at_zero else rng.normal(size=shape)
        inputs["gradients"][key] = size * rng.normal(size=(steps, *shape))
    return inputs


def _loss_inputs(name: str, quick: bool) -> Iterator[tuple[str, Inputs, tuple[str, ...]]]:
    """Yields inputs with their description and the dtypes to compute them in."""
    wide = ("float64", "float32")
    shapes = ((1, 8), (17, 8)) if quick else ((1, 8), (2, 3), (17, 8), (64, 32))
    for rows, width in shapes:
        for weighting, weights in _weightings(rows).items():
            if quick and rows == 1 and not weights:
                continue
            inputs = _draw(name, rows, width) | weights
            half = HALF if rows == 17 and (weights or not quick) else ()
            yield f"B={rows}, D={width}, {weighting}", inputs, (*wide, *half)
            if name in OBSERVED and (weights or not quick):
                gaps = inputs | _with_gaps(inputs["x"])
                yield f"B={rows}, D={width}, {weighting}, cells missing", gaps, wide
    # At a shape from above: no new program.
    for extreme, inputs in _extremes(name, 17, 8).items():
        yield extreme, inputs, wide if quick else (*wide, *HALF)


def _with_gaps(x: np.ndarray) -> Inputs:
    """Returns rows with missing cells, and which are observed.

    In the first row, if it is not the only one, none is.
    """
    observed = np.random.default_rng(x.shape).random(x.shape) > 0.3
    observed[:1] = len(x) == 1
    return {"x": np.where(observed, x, np.nan), "observed": observed}


def _draw(name: str, rows: int, width: int, scale: float = 1.0) -> Inputs:
    rng = np.random.default_rng([rows, width])
    inputs: Inputs = {}
    for argument in ARGUMENTS[name]:
        if argument == "classes":
            inputs[argument] = rng.integers(0, width, rows, dtype=np.int32)
            continue
        if argument in ("prediction", "targets"):
            inputs[argument] = scale * rng.normal(size=rows)
            continue
        columns = 5 if name == "elbo_loss" and argument in ("mu", "log_var") else width
        inputs[argument] = scale * rng.normal(size=(rows, columns))
    return _normalized(inputs) if name == "nt_xent_loss" else inputs


def _normalized(inputs: Inputs) -> Inputs:
    return {name: z / np.linalg.norm(z, axis=1, keepdims=True) for name, z in inputs.items()}


def _weightings(rows: int) -> dict[str, Inputs]:
    fractions = np.random.default_rng(rows).integers(1, 9, rows) / 4
    fractions[1::3] = 0
    return {"no weights": {}, "some weights 0": {"weights": fractions}}


def _extremes(name: str, rows: int, width: int) -> dict[str, Inputs]:
    plain = _draw(name, rows, width)
    zero_rows = {key: x.copy() for key, x in plain.items()}
    for x in zero_rows.values():
        x[::2] = 0
    found = {
        "rows of zeros": zero_rows,
        "identical rows": {key: np.repeat(x[:1], rows, axis=0) for key, x in plain.items()},
        "all zeros": {key: np.zeros_like(x) for key, x in plain.items()},
    }
    if name in ("gaussian_kl", "elbo_loss"):
        return found | {"collapsed posterior": _draw(name, rows, width, scale=1e-3)}
    if name == "cross_entropy":
        return found | {"logits of 10⁴": plain | {"logits": 1e4 * np.sign(plain["logits"])}}
    return found


_DRAWN, _DRAWN_ROWS = RowSpec(32, (5, 7, 30)), 2048  # rows whose noise is drawn


def _noise_checks(quick: bool) -> Iterator[Check]:
    """Yields whether the twins draw the same tree of noise, of the right distribution."""
    for name in names():
        settings = {"other_rate": 0.1} | all_views(make(hyperparameters_of(name)()))
        ours, theirs = twins(name, ((64,), 8), **settings)
        batch = draw_rows(_DRAWN, _DRAWN_ROWS, seed=5)
        # Standardised, so that numbers taken from these rows have the moments of what is drawn.
        x = batch.numbers
        batch = batch._replace(numbers=((x - x.mean(0)) / x.std(0)).astype(np.float32))
        drawn = {"jax": _noise_in_jax(ours, batch, quick), "torch": _noise_in_torch(theirs, batch)}
        trees = [
            {key: (draws.shape, str(draws.dtype)) for key, draws in noise.items()}
            for noise in drawn.values()
        ]
        problem = "" if trees[0] == trees[1] else f"jax draws {trees[0]}, torch {trees[1]}"
        check = f"noise of {name}: names and shapes"
        yield Check(check, "", "float32", not problem, message=problem)
        codes = np.asarray(batch.codes, np.float64)
        for twin, noise in drawn.items():
            found = (_moments(key, draws, codes) for key, draws in noise.items())
            problem = "; ".join(filter(None, found))
            check = f"noise of {name}: distribution"
            yield Check(check, twin, "float32", not problem, message=problem)


def _noise_in_jax(method: AnyMethod, batch: Batch, quick: bool) -> dict[str, np.ndarray]:
    draw = compiled(lambda batch: noise_in_jax(method, jax.random.key(0), batch), light=quick)
    return _by_path(draw(jax.tree.map(jnp.asarray, batch)))


def _noise_in_torch(method: Any, batch: Batch) -> dict[str, np.ndarray]:
    import torch

    import torch_ref.batch
    import torch_ref.views

    numbers, codes = torch.from_numpy(batch.numbers), torch.from_numpy(batch.codes)
    rows = torch_ref.batch.Batch(numbers, codes)
    draws = torch_ref.views.Draws(torch.Generator().manual_seed(0), rows)
    return _by_path(method.noise(draws, rows))


def _by_path(noise: Any) -> dict[str, np.ndarray]:
    """Returns the arrays of noise by name; those of nested noise by names joined by dots."""
    return {
        ".".join(str(key.key) for key in path): np.asarray(draws)
        for path, draws in jax.tree_util.tree_flatten_with_path(noise)[0]
    }


# The share of True in what is drawn under the rates of `all_views`, and what is standard normal.
_SHARES = {"keep": 0.8, "scarf": 0.6, "swap": 0.3, "hide": 0.2}
_SHARES |= {f"{name}_codes": share for name, share in _SHARES.items()} | {"other": 0.1}
_NORMAL = ("eps", "normal", "scarf_values", "swap_values")
_CODES = ("scarf_code_values", "swap_code_values")


def _moments(name: str, draws: np.ndarray, codes: np.ndarray) -> str:
    """Says what is wrong with drawn noise, at six standard errors.

    Args:
        name: of the noise.
        draws: the noise.
        codes: of the background rows, whose moments the codes taken from them have.
    """
    values = draws.reshape(-1, draws.shape[-1]).astype(np.float64)
    error = 6 / values.size**0.5
    if not np.isfinite(values).all():
        return f"{name} is not finite"
    kind = name.rpartition(".")[2]
    if kind not in (*_SHARES, *_NORMAL, *_CODES):
        return ""  # of a method of another package: what it is to be is not known here
    if kind in _CODES:
        if unknown := [c for c in range(values.shape[1]) if set(values[:, c]) - set(codes[:, c])]:
            return f"{name} has values that column {unknown[0]} has not"
        values = (values - codes.mean(0)) / codes.std(0)
    mean, variance = 0.0, 1.0
    if kind in _SHARES:
        mean, variance = _SHARES[kind], _SHARES[kind] * (1 - _SHARES[kind])
    if abs(values.mean() - mean) > error * variance**0.5:
        return f"{name} has mean {values.mean():.4f}, not {mean}"
    if abs(values.var() - variance) > 2 * error * variance:
        return f"{name} has variance {values.var():.4f}, not {variance:.4f}"
    halves = np.split(values, 2)  # for SimCLR, the two views
    if not all(half.std() for half in halves):
        return f"{name} is constant"
    correlation = np.corrcoef(halves[0].ravel(), halves[1].ravel())[0, 1]
    if abs(correlation) > 2 * error:
        return f"{name} repeats itself between views or rows: correlation {correlation:.4f}"
    return ""


def _rows(numbers: Any, codes: Any) -> Reference:
    """Rows as an oracle has them."""
    arrays = {"value.numbers": numbers}
    return Reference(arrays if codes is None else arrays | {"value.codes": codes})


def _dropped(batch: Batch, keep: np.ndarray, keep_codes: Any) -> Reference:
    codes: Any = batch.codes
    if codes is not None:
        codes = np.where(keep_codes, codes, np.where(codes == MISSING, MISSING, 0))
    return _rows(np.array(batch.numbers) * keep, codes)


def _replaced(
    batch: Batch,
    replace: np.ndarray,
    values: np.ndarray,
    replace_codes: np.ndarray | None,
    codes: np.ndarray | None,
) -> Reference:
    numbers = np.array(batch.numbers)
    numbers[replace] = values[replace]
    made = None if batch.codes is None else np.array(batch.codes)
    if made is not None and codes is not None:
        made[replace_codes] = codes[replace_codes]
    return _rows(numbers, made)


def _hidden(batch: Batch, numbers: np.ndarray, codes: np.ndarray | None) -> Reference:
    made = None if batch.codes is None else np.array(batch.codes)
    if made is not None:
        made[codes] = MISSING
    return _rows(np.array(batch.numbers) + np.where(numbers, np.nan, 0), made)


def _other(batch: Batch, noise: dict[str, np.ndarray]) -> Reference:
    made = None if batch.codes is None else np.array(batch.codes)
    if made is not None:
        made[noise["other"] & (made != MISSING)] = 0
    return _rows(batch.numbers, made)


_VIEW_ORACLES = {
    "add_noise": lambda inputs: _rows(
        inputs["batch"].numbers + inputs["noise_std"] * inputs["normal"], inputs["batch"].codes
    ),
    "drop_columns": lambda inputs: _dropped(**inputs),
    "replace_columns": lambda inputs: _replaced(**inputs),
    "hide": lambda inputs: _hidden(**inputs),
    "replace_by_other": lambda inputs: _other(**inputs),
}


def _steps_in_jax(method: AnyMethod, *, params: Any, gradients: Any) -> Any:
    optimizer = method.optimizer(len(gradients["kernel"]))

    def step(carried: Any, gradient: Any) -> tuple[Any, None]:
        params, state = carried
        updates, state = optimizer.update(gradient, state, params)
        return (jax.tree.map(jnp.add, params, updates), state), None

    (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), gradients)
    return params


def _steps_in_torch(method: Any, *, params: Any, gradients: Any) -> Any:
    import torch

    parameters = {key: torch.nn.Parameter(array.clone()) for key, array in params.items()}
    steps = len(gradients["kernel"])
    optimizer = method.optimizer(steps)(parameters.items())
    for step in range(steps):
        for key, parameter in parameters.items():
            parameter.grad = gradients[key][step].clone()  # which clipping changes
        optimizer.step()
    return {key: parameter.detach() for key, parameter in parameters.items()}


def _looked_up(module: str, name: str) -> Any:
    """A function that looks its namesake up in a module when it is called."""
    import importlib

    def function(**inputs: Any) -> Any:
        return getattr(importlib.import_module(module), name)(**inputs)

    return function


def _apply(function: Any, inputs: Inputs) -> Reference:
    reference: Reference = function(**{str(name): array for name, array in inputs.items()})
    return reference

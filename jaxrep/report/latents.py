"""The report's parts on the latent space: which units a VAE uses, and what lies between rows."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from jaxrep.batch import Batch, take
from jaxrep.data.transform import invert
from jaxrep.report.content import Drawing, Paragraph, Part, Section, Table
from jaxrep.report.figures import blank, draw
from jaxrep.report.subject import Subject, posterior
from jaxrep.report.text import drawable

ACTIVE = 0.01  # variance of a unit's mean over the rows, above which it counts as active
STEPS = 7
_MAX_UNITS, _MAX_PAIRS, _MAX_COLUMNS = 64, 3, 8
_POSTERIOR_ROWS = 4096
_STRETCHED: Any = {"aspect": "auto", "interpolation": "nearest"}


def units(subject: Subject) -> Iterator[Section]:
    """Yields what each latent unit holds; nothing for a method without a posterior.

    References:
        Burda et al., Importance Weighted Autoencoders, 2016, whose activity A_u this is.
    """
    if not subject.has_posterior:
        return
    some = subject.mapped[:: -(-len(subject.mapped) // _POSTERIOR_ROWS)]
    mu, log_var = posterior(subject.run, take(subject.x, some))
    activity = mu.var(axis=0)
    with np.errstate(over="ignore"):  # of a row far from those trained on it may be infinite
        kl = 0.5 * (mu**2 + np.exp(log_var) - 1 - log_var).mean(axis=0)
    order = np.argsort(-kl, kind="stable")
    active = int((activity > ACTIVE).sum())
    told = f"{active} of {len(kl)} latent units are active"
    drawn = draw(
        lambda: _bars(kl[order], activity[order], order),
        "units",
        f"Bars of the KL divergence of {min(len(kl), _MAX_UNITS)} latent units. {told}.",
    )
    rows = [
        [f"z{u}", float(kl[u]), float(activity[u]), "yes" if activity[u] > ACTIVE else "no"]
        for u in order[:_MAX_UNITS]
    ]
    parts: list[Part] = [
        Drawing(drawn, f"{told}, over {len(some):,} rows; the largest KL divergence first."),
        Table("Latent units", ["unit", "KL in nats", "variance of μ", "active"], rows),
        Paragraph(
            f"A unit is active if its mean μ varies by more than {ACTIVE} over the rows (Burda et "
            "al. 2016). A unit that is not tells nothing of a row: a smaller β, or a smaller "
            "--latent-dim, may serve better."
        ),
    ]
    yield Section("units", "Latent units", parts)


def interpolations(subject: Subject) -> Iterator[Section]:
    """Yields the rows between pairs of rows; nothing for a method without a decoder."""
    if not subject.has_decoder or subject.count < 2:
        return
    share = np.linspace(0, 1, STEPS, dtype=np.float32)[:, None]
    pairs = _pairs(subject)
    z = subject.run.map("embed", take(subject.x, np.array(pairs).ravel()))
    ends = z.reshape(len(pairs), 2, -1)
    paths = [subject.run.map("decode", (1 - share) * one + share * two) for one, two in ends]
    names = [f"rows {i} and {j}" + _labels(subject, i, j) for i, j in pairs]
    drawn = draw(
        lambda: _images(paths, names),
        "interpolations",
        f"Images of the features of {STEPS} rows each between {', '.join(names)}.",
    )
    parts: list[Part] = [
        Drawing(
            drawn,
            "Rows decoded along the straight line between two codes, from the one (top) to the "
            "other (bottom). Left numbers, in standardised units: blue is below the mean, red "
            "above. Right categories: another colour is another level.",
        ),
        _table(subject, paths[0], f"Between {names[0]}, in the table's units"),
        Paragraph("Both ends are the rows' reconstructions."),
    ]
    yield Section("interpolations", "Interpolations", parts)


def _pairs(subject: Subject) -> list[tuple[int, int]]:
    """Returns pairs of usual rows: of different labels, or else far apart in the embedding."""
    scores = subject.scores
    if subject.labels is not None:
        usual = []
        for label in np.unique(subject.labels)[: _MAX_PAIRS + 1]:
            rows = np.flatnonzero(subject.labels == label)
            usual.append(int(rows[np.argsort(scores[rows], kind="stable")[len(rows) // 4]]))
        if len(usual) > 1:
            return [(usual[0], other) for other in usual[1:]]
    half = np.argsort(scores[subject.mapped], kind="stable")[: max(len(subject.mapped) // 2, 2)]
    z = subject.z[half] - subject.z[half].mean(axis=0)
    axes = np.linalg.svd(z, full_matrices=False)[2][:_MAX_PAIRS]
    numbers = subject.mapped[half]
    ends = [(int(numbers[(z @ a).argmin()]), int(numbers[(z @ a).argmax()])) for a in axes]
    return [pair for pair in dict.fromkeys(ends) if pair[0] != pair[1]] or [
        (int(numbers[0]), int(numbers[1]))
    ]


def _labels(subject: Subject, i: int, j: int) -> str:
    if subject.labels is None:
        return ""
    return f" ({subject.labels[i]} and {subject.labels[j]})"


def _table(subject: Subject, between: Batch, caption: str) -> Table:
    """Lays the steps out, with the columns that change most in standardised units."""
    changes: list[Any] = [np.abs(between.numbers[-1] - between.numbers[0])]
    if between.codes is not None:
        changes.append(between.codes[-1] != between.codes[0])
    schema = subject.run.schema
    names = [schema.names[i] for i in schema.column_order]
    change = dict(zip(names, np.concatenate(changes).tolist(), strict=True))
    table = invert(schema, between)
    shown = sorted(change, key=lambda name: -change[name])[:_MAX_COLUMNS]
    rows = [[f"{i}/{STEPS - 1}", *(table[name][i].as_py() for name in shown)] for i in range(STEPS)]
    if len(change) > len(shown):
        caption += f"; the {len(shown)} columns that change most"
    return Table(caption, ["step", *shown], rows)


def _bars(kl: np.ndarray, activity: np.ndarray, order: np.ndarray) -> Figure:
    kl, activity, order = kl[:_MAX_UNITS], activity[:_MAX_UNITS], order[:_MAX_UNITS]
    made, (axes,) = blank(2.8)
    places = np.arange(len(kl))
    kl = np.where(np.isfinite(kl), kl, np.nan)  # which has no bar
    is_active = activity > ACTIVE
    for mask, colour, label in (
        (is_active, "#1f77b4", "active"),
        (~is_active, "#d62728", "not active"),
    ):
        if mask.any():
            axes.bar(places[mask], kl[mask], color=colour, label=label)
    every = -(-len(kl) // 16)
    axes.set_xticks(places[::every], [f"z{u}" for u in order[::every]])
    axes.set(ylabel="KL in nats, mean over rows")
    axes.legend(frameon=False)
    return made


def _images(paths: Sequence[Batch], names: Sequence[str]) -> Figure:
    """Draws the numbers of each path beside its categories, as far as there are any."""
    numbers = paths[0].numbers.shape[1]
    categories = 0 if paths[0].codes is None else paths[0].codes.shape[1]
    widths = [max(n, 0.2 * (numbers + categories)) for n in (numbers, categories) if n]
    made, axes = blank(1.35 * len(paths) + 0.3, len(paths), len(widths), width_ratios=widths)
    for i, (path, name) in enumerate(zip(paths, names, strict=True)):
        panels = axes[i * len(widths) : (i + 1) * len(widths)]
        if numbers:
            panels[0].imshow(path.numbers, cmap="RdBu_r", vmin=-2.5, vmax=2.5, **_STRETCHED)
        if path.codes is not None:
            turns = _turns(np.asarray(path.codes))
            panels[-1].imshow(turns, cmap="tab10", vmin=0, vmax=9, **_STRETCHED)
        panels[0].set_title(drawable(name, 60), fontsize=9, loc="left")
        for panel in panels:
            panel.set_yticks([0, STEPS - 1], ["0", "1"])
    if numbers:
        panels[0].set_xlabel("number")
    if categories:
        panels[-1].set_xlabel("category")
    return made


def _turns(codes: np.ndarray) -> np.ndarray:
    """Returns for each code how many others of its column came before it on the path.

    Example:
        >>> _turns(np.array([[5], [5], [2], [5]])).T
        array([[0, 0, 1, 0]])
    """
    found = np.empty(codes.shape, int)
    for column, turns in zip(codes.T, found.T, strict=True):
        order: dict[int, int] = {}
        turns[:] = [order.setdefault(code, len(order)) for code in column.tolist()]
    return found

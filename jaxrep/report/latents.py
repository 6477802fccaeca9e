"""The report's parts on the latent space: which units a VAE uses, and what lies between rows."""

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.figure import Figure

from jaxrep.data.schema import NumericColumn
from jaxrep.data.transform import from_raw, scaled, to_values
from jaxrep.report.content import Drawing, Paragraph, Part, Section, Table
from jaxrep.report.figures import blank, draw
from jaxrep.report.subject import Subject, posterior
from jaxrep.report.text import drawable

ACTIVE = 0.01  # variance of a unit's mean over the rows, above which it counts as active
STEPS = 7
_MAX_UNITS, _MAX_PAIRS, _MAX_COLUMNS = 64, 3, 8
_POSTERIOR_ROWS = 4096


def units(subject: Subject) -> Iterator[Section]:
    """Yields what each latent unit holds; nothing for a method without a posterior.

    References:
        Burda et al., Importance Weighted Autoencoders, 2016, whose activity A_u this is.
    """
    if not subject.has_posterior:
        return
    some = subject.x[subject.mapped][:: -(-len(subject.mapped) // _POSTERIOR_ROWS)]
    mu, log_var = posterior(subject.run, some)
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
    if not subject.has_decoder or len(subject.x) < 2:
        return
    share = np.linspace(0, 1, STEPS, dtype=np.float32)[:, None]
    pairs = _pairs(subject)
    codes = subject.run.map("embed", subject.x[np.array(pairs)].reshape(2 * len(pairs), -1))
    ends = codes.reshape(len(pairs), 2, -1)
    paths = [subject.run.map("decode", (1 - share) * one + share * two) for one, two in ends]
    names = [f"rows {i} and {j}" + _labels(subject, i, j) for i, j in pairs]
    drawn = draw(
        lambda: _images(paths, names),
        "interpolations",
        f"Images of the features of {STEPS} rows each between {', '.join(names)}.",
    )
    between = to_values(subject.run.schema, paths[0])
    parts: list[Part] = [
        Drawing(
            drawn,
            "Rows decoded along the straight line between two codes, from the one (top) to the "
            "other (bottom), feature by feature in standardised units: blue is below the mean, red "
            "above.",
        ),
        _table(subject, between, f"Between {names[0]}, in the table's units"),
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


def _table(subject: Subject, between: np.ndarray, caption: str) -> Table:
    """Lays the steps out, with the columns that change most in standardised units."""
    change: dict[str, float] = {}
    for column, values in zip(subject.run.schema.columns, between.T, strict=True):
        first, last = np.nan_to_num(values[[0, -1]], nan=-1)
        if isinstance(column, NumericColumn):
            first, last = scaled(column, [first, last])
            change[column.name] = abs(last - first)
        else:
            change[column.name] = float(last != first)
    table = from_raw(subject.run.schema, between)
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


def _images(paths: Sequence[np.ndarray], names: Sequence[str]) -> Figure:
    made, axes = blank(1.35 * len(paths) + 0.3, len(paths), 1)
    for path, name, panel in zip(paths, names, axes, strict=True):
        panel.imshow(
            path, aspect="auto", cmap="RdBu_r", vmin=-2.5, vmax=2.5, interpolation="nearest"
        )
        panel.set_title(drawable(name, 60), fontsize=9)
        panel.set_yticks([0, STEPS - 1], ["0", "1"])
    axes[-1].set(xlabel="feature")
    return made

"""The likelihood of whole rows: a term for each column, by the likelihood that it has."""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from torch_ref.batch import Batch, RowSpec
from torch_ref.likelihoods import bernoulli, categorical, gaussian, poisson, squared
from torch_ref.networks import EMBEDDING_DIM, RowLayout, Tables

_NAMES = ("squared", "gaussian", "bernoulli", "poisson")
_NATURAL = ("bernoulli", "poisson")  # whose numbers count in their own units


class RowLikelihood(nn.Module):
    """−log p of rows by column, and the rows that a decoder's outputs stand for.

    Numbers have the likelihoods that `rows` names, codes the categorical one. What a Bernoulli or
    Poisson likelihood compares is a number in its own units, x · scale + mean.

    Args:
        rows: what every row holds.

    Raises:
        ValueError: it names a likelihood that there is not.

    Example:
        >>> rows = RowSpec(numbers=1, levels=(3,), gaps=(True, False))
        >>> batch = Batch(torch.tensor([[2.0], [torch.nan]]), torch.tensor([[1], [2]]))
        >>> outputs = torch.tensor([[1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 9.0, 0.0]])
        >>> likelihood, embeddings = RowLikelihood(rows), Tables([], [])
        >>> print(likelihood.terms(batch, outputs, embeddings).round(decimals=2))
        tensor([[1.0000, 1.1000],
                [0.0000, 9.0000]])
        >>> print(likelihood.expectation(outputs, embeddings).codes.T)
        tensor([[1, 1]], dtype=torch.int32)
    """

    if TYPE_CHECKING:  # TorchScript takes them as what they are: one that may be None is no weight
        log_var: Tensor | None
        mean: Tensor | None
        scale: Tensor | None
    squared: list[int]
    gaussian: list[int]
    bernoulli: list[int]
    poisson: list[int]
    natural: list[int]
    natural_bernoulli: list[int]
    natural_poisson: list[int]
    order: list[int]
    levels: list[int]
    starts: list[int]
    tables: list[int]

    def __init__(self, rows: RowSpec):
        super().__init__()
        names = rows.number_likelihoods
        if unknown := [name for name in names if name not in _NAMES]:
            raise ValueError(f"no likelihood {unknown[0]!r:.40}; there are {', '.join(_NAMES)}")
        places = [[i for i, name in enumerate(names) if name == kind] for kind in _NAMES]
        self.squared, self.gaussian, self.bernoulli, self.poisson = places
        self.natural = list(natural_numbers(rows))
        self.natural_bernoulli = [self.natural.index(i) for i in self.bernoulli]
        self.natural_poisson = [self.natural.index(i) for i in self.poisson]
        grouped = [i for group in places for i in group]
        self.order = sorted(range(rows.numbers), key=grouped.__getitem__)
        self.numbers, self.has_gaps = rows.numbers, any(rows.gaps)

        layout = RowLayout(rows)
        self.levels = list(rows.levels)
        starts = dict(zip(layout.narrow, layout.logits, strict=False))
        starts |= {c: layout.logits[-1] + EMBEDDING_DIM * i for i, c in enumerate(layout.wide)}
        self.query = EMBEDDING_DIM
        self.starts = [starts[c] for c in range(rows.codes)]
        self.tables = [layout.wide.index(c) if c in layout.wide else -1 for c in range(rows.codes)]

        learned, natural = len(self.gaussian), len(self.natural)
        log_var = nn.Parameter(torch.zeros(learned)) if learned else None
        self.register_parameter("log_var", log_var)
        self.register_buffer("mean", torch.zeros(natural) if natural else None)
        self.register_buffer("scale", torch.ones(natural) if natural else None)

    def observed(self, batch: Batch) -> Tensor | None:
        """Returns which cells of rows are not missing, `[B, D + C]`; None where none can be."""
        if not self.has_gaps:
            return None
        found = ~torch.isnan(batch.numbers)
        codes = batch.codes
        return found if codes is None else torch.cat([found, codes >= 0], dim=1)

    def terms(self, batch: Batch, outputs: Tensor, embeddings: Tables) -> Tensor:
        """Returns −log p of every cell, in nats, `[B, D + C]`; 0 where it is missing.

        Args:
            batch: rows.
            outputs: of the decoder, `[B, outputs]`.
            embeddings: of the wide codes.

        Returns:
            At least float32; a missing cell has no gradient.
        """
        outputs = outputs if outputs.dtype == torch.float64 else outputs.float()
        parts: list[Tensor] = []
        if self.numbers > 0:
            x = batch.numbers.to(outputs.dtype)
            parts.append(self._number_terms(x, outputs[:, : self.numbers]))
        codes = batch.codes
        if codes is not None:
            for c in range(len(self.levels)):
                parts.append(self._code_terms(codes[:, c], c, outputs, embeddings)[:, None])
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]

    def expectation(self, outputs: Tensor, embeddings: Tables) -> Batch:
        """Returns the rows that outputs stand for: means, scaled, and the likeliest levels.

        Args:
            outputs: of the decoder, `[B, outputs]`.
            embeddings: of the wide codes.
        """
        numbers = self.means(outputs[:, : self.numbers])
        if len(self.levels) == 0:
            return Batch(numbers, None, None, None)
        codes: list[Tensor] = []
        for c, table in enumerate(self.tables):
            own = self._outputs_of(c, outputs)
            if table < 0:
                codes.append(categorical.expectation(own))
            else:
                tables, biases = embeddings.tables, embeddings.biases
                codes.append(categorical.tied_expectation(own, tables[table], biases[table]))
        return Batch(numbers, torch.stack(codes, dim=1), None, None)

    def draw(self, outputs: Tensor, normal: Tensor, embeddings: Tables) -> Batch:
        """Returns rows drawn from the likelihoods that outputs stand for: scaled numbers, levels.

        Args:
            outputs: of the decoder, `[B, outputs]`.
            normal: draws from N(0, 1), one for each cell, `[B, D + C]`.
            embeddings: of the wide codes.
        """
        numbers = self._draw_numbers(outputs[:, : self.numbers], normal[:, : self.numbers])
        if len(self.levels) == 0:
            return Batch(numbers, None, None, None)
        codes: list[Tensor] = []
        for c, table in enumerate(self.tables):
            logits, own = self._outputs_of(c, outputs), normal[:, self.numbers + c]
            if table >= 0:
                logits = logits @ embeddings.tables[table][: self.levels[c]].t()
                logits = logits + embeddings.biases[table]
            codes.append(categorical.draw(logits, own))
        return Batch(numbers, torch.stack(codes, dim=1), None, None)

    def _draw_numbers(self, outputs: Tensor, normal: Tensor) -> Tensor:
        own = _chosen(normal, self.squared)
        parts = [squared.draw(_chosen(outputs, self.squared), own)]
        log_var, mean, scale = self.log_var, self.mean, self.scale
        if log_var is not None:
            made, own = _chosen(outputs, self.gaussian), _chosen(normal, self.gaussian)
            parts.append(gaussian.draw(made, log_var, own))
        if mean is not None and scale is not None:
            made, own = _chosen(outputs, self.bernoulli), _chosen(normal, self.bernoulli)
            of_booleans = bernoulli.draw(made, own)
            made, own = _chosen(outputs, self.poisson), _chosen(normal, self.poisson)
            natural = torch.cat([of_booleans, poisson.draw(made, own)], dim=1)
            at = self.natural_bernoulli + self.natural_poisson
            natural = natural - _chosen(mean[None, :], at)
            parts.append(natural / _chosen(scale[None, :], at))
        return _chosen(torch.cat(parts, dim=1), self.order)

    def log_constant(self, batch: Batch) -> Tensor:
        """Returns what the terms of rows leave out of −log p, `[B]`: ½ log π of a squared error."""
        observed = ~torch.isnan(_chosen(batch.numbers, self.squared))
        return 0.5 * math.log(math.pi) * observed.sum(dim=1)

    def _number_terms(self, x: Tensor, outputs: Tensor) -> Tensor:
        is_missing = torch.isnan(x)
        if self.has_gaps:  # chosen before the term and after it: a missing cell has no gradient
            x, outputs = x.masked_fill(is_missing, 0.0), outputs.masked_fill(is_missing, 0.0)
        if len(self.squared) == self.numbers:
            found = squared.terms(x, outputs)
        else:
            found = self._terms_by_likelihood(x, outputs)
        return found.masked_fill(is_missing, 0.0) if self.has_gaps else found

    def _terms_by_likelihood(self, x: Tensor, outputs: Tensor) -> Tensor:
        parts = [squared.terms(_chosen(x, self.squared), _chosen(outputs, self.squared))]
        log_var, mean, scale = self.log_var, self.mean, self.scale
        if log_var is not None:
            own, made = _chosen(x, self.gaussian), _chosen(outputs, self.gaussian)
            parts.append(gaussian.terms(own, made, log_var))
        if mean is not None and scale is not None:
            natural = torch.round(_chosen(x, self.natural) * scale + mean).clamp_min(0.0)
            made = _chosen(outputs, self.bernoulli)
            # A number may stand in a column of booleans.
            booleans = _chosen(natural, self.natural_bernoulli).clamp_max(1.0)
            parts.append(bernoulli.terms(booleans, made))
            made = _chosen(outputs, self.poisson)
            parts.append(poisson.terms(_chosen(natural, self.natural_poisson), made))
        return _chosen(torch.cat(parts, dim=1), self.order)

    def means(self, outputs: Tensor) -> Tensor:
        """Returns the numbers that the decoder's outputs for them stand for, scaled, `[B, D]`."""
        mean, scale = self.mean, self.scale
        if mean is None or scale is None:
            return outputs
        plain = _chosen(outputs, self.squared + self.gaussian)
        p = bernoulli.expectation(_chosen(outputs, self.bernoulli))
        rate = poisson.expectation(_chosen(outputs, self.poisson))
        at = self.natural_bernoulli + self.natural_poisson
        natural = torch.cat([p, rate], dim=1)
        scaled = (natural - _chosen(mean[None, :], at)) / _chosen(scale[None, :], at)
        return _chosen(torch.cat([plain, scaled], dim=1), self.order)

    def _code_terms(self, codes: Tensor, c: int, outputs: Tensor, embeddings: Tables) -> Tensor:
        own, table = self._outputs_of(c, outputs), self.tables[c]
        known = codes.clamp_min(0) if self.has_gaps else codes
        if table < 0:
            found = categorical.terms(known, own)
        else:
            tables, biases = embeddings.tables, embeddings.biases
            found = categorical.tied_terms(known, own, tables[table], biases[table])
        return found.masked_fill(codes < 0, 0.0) if self.has_gaps else found

    def _outputs_of(self, c: int, outputs: Tensor) -> Tensor:
        """Returns the logits of a code `[B, K]`, of a wide one the query `[B, 16]`."""
        width = self.levels[c] if self.tables[c] < 0 else self.query
        return outputs[:, self.starts[c] : self.starts[c] + width]


def natural_numbers(rows: RowSpec) -> tuple[int, ...]:
    """Returns the numbers whose likelihood takes them in their own units.

    Example:
        >>> natural_numbers(RowSpec(3, likelihoods=("squared", "poisson", "bernoulli")))
        (1, 2)
    """
    return tuple(i for i, name in enumerate(rows.number_likelihoods) if name in _NATURAL)


def _chosen(x: Tensor, columns: list[int]) -> Tensor:
    return x.index_select(1, torch.tensor(columns, dtype=torch.int64, device=x.device))

"""The losses of rows with codes and gaps: what is observed counts, and nothing else does."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxrep import likelihoods, losses
from jaxrep.batch import MISSING, Batch, RowSpec, take
from jaxrep.likelihoods import RowLikelihood
from jaxrep.likelihoods import _rows as likelihood_rows
from jaxrep.methods import abstract_network, training_network
from jaxrep.networks import EMBEDDING_DIM, WIDE, Embeddings, RowLayout, get_weights, with_weights
from jaxrep.parity._models import draw_weights
from jaxrep.training import fit
from jaxrep.views import Draws, resolve
from tests.helpers import oracles
from tests.helpers.small import MIXED, make, mixed
from tests.helpers.twins import normwise_error

LIKELIHOODS = ("squared", "gaussian", "bernoulli", "poisson")
# Every likelihood twice, once with gaps; narrow codes, of which neighbours have as many levels, and
# wide ones, between them.
ALL = RowSpec(
    8,
    (3, 3, WIDE + 1, 4, WIDE + 3),
    (True, False) * 4 + (True, False, True, True, False),
    tuple(name for name in LIKELIHOODS for _ in range(2)),
)
RECONSTRUCTING = ("autoencoder", "vae")


def draw(spec, rows=10, seed=0):
    """Rows in float64; numbers in their own units are whole where their likelihood takes these."""
    batch, rng = mixed(rows, seed, spec), np.random.default_rng([seed, 1])
    numbers = batch.numbers.astype(np.float64)
    for i, name in enumerate(spec.number_likelihoods):
        if name in ("bernoulli", "poisson"):  # under a mean of 0 and a scale of 1
            counts = rng.integers(0, 2 if name == "bernoulli" else 6, rows)
            numbers[:, i] = np.where(np.isnan(numbers[:, i]), np.nan, counts)
    return Batch(numbers, batch.codes)


def trained_size(method, spec):
    """Weights of a trained network's size, in float64."""
    weights = draw_weights(method, spec)
    fixed = {"likelihood.mean": np.zeros, "likelihood.scale": np.ones}
    return {
        name: fixed[name](array.shape) if name in fixed else array
        for name, array in weights.items()
    }


def noise_of(method, batch):
    batch = jax.tree.map(jnp.asarray, batch)
    return resolve(method.noise(Draws(jax.random.key(0), batch), batch))


def evaluate(method, spec, weights, batch, noise):
    """The loss with its metrics, and its gradient by weights and numbers."""
    network = training_network(method, spec)

    def loss(trained, numbers):
        made = with_weights(network, weights | trained)
        value, metrics = method.loss(made, batch._replace(numbers=numbers), noise)
        return value, {"loss": value, **metrics}

    given = {name: weights[name] for name in get_weights(network, nnx.Param)}
    compute = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))
    (of_weights, of_numbers), metrics = compute(given, batch.numbers)
    return metrics, of_weights, of_numbers


def assert_equal(found, expected, *, within=1e-12):
    """Compares metrics and gradients by weights."""
    for a, b in zip(found[:2], expected[:2], strict=True):
        assert a.keys() == b.keys()
        for name, array in b.items():
            assert normwise_error(np.asarray(a[name]), np.asarray(array)) <= within, name


def of_a_number(name, x, out, log_var):
    """−log p of a number under the likelihood of a name."""
    if name == "gaussian":
        return 0.5 * (math.log(2 * math.pi) + log_var + (x - out) ** 2 / math.exp(log_var))
    if name == "bernoulli":
        return math.log(1 + math.exp(-out if x else out))
    if name == "poisson":
        return math.exp(out) - x * out + math.lgamma(x + 1)
    return (x - out) ** 2


def terms_of(spec, batch, outputs, log_var, tables):
    """−log p of every cell, one by one; 0 where it is missing."""
    found = np.zeros((len(batch.numbers), spec.columns))
    starts = iter(np.cumsum([spec.numbers, *(n for n in spec.levels if n <= WIDE)]))
    queries = iter(
        range(RowLayout(spec).outputs - EMBEDDING_DIM * len(tables), 10**6, EMBEDDING_DIM)
    )
    tables, log_var = iter(tables), iter(log_var)
    for j, name in enumerate(spec.number_likelihoods):
        own = next(log_var) if name == "gaussian" else 0.0
        for i, (x, out) in enumerate(zip(batch.numbers[:, j], outputs[:, j], strict=True)):
            if not math.isnan(x):
                found[i, j] = of_a_number(name, float(x), float(out), float(own))
    for c, levels in enumerate(spec.levels):
        if levels > WIDE:
            start = next(queries)
            table, bias = next(tables)
            logits = outputs[:, start : start + EMBEDDING_DIM] @ table[:levels].T + bias
        else:
            start = next(starts)
            logits = outputs[:, start : start + levels]
        for i, code in enumerate(batch.codes[:, c]):
            if code != MISSING:
                p = np.exp(logits[i] - logits[i].max())
                found[i, spec.numbers + c] = -math.log(p[code] / math.fsum(p))
    return found


def decoded(name, weights, network, batch, noise):
    """The decoder's outputs, and the posterior where there is one."""
    made = with_weights(network, weights)
    if name == "autoencoder":
        return np.asarray(made.decoder(made.embed(batch))), None
    z, mu, log_var = made.sample(batch, noise["eps"])
    return np.asarray(made.decoder(z)), (np.asarray(mu), np.asarray(log_var))


@pytest.mark.parametrize("name", RECONSTRUCTING)
def test_losses_are_means_of_observed_columns_in_the_autoencoder_and_sums_in_the_vae(name, x64):
    method, batch = make(name, other_rate=0.0), draw(ALL)
    weights, row_weights = trained_size(method, ALL), np.linspace(0.5, 2, len(batch.numbers))
    batch = batch._replace(weights=row_weights)
    noise = noise_of(method, batch)
    network = abstract_network(method, ALL)
    outputs, posterior = decoded(name, weights, network, batch, noise)
    tables = [(weights[f"embeddings.{i}.table"], weights[f"embeddings.{i}.bias"]) for i in range(2)]
    terms = terms_of(ALL, batch, outputs, weights["likelihood.log_var"], tables)
    observed = np.concatenate([~np.isnan(batch.numbers), batch.codes >= 0], axis=1)
    assert 0 < observed.mean() < 1 and ((terms != 0) <= observed).all()
    metrics, _, _ = evaluate(method, ALL, weights, batch, noise)
    if posterior is None:
        expected = oracles.weighted_mean(terms.sum(axis=1) / observed.sum(axis=1), row_weights)
    else:
        expected = oracles.weighted_mean(terms.sum(axis=1), row_weights)
        assert float(metrics["reconstruction"]) == pytest.approx(expected, rel=1e-12)
        expected += oracles.gaussian_kl(*posterior, weights=row_weights)
    assert float(metrics["loss"]) == pytest.approx(expected, rel=1e-12)
    served = with_weights(network, weights)
    if name == "autoencoder":
        np.testing.assert_allclose(served.score_by_column(batch), terms, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(
            served.score(batch), terms.sum(axis=1) / observed.sum(axis=1), rtol=1e-12
        )


def outputs_of(layout, column):
    """Where a column's outputs stand."""
    spec = layout.rows
    if column < spec.numbers:
        return [column]
    code = column - spec.numbers
    if code in layout.narrow:
        place = layout.narrow.index(code)
        return list(range(layout.logits[place], layout.logits[place + 1]))
    start = layout.logits[-1] + EMBEDDING_DIM * layout.wide.index(code)
    return list(range(start, start + EMBEDDING_DIM))


def test_an_unobserved_cell_has_no_gradient_and_what_is_decoded_there_does_not_count(x64):
    spec, rng = ALL.with_gaps(), np.random.default_rng(0)
    batch, layout = draw(spec, rows=12), RowLayout(spec)
    likelihood = RowLikelihood(spec)
    embeddings = with_float64(Embeddings(spec, rngs=nnx.Rngs(0)))
    outputs = rng.normal(size=(12, layout.outputs))
    slope = rng.normal(size=(12, spec.columns))
    observed = np.asarray(likelihood.observed(batch))

    @jax.jit
    def value_and_gradients(outputs, log_var, tables):
        def weighted(outputs, log_var, tables):
            made = with_weights(likelihood, {"log_var": log_var})
            terms = made.terms(batch, outputs, with_weights(embeddings, tables))
            return jnp.sum(slope * terms), terms

        return jax.value_and_grad(weighted, argnums=(0, 1, 2), has_aux=True)(
            outputs, log_var, tables
        )

    others = jnp.full(2, 0.3), get_weights(embeddings)
    (_, terms), gradients = value_and_gradients(outputs, *others)
    is_hidden = np.zeros(outputs.shape, bool)
    for column in range(spec.columns):
        at = outputs_of(layout, column)
        is_hidden[:, at] = ~observed[:, [column]]
        assert (np.asarray(terms)[:, column] != 0).tolist() == observed[:, column].tolist()
        # All likelihoods, narrow and wide codes: a gradient where it is observed.
        assert (gradients[0][observed[:, column]][:, at] != 0).any(axis=1).all(), column
    assert (gradients[0][is_hidden] == 0).all()
    is_number = np.arange(layout.outputs)[None, :] < spec.numbers
    for other in (1e300, -1e300, np.nan, np.inf):
        hidden = is_hidden if np.isfinite(other) else is_hidden & is_number
        found = value_and_gradients(np.where(hidden, other, outputs), *others)
        for a, b in zip(
            jax.tree.leaves(found), jax.tree.leaves(((_, terms), gradients)), strict=True
        ):
            np.testing.assert_array_equal(a, b, err_msg=str(other))


def with_float64(network):
    return with_weights(
        network, {name: array.astype("float64") for name, array in get_weights(network).items()}
    )


@pytest.mark.parametrize("name", ["autoencoder", "vae", "simclr"])
def test_a_missing_number_has_no_gradient_and_which_nan_it_is_changes_no_bit(name, x64):
    method = make(name)
    weights, batch = trained_size(method, MIXED), draw(MIXED)
    noise = noise_of(method, batch)
    metrics, of_weights, of_numbers = evaluate(method, MIXED, weights, batch, noise)
    is_missing = np.isnan(batch.numbers)
    assert is_missing.any()
    assert (of_numbers[is_missing] == 0).all()
    for array in (*metrics.values(), *of_weights.values(), of_numbers):
        assert np.isfinite(array).all()
    negative = np.where(is_missing, -np.float64("nan"), batch.numbers)
    again = evaluate(method, MIXED, weights, batch._replace(numbers=negative), noise)
    for a, b in zip(
        jax.tree.leaves(again), jax.tree.leaves((metrics, of_weights, of_numbers)), strict=True
    ):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("row_weights", [None, "some"])
@pytest.mark.parametrize("name", RECONSTRUCTING)
def test_a_row_of_which_nothing_is_observed_counts_for_nothing(name, row_weights, x64):
    method, spec = make(name, other_rate=0.0), MIXED.with_gaps()
    weights, batch = trained_size(method, spec), draw(spec, rows=7)
    batch.numbers[3], batch.codes[3] = np.nan, MISSING
    if row_weights:
        batch = batch._replace(weights=np.linspace(0.5, 2, 7))
    noise, others = noise_of(method, batch), np.delete(np.arange(7), 3)
    found = evaluate(method, spec, weights, batch, noise)
    fewer = {name: drawn[others] for name, drawn in noise.items()}
    assert_equal(found, evaluate(method, spec, weights, take(batch, others), fewer))
    # A batch of such rows alone has the loss 0, and no gradient.
    alone = take(batch, np.array([3, 3]))
    metrics, of_weights, _ = evaluate(
        method, spec, weights, alone, {name: drawn[:2] for name, drawn in noise.items()}
    )
    assert all(float(value) == 0 for value in metrics.values())
    assert all((array == 0).all() for array in of_weights.values())


def inputs_in(spec, other):
    """Where the inputs of rows stand among those of the same rows with more gaps."""
    ours, theirs = RowLayout(spec), RowLayout(other)
    assert not ours.flagged
    dense = [*range(spec.numbers)]
    first = spec.numbers + len(theirs.flagged)
    dense += range(first, first + EMBEDDING_DIM * len(ours.wide))
    narrow = [
        start + value
        for start, c in zip(theirs.starts, ours.narrow, strict=False)
        for value in range(spec.levels[c])
    ]
    return np.array(dense + narrow)


@pytest.mark.parametrize("name", ["autoencoder", "vae", "simclr"])
def test_padding_and_masks_give_value_and_gradient_of_rows_without_either(name, x64):
    settings = {"noise_std": 0.0, "drop_rate": 0.0} if name == "simclr" else {}
    method = make(name, other_rate=0.0, **settings)
    plain = MIXED._replace(gaps=())
    spec, rows = plain.with_gaps(), 6
    whole, padding = draw(plain, rows=rows), draw(spec, rows=3, seed=5)
    padded = Batch(
        np.concatenate([whole.numbers, padding.numbers]),
        np.concatenate([whole.codes, padding.codes]),
        weights=np.repeat([1.0, 0.0], [rows, 3]),
    )
    noise = noise_of(method, padded)
    few = {each: drawn[:rows] for each, drawn in noise.items()}
    masked = trained_size(method, spec)
    part = "backbone" if name == "simclr" else "encoder"
    kernel, at = f"{part}.0.kernel", inputs_in(plain, spec)
    cut = {kernel: at, "embeddings.0.table": np.arange(MIXED.levels[-1])}
    weights = {each: array[cut[each]] if each in cut else array for each, array in masked.items()}
    expected = evaluate(method, plain, weights, whole, few)
    metrics, of_weights, of_numbers = evaluate(method, spec, masked, padded, noise)
    for each, places in cut.items():  # what stands for missing cells has no gradient
        others = np.delete(np.asarray(of_weights[each]), places, axis=0)
        assert len(others) and not others.any(), each
    same = {e: g[cut[e]] if e in cut else g for e, g in of_weights.items()}
    assert_equal((metrics, same), expected)
    assert normwise_error(of_numbers[:rows], expected[2]) <= 1e-12
    assert (of_numbers[rows:] == 0).all()


@pytest.mark.parametrize("gaps", [(), (True, False, True, True)], ids=str)
@pytest.mark.parametrize("name", RECONSTRUCTING)
def test_of_numbers_under_squared_errors_the_losses_are_mse_loss_and_elbo_loss(name, gaps, x64):
    method, spec = make(name), RowSpec(4, gaps=gaps)
    weights, batch = trained_size(method, spec), draw(spec)
    batch = batch._replace(weights=np.linspace(0.5, 2, len(batch.numbers)))
    noise = noise_of(method, batch)
    network = training_network(method, spec)
    observed = ~np.isnan(batch.numbers) if gaps else None
    options = {"weights": batch.weights, "observed": observed}

    def expected(trained):
        made = with_weights(network, weights | trained)
        if name == "autoencoder":
            return losses.mse_loss(batch.numbers, made.reconstruct(batch).numbers, **options)
        z, mu, log_var = made.sample(batch, noise["eps"])
        x_hat = made.decode(z).numbers
        return losses.elbo_loss(batch.numbers, x_hat, mu, log_var, beta=1.0, **options)

    value, gradient = jax.jit(jax.value_and_grad(expected))(weights)
    metrics, of_weights, _ = evaluate(method, spec, weights, batch, noise)
    assert_equal(({"loss": metrics["loss"]}, of_weights), ({"loss": value}, gradient))


@pytest.mark.parametrize("pieces", [1, 2, 4, 10])
def test_wide_codes_in_pieces_have_the_value_and_gradient_of_all_at_once(pieces, monkeypatch, x64):
    method = make("autoencoder")
    weights, batch = trained_size(method, ALL), draw(ALL)
    noise = noise_of(method, batch)
    whole = evaluate(method, ALL, weights, batch, noise)
    network = with_weights(abstract_network(method, ALL), weights)
    rows = network.reconstruct(batch)
    computed = []
    in_pieces = likelihood_rows.jax.lax.map
    monkeypatch.setattr(likelihood_rows, "_MOST_LOGITS", -(-10 // pieces) * (WIDE + 3))
    monkeypatch.setattr(
        likelihood_rows.jax.lax, "map", lambda f, xs: computed.append(xs) or in_pieces(f, xs)
    )
    found = evaluate(method, ALL, weights, batch, noise)
    assert {len(codes) for codes, _ in computed} == ({pieces} if pieces > 1 else set())
    assert_equal(found, whole)
    assert (
        normwise_error(found[2][~np.isnan(batch.numbers)], whole[2][~np.isnan(batch.numbers)])
        <= 1e-12
    )
    np.testing.assert_array_equal(network.reconstruct(batch).codes, rows.codes)


def test_a_table_has_a_gradient_from_the_encoder_and_from_the_decoder(x64):
    method = make("autoencoder", other_rate=0.0)
    weights, batch = trained_size(method, MIXED), draw(MIXED)
    made = with_weights(abstract_network(method, MIXED), weights)

    def loss(of_input, of_output):
        given, tied = (
            with_weights(made.embeddings, {"0.table": table}) for table in (of_input, of_output)
        )
        outputs = made.decoder(made.encoder(batch, given))
        terms = made.likelihood.terms(batch, outputs, tied)
        return jnp.mean(losses.mean_over_columns(terms, made.observed(batch)))

    table = weights["embeddings.0.table"]
    parts = jax.jit(jax.grad(loss, argnums=(0, 1)))(table, table)
    assert all(np.abs(part).max() > 1e-6 for part in parts)
    # The row of missing cells is an input alone.
    assert (parts[1][-1] == 0).all() and (parts[0][-1] != 0).any()
    _, of_weights, _ = evaluate(method, MIXED, weights, batch, {})
    assert normwise_error(np.asarray(of_weights["embeddings.0.table"]), sum(parts)) <= 1e-12


@pytest.mark.parametrize("clean_anchor", [False, True])
@pytest.mark.parametrize("size", [3, 10])
def test_a_microbatch_of_mixed_rows_changes_neither_loss_nor_gradient(size, clean_anchor, x64):
    settings = {"views": ("swap", "noise", "dropout", "hide"), "noise_std": 0.1, "drop_rate": 0.2}
    batch = draw(MIXED)
    batch = batch._replace(weights=np.where(np.arange(10) == 4, 0.0, 1.0))
    found = []
    for microbatch in (size, 0):
        method = make(
            "simclr", microbatch=microbatch, clean_anchor=clean_anchor, other_rate=0.3, **settings
        )
        weights = trained_size(method, MIXED)
        found.append(evaluate(method, MIXED, weights, batch, noise_of(method, batch)))
    assert_equal(*found)


@pytest.mark.parametrize("name", RECONSTRUCTING)
def test_levels_are_never_reconstructed_as_other_or_missing(name, x64):
    method = make(name)
    network = with_float64(method.init(ALL, nnx.Rngs(0)))
    decoder = len(network.decoder.layers) - 1
    bias = jnp.asarray(get_weights(network)[f"decoder.{decoder}.bias"])
    layout = RowLayout(ALL)
    starts = [layout.logits[i] for i in range(len(layout.narrow))]
    of_wide = {
        f"embeddings.{i}.bias": jnp.zeros(ALL.levels[c]).at[0].set(50.0)
        for i, c in enumerate(layout.wide)
    }
    other = with_weights(
        network, {f"decoder.{decoder}.bias": bias.at[jnp.array(starts)].set(50.0)} | of_wide
    )
    codes = np.asarray(other.reconstruct(draw(ALL)).codes)
    assert codes.dtype == np.int32
    assert ((codes >= 1) & (codes < np.array(ALL.levels))).all()


def test_of_equal_levels_the_first_is_expected():
    assert likelihoods.categorical.expectation(jnp.zeros((1, 4))).tolist() == [1]
    assert likelihoods.categorical.expectation(jnp.array([[9.0, 1.0, 2.0, 2.0]])).tolist() == [2]


LEVELS = RowSpec(0, (3,))


@functools.cache
def probability_of_other(rate):
    """What a VAE whose posterior is pressed to the prior gives code 0, in rows that have none."""
    codes = np.random.default_rng(0).integers(1, 3, (200, 1), dtype=np.int32)
    x = Batch(np.zeros((200, 0), np.float32), codes)
    method = make(
        "vae", beta=100.0, epochs=60, learning_rate=0.02, schedule="cosine", other_rate=rate
    )
    run = fit(method, x, spec=LEVELS)
    network = with_weights(abstract_network(method, LEVELS), run.weights)
    logits = network.decoder(network.embed(Batch(jnp.zeros((3, 0)), jnp.arange(3)[:, None])))
    return np.asarray(jax.nn.softmax(logits))[1:, 0]


@pytest.mark.parametrize("rate", [0.05, 0.3])
def test_a_trained_network_gives_other_about_the_probability_at_which_codes_are_replaced(rate):
    found = probability_of_other(rate)
    # 60 epochs of 200 rows; the last ones, at small steps, count most.
    assert found == pytest.approx(rate, rel=0.25)


def test_without_replaced_codes_other_gets_what_its_start_leaves_it():
    assert (probability_of_other(0.0) < 0.02).all()


def test_the_default_rate_leaves_other_some_probability():
    assert (probability_of_other(0.01) > 1e-3).all()


@pytest.mark.parametrize("name", ["autoencoder", "vae", "simclr", "classifier"])
def test_nothing_is_drawn_as_other_where_there_are_no_codes(name):
    numbers = Batch(jnp.ones((4, 3)))
    assert "other" not in noise_of(make(name, other_rate=0.5), numbers)
    both = Batch(jnp.ones((4, 3)), jnp.ones((4, 2), jnp.int32))
    assert noise_of(make(name, other_rate=0.5), both)["other"].shape == (4, 2)
    assert "other" not in noise_of(make(name, other_rate=0.0), both)

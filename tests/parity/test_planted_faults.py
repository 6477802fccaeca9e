"""Every fault that the cross-check exists for, planted on either side, is caught by name."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import nnx

import jaxrep.likelihoods
import jaxrep.losses
import jaxrep.methods
import jaxrep.methods._finetuning
import jaxrep.networks
import jaxrep.networks._rows
import jaxrep.optim
import jaxrep.training.epoch_plan
import jaxrep.training.step
import jaxrep.views
import torch_ref.likelihoods
import torch_ref.losses
import torch_ref.methods
import torch_ref.networks._rows
import torch_ref.optim
import torch_ref.training
import torch_ref.views
import torch_ref.weights
from jaxrep.batch import RowSpec
from jaxrep.parity import _training, cross_check
from jaxrep.parity._cross_check import Case, check_cases
from jaxrep.parity._mixed import BY_KIND, MIXED, draw_rows
from jaxrep.parity._models import of_shape
from jaxrep.parity._suites import SUITES

SIDES = ("jax", "torch")
ROOM = {"jax": jaxrep, "torch": torch_ref}


def checks_of(suite, *names):
    """The checks of a part of a suite, in its quick form."""
    items = [item for item in SUITES[suite](True) if item.check.startswith(names)]
    cases = [item for item in items if isinstance(item, Case)]
    return [item for item in items if item not in cases] + list(check_cases(cases, light=True))


def failed(checks):
    return {f"{check.check} {check.dtype}" for check in checks if not check.passed}


def test_without_a_fault_all_of_these_pass():
    assert failed(checks_of("losses", "elbo_loss", "gaussian_kl", "nt_xent_loss")) == set()
    assert failed(checks_of("losses", "cross_entropy", "half_squared_error")) == set()
    assert failed(checks_of("outputs", "outputs of vae", "outputs of autoencoder")) == set()
    names = ("simclr", "autoencoder", "vae", "classifier", "regressor")
    assert failed(checks_of("methods", *(f"loss of {name}" for name in names))) == set()
    assert failed(checks_of("optimizers", "Adam")) == set()
    assert failed(checks_of("views")) == set()
    assert failed(checks_of("rows")) == set()
    assert failed(checks_of("epochs", "epoch")) == set()


def replace_loss(monkeypatch, side, name, make):
    """Replaces a loss by what `make` makes of the right one."""
    module = ROOM[side].losses
    monkeypatch.setattr(module, name, make(getattr(module, name)))


LOSS_FAULTS = {
    "β ignored": (
        "elbo_loss",
        lambda right: lambda *a, beta, **k: right(*a, beta=1.0, **k),
    ),
    "mean instead of sum over features": (
        "elbo_loss",
        lambda right: (
            lambda x, x_hat, mu, log_var, *, beta, **k: (
                right(x, x_hat, mu, log_var, beta=0.0, **k) / x.shape[1]
                + right(x, x, mu, log_var, beta=beta, **k)
            )
        ),
    ),
    "KL averaged over latents": (
        "gaussian_kl",
        lambda right: lambda mu, log_var, **k: right(mu, log_var, **k) / mu.shape[1],
    ),
    "std instead of variance": (
        "gaussian_kl",
        lambda right: lambda mu, log_var, **k: right(mu, 2 * log_var, **k),
    ),
    "loss_a + loss_b": (
        "nt_xent_loss",
        lambda right: lambda z1, z2, **k: right(z1, z2, **k) + right(z2, z1, **k),
    ),
    "ε ignored": (
        "cross_entropy",
        lambda right: (
            lambda logits, classes, *, label_smoothing, **k: right(
                logits, classes, label_smoothing=0 * label_smoothing, **k
            )
        ),
    ),
    "softmax taken twice": (
        "cross_entropy",
        lambda right: (
            lambda logits, classes, **k: right(
                (jax.nn if isinstance(logits, jax.Array) else torch).softmax(logits, -1),
                classes,
                **k,
            )
        ),
    ),
    "squared error not halved": (
        "half_squared_error",
        lambda right: lambda prediction, targets, **k: 2 * right(prediction, targets, **k),
    ),
}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("fault", LOSS_FAULTS)
def test_a_wrong_loss_is_caught(monkeypatch, side, fault):
    name, make = LOSS_FAULTS[fault]

    def keeping_the_signature(right):
        wrong = make(right)

        def loss(*arrays, **keywords):
            bound = inspect.signature(right).bind(*arrays, **keywords)
            return wrong(*bound.args, **bound.kwargs)

        return loss

    replace_loss(monkeypatch, side, name, keeping_the_signature)
    assert {f"{name}: value float64", f"{name}: value float32"} <= failed(checks_of("losses", name))


@pytest.mark.parametrize("side", SIDES)
def test_a_missing_self_mask_is_caught(monkeypatch, side):
    stack = {"jax": jnp.concatenate, "torch": torch.cat}[side]
    log_sum_exp = {"jax": jax.nn.logsumexp, "torch": torch.logsumexp}[side]

    def unmasked(z1, z2, *, temperature, weights=None):
        del weights
        z = stack([z1, z2])
        positive = stack([(z1 * z2).sum(-1), (z1 * z2).sum(-1)]) / temperature
        return (log_sum_exp(z @ z.T / temperature, 1) - positive).mean()

    replace_loss(monkeypatch, side, "nt_xent_loss", lambda right: unmasked)
    assert "nt_xent_loss: value float64" in failed(checks_of("losses", "nt_xent_loss"))


@pytest.mark.parametrize("side", SIDES)
def test_a_missing_half_in_the_exponent_of_sigma_is_caught(monkeypatch, side):
    exp = {"jax": jnp.exp, "torch": torch.exp}[side]

    def sample(self, batch, eps):
        mu, log_var = self.encode(batch)
        return mu + eps * exp(log_var), mu, log_var

    monkeypatch.setattr(ROOM[side].methods.VAENetwork, "sample", sample)
    checks = failed(checks_of("methods", "loss of vae"))
    assert {"loss of vae: value float64", "loss of vae: value float32"} <= checks


@pytest.mark.parametrize("side", SIDES)
def test_a_transposed_square_kernel_is_caught(monkeypatch, side):
    if side == "jax":
        right_call = nnx.Linear.__call__

        def call(self, x):
            kernel = self.kernel[...]
            if kernel.shape[0] != kernel.shape[1]:
                return right_call(self, x)
            return x @ kernel.T + self.bias[...][None, :]

        monkeypatch.setattr(nnx.Linear, "__call__", call)
    else:
        right = torch_ref.weights._to_state_dict

        def untransposed(model, weights):
            return {
                key: tensor.T if tensor.ndim == 2 and len(set(tensor.shape)) == 1 else tensor
                for key, tensor in right(model, weights).items()
            }

        monkeypatch.setattr(torch_ref.weights, "_to_state_dict", untransposed)
    assert "outputs of autoencoder: value float64" in failed(
        checks_of("outputs", "outputs of autoencoder")
    )


@pytest.mark.parametrize("side", SIDES)
def test_adamw_in_the_place_of_adam_with_l2_is_caught(monkeypatch, side):
    monkeypatch.setattr(ROOM[side].optim, "adam", ROOM[side].optim.adamw)
    checks = failed(checks_of("optimizers", "Adam with L2"))
    assert {
        "Adam with L2, 1 step: value float64",
        "Adam with L2, 100 steps: value float64",
    } <= checks


@pytest.mark.parametrize("side", SIDES)
def test_a_bias_correction_in_float32_is_caught(monkeypatch, side):
    if side == "jax":
        monkeypatch.setattr(jaxrep.optim, "scale_by_adam", optax.scale_by_adam)
    else:

        class Float32Correction(torch.optim.Optimizer):
            def __init__(self, parameters, lr):
                super().__init__(parameters, {"lr": lr})
                self.steps = 0

            @torch.no_grad()
            def step(self):
                self.steps += 1
                for p in self.param_groups[0]["params"]:
                    state = self.state[p]
                    m = state["m"] = 0.9 * state.get("m", torch.zeros_like(p)) + 0.1 * p.grad
                    v = state["v"] = 0.999 * state.get("v", torch.zeros_like(p)) + 1e-3 * p.grad**2
                    c1, c2 = (
                        1 - torch.tensor(b, dtype=p.dtype) ** self.steps for b in (0.9, 0.999)
                    )
                    p -= self.param_groups[0]["lr"] * (m / c1) / ((v / c2).sqrt() + 1e-8)

        monkeypatch.setattr(
            torch_ref.optim,
            "adam",
            lambda *, learning_rate, weight_decay, b2: (
                lambda parameters: Float32Correction(parameters, learning_rate)
            ),
        )
    checks = failed(checks_of("optimizers", "Adam, "))
    assert "Adam, 1 step: value float32" in checks
    assert "Adam, 1 step: value float64" not in checks  # there it is right


@pytest.mark.parametrize(
    ("kind", "setting", "theirs"),
    [
        ("BatchNorm", "momentum", 0.01),
        ("BatchNorm", "epsilon", 1e-3),
        ("LayerNorm", "epsilon", 1e-6),
        ("Standardisation", "__call__", lambda self, x: x / self.scale[...] - self.mean[...]),
    ],
)
def test_another_frameworks_setting_of_a_norm_is_caught(monkeypatch, kind, setting, theirs):
    assert failed(checks_of("norms", kind)) == set()
    monkeypatch.setattr(getattr(jaxrep.networks, kind), setting, theirs)
    assert any("float64" in check for check in failed(checks_of("norms", kind)))


@pytest.mark.parametrize("side", SIDES)
def test_noise_drawn_once_for_both_views_is_caught(monkeypatch, side):
    module = ROOM[side].views
    right, resolve = module.draw_views, getattr(module, "resolve", lambda noise: noise)

    def once(hp, draws, x):
        noise = resolve(right(hp, draws, x))
        stack = {"jax": jnp.stack, "torch": torch.stack}[side]
        return {name: stack([views[0], views[0]]) for name, views in noise.items()}

    monkeypatch.setattr(module, "draw_views", once)
    checks = checks_of("views", "noise of simclr")
    [failure] = [check for check in checks if not check.passed]
    assert (failure.check, failure.case) == ("noise of simclr: distribution", side)
    assert "repeats itself" in failure.message


@pytest.mark.parametrize("side", SIDES)
def test_cells_kept_that_are_to_be_replaced_are_caught(monkeypatch, side):
    views = ROOM[side].views
    right = views.replace_columns
    monkeypatch.setattr(
        views, "replace_columns", lambda batch, replace, *a, **k: right(batch, ~replace, *a, **k)
    )
    suite = checks_of("views", "replace_columns") + checks_of("methods", "loss of autoencoder")
    assert {"replace_columns: value.numbers", "loss of autoencoder: value"} <= {
        check.check for check in suite if not check.passed
    }


@pytest.mark.parametrize("side", SIDES)
def test_one_views_noise_used_for_both_is_caught(monkeypatch, side):
    module = ROOM[side].methods
    right = module.SimCLR.loss

    def loss(self, network, batch, noise):
        stack = {"jax": jnp.stack, "torch": torch.stack}[side]
        once = {k: n if k == "other" else stack([n[0], n[0]]) for k, n in noise.items()}
        return right(self, network, batch, once)

    monkeypatch.setattr(module.SimCLR, "loss", loss)
    assert "loss of simclr: value float64" in failed(checks_of("methods", "loss of simclr"))


def smoothing_ignored(monkeypatch, side):
    losses = ROOM[side].losses
    right = losses.cross_entropy
    monkeypatch.setattr(
        losses,
        "cross_entropy",
        lambda logits, classes, *, label_smoothing, weights: right(
            logits, classes, label_smoothing=0 * label_smoothing, weights=weights
        ),
    )


def penalty_ignored(monkeypatch, side):
    kind = ROOM[side].methods._finetuning.FineTuning
    right = kind.penalty
    monkeypatch.setattr(kind, "penalty", lambda self, network: 0 * right(self, network))


def first_kernel_alone_penalised(monkeypatch, side):
    room = ROOM[side].methods._finetuning
    right = room.FineTuning.penalty

    class First:
        def __init__(self, network):
            self.head = type("Head", (), {"layers": list(network.head.layers)[:1]})

    monkeypatch.setattr(
        room.FineTuning, "penalty", lambda self, network: right(self, First(network))
    )


def not_standardised(monkeypatch, side):
    network = ROOM[side].methods._finetuning.FineTunedNetwork
    monkeypatch.setattr(network, "apply_head", lambda self, batch: self.head(self.embed(batch)))


HEAD_FAULTS = (smoothing_ignored, penalty_ignored, first_kernel_alone_penalised, not_standardised)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("plant", HEAD_FAULTS)
def test_a_fault_in_the_loss_of_a_head_is_caught(monkeypatch, side, plant):
    plant(monkeypatch, side)
    assert "loss of classifier: value float64" in failed(checks_of("methods", "loss of classifier"))


def softmax_left_out(monkeypatch, side):
    network = ROOM[side].methods.ClassifierNetwork
    monkeypatch.setattr(network, "predict", lambda self, batch: self.apply_head(batch))


def backbones_own_score(monkeypatch, side):
    network = ROOM[side].methods.ClassifierNetwork
    monkeypatch.setattr(network, "score", lambda self, batch: self.backbone.score(batch))


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("plant", [softmax_left_out, backbones_own_score])
def test_a_fault_in_the_outputs_of_a_head_is_caught(monkeypatch, side, plant):
    plant(monkeypatch, side)
    assert "outputs of classifier: value float64" in failed(
        checks_of("outputs", "outputs of classifier")
    )


def trained_together(method, spec=RowSpec(3)):  # noqa: B008
    """The checks of a few steps of both twins."""
    x = _training.labelled(method, draw_rows(spec, 20, seed=0))
    recorded = _training.record(method, x, 6, spec, light=True)
    return list(_training.follow_in_torch(method, recorded, spec))


def head(**settings):
    return jaxrep.methods.make(
        of_shape("classifier", (4,), 2, batch_size=8, schedule="constant", **settings)
    )


def backbone_not_frozen(monkeypatch, side):
    monkeypatch.setattr(ROOM[side].methods._finetuning, "freeze", lambda module: None)


def one_step_size(monkeypatch, side):
    kind = ROOM[side].methods._finetuning.FineTuning
    monkeypatch.setattr(
        kind, "learning_rates", lambda self: {"": self.hyperparameters.learning_rate}
    )


STEP_FAULTS = {backbone_not_frozen: {}, one_step_size: {"frozen": False, "weight_decay": 0.1}}


@pytest.mark.parametrize("settings", STEP_FAULTS.values(), ids=str)
def test_without_a_fault_the_steps_of_a_head_agree(settings):
    assert failed(trained_together(head(**settings))) == set()


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("plant", STEP_FAULTS)
def test_a_fault_in_the_steps_of_a_head_is_caught(monkeypatch, side, plant):
    plant(monkeypatch, side)
    checks = failed(trained_together(head(**STEP_FAULTS[plant])))
    assert "trajectory of classifier: weights float64" in checks


# Rows of numbers and codes

LIKELIHOOD_FAULTS = {
    "squares halved": ("squared", lambda right: lambda **k: 0.5 * right(**k)),
    "log 2π left out": (
        "gaussian",
        lambda right: lambda **k: right(**k) - 0.5 * float(np.log(2 * np.pi)),
    ),
    "σ for σ²": (
        "gaussian",
        lambda right: lambda log_var, **k: right(log_var=2 * log_var, **k),
    ),
    "0 taken for 1": ("bernoulli", lambda right: lambda x, **k: right(x=1 - x, **k)),
    "log k! left out": (
        "poisson",
        lambda right: (
            lambda count, log_rate: right(count=0 * count, log_rate=log_rate) - count * log_rate
        ),
    ),
    "neighbouring code": (
        "categorical",
        lambda right: lambda codes, **k: right(codes=(codes + 1) % 5, **k),
    ),
}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("fault", LIKELIHOOD_FAULTS)
def test_wrong_terms_of_a_cell_are_caught(monkeypatch, side, fault):
    kind, make = LIKELIHOOD_FAULTS[fault]
    module = getattr(ROOM[side].likelihoods, kind)
    monkeypatch.setattr(module, "terms", make(module.terms))
    checks = failed(checks_of("rows", f"{kind} terms"))
    assert {f"{kind} terms: value float64", f"{kind} terms: value float32"} <= checks


ENDLESS = {
    "gaussian": lambda x, mean, log_var: (
        0.5 * (np.log(2 * np.pi) + log_var + (x - mean) ** 2 * torch.exp(-log_var))
    ),
    "poisson": lambda count, log_rate: (
        torch.exp(log_rate) - count * log_rate + torch.lgamma(count + 1)
    ),
}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(("kind", "argument"), [("gaussian", "log_var"), ("poisson", "log_rate")])
def test_ends_that_do_not_hold_are_caught(monkeypatch, side, kind, argument):
    module = getattr(ROOM[side].likelihoods, kind)
    if side == "jax":
        monkeypatch.setattr(module, "MOST", 1e3)
    else:
        monkeypatch.setattr(module, "terms", ENDLESS[kind])
    checks = failed(checks_of("rows", f"{kind} terms"))
    assert f"{kind} terms: gradient of {argument} float64" in checks


def missing_taken_for_other(monkeypatch, side):
    if side == "jax":
        rows = jaxrep.networks._rows
        monkeypatch.setattr(rows, "_place", lambda codes, levels: jnp.maximum(codes, 0))
    else:
        encoder = torch_ref.networks._rows.RowEncoder
        right = encoder._places
        monkeypatch.setattr(encoder, "_places", lambda self, codes: right(self, codes.clamp_min(0)))


def missing_numbers_not_flagged(monkeypatch, side):
    encoder = ROOM[side].networks._rows.RowEncoder
    right = encoder._dense

    def unflagged(self, batch, embeddings):
        nan_to_num = {"jax": jnp.nan_to_num, "torch": torch.nan_to_num}[side]
        return right(self, batch._replace(numbers=nan_to_num(batch.numbers)), embeddings)

    monkeypatch.setattr(encoder, "_dense", unflagged)


ENCODER_FAULTS = (missing_taken_for_other, missing_numbers_not_flagged)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("plant", ENCODER_FAULTS)
def test_a_fault_in_the_look_up_is_caught(monkeypatch, side, plant):
    plant(monkeypatch, side)
    assert "rows: encoder: value float64" in failed(checks_of("rows", "rows: encoder"))


@pytest.mark.parametrize("side", SIDES)
def test_embeddings_that_are_tied_to_other_levels_are_caught(monkeypatch, side):
    if side == "jax":
        embedding = jaxrep.networks._rows.Embedding
        monkeypatch.setattr(
            embedding,
            "logits",
            lambda self, q: q @ self.table[...][-self.levels :].T + self.bias[...][None, :],
        )
    else:
        monkeypatch.setattr(
            torch_ref.likelihoods.categorical,
            "_logits",
            lambda query, table, bias: query @ table[-len(bias) :].t() + bias,
        )
    assert "rows: likelihood: value float64" in failed(checks_of("rows", "rows: likelihood"))


@pytest.mark.parametrize("side", SIDES)
def test_other_among_decoded_levels_is_caught(monkeypatch, side):
    integer = {"jax": lambda x: x.astype(jnp.int32), "torch": lambda x: x.int()}[side]
    monkeypatch.setattr(
        ROOM[side].likelihoods.categorical, "expectation", lambda logits: integer(logits.argmax(-1))
    )
    for suite, names in {"rows": "rows: decoded", "outputs": "outputs of vae"}.items():
        wrong = [check for check in checks_of(suite, names) if not check.passed]
        assert {"float64", "float32"} <= {check.dtype for check in wrong}
        # Which spike a number is, is a code within the network, and decides on its gradients.
        assert all("codes" in check.array for check in wrong if "spikes" not in check.case)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("method", ["autoencoder", "vae"])
def test_missing_cells_that_count_as_observed_are_caught(monkeypatch, side, method):
    likelihood = ROOM[side].likelihoods.RowLikelihood
    monkeypatch.setattr(likelihood, "observed", lambda self, batch: None)
    wrong = failed(checks_of("outputs", f"outputs of {method}"))
    assert f"outputs of {method}: value float64" in wrong
    wrong = failed(checks_of("methods", f"loss of {method}"))
    assert (f"loss of {method}: value float64" in wrong) == (method == "autoencoder")  # a sum


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("loss", ["mse_loss", "elbo_loss"])
def test_a_row_without_observed_cells_that_counts_is_caught(monkeypatch, side, loss):
    monkeypatch.setattr(ROOM[side].losses, "observed_weights", lambda weights, observed: weights)
    wrong = [check for check in checks_of("losses", loss) if not check.passed]
    assert {"float64", "float32"} <= {check.dtype for check in wrong}
    assert all("cells missing" in check.case for check in wrong)


def dropped_codes_no_longer_missing(right):
    return lambda batch, keep, keep_codes=None: (
        right(batch, keep)
        if keep_codes is None
        else right(batch, keep, keep_codes)._replace(codes=batch.codes * keep_codes)
    )


def hidden_numbers_set_to_0(right):
    return lambda batch, numbers, codes=None: right(batch, numbers, codes)._replace(
        numbers=batch.numbers * ~numbers
    )


def missing_codes_replaced_by_other(right):
    return lambda batch, noise: (
        right(batch, noise)._replace(codes=batch.codes * ~noise["other"])
        if "other" in noise
        else batch
    )


VIEW_FAULTS = {
    dropped_codes_no_longer_missing: ("drop_columns", "codes"),
    hidden_numbers_set_to_0: ("hide", "numbers"),
    missing_codes_replaced_by_other: ("replace_by_other", "codes"),
}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("fault", VIEW_FAULTS)
def test_a_fault_in_a_view_of_codes_and_gaps_is_caught(monkeypatch, side, fault):
    name, part = VIEW_FAULTS[fault]
    views = ROOM[side].views
    monkeypatch.setattr(views, name, fault(getattr(views, name)))
    checks = failed(checks_of("views", name))
    assert {f"{name}: value.{part} float64", f"{name}: value.{part} float32"} <= checks


@pytest.mark.parametrize("side", SIDES)
def test_codes_drawn_at_another_rate_are_caught(monkeypatch, side):
    views = ROOM[side].views
    right = views.draw_other
    monkeypatch.setattr(views, "draw_other", lambda rate, *a: right(2 * rate, *a))
    [wrong] = [check for check in checks_of("views", "noise of vae") if not check.passed]
    assert (wrong.check, wrong.case) == ("noise of vae: distribution", side)
    assert "other has mean" in wrong.message


@pytest.mark.parametrize("side", SIDES)
def test_codes_of_another_column_are_no_background(monkeypatch, side):
    views = ROOM[side].views
    right = views.draw_all
    flip = {"jax": lambda x: x[..., ::-1], "torch": lambda x: x.flip(-1)}[side]

    def draw_all(*arguments, **settings):
        noise = getattr(views, "resolve", dict)(right(*arguments, **settings))
        return noise | {"swap_code_values": flip(noise["swap_code_values"])}

    monkeypatch.setattr(views, "draw_all", draw_all)
    [wrong] = [check for check in checks_of("views", "noise of simclr") if not check.passed]
    assert (wrong.check, wrong.case) == ("noise of simclr: distribution", side)
    assert "swap_code_values has values" in wrong.message


MIXED_TRAININGS = {
    "autoencoder": (MIXED, {"views": ("hide", "swap")}),
    "vae": (BY_KIND, {}),
    "simclr": (MIXED, {"views": ("scarf", "dropout")}),
}


def mixed_training(name):
    spec, settings = MIXED_TRAININGS[name]
    made = of_shape(name, (4,), 2, batch_size=8, other_rate=0.3, **settings)
    return trained_together(jaxrep.methods.make(made), spec)


@pytest.mark.parametrize("name", MIXED_TRAININGS)
def test_without_a_fault_steps_on_mixed_rows_agree(name):
    assert failed(mixed_training(name)) == set()


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", MIXED_TRAININGS)
def test_codes_that_never_become_other_in_training_are_caught(monkeypatch, side, name):
    monkeypatch.setattr(ROOM[side].views, "replace_by_other", lambda batch, noise: batch)
    assert f"trajectory of {name}: weights float64" in failed(mixed_training(name))


@pytest.mark.parametrize("side", SIDES)
def test_a_variance_that_is_not_trained_is_caught(monkeypatch, side):
    if side == "jax":
        right = jaxrep.likelihoods.gaussian.terms
        monkeypatch.setattr(
            jaxrep.likelihoods.gaussian,
            "terms",
            lambda x, mean, log_var: right(x, mean, jax.lax.stop_gradient(log_var)),
        )
    else:
        right = torch_ref.likelihoods.gaussian.terms
        monkeypatch.setattr(
            torch_ref.likelihoods.gaussian,
            "terms",
            lambda x, mean, log_var: right(x, mean, log_var.detach()),
        )
    assert "trajectory of vae: weights float64" in failed(mixed_training("vae"))


@pytest.mark.parametrize("side", SIDES)
def test_a_dropped_last_batch_is_caught(monkeypatch, side):
    if side == "jax":
        for module in (jaxrep.training.step, jaxrep.training.epoch_plan, _training):
            monkeypatch.setattr(module, "steps_per_epoch", lambda rows, size: max(rows // size, 1))
        expected = {"epoch: every row once float32", "epoch: loss is the mean over rows float32"}
    else:
        right = torch.split
        monkeypatch.setattr(
            torch, "split", lambda t, size: [part for part in right(t, size) if len(part) == size]
        )
        expected = {"epoch: loss is the mean over rows float32"}
    assert failed(checks_of("epochs", "epoch")) == expected


def layer_norms(jax_epsilon, torch_epsilon):
    def ours(x):
        mean = x.mean(-1, keepdims=True)
        return (x - mean) / jnp.sqrt(x.var(-1, keepdims=True) + jax_epsilon)

    return ours, lambda x: torch.nn.functional.layer_norm(x, x.shape[-1:], eps=torch_epsilon)


def gelus(jax_approximates, torch_approximates):
    return (
        lambda x: jax.nn.gelu(x, approximate=jax_approximates),
        lambda x: torch.nn.functional.gelu(x, approximate="tanh" if torch_approximates else "none"),
    )


LAYER_FAULTS = {
    "LayerNorm ε": (layer_norms, 1e-5, 1e-6),
    "tanh-GELU": (gelus, False, True),
}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("fault", LAYER_FAULTS)
def test_a_layer_of_another_setting_is_caught(side, fault):
    make, right, wrong = LAYER_FAULTS[fault]
    x = np.random.default_rng(0).normal(size=(8, 16))
    assert cross_check(*make(right, right), (x,), name=fault).passed
    settings = (wrong, right) if side == "jax" else (right, wrong)
    report = cross_check(*make(*settings), (x,), name=fault)
    assert {f"{fault}: value float64", f"{fault}: value float32"} <= failed(report.checks)


def test_a_formula_that_cancels_in_both_twins_alike_is_caught(monkeypatch):
    def textbook(exp):
        def kl(mu, log_var, *, weights=None):
            del weights
            return -0.5 * (1 + log_var - mu**2 - exp(log_var)).sum(-1).mean()

        return kl

    monkeypatch.setattr(jaxrep.losses, "gaussian_kl", textbook(jnp.exp))
    monkeypatch.setattr(torch_ref.losses, "gaussian_kl", textbook(torch.exp))
    unweighted = [
        c for c in SUITES["losses"](True) if c.check == "gaussian_kl" and "weights" not in c.inputs
    ]
    checks = list(check_cases(unweighted, light=True))
    caught = [check for check in checks if not check.passed]
    assert {check.case for check in caught if check.dtype == "float32"} == {"collapsed posterior"}


@pytest.mark.parametrize("side", SIDES)
def test_a_loss_that_raises_is_a_failed_check_with_the_reason(monkeypatch, side):
    def raises(*arrays, **keywords):
        raise RuntimeError("no such loss")

    monkeypatch.setattr(ROOM[side].losses, "mse_loss", raises)
    checks = checks_of("losses", "mse_loss")
    assert checks
    for check in checks:
        assert not check.passed
        assert check.message.startswith(f"{side} raised RuntimeError at test_planted_faults.py:")
        assert check.message.endswith("no such loss")

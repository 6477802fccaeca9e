"""Adam, Adam with L2 and AdamW against torch in float64, and exact in float32."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

import jaxrep.optim
import torch_ref.optim
from tests.helpers import oracles
from tests.helpers.twins import TWINS

pytestmark = pytest.mark.quick

STEPS = 100


def draw_gradients() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(STEPS, 7)) * 10.0 ** np.arange(-3, 4)


def run_jax(optimizer: optax.GradientTransformation, gradients: np.ndarray) -> np.ndarray:
    params = jnp.linspace(-1, 1, 7, dtype=gradients.dtype)
    state = optimizer.init(params)
    trajectory = []
    for gradient in gradients:
        updates, state = optimizer.update(jnp.asarray(gradient), state, params)
        params = optax.apply_updates(params, updates)
        trajectory.append(np.asarray(params))
    return np.array(trajectory)


def run_torch(factory: torch_ref.optim.OptimizerFactory, gradients: np.ndarray) -> np.ndarray:
    params = torch.nn.Parameter(torch.linspace(-1, 1, 7, dtype=torch.float64))
    optimizer = factory([("params", params)])
    trajectory = []
    for gradient in gradients:
        params.grad = torch.from_numpy(gradient.copy())
        optimizer.step()
        trajectory.append(params.detach().numpy().copy())
    return np.array(trajectory)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_a_hundred_steps_equal_torch_in_float64(name, weight_decay, x64):
    settings = {"learning_rate": 1e-2, "weight_decay": weight_decay}
    ours = run_jax(getattr(jaxrep.optim, name)(**settings), draw_gradients())
    theirs = run_torch(getattr(torch_ref.optim, name)(**settings), draw_gradients())
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)


def test_coupled_and_decoupled_decay_part(x64):
    settings = {"learning_rate": 1e-2, "weight_decay": 0.1}
    coupled = run_jax(jaxrep.optim.adam(**settings), draw_gradients())
    decoupled = run_jax(jaxrep.optim.adamw(**settings), draw_gradients())
    assert np.abs(coupled - decoupled).max() > 1e-3


def test_the_first_float32_step_has_the_length_of_the_learning_rate():
    # optax.adam's float32 bias correction makes it 6.6e-6 shorter.
    updates, _ = one_update(jaxrep.optim.adam(learning_rate=1.0, weight_decay=0.0))
    stock, _ = one_update(optax.adam(1.0))
    assert abs(float(updates[0]) + 1.0) <= 2e-7
    assert abs(float(stock[0]) + 1.0) > 5e-6


def one_update(optimizer: optax.GradientTransformation) -> tuple[jax.Array, optax.OptState]:
    params = jnp.zeros(1)
    return optimizer.update(jnp.ones(1), optimizer.init(params), params)


def test_float32_updates_stay_with_float64_over_a_hundred_steps():
    gradients = np.ones((STEPS, 7)) + 0.1 * draw_gradients() / np.abs(draw_gradients()).max()
    with jax.enable_x64(True):
        exact = updates(jaxrep.optim.adam(learning_rate=1.0, weight_decay=0.0), gradients)
    single = gradients.astype(np.float32)
    ours = updates(jaxrep.optim.adam(learning_rate=1.0, weight_decay=0.0), single)
    stock = updates(optax.adam(1.0), single)
    bound = 4 * 8 * 2.0**-24  # the project's float32 bound, normwise
    assert np.abs(ours / exact - 1).max() < bound
    assert np.abs(stock / exact - 1).max() > 2 * bound  # the fault that this guards against


def updates(optimizer: optax.GradientTransformation, gradients: np.ndarray) -> np.ndarray:
    params = jnp.zeros(7, gradients.dtype)
    state = optimizer.init(params)
    found = []
    for gradient in gradients:
        update, state = optimizer.update(jnp.asarray(gradient), state, params)
        found.append(np.asarray(update))
    return np.array(found)


def test_the_learning_rate_may_be_traced():
    @jax.jit
    def step(learning_rate: jax.Array) -> jax.Array:
        return one_update(jaxrep.optim.adam(learning_rate=learning_rate, weight_decay=0.0))[0]

    assert float(step(0.5)[0]) == pytest.approx(-0.5, rel=1e-6)


def rate_by_the_formula(name, t, steps, share):
    """In numpy, as `jaxrep.optim.schedule` states it."""
    warm = np.floor(steps * share) if name == "warmup_cosine" else 0
    if t < warm:
        return (t + 1) / (warm + 1)
    return 0.5 * (1 + np.cos(np.pi * (t - warm) / (steps - warm)))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
@pytest.mark.parametrize("steps", [1, 2, 7, 100])
@pytest.mark.parametrize("name", ["cosine", "warmup_cosine"])
def test_step_sizes_follow_the_formula_in_both_twins(name, steps, share, x64):
    settings = {"steps": steps, "warmup_fraction": share}
    ours = jaxrep.optim.schedule(name, 0.5, **settings)
    theirs = torch_ref.optim.schedule(name, 0.5, **settings)
    expected = [0.5 * rate_by_the_formula(name, t, steps, share) for t in range(steps)]
    np.testing.assert_allclose([theirs(t) for t in range(steps)], expected, rtol=1e-13)
    found = jax.vmap(ours)(jnp.arange(steps, dtype=jnp.int32))
    np.testing.assert_allclose(found, expected, rtol=1e-13)
    assert min(expected) > 0  # no step is wasted
    assert max(expected) <= 0.5


def test_a_constant_step_size_is_itself_and_needs_no_steps():
    for twin in (jaxrep.optim, torch_ref.optim):
        assert twin.schedule("constant", 0.5, steps=None) == 0.5
        with pytest.raises(ValueError, match="the schedule cosine needs the number of all steps"):
            twin.schedule("cosine", 0.5, steps=None)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_a_hundred_steps_along_a_schedule_equal_torchs_own(name, x64):
    """Of torch's own cosine, which is stepped after the optimiser."""
    rate = jaxrep.optim.schedule("cosine", 1e-2, steps=STEPS)
    make = getattr(jaxrep.optim, name)
    ours = run_jax(make(learning_rate=rate, weight_decay=0.1, b2=0.95), draw_gradients())
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name]
    params = torch.nn.Parameter(torch.linspace(-1, 1, 7, dtype=torch.float64))
    optimizer = kind([params], lr=1e-2, betas=(0.9, 0.95), weight_decay=0.1)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    trajectory = []
    for gradient in draw_gradients():
        params.grad = torch.from_numpy(gradient.copy())
        optimizer.step()
        cosine.step()
        trajectory.append(params.detach().numpy().copy())
    np.testing.assert_allclose(ours, trajectory, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("norm", [0.5, 5.0, 50.0])
def test_gradients_are_clipped_by_the_norm_of_all_of_them(norm):
    gradients = [np.array([3.0, 0.0]), np.array([[0.0], [-4.0]])]  # of norm 5
    parameters = [torch.nn.Parameter(torch.tensor(g * 0)) for g in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = torch.tensor(gradient)

    def descent(named):
        return torch.optim.SGD(named, lr=1.0)

    named = [(str(i), parameter) for i, parameter in enumerate(parameters)]
    torch_ref.optim.clipped(descent, norm)(named).step()
    for parameter, gradient in zip(parameters, gradients, strict=True):
        np.testing.assert_allclose(-parameter.detach(), gradient * min(1, norm / 5), rtol=1e-15)


# By the names of a torch module whose attributes are those of a network of jaxrep.
PARAMETERS = {
    "backbone.0.kernel": "backbone.layers.0.weight",
    "backbone.0.bias": "backbone.layers.0.bias",
    "backbone_norm.scale": "backbone_norm.scale",
    "head.kernel": "head.weight",
}


def steps_by_part(twin, rates, gradients):
    """The parameters after steps of Adam from 1, by jaxrep's names, and the two that take them."""
    make = {"jax": jaxrep.optim, "torch": torch_ref.optim}[twin]

    def adam(rate):
        return make.adam(learning_rate=rate, weight_decay=0.1)

    optimizer = make.by_part(adam, rates)
    if twin == "jax":
        params = {name: jnp.ones(2) for name in gradients}
        state = optimizer.init(params)
        for step in range(len(next(iter(gradients.values())))):
            updates, state = optimizer.update(
                {name: jnp.asarray(g[step]) for name, g in gradients.items()}, state, params
            )
            params = optax.apply_updates(params, updates)
        return {name: np.asarray(array) for name, array in params.items()}
    params = {name: torch.nn.Parameter(torch.ones(2, dtype=torch.float64)) for name in gradients}
    taking = optimizer((PARAMETERS[name], parameter) for name, parameter in params.items())
    for step in range(len(next(iter(gradients.values())))):
        taking.zero_grad()
        assert all(parameter.grad is None for parameter in params.values())
        for name, parameter in params.items():
            parameter.grad = torch.tensor(gradients[name][step])
        taking.step()
    return {name: parameter.detach().numpy() for name, parameter in params.items()}


@pytest.mark.parametrize("is_scheduled", [False, True])
@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        (
            {"backbone": 0.01, "backbone_norm": 0.3, "head": 0.1},
            [0.01, 0.01, 0.3, 0.1],
        ),
        ({"backbone.0": 0.01, "backbone.0.bias": 0.2, "": 0.1}, [0.01, 0.2, 0.1, 0.1]),
    ],
)
@pytest.mark.parametrize("twin", TWINS)
def test_a_part_takes_the_steps_of_an_adam_of_its_own(twin, rates, expected, is_scheduled, x64):
    steps = 5
    rng = np.random.default_rng(0)
    gradients = {name: rng.normal(size=(steps, 2)) for name in PARAMETERS}
    in_time = [rate_by_the_formula("cosine", t, steps, 0) if is_scheduled else 1 for t in range(5)]
    room = {"jax": jaxrep.optim, "torch": torch_ref.optim}[twin]
    given = {
        part: room.schedule("cosine" if is_scheduled else "constant", rate, steps=steps)
        for part, rate in rates.items()
    }
    found = steps_by_part(twin, given, gradients)
    for name, rate in zip(PARAMETERS, expected, strict=True):
        alone = oracles.adam_steps(
            np.ones(2),
            gradients[name],
            learning_rate=[rate * factor for factor in in_time],
            weight_decay=0.1,
            decoupled=False,
        )
        np.testing.assert_allclose(found[name], alone, rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("twin", TWINS)
def test_a_parameter_that_is_in_no_part_is_named(twin, x64):
    gradients = {name: np.ones((1, 2)) for name in PARAMETERS}
    # `backbone_norm` begins with the letters of `backbone`, and is another part.
    with pytest.raises(ValueError, match=r"backbone_norm\.scale is in none of the parts \['backb"):
        steps_by_part(twin, {"backbone": 0.1, "head": 0.1}, gradients)


def test_the_learning_rates_of_parts_may_be_traced():
    @jax.jit
    def step(slow, fast):
        def sgd(rate):
            return optax.sgd(rate)

        ones = {"backbone.bias": jnp.ones(1), "head.bias": jnp.ones(1)}
        optimizer = jaxrep.optim.by_part(sgd, {"backbone": slow, "head": fast})
        return optimizer.update(ones, optimizer.init(ones))[0]

    found = step(0.25, 0.5)
    assert [float(update[0]) for update in found.values()] == [-0.25, -0.5]


def test_torchs_optimisers_leave_out_what_needs_no_gradient():
    named = [(name, torch.nn.Parameter(torch.ones(1))) for name in ("backbone.bias", "head.bias")]
    named[0][1].requires_grad_(False)
    adam = torch_ref.optim.adam(learning_rate=0.1, weight_decay=0.1)
    parts = torch_ref.optim.by_part(
        lambda rate: torch_ref.optim.adam(learning_rate=rate, weight_decay=0.1), {"head": 0.1}
    )
    [group] = adam(named).param_groups
    assert group["params"] == [named[1][1]]
    for make in (adam, parts, torch_ref.optim.clipped(adam, 1.0)):
        named[1][1].grad = torch.ones(1)
        make(named).step()
    assert named[0][1].item() == 1.0
    assert named[1][1].item() == pytest.approx(0.7, abs=1e-6)

"""How hyperparameters are declared, and those that methods share.

A method declares its hyperparameters as a class of fields (`jaxrep.methods`), each with its
default, its range, its kind, and its help. Flags, estimators, sweeps, run folders and the report
read them from there. Only the standard library is imported, so that help on a flag needs no JAX.
"""

import dataclasses
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Protocol, TypeVar, dataclass_transform

MAX_WIDTH = 1 << 20
MAX_LAYERS = 64

# Share of the training rows whose anomaly score lies above the threshold, unless asked otherwise.
CONTAMINATION = 0.05

# The views by name, in the order of the defaults, each with the hyperparameter that says how much.
VIEWS = {
    "noise": "noise_std",
    "dropout": "drop_rate",
    "scarf": "corruption_rate",
    "swap": "swap_rate",
}

Kind = Literal["traced", "shaping", "host"]
Declared = TypeVar("Declared", bound="type[Hyperparameters]")


class Range(Protocol):
    """Which values a hyperparameter may take."""

    def problem(self, value: object) -> str | None:
        """Says what the value must be, as in "it must be …"; None if it is in the range."""


@dataclass(frozen=True)
class Whole:
    """Whole numbers from `low` to `high`.

    Example:
        >>> Whole(1, 9).problem(0.5)
        'a whole number from 1 to 9'
    """

    low: int
    high: int = 2**31 - 1

    def problem(self, value: object) -> str | None:
        """Says what the value must be; None if it is in the range."""
        is_whole = isinstance(value, Integral) and not isinstance(value, bool)
        if is_whole and self.low <= int(value) <= self.high:  # type: ignore[call-overload]
            return None
        return f"a whole number from {self.low} to {self.high}"


@dataclass(frozen=True)
class Number:
    """Finite numbers above, or from, a lower bound, and below an upper one.

    Example:
        >>> Number(at_least=0, below=1).problem(1.0)
        'at least 0 and below 1'
    """

    at_least: float | None = None
    above: float | None = None
    below: float | None = None

    def problem(self, value: object) -> str | None:
        """Says what the value must be; None if it is in the range."""
        if isinstance(value, Real) and not isinstance(value, bool) and self._holds(value):
            return None
        if self.below is not None:
            return f"at least {self.at_least:g} and below {self.below:g}"
        if self.above is not None:
            return f"a finite number above {self.above:g}"
        return "a finite number" + (
            "" if self.at_least is None else f" of at least {self.at_least:g}"
        )

    def _holds(self, value: Real) -> bool:
        try:
            number = float(value)
        except OverflowError:  # 10⁴⁰⁰, for one
            return False
        low = -math.inf if self.at_least is None else self.at_least
        above = -math.inf if self.above is None else self.above
        below = math.inf if self.below is None else self.below
        return math.isfinite(number) and low <= number and above < number < below


@dataclass(frozen=True)
class Flag:
    """True or false."""

    def problem(self, value: object) -> str | None:
        """Says what the value must be; None if it is in the range."""
        return None if isinstance(value, bool) else "True or False"


@dataclass(frozen=True)
class OneOf:
    """One of several texts.

    Example:
        >>> OneOf("adam", "adamw").problem("sgd")
        'one of adam, adamw'
    """

    options: tuple[str, ...]

    def __init__(self, *options: str):
        object.__setattr__(self, "options", options)

    def problem(self, value: object) -> str | None:
        """Says what the value must be; None if it is in the range."""
        return None if value in self.options else "one of " + ", ".join(self.options)


@dataclass(frozen=True)
class Widths:
    """Widths of layers: any number of them up to `MAX_LAYERS`, none included."""

    def problem(self, value: object) -> str | None:
        """Says what the value must be; None if it is in the range."""
        one = Whole(1, MAX_WIDTH)
        widths = value if isinstance(value, list | tuple) else (None,)
        if len(widths) <= MAX_LAYERS and not any(one.problem(width) for width in widths):
            return None
        return f"at most {MAX_LAYERS} whole numbers from 1 to {MAX_WIDTH}"


@dataclass(frozen=True)
class Names:
    """Different names out of those that are known, in any order; none is allowed.

    Example:
        >>> Names("noise", "dropout").problem(("noise", "noise"))
        'different names out of noise, dropout'
    """

    known: tuple[str, ...]

    def __init__(self, *known: str):
        object.__setattr__(self, "known", known)

    def problem(self, value: object) -> str | None:
        """Says what the value must be; None if it is in the range."""
        names = value if isinstance(value, list | tuple) else (None,)
        are_known = all(isinstance(name, str) and name in self.known for name in names)
        if are_known and len(set(names)) == len(names):
            return None
        return "different names out of " + ", ".join(self.known)


@dataclass(frozen=True)
class Declaration:
    """What a field says of its hyperparameter, beside name, type and default."""

    range: Range
    """The values that it may take."""

    kind: Kind
    """traced: a number that the loss or the optimiser computes with, open to `vmap`; shaping: part
    of the compiled program's structure; host: read by the loop on the host alone."""

    help: str
    """What it means, as the help of its flag says it."""

    changes_loss: bool
    """Whether losses under different values of it are different quantities, so that no sweep may
    compare by them."""


class Hyperparameters:
    """What every class of hyperparameters has beside its fields."""

    name: ClassVar[str] = ""
    """The method's name, as on the command line."""

    title: ClassVar[str] = ""
    """The method's name in prose."""

    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Sets of values by name; the first one gives the defaults."""

    def unused(self) -> dict[str, str]:
        """Returns the hyperparameters that nothing computes with, each with what would use it."""
        return {}


def hyperparameter(
    range: Range, *, default: Any, kind: Kind, help: str, changes_loss: bool = False
) -> Any:
    """Declares a hyperparameter as a field of its class.

    Args:
        range: the values that it may take.
        default: its value unless a recipe or the user says otherwise.
        kind: as of `Declaration`.
        help: what it means, in one or a few sentences.
        changes_loss: whether losses under different values of it cannot be compared.

    Returns:
        The field, for the body of a class under `hyperparameters`.

    Raises:
        TypeError: the range, the kind or the help is none.
    """
    if not callable(getattr(range, "problem", None)):
        raise TypeError(f"{range!r} is not a range; it must have a method `problem`")
    if kind not in ("traced", "shaping", "host"):
        raise TypeError(f"kind is {kind!r}; it must be traced, shaping or host")
    if not isinstance(help, str) or not help.strip():
        raise TypeError("help is empty; say what the hyperparameter means")
    declaration = Declaration(range, kind, help, changes_loss)
    return dataclasses.field(default=default, metadata={"hyperparameter": declaration})


def declaration(field: "dataclasses.Field[Any]") -> Declaration:
    """Returns what a field says of its hyperparameter."""
    found: Declaration = field.metadata["hyperparameter"]
    return found


def check(values: Any) -> None:
    """Raises an error for the first hyperparameter that is of the wrong type or out of its range.

    Args:
        values: the hyperparameters of any method.

    Raises:
        ValueError: names the hyperparameter, the value, and the values it may take.

    Example:
        >>> check(TrainingHyperparameters(learning_rate=-1.0))
        Traceback (most recent call last):
        ...
        ValueError: learning_rate is -1.0; it must be a finite number above 0
    """
    fields = dataclasses.fields(values)
    for field in fields:
        value = getattr(values, field.name)
        if problem := declaration(field).range.problem(value):
            raise ValueError(f"{field.name} is {value!r}; it must be {problem}")
    unused = values.unused()
    for field in fields:
        value = getattr(values, field.name)
        if field.name in unused and value != field.default:
            raise ValueError(
                f"{field.name} is {value!r}; it must be left out unless {unused[field.name]}"
            )


@dataclass_transform(field_specifiers=(hyperparameter,))
def hyperparameters(
    *,
    name: str = "",
    title: str = "",
    recipes: Mapping[str, Mapping[str, Any]] = {"seed": {}},
    changes_loss: tuple[str, ...] = (),
) -> Callable[[Declared], Declared]:
    """Makes a class of fields the hyperparameters of a method.

    Args:
        name: the method's name, as on the command line.
        title: the method's name in prose, such as "Variational autoencoder".
        recipes: sets of values by name. The first one gives the defaults, where it differs from
            those of the fields.
        changes_loss: inherited hyperparameters that change what this method's loss means.

    Returns:
        A decorator of the class, which becomes a dataclass.

    Raises:
        TypeError: a field was not made by `hyperparameter`, or a recipe names none or gives it a
            value out of its range.

    Example:
        >>> @hyperparameters(name="mine", title="Mine", recipes={"seed": {"epochs": 7}})
        ... class Mine(TrainingHyperparameters):
        ...     margin: float = hyperparameter(
        ...         Number(above=0), default=1.0, kind="traced", help="Margin of the loss."
        ...     )
        >>> Mine().epochs, Mine.title
        (7, 'Mine')
    """

    def declare(cls: Any) -> Any:
        own = inspect.get_annotations(cls)
        for field in own:
            made = cls.__dict__.get(field)
            if not isinstance(made, dataclasses.Field) or "hyperparameter" not in made.metadata:
                raise TypeError(
                    f"{cls.__name__}.{field} has no range, kind and help; make it by "
                    "`hyperparameter(range, default=…, kind=…, help=…)`"
                )
        inherited = {
            field.name: field
            for base in reversed(cls.__mro__[1:])
            if dataclasses.is_dataclass(base)
            for field in dataclasses.fields(base)
        }
        first = next(iter(recipes.values()), {})
        for field in dict.fromkeys((*first, *changes_loss)):
            if field in inherited:
                _redeclare(cls, inherited[field], first, field in changes_loss)
            elif field in own:
                cls.__dict__[field].default = first[field]
        cls.name, cls.title = name, title
        cls.recipes = {key: dict(values) for key, values in recipes.items()}
        made = dataclass(cls)
        for recipe, values in recipes.items():
            try:
                check(made(**values))
            except (TypeError, ValueError) as error:
                raise TypeError(f"recipe {recipe} of {cls.__name__}: {error}") from error
        return made

    return declare


def _redeclare(
    cls: Any, field: "dataclasses.Field[Any]", values: Mapping[str, Any], changes_loss: bool
) -> None:
    """Gives a class a field that it inherits, with another default or another meaning."""
    told = declaration(field)
    setattr(
        cls,
        field.name,
        hyperparameter(
            told.range,
            default=values.get(field.name, field.default),
            kind=told.kind,
            help=told.help,
            changes_loss=told.changes_loss or changes_loss,
        ),
    )
    cls.__annotations__ = {**inspect.get_annotations(cls), field.name: field.type}


@hyperparameters()
class TrainingHyperparameters(Hyperparameters):
    """What every method has: the widths of its network, its optimiser and its schedule."""

    hidden_dims: tuple[int, ...] = hyperparameter(
        Widths(),
        default=(64,),
        kind="shaping",
        help="Widths of the encoder's hidden layers, input side first; a decoder mirrors them.",
    )
    latent_dim: int = hyperparameter(
        Whole(1, MAX_WIDTH), default=8, kind="shaping", help="Size of the representation of a row."
    )
    epochs: int = hyperparameter(
        Whole(1), default=50, kind="host", help="Passes over the training rows."
    )
    batch_size: int = hyperparameter(
        Whole(1),
        default=128,
        kind="host",
        help="Rows in a step; the last batch of an epoch may hold fewer.",
    )
    learning_rate: float = hyperparameter(
        Number(above=0), default=1e-3, kind="traced", help="Step size of the optimiser."
    )
    optimizer: Literal["adam", "adamw"] = hyperparameter(
        OneOf("adam", "adamw"),
        default="adam",
        kind="shaping",
        help="adam adds weight decay to the gradient, as torch.optim.Adam does; adamw decouples "
        "it from the gradient.",
    )
    weight_decay: float = hyperparameter(
        Number(at_least=0),
        default=0.0,
        kind="traced",
        help="Strength of the weight decay; applies to kernels and biases alike.",
    )
    precision: Literal["highest", "default", "bfloat16"] = hyperparameter(
        OneOf("highest", "default", "bfloat16"),
        default="highest",
        kind="shaping",
        help="How matrices are multiplied. highest: in float32 on every device; default: as the "
        "device likes (TF32 on GPUs, bfloat16 on TPUs); bfloat16: the network in bfloat16. "
        "Weights, optimiser and losses are float32 with all three.",
    )
    validation_fraction: float = hyperparameter(
        Number(at_least=0, below=1),
        default=0.0,
        kind="host",
        help="Share of the rows held out of training, whose loss is logged.",
    )
    seed: int = hyperparameter(
        Whole(0, 2**32 - 1),
        default=0,
        kind="host",
        help="Decides the initial weights, the order of the rows and all noise.",
    )
    split_seed: int = hyperparameter(
        Whole(0, 2**32 - 1),
        default=0,
        kind="host",
        help="Decides which rows are held out; apart from seed, so that runs of several seeds "
        "hold out the same.",
    )


@hyperparameters()
class ViewHyperparameters(TrainingHyperparameters):
    """What methods have that corrupt rows: which views they take, in which order, and how much.

    A rate of 0 draws nothing and leaves its view out.
    """

    views: tuple[Literal["noise", "dropout", "scarf", "swap"], ...] = hyperparameter(
        Names(*VIEWS),
        default=("noise", "dropout"),
        kind="shaping",
        changes_loss=True,
        help="Corruptions of a row, one after the other: noise adds Gaussian noise; dropout sets "
        "features to 0; scarf replaces each feature by that of a row of its own; swap takes all "
        "the features that it replaces from one other row.",
    )
    noise_std: float = hyperparameter(
        Number(at_least=0),
        default=0.0,
        kind="traced",
        changes_loss=True,
        help="Standard deviation of the Gaussian noise that is added, in standardised units.",
    )
    drop_rate: float = hyperparameter(
        Number(at_least=0, below=1),
        default=0.0,
        kind="traced",
        changes_loss=True,
        help="Share of the features set to 0.",
    )
    corruption_rate: float = hyperparameter(
        Number(at_least=0, below=1),
        default=0.6,
        kind="traced",
        changes_loss=True,
        help="Share of the features that scarf replaces by draws from their own columns.",
    )
    swap_rate: float = hyperparameter(
        Number(at_least=0, below=1),
        default=0.3,
        kind="traced",
        changes_loss=True,
        help="Share of the features that swap replaces by those of one other row.",
    )

    def unused(self) -> dict[str, str]:
        """Returns the rates of the views that are not chosen.

        Example:
            >>> list(ViewHyperparameters(views=("scarf",)).unused())
            ['noise_std', 'drop_rate', 'swap_rate']
        """
        return {
            rate: f"views names {view}" for view, rate in VIEWS.items() if view not in self.views
        }

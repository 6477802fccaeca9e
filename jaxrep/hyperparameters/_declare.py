"""How hyperparameters are declared: as fields of a class, each with its range, kind and help."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar, dataclass_transform

from jaxrep.hyperparameters._ranges import Range

Kind = Literal["traced", "shaping", "host", "rows"]
Predicts = Literal["classes", "numbers"]
Declared = TypeVar("Declared", bound="type[Hyperparameters]")


@dataclass(frozen=True)
class Declaration:
    """What a field says of its hyperparameter, beside name, type and default."""

    range: Range
    """The values that it may take."""

    kind: Kind
    """traced: a number that the loss or the optimiser computes with, open to `vmap`; shaping: part
    of the compiled program's structure; host: read by the loop on the host alone; rows: decides
    which rows are trained on and how much each counts, so that a sweep has one value for all."""

    help: str
    """What it means, as the help of its flag says it."""

    changes_loss: bool
    """Whether losses under different values of it are different quantities, so that no sweep may
    compare by them."""

    is_derived: bool
    """Whether it follows from what is trained on, so that no one gives it: neither flag, nor
    argument of an estimator, nor part of a grid."""

    aliases: tuple[str, ...] = ()
    """Other names of its flag, such as a shorter one."""


@dataclass(frozen=True)
class Recipe:
    """A set of hyperparameters that serves a purpose."""

    help: str
    """What it is for, as `--help` says it."""

    values: Mapping[str, Any]
    """Hyperparameters by name; those that are not named have the defaults of their fields."""

    scale: Literal["standard", "spikes"] = "standard"
    """How a table's numbers become features, where the user does not say."""


class Hyperparameters:
    """What every class of hyperparameters has beside its fields."""

    name: ClassVar[str] = ""
    """The method's name, as on the command line."""

    title: ClassVar[str] = ""
    """The method's name in prose."""

    recipes: ClassVar[Mapping[str, Recipe]] = {}
    """Sets of values by name; the first one gives the defaults."""

    predicts: ClassVar[Predicts | None] = None
    """What a method predicts that learns from labels; None of one that learns without."""

    takes_spikes: ClassVar[bool] = False
    """Whether its network takes numbers on the scale `spikes`."""

    def unused(self) -> dict[str, str]:
        """Returns the hyperparameters that nothing computes with, each with what would use it."""
        return {}


def hyperparameter(
    range: Range,
    *,
    default: Any,
    kind: Kind,
    help: str,
    changes_loss: bool = False,
    is_derived: bool = False,
    aliases: tuple[str, ...] = (),
) -> Any:
    """Declares a hyperparameter as a field of its class.

    Args:
        range: the values that it may take.
        default: its value unless a recipe or the user says otherwise.
        kind: as of `Declaration`.
        help: what it means, in one or a few sentences.
        changes_loss: whether losses under different values of it cannot be compared.
        is_derived: whether it follows from what is trained on.
        aliases: other names of its flag.

    Returns:
        The field, for the body of a class under `hyperparameters`.

    Raises:
        TypeError: the range, the kind or the help is none.
    """
    if not callable(getattr(range, "problem", None)):
        raise TypeError(f"{range!r} is not a range; it must have a method `problem`")
    if kind not in ("traced", "shaping", "host", "rows"):
        raise TypeError(f"kind is {kind!r}; it must be traced, shaping, host or rows")
    if not isinstance(help, str) or not help.strip():
        raise TypeError("help is empty; say what the hyperparameter means")
    declaration = Declaration(range, kind, help, changes_loss, is_derived, aliases)
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
        >>> from jaxrep.hyperparameters import TrainingHyperparameters
        >>> check(TrainingHyperparameters(learning_rate=-1.0))
        Traceback (most recent call last):
        ...
        ValueError: learning_rate is -1.0; it must be a finite number above 0
    """
    check_ranges(values)
    unused = values.unused()
    for field in dataclasses.fields(values):
        value = getattr(values, field.name)
        if field.name in unused and value != field.default:
            raise ValueError(
                f"{field.name} is {value!r}; it must be left out unless {unused[field.name]}"
            )


def check_ranges(values: Any) -> None:
    """Raises an error for the first hyperparameter that is out of its range, used or not.

    Args:
        values: the hyperparameters of any method.

    Raises:
        ValueError: as of `check`.
    """
    for field in dataclasses.fields(values):
        value = getattr(values, field.name)
        if problem := declaration(field).range.problem(value):
            raise ValueError(f"{field.name} is {value!r}; it must be {problem}")


def without_unused(kind: Any, values: Mapping[str, Any], given: Mapping[str, Any]) -> Any:
    """Returns hyperparameters of which those that nothing computes with have their defaults.

    Args:
        kind: their class.
        values: by name, each in its range.
        given: other ones, which stay as they are.
    """
    unused = kind(**values, **given).unused()
    used = {name: value for name, value in values.items() if name not in unused}
    return kind(**used, **given)


@dataclass_transform(field_specifiers=(hyperparameter,))
def hyperparameters(
    *,
    name: str = "",
    title: str = "",
    recipes: Mapping[str, Recipe] = {"default": Recipe("the defaults.", {})},
    changes_loss: tuple[str, ...] = (),
    derived: tuple[str, ...] = (),
    predicts: Predicts | None = None,
    takes_spikes: bool = False,
) -> Callable[[Declared], Declared]:
    """Makes a class of fields the hyperparameters of a method.

    Args:
        name: the method's name, as on the command line.
        title: the method's name in prose, such as "Variational autoencoder".
        recipes: sets of values by name. The first one gives the defaults, where it differs from
            those of the fields; in the others a field that they do not name has its own default.
        changes_loss: inherited hyperparameters that change what this method's loss means.
        derived: inherited hyperparameters that this method derives.
        predicts: what the method predicts, where it learns from labels.
        takes_spikes: whether numbers may be on the scale `spikes`, whose features a network has
            to take apart.

    Returns:
        A decorator of the class, which becomes a dataclass.

    Raises:
        TypeError: a field was not made by `hyperparameter`; there is no recipe, or one without
            help, or one that names no hyperparameter or gives it a value out of its range.

    Example:
        >>> from jaxrep.hyperparameters import Number, TrainingHyperparameters
        >>> recipes = {"quick": Recipe("trains in a second.", {"epochs": 7})}
        >>> @hyperparameters(name="mine", title="Mine", recipes=recipes)
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
        if not recipes or not all(recipe.help.strip() for recipe in recipes.values()):
            raise TypeError(f"{cls.__name__} needs recipes, one at least, each with its help")
        first = next(iter(recipes.values())).values
        declared: dict[str, Any] = {}  # the defaults that the first recipe changes
        for field in dict.fromkeys((*first, *changes_loss, *derived)):
            found = cls.__dict__[field] if field in own else inherited.get(field)
            if found is None:
                continue
            if field in first:
                declared[field] = found.default
            if field in own:
                found.default = first.get(field, found.default)
            else:
                default = first.get(field, found.default)
                _redeclare(cls, found, default, field in changes_loss, field in derived)
        cls.name, cls.title, cls.predicts = name, title, predicts
        for told, recipe in recipes.items():
            if recipe.scale == "spikes" and not takes_spikes:
                raise TypeError(f"recipe {told!r}: {cls.__name__} does not take the scale spikes")
        cls.takes_spikes = takes_spikes
        made = dataclass(cls)
        made.recipes = {
            name: dataclasses.replace(recipe, values=_complete(name, made, recipe.values, declared))
            for name, recipe in recipes.items()
        }
        return made

    return declare


def _complete(
    name: str, made: Any, values: Mapping[str, Any], declared: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Returns a recipe's values with what the first recipe has set otherwise; checked."""
    others = {field: default for field, default in declared.items() if field not in values}
    try:
        check_ranges(made(**others, **values))
        check(without_unused(made, others, values))
    except (TypeError, ValueError) as error:
        raise TypeError(f"recipe {name} of {made.__name__}: {error}") from error
    return {**others, **values}


def _redeclare(
    cls: Any,
    field: "dataclasses.Field[Any]",
    default: Any,
    changes_loss: bool,
    is_derived: bool,
) -> None:
    """Gives a class a field that it inherits, with another default or another meaning."""
    told = declaration(field)
    setattr(
        cls,
        field.name,
        hyperparameter(
            told.range,
            default=default,
            kind=told.kind,
            help=told.help,
            changes_loss=told.changes_loss or changes_loss,
            is_derived=told.is_derived or is_derived,
        ),
    )
    cls.__annotations__ = {**inspect.get_annotations(cls), field.name: field.type}

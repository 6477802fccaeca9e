"""Flags of the commands that take a method, derived from the list of methods."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypedDict, Union, get_type_hints

from tyro.conf import FlagConversionOff, arg, subcommand
from tyro.constructors import PrimitiveConstructorSpec

from jaxrep import methods
from jaxrep.errors import InputError
from jaxrep.hyperparameters import TrainingHyperparameters, declaration
from jaxrep.methods import recipe_name, resolve

USE = "--use"
NO = "no_"


def method_command(command: type, defaults: Mapping[str, Any]) -> type:
    """Returns a command whose subcommands are the methods, each with its own flags.

    Args:
        command: a subclass of `WithHyperparameters`, to be called.
        defaults: hyperparameters that the command sets where neither flag nor recipe does.

    Returns:
        A dataclass whose field `command` is a union for `tyro.cli`: for each method the fields of
        `command`, and as `given` those hyperparameters whose flags are there.
    """
    of_methods = []
    for name in methods.without_labels():
        kind = methods.hyperparameters_of(name)
        bound = dataclasses.make_dataclass(
            f"{command.__name__}{kind.__name__}",
            [
                ("recipe", recipe_flag(kind), None),
                ("given", Annotated[flags(kind, defaults=defaults), arg(name="")]),
            ],
            bases=(command,),
            kw_only=True,
            namespace={"kind": kind, "defaults": defaults},
        )
        help = f"{kind.title}. {command.__doc__}"
        of_methods.append(Annotated[bound, subcommand(name, description=help)])
    union: Any = Annotated[Union[tuple(of_methods)], arg(help="")]  # noqa: UP007
    made = dataclasses.make_dataclass(f"{command.__name__}Method", [("command", union)])
    made.__doc__ = command.__doc__
    return made


def recipe_flag(*kinds: type[TrainingHyperparameters]) -> Any:
    """Returns the type of the flag `--recipe`, whose help lists the recipes, a line for each.

    Args:
        *kinds: classes of hyperparameters; a recipe that several have is taken from the first.
    """
    recipes = {name: made for kind in reversed(kinds) for name, made in kind.recipes.items()}
    lines = "\n".join(f"{name}: {made.help}" for name, made in recipes.items())
    help = f"Which values the hyperparameters below have where no flag gives them:\n{lines}"
    hint = f"(default: {recipe_name(kinds[0], None)})"
    return Annotated[str | None, arg(metavar="NAME", help=help, help_behavior_hint=hint)]


def flags(*kinds: type[TrainingHyperparameters], defaults: Mapping[str, Any] = {}) -> Any:
    """Returns a type for `tyro.cli` that becomes a dictionary of the hyperparameters given.

    The help of each shows its value under the first recipe. A hyperparameter that is true or false
    has two flags, for either may be what a recipe says.

    Args:
        *kinds: classes of hyperparameters; what several have is taken from the first.
        defaults: as of `method_command`.
    """
    types: dict[str, Any] = {}
    for kind in reversed(kinds):
        hints = get_type_hints(kind)
        usual = {**defaults, **kind.recipes[recipe_name(kind, None)].values}
        for field in dataclasses.fields(kind):
            told = declaration(field)
            if told.is_derived:
                continue
            value = usual.get(field.name, field.default)
            shown = arg(
                help=told.help,
                help_behavior_hint=f"(default: {_shown(value)})",
                aliases=told.aliases or None,
            )
            if hints[field.name] is bool:
                types[field.name] = Annotated[bool, FlagConversionOff, _switch(True), shown]
                other = arg(help=f"The opposite of {_flag(field.name)}.", help_behavior_hint="")
                types[NO + field.name] = Annotated[bool, FlagConversionOff, _switch(False), other]
            else:
                types[field.name] = Annotated[hints[field.name], shown]
    make: Any = TypedDict  # of keys that are known now only
    return make(f"{kinds[0].__name__}Flags", types, total=False)


def given_by(parsed: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the hyperparameters that flags give, by name.

    Args:
        parsed: what `tyro.cli` makes of a type from `flags`.

    Raises:
        InputError: a hyperparameter is said to be both true and false.
    """
    given = dict(parsed)
    for name in [name for name in parsed if name.startswith(NO) and parsed[name] is False]:
        if (positive := name.removeprefix(NO)) in parsed:
            raise InputError(f"{_flag(positive)} and {_flag(name)}: give one of them")
        given[positive] = given.pop(name)
    return given


def _switch(value: bool) -> Any:
    """Returns how `tyro.cli` reads a flag without a value, which stands for `value`."""
    return PrimitiveConstructorSpec(
        nargs=0,
        metavar="",
        instance_from_str=lambda texts: value,
        is_instance=lambda instance: isinstance(instance, bool),
        str_from_instance=lambda instance: [],
    )


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


class WithHyperparameters:
    """A command that was made for a method by `method_command`."""

    kind: type[TrainingHyperparameters]
    defaults: Mapping[str, Any]
    recipe: str | None
    given: Mapping[str, Any]

    def asked(self) -> TrainingHyperparameters:
        """Returns the hyperparameters that the flags and the recipe say.

        Raises:
            InputError: there is no such recipe, or a value is out of its range.
        """
        return resolve(self.kind, self.recipe, given_by(self.given), defaults=self.defaults)

    def asked_recipe(self) -> str:
        """Returns the name of the recipe that is taken."""
        return recipe_name(self.kind, self.recipe)


def take_used_files(arguments: list[str]) -> list[str]:
    """Runs the files that `--use FILE` names, and returns the other arguments.

    Their methods are known by then, with their flags, wherever in the arguments `--use` stands.

    Args:
        arguments: of the command line.

    Raises:
        InputError: a file cannot be run.
    """
    left: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        if name != USE:
            left.append(argument)
        elif path := value if equals else next(rest, ""):
            methods.use(Path(path))
    return left


def check_method(arguments: list[str]) -> None:
    """Refuses a method that is not known, with what brings it; tyro would only say that it is not.

    Args:
        arguments: of the command line, without `--use`.

    Raises:
        InputError: `train` or `sweep` is asked for a method that there is not.
    """
    if arguments[:1] not in (["train"], ["sweep"]) or arguments[1:2] in ([], ["-h"], ["--help"]):
        return
    if methods.hyperparameters_of(arguments[1]).predicts is not None:
        raise InputError(
            f"{arguments[0]} {arguments[1]}: learns from labels, on a trained run; the command is "
            "`jaxrep finetune RUN DATA --label COLUMN --out RUN2`"
        )

"""Flags of the commands that take a method, derived from the list of methods."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Union, get_type_hints

from tyro.conf import arg, subcommand

from jaxrep import methods
from jaxrep.errors import InputError
from jaxrep.hyperparameters import TrainingHyperparameters, declaration

USE = "--use"


def method_command(command: type, defaults: Mapping[str, Any]) -> type:
    """Returns a command whose subcommands are the methods, each with its own flags.

    Args:
        command: a dataclass that is called with the method's hyperparameters.
        defaults: hyperparameters whose default differs from the method's own.

    Returns:
        A dataclass whose field `command` is a union for `tyro.cli`: for each method the fields of
        `command`, and as `hyperparameters` the method's.
    """
    of_methods = []
    for name in methods.without_labels():
        hyperparameters = methods.hyperparameters_of(name)
        of_method = flags(hyperparameters, defaults=defaults)
        bound = dataclasses.make_dataclass(
            f"{command.__name__}{hyperparameters.__name__}",
            [
                (
                    "hyperparameters",
                    Annotated[of_method, arg(name="")],
                )
            ],
            bases=(command,),
            kw_only=True,
            namespace={"hyperparameters_type": hyperparameters},
        )
        help = f"{hyperparameters.title}. {command.__doc__}"
        of_methods.append(Annotated[bound, subcommand(name, description=help)])
    union: Any = Annotated[Union[tuple(of_methods)], arg(help="")]  # noqa: UP007
    made = dataclasses.make_dataclass(f"{command.__name__}Method", [("command", union)])
    made.__doc__ = command.__doc__
    return made


def flags(*all_made: type[TrainingHyperparameters], defaults: Mapping[str, Any] = {}) -> type:
    """Returns a dataclass of methods' hyperparameters with the help of each as tyro takes it.

    Args:
        *all_made: classes of hyperparameters; what several have is taken from the first.
        defaults: hyperparameters whose default differs from the method's own.
    """
    fields = {
        field.name: (
            field.name,
            Annotated[get_type_hints(made)[field.name], arg(help=declaration(field).help)],
            dataclasses.field(default=defaults.get(field.name, field.default)),
        )
        for made in reversed(all_made)
        for field in dataclasses.fields(made)
        if not declaration(field).is_derived
    }
    return dataclasses.make_dataclass(f"{all_made[0].__name__}Flags", fields.values())


class WithHyperparameters:
    """A command that was made for a method by `by_method`."""

    hyperparameters_type: type[TrainingHyperparameters]

    def asked(self) -> TrainingHyperparameters:
        """Returns the hyperparameters that the flags say."""
        return self.hyperparameters_type(**vars(self.hyperparameters))  # type: ignore[attr-defined]


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

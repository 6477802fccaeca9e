"""A callback of functions, for tests that listen to a training."""

from jaxrep.training import Callback


class Heard(Callback):
    """Calls the functions it is given, by the names of a callback's methods."""

    def __init__(self, **functions):
        self._functions = functions

    def _call(self, name, *arguments):
        if name in self._functions:
            self._functions[name](*arguments)

    def on_progress(self, progress):
        self._call("on_progress", progress)

    def on_epoch(self, metrics):
        self._call("on_epoch", metrics)

    def on_save(self, step, folder):
        self._call("on_save", step, folder)

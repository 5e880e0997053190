"""Registries: all things of one kind, by name. Those of installed packages are found by their entry points."""

from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from typing import Any, Generic, TypeVar

from interp.base import Frozen, UserError, near_miss, once

Thing = TypeVar("Thing")


class Registry(Mapping[str, Thing], Generic[Thing]):
    """Things of one kind by name: those of interp, those that were added, and those of installed packages.

    >>> TASKS["modular"]
    <class 'interp.tasks.modular.ModularTask'>

    A package names its own in pyproject.toml: `[project.entry-points."interp.tasks"]`, `parity = "mine:ParityTask"`. It is
    imported when that name, or the list of all, is asked for.
    """

    def __init__(
        self,
        what: str,
        group: str,
        named: Callable[[Thing], str],
        own: tuple[Thing, ...] = (),
        loaded: Callable[[Any], Thing] = lambda thing: thing,
        called: str = "",
    ):
        self.what, self.group, self._named, self._loaded = what, group, named, loaded
        self.called = called
        """Name of the registry in the module that its group of entry points is named for."""
        self.own = own
        self._known = {named(thing): thing for thing in own}

    def add(self, thing: Thing) -> Thing:
        """Add a thing, and return it, so that this can stand above a class as `@TASKS.add`.

        Raises:
            UserError: another one has that name.
        """
        name = self._named(thing)
        if name in self and self[name] is not thing:
            raise UserError(f'there is another {self.what} "{name}"; choose another name')
        self._known[name] = thing
        return thing

    def put(self, thing: Thing) -> None:
        """Add a thing in place of another of its name."""
        self._known[self._named(thing)] = thing

    @once
    def _installed(self) -> dict[str, metadata.EntryPoint]:
        """Entry points of installed packages; none of them is imported."""
        return {point.name: point for point in metadata.entry_points(group=self.group)}

    def __getitem__(self, name: str) -> Thing:
        if name not in self._known and name in self._installed:
            self._known[name] = self._loaded(self._imported(self._installed[name]))
        return self._known[name]

    def _imported(self, point: metadata.EntryPoint) -> Any:
        """What an entry point names; UserError if the package that has it cannot be imported."""
        try:
            return point.load()
        except Exception as error:  # whatever their code raises
            raise UserError(
                f'{self.what} "{point.name}" of an installed package, {point.value}, cannot be imported ({error!s:.200}); mend '
                "that package or uninstall it"
            ) from error

    def __contains__(self, name: Any) -> bool:
        return name in self._known or name in self._installed

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._known, *self._installed]))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def find(self, name: str) -> Thing:
        """The thing of that name; UserError with the nearest name if there is none."""
        if name not in self:
            raise UserError(f'no {self.what} "{name}"{near_miss(name, self)}')
        return self[name]

    def read(self, value: Any) -> Any:
        """A specification from its JSON, whose `kind` says which class it is of; anything else as it is.

        For a field of a configuration: `Annotated[Task, BeforeValidator(TASKS.read)]`.

        Raises:
            UserError: there is no such kind, a field of it is not allowed, or the specification is of a class that was not added:
                its run would open as something else, or not at all.
        """
        if not isinstance(value, Mapping):
            if isinstance(value, Frozen):
                self._refuse_stranger(type(value), getattr(value, "kind", None))
            return value
        kind = value.get("kind")
        if not isinstance(kind, str) or kind not in self:
            raise UserError(f"{self.what}.kind is {kind!r:.60}{near_miss(str(kind)[:60], self)}")
        return self[kind](**value)  # type: ignore[operator]

    def _refuse_stranger(self, kind: type, name: Any) -> None:
        """Raise UserError for a class that its name in a configuration does not lead back to."""
        if name in self and self[name] is kind:
            return
        add = f"add it by {self.group}.{self.called}.add({kind.__name__})"
        if name in self:
            raise UserError(
                f'{self.what} {kind.__name__} has the kind "{name}" of {getattr(self[name], "__name__", name)}, as which its run '
                f'would be opened; give it one of its own, kind: Literal["mine"] = "mine", and {add}'
            )
        raise UserError(
            f'{self.what} "{name!s:.60}" ({kind.__name__}) is not known, so its run could not be opened; {add}'
        )

"""Immutable values with named fields, as frozen data classes are, without what importing
``dataclasses`` costs."""

from __future__ import annotations

from ._typing import TYPE_CHECKING, dataclass_transform

if TYPE_CHECKING:
    from typing import Any, ClassVar


def _restore(cls: type[Record], values: dict[str, Any]) -> Record:
    return cls(**values)


@dataclass_transform(frozen_default=True, kw_only_default=True, eq_default=True)
class Record:
    """A value whose fields are its class's ``__slots__``, those of its bases first.

    Fields are given by name, compared by value, and cannot be set. Records of one class match
    patterns (``case Progress(stage="fetch")``), can be pickled, and are hashable if their fields
    are.
    """

    __slots__ = ()
    #: The names of the fields.
    _fields: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._fields = (*cls._fields, *cls.__dict__.get("__slots__", ()))
        type.__setattr__(cls, "__match_args__", cls._fields)

    if not TYPE_CHECKING:

        def __init__(self, **values: object) -> None:
            for name in self._fields:
                try:
                    object.__setattr__(self, name, values.pop(name))
                except KeyError:
                    raise TypeError(f"{type(self).__name__} needs {name}") from None
            if values:
                raise TypeError(f"{type(self).__name__} has no {', '.join(values)}")

    def to_dict(self) -> dict[str, Any]:
        """Its fields by name; records in them stay records."""
        return {name: getattr(self, name) for name in self._fields}

    if not TYPE_CHECKING:

        def __setattr__(self, name: str, value: object) -> None:
            raise AttributeError(f"{type(self).__name__} cannot be changed: {name}")

        def __delattr__(self, name: str) -> None:
            raise AttributeError(f"{type(self).__name__} cannot be changed: {name}")

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self._fields)

    def __hash__(self) -> int:
        return hash((type(self), *(getattr(self, name) for name in self._fields)))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._fields)
        return f"{type(self).__name__}({fields})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.to_dict())

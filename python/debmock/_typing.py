"""What the package needs of ``typing``, without the time that importing it takes.

Type checkers read the first half; at run time subscripts mean nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Generic as Generic
    from typing import TypeVar
    from typing import overload as overload

    from typing_extensions import dataclass_transform as dataclass_transform

    T = TypeVar("T")
    #: What a program printed: ``bytes`` or ``str``.
    Output = TypeVar("Output", bytes, str)
else:

    class Generic:
        __slots__ = ()

        def __class_getitem__(cls, _item: object) -> type:
            return cls

    def dataclass_transform(**_options: object):
        return lambda cls: cls

    def overload(function: object) -> object:
        return function

    T = Output = object

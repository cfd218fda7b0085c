"""The one exception users meet, and the wall between exceptions and gdb's prompt."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    _Base = Exception
else:
    try:
        # gdb prints a GdbError as one line, anything else as "Error occurred in Python".
        from gdb import GdbError as _Base
    except ImportError:
        _Base = Exception


class Error(_Base):
    """What went wrong, where, and what to do about it, in one line."""


_NO_GDB = "this works inside gdb only: source gdb-scripts/gomapscope.py there"

_Call = TypeVar("_Call", bound=Callable[..., Any])


def one_line(error: BaseException) -> str:
    """The message of ``error`` without line breaks."""
    return " ".join(str(error).split())


def translated(call: _Call) -> _Call:
    """Make ``call`` raise :class:`Error`, whatever native code or gdb raised.

    Ctrl-C and a ``q`` at the pager stay what they are.  So does an exception that is not
    ours to explain, such as a bug.
    """

    @functools.wraps(call)
    def wrapper(*arguments: Any, **options: Any) -> Any:
        try:
            import gdb
        except ImportError:
            raise Error(_NO_GDB) from None
        try:
            return call(*arguments, **options)
        except Error as error:
            # Subclasses tell our own code more; users meet one class.
            raise Error(str(error)) from None
        except gdb.GdbError:
            raise
        except gdb.error as error:
            raise Error(one_line(error)) from None
        except Exception as error:
            if _is_native(error):
                raise Error(one_line(error)) from None
            raise

    return wrapper  # type: ignore[return-value]


def guarded(call: _Call) -> _Call:
    """For what gdb calls: every failure leaves as one line through ``gdb.GdbError``.

    A panic of the native code arrives as a ``BaseException`` of pyo3's; it too must not
    reach gdb, which would leave a breakpoint's condition or a command list half done.
    """
    inner = translated(call)

    @functools.wraps(call)
    def wrapper(*arguments: Any, **options: Any) -> Any:
        import gdb

        try:
            return inner(*arguments, **options)
        except gdb.GdbError:
            raise
        except KeyboardInterrupt:
            # The word gdb itself uses; 13.1 would print a Python exception instead.
            raise gdb.GdbError("Quit") from None
        except (SystemExit, GeneratorExit):
            raise
        except BaseException as error:
            raise gdb.GdbError(_internal(error)) from None

    return wrapper  # type: ignore[return-value]


def _is_native(error: BaseException) -> bool:
    native = sys.modules.get("gomapscope._native")
    return native is not None and isinstance(error, native.Error)


def _internal(error: BaseException) -> str:
    from . import parameters

    if parameters.debug():
        import traceback

        import gdb

        gdb.write("".join(traceback.format_exception(type(error), error, error.__traceback__)))
        advice = "please report it with the lines above"
    else:
        advice = "set go-map debug on, repeat the command, and please report what it prints"
    return f"internal error: {type(error).__name__}: {one_line(error)} ({advice})"

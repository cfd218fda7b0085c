"""Loading of the native module, late, and with an explanation when it fails."""

from __future__ import annotations

import os
import sys

from ._definitions import VERSION
from .errors import Error, one_line

_PACKAGE = os.path.dirname(os.path.abspath(__file__))
_CHECKOUT = os.path.dirname(os.path.dirname(_PACKAGE))


def require() -> None:
    """Make ``from . import _native`` safe; :class:`Error` says why it cannot be."""
    if "gomapscope._native" in sys.modules:
        return
    try:
        from . import _native
    except ImportError as error:
        raise Error(_explain(one_line(error))) from None
    if _native.__version__ != VERSION:
        found = _native.__version__
        del sys.modules["gomapscope._native"]
        raise Error(
            f"gomapscope: the native module is version {found}, the Python files are {VERSION}; "
            + _remedy()
        )


def _remedy() -> str:
    if os.path.exists(os.path.join(_CHECKOUT, "Cargo.toml")):
        return f"run: make -C {_CHECKOUT} build, then start gdb again"
    return "install it again: pip install --force-reinstall gomapscope"


def _explain(message: str) -> str:
    files = [name for name in os.listdir(_PACKAGE) if name.startswith("_native.")]
    if not any(name.endswith((".so", ".pyd", ".dylib")) for name in files):
        return f"gomapscope: its native module is not built; {_remedy()}"
    if "undefined symbol: Py" in message:
        return (
            "gomapscope: this gdb does not offer its Python to extension modules (Python is linked "
            f"into gdb statically, or is not CPython >= 3.9); use a gdb with a shared libpython, "
            f"for example: pip install gdb-for-pwndbg ({message})"
        )
    if "ELF" in message or "wrong architecture" in message or "Exec format" in message:
        machine = os.uname().machine
        return (
            f"gomapscope: its native module is for another machine than this gdb ({machine}); "
            f"{_remedy()} ({message})"
        )
    return f"gomapscope: its native module does not load; {_remedy()} ({message})"

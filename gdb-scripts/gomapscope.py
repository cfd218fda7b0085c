"""Load gomapscope into gdb: commands go-map-buckets, go-map-stats and others; see `help go-map'.

    (gdb) source PATH/gdb-scripts/gomapscope.py

or put that line into ~/.config/gdb/gdbinit.  Needs gdb 12.1 with Python 3.9, or later.  The
package is taken from the checkout that this file lies in, else from where pip put it.
"""


def _gomapscope():
    """Register everything; returns why it could not be done."""
    import os
    import sys

    import gdb

    if tuple(int(part) for part in gdb.VERSION.split(".")[:2] if part.isdigit()) < (12, 1):
        return "gdb 12.1 or later is needed, this is %s" % gdb.VERSION
    if sys.version_info < (3, 9):
        return "a gdb with Python 3.9 or later is needed, this one has %d.%d" % sys.version_info[:2]
    # Not __file__: gdb leaves it alone where one Python script sources another.
    here = os.path.dirname(os.path.realpath(sys._getframe().f_code.co_filename))
    root = os.path.dirname(here)
    # In a checkout the package lies beside us; in a wheel we lie inside the package.
    for folder in (os.path.join(root, "python"), os.path.dirname(root)):
        if os.path.isfile(os.path.join(folder, "gomapscope", "register.py")):
            if folder not in sys.path:
                sys.path.insert(0, folder)
            break
    try:
        from gomapscope.register import register
    except ImportError as error:
        return "its Python package is not found (%s)" % error
    register()
    return None


_failure = _gomapscope()
if _failure:
    # An exception would print a traceback.
    import gdb

    gdb.write("gomapscope: %s\n" % _failure, gdb.STDERR)
# All scripts share one namespace with the user's `python' command.
del _gomapscope, _failure

"""CRC-32C, from the package `crc32c`: in hardware, where the processor has it."""

from collections.abc import Callable
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec


def load() -> Callable[..., int]:
    """The function of the package, which is not imported itself where that can be avoided.

    The package asks for its own version, and imports `importlib.metadata` and half of `email` for
    that: a sixth of the time in which this program starts (benchmark: end_to_end). Its function is
    in an extension, which needs none of them.
    """
    package = find_spec("crc32c")
    if package is not None and package.submodule_search_locations:
        places = package.submodule_search_locations
        extension = PathFinder.find_spec("crc32c._crc32c", places)
        if extension is not None and extension.loader is not None:
            module = module_from_spec(extension)
            extension.loader.exec_module(module)
            function: Callable[..., int] = module.crc32c
            return function
    from crc32c import crc32c as imported  # noqa: PLC0415

    return imported


crc32c = load()
"""``crc32c(data, crc)``: the checksum of `data`, which follows something with the checksum `crc`.

>>> crc32c(b"6789", crc32c(b"12345")) == crc32c(b"123456789") == 0xE3069283
True
"""

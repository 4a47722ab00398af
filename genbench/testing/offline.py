"""A while without a network: a check downloads nothing that nobody has asked for, and skips what is not here."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn
from unittest.mock import patch

REFUSAL = "a check downloads nothing"


@contextmanager
def offline() -> Iterator[None]:
    """Let every new connection of this process fail at once."""

    def refuse(*_: object, **__: object) -> NoReturn:
        raise OSError(REFUSAL)

    with patch.object(socket.socket, "connect", refuse), patch.object(socket, "getaddrinfo", refuse):
        yield

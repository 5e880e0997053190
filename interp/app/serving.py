"""Serving the live page to this machine."""

import logging
from pathlib import Path

from werkzeug.serving import BaseWSGIServer, make_server

from interp.app.page import make
from interp.base import UserError

HERE = "127.0.0.1"
"""The address of this machine for itself: nobody else reaches the page."""


def server(directory: Path, port: int) -> BaseWSGIServer:
    """The server of the page over a directory, a thread for each request; port 0 takes a free one. UserError if it is taken."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for every request otherwise
    try:
        return make_server(HERE, port, make(directory).server, threaded=True)
    except (OSError, SystemExit) as error:  # werkzeug prints why and exits
        raise UserError(f"port {port} is not to be had; take another --port, or 0 for a free one") from error

"""A live page for a finished model: give it a photo, see why it decides so, and what would change its mind.

    python demo.py --folder RUN_FOLDER

The page is served to this machine only. Photos stay in memory and are never stored.
"""

import logging
from contextlib import suppress
from dataclasses import dataclass

from configs.arguments import Range, flag, within
from configs.errors import RunError
from configs.finished_run import finished_run
from configs.script import run_script
from visualization.explained_run import open_hierarchical_run

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LiveFlags:
    """Where the page is served."""

    port: int = flag("live page", 7860, "port of the page; 0: a free one", parse=within(int, Range(0, 2**16)))


def main() -> None:
    """Open a finished run and serve its page until Ctrl-C."""
    settings, run, flags = finished_run(None, __doc__, LiveFlags)
    try:
        from live.server import application, listening_socket, serve
    except ImportError as error:
        raise RunError(
            f"the live page needs {error.name}, which is not installed: pip install starlette uvicorn"
        ) from None
    from live.answers import LiveModel

    try:
        listening = listening_socket(flags.port)
    except OSError as error:
        raise RunError(f"port {flags.port} cannot be used ({error.strerror}); choose another with --port") from None
    explained, predictor = open_hierarchical_run(settings, run, "vivid")
    log.info("Preparing the pictures of %d classes ...", len(explained.explainer.class_names))
    app = application(LiveModel(explained, predictor, settings.coverage[0]))
    with suppress(KeyboardInterrupt):
        log.info("Open http://127.0.0.1:%d in a browser; Ctrl-C ends it.", listening.getsockname()[1])
        serve(app, listening)
    log.info("Stopped.")


if __name__ == "__main__":
    run_script(main)

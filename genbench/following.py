"""What a process does that trains a run together with others and does not lead them: it trains, and no more."""

from collections.abc import Callable, Mapping

from genbench.config import RunConfig
from genbench.data.batches import load_batches
from genbench.errors import GenbenchError
from genbench.execution import telling_what_takes_less_memory
from genbench.pipeline import Surroundings, assemble, common_facts, folder_of
from genbench.plugins import Plugins
from genbench.train.distributed import called
from genbench.train.loop import train
from genbench.train.sharing import Abandoned


class Silent:
    """Observes a run, and leaves it to rank 0 to talk."""

    def started(self, images_seen: int, budget: int) -> None: ...

    def advanced(self, images_seen: int, row: Mapping[str, float]) -> None: ...

    def preparing(self, done: int, total: int) -> None: ...

    def said(self, message: str) -> None: ...


def follow(plugins: Plugins, config: RunConfig, around: Surroundings, stop: Callable[[], bool]) -> None:
    """Train with rank 0 once it calls, or learn from it that there is nothing to train.

    Raises:
        GenbenchError: something is wrong here that rank 0 can't tell of.
        SystemExit: another process has gone, and tells why itself.
    """
    try:
        with telling_what_takes_less_memory():
            _follow(plugins, config, around, stop)
    except Abandoned as error:
        raise SystemExit(error.exit_code) from error
    except GenbenchError as error:
        message = f"process {around.share.rank}: {error.message}"
        raise GenbenchError(message, error.hint, exit_code=error.exit_code) from error


def _follow(plugins: Plugins, config: RunConfig, around: Surroundings, stop: Callable[[], bool]) -> None:
    facts = called(around.share)
    if facts is None:
        return
    parts = assemble(plugins, config, folder_of(config, around), around, Silent())
    for name, own in common_facts(parts).items():
        if facts[name] != own:
            raise GenbenchError(
                f"its {name} differ from rank 0's ({own[:12]}, not {facts[name][:12]})",
                "all processes must be given the same command, packages and data",
            )
    batches = load_batches(parts.data, config, parts.device, around.share)
    train(parts.model, batches, config, parts.folder, Silent(), stop, around.engine)

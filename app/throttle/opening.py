"""Opens the budget that the settings name, and heeds changes of its file."""

import logging
import threading
from pathlib import Path

from app.errors import SettingsError
from app.settings import Settings
from app.throttle.budget import Budget
from app.throttle.ledger import Ledger
from app.throttle.mmap_store import MmapStore
from app.throttle.policy import Policy, load_policy
from app.throttle.stores import BucketStore, MemoryStore

LOOK_S = 2.0
REDIS_SCHEMES = ("redis", "rediss", "unix")

logger = logging.getLogger("dermzoo.budget")


def open_store(url: str, processes: int = 1) -> BucketStore:
    """Open `memory:` (one process), `mmap:PATH` (all processes of this host) or `redis://…` (several hosts).

    Of so many processes each has its part while it cannot be asked. Raises SettingsError.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "memory" and not rest.strip("/"):
        return MemoryStore()
    if scheme == "mmap" and rest:
        return MmapStore(Path(rest), processes=processes)
    if scheme in REDIS_SCHEMES and rest:
        # Imported here: who does not use it does not load it.
        from app.throttle.redis_store import RedisStore  # noqa: PLC0415

        return RedisStore(url, processes)
    raise SettingsError(
        f"DERMZOO_THROTTLE_URL is {url!r}; it must be 'memory:', 'mmap:PATH' or 'redis://HOST:PORT/NUMBER'"
    )


def open_budget(settings: Settings) -> Budget:
    """Open the budget that the settings name.

    Raises SettingsError.
    """
    is_chosen = settings.throttle_file != type(settings).model_fields["throttle_file"].default
    if is_chosen and not settings.throttle_file.exists():
        raise SettingsError(f"DERMZOO_THROTTLE_FILE is {settings.throttle_file}, which does not exist")
    processes = processes_of(settings)
    policy = load_policy(settings.throttle_file, processes)
    store = open_store(settings.budget_url, processes)
    return Budget(policy, store, ledger=Ledger(settings.data_dir / "spending", policy.cost))


def processes_of(settings: Settings) -> int:
    """Return how many processes draw from the budget."""
    return settings.workers + (settings.dimse_processes if settings.dimse else 0)


class Watch:
    """Looks at the policy file every few seconds, in a thread; a file with a mistake changes nothing."""

    def __init__(self, budget: Budget, path: Path, processes: int = 1) -> None:
        self._budget, self._path, self._processes = budget, path, processes
        self._seen = self._look()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="budget watch", daemon=True)

    def start(self) -> "Watch":
        """Begin to look."""
        self._thread.start()
        return self

    def close(self) -> None:
        """End, before the budget is closed."""
        self._ended.set()
        self._thread.join()

    def step(self) -> None:
        """Take the file if it has changed, and begin another day if it is time."""
        found = self._look()
        if found == self._seen:
            self._budget.renew_if_due()
            return
        self._seen = found
        policy = self._load()
        if policy is not None:
            self._budget.renew(policy)
            logger.info("the rates were read again", extra={"facts": {"file": str(self._path)}})

    def _load(self) -> Policy | None:
        if self._seen is None:
            logger.warning("the file of the rates is gone; they stay as they were")
            return None
        try:
            return load_policy(self._path, self._processes)
        except SettingsError as error:
            logger.warning("the rates stay as they were", extra={"facts": {"reason": str(error)}})
            return None

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _run(self) -> None:
        while not self._ended.wait(LOOK_S):
            try:
                self.step()
            except Exception:
                logger.exception("the budget could not be renewed")


def watch_policy(budget: Budget, settings: Settings) -> Watch:
    """Begin to heed changes of the policy file that the settings name."""
    return Watch(budget, settings.throttle_file, processes_of(settings)).start()

"""A training run: its settings, its folder, its randomness, and who may stop it."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import jax

from jaxalign.data.text.tokenizer import Tokenizer
from jaxalign.recipes.flags.config import TrainingConfig
from jaxalign.recipes.inputs.chat_texts import chat_texts, keep_template
from jaxalign.recipes.inputs.display import open_console
from jaxalign.recipes.inputs.template_time import start_template_time
from jaxalign.recipes.runs.policy import Policy
from jaxalign.recipes.runs.run_files import open_run_files, open_run_folder
from jaxalign.recipes.runs.stopping import Ending, ended_on_request, tell_start
from jaxalign.recipes.scoring.reference import weights_digest
from jaxalign.training import (
    AskedToStop,
    Clock,
    Finished,
    StopRequest,
    chaos,
    restore_or_start,
)
from jaxalign.training.folder.run_folder import check_run_folder
from jaxalign.training.host_memory import keep_freed_memory
from jaxalign.training.stopping.exits import FINISHED

Closable = TypeVar("Closable", bound=Any)


class Run:
    """What a command has of its own, from its start to its end.

    Attributes:
      config: The settings.
      console: Where people read.
      clock: Accounts for all of the run's time.
      stop: The request to stop; all of a run but its training steps and short work on
        files stands in `stop.at_once()`.
      key: That all randomness is from.
      folder: Of the run, from `begin` on; so are `fingerprints`, `metrics`,
        `checkpoints`, `draw` and `chat`.
      host: What the restored checkpoint held for the host; None in a new run.
      step: The last step that was made.
    """

    def __init__(self, config, stop: StopRequest, ending: Ending, stack):
        """Nothing is touched yet."""
        self.config: TrainingConfig = config
        self.console, self.clock, self.stop = open_console(), Clock(), stop
        self.key = jax.random.key(config.seed)
        self.host: dict[str, Any] | None = None
        self.step = 0
        # Before any row is rendered: a template may write the time into it.
        self.fingerprints: dict[str, str] = start_template_time(config)
        self._ending, self._stack = ending, stack

    @property
    def is_new(self) -> bool:
        """Whether it begins: no checkpoint was restored."""
        return self.host is None

    @property
    def exit_code(self) -> int:
        """That of the command, once the block is left."""
        return self._ending.exit_code

    def begin(
        self, policy: Policy, tokenizer: Tokenizer, digests: Mapping[str, str]
    ) -> None:
        """Opens the run's folder, new or gone on with, as the settings say.

        Args:
          policy: What is trained.
          tokenizer: Its own.
          digests: Of data and further models, by role; the run remembers them.
        """
        config = self.config
        self.fingerprints = {
            "model": weights_digest(policy.folder),
            "tokenizer": tokenizer.fingerprint,
            **digests,
            **self.fingerprints,
        }
        # Not to be dropped halfway: the folder is either held or not.
        with self.stop.between_steps():
            folder = open_run_folder(config, self.fingerprints)
            self.folder = self._stack.enter_context(folder)
        # The thread that ends a stuck process runs no `__exit__`, which records it.
        self.stop.on_leaving(self.folder.leave)
        files = open_run_files(self.folder.path, config, self.fingerprints)
        self.metrics, self.checkpoints, self.draw = files
        given, size = config.chat_template, policy.config.vocab_size
        self.chat = chat_texts(tokenizer, size, given)
        keep_template(self.folder.path, self.chat)

    def closing(self, thing: Closable) -> Closable:
        """What is closed at the run's end, however it ends."""
        return self._stack.enter_context(contextlib.closing(thing))

    def restore(self, target: Any, num_steps: int) -> Any:
        """The state of the newest checkpoint, laid out like `target`; None without."""
        restored = restore_or_start(
            self.folder, self.checkpoints, self.metrics, target, clock=self.clock
        )
        state, self.host = restored
        # In a new run what comes back may be shapes without values.
        step = 0 if self.is_new else int(state.step)
        tell_start(self.console, self.folder, self.host, step, num_steps)
        return None if self.is_new else state

    def trained(self, done: Finished, num_steps: int) -> None:
        """Takes how training ended; leaves the block if it was asked to stop."""
        self.step = done.step
        self.metrics.close()
        if done.exit_code != FINISHED:
            self.folder.finished(done.step, done.exit_code)
            self._ending.tell(done, num_steps)
            # `ended_on_request` takes it: the rest of the command is left out.
            raise AskedToStop

    def finished(self) -> None:
        """Records that the run has done all that it was to do."""
        self.folder.finished(self.step, FINISHED)


@contextlib.contextmanager
def open_run(config: TrainingConfig) -> Iterator[Run]:
    """A run, inside of which a request to stop is heard at once and ends the block."""
    # Before data are read, which may take long; a dry run wants to know as well.
    check_run_folder(config.output_dir, config.resume)
    # Before the first computation, whose memory it is about.
    keep_freed_memory()
    with (
        StopRequest() as stop,
        ended_on_request(stop) as ending,
        contextlib.ExitStack() as stack,
        # The innermost: nothing is raised while the stack closes what is open.
        stop.at_once(),
    ):
        # Tests let a process fail or be killed at such places; see `chaos`.
        chaos.at("load")
        yield Run(config, stop, ending, stack)
        # Only here: a block that is left before keeps the code of a stop.
        ending.exit_code = FINISHED

"""The command line: `jaxalign COMMAND [flags]`."""

import atexit
import contextlib
import importlib
import os
import signal
import sys
import threading

from jaxalign.errors import UserError
from jaxalign.leaving import leaving_on_request
from jaxalign.os_errors import STOPPED, exit_code_of, paragraph, print_nowhere

COMMANDS = {
    "sft": "fine-tune a model on demonstrations",
    "reward": "train a reward model on judged completions",
    "dpo": "align a model with preference pairs",
    "kto": "align a model with single completions that are good or bad",
    "distill": "teach a model what a larger one would say",
    "ppo": "reinforcement learning from rewards, with a critic",
    "grpo": "reinforcement learning from groups of completions, without a critic",
    "online": "preferences between own completions: online DPO, XPO, Nash-MD, REBEL",
    "plan": "what a run needs on a machine that is not there",
    "evaluate": "measure a model: perplexity, preferences, rewards, win rates",
    "generate": "let a model complete prompts",
    "rewards": "list the rewards that score completions",
    "export": "write a run's model as a Hugging Face folder",
    "validate": "check a data file, row by row",
    "env": "print what a bug report needs",
}

USE_DEVICES = COMMANDS.keys() - {"plan", "rewards", "validate", "env"}
"""Commands that several processes at once must not run."""


def main(argv: list[str] | None = None) -> None:
    """Runs one command and exits with its code; see `jaxalign --help`."""
    argv_given, argv = argv, sys.argv[1:] if argv is None else argv
    _open_what_is_closed()
    if not argv or argv[0] in ("-h", "--help"):
        print(usage())
        sys.exit(0 if argv else 2)
    if argv[0] == "--version":
        from jaxalign import __version__

        print(__version__)
        sys.exit(0)
    name, *rest = argv
    try:
        with leaving_on_request():
            code = run(name, rest)
            sys.stdout.flush()  # here, where a full disk is still an error
    except BrokenPipeError:  # whoever read what was printed has enough
        print_nowhere()
        code = 128 + signal.SIGPIPE
    except Exception as error:
        code = exit_code_of(error)
        if code is None or "--debug" in rest:
            raise
        if not _stdout_works():
            print_nowhere()
        from jaxalign.data.text.preview import printable

        print(printable(paragraph(error)), file=sys.stderr)
    if code == STOPPED and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # only an echo can come now
        if argv_given is None:
            _leave_at_once(code)
    sys.exit(code)


def _open_what_is_closed() -> None:
    """Standard streams that whoever started the program has closed go nowhere.

    Else the next file that is opened gets the number of such a stream, and libraries
    write their messages into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            # The lowest number that is free is this one.
            handle = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(handle, "w" if number else "r"))


def _leave_at_once(code: int) -> None:
    """Ends the program without taking it apart: nearly a second of what is left."""
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _stdout_works() -> bool:
    try:
        sys.stdout.flush()
    except OSError:
        return False
    return True


def run(name: str, argv: list[str]) -> int | None:
    """Runs the command `name` and returns its exit code."""
    if name not in COMMANDS:
        import difflib

        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"Did you mean `{near[0]}`?" if near else "See `jaxalign --help`."
        raise UserError(f"jaxalign has no command `{name}`. {hint}")
    from jaxalign.recipes.flags.command_line import parse_command

    if name in USE_DEVICES:
        from jaxalign.recipes.runs.one_process import refuse_several_processes

        refuse_several_processes(os.environ)
    recipe = importlib.import_module(f"jaxalign.recipes.{name}")
    if hasattr(recipe, "command_line"):
        return recipe.command_line(argv)
    # Which settings there are may depend on a setting: `dpo --loss`.
    choose = getattr(recipe, "config_class", lambda argv: recipe.Config)
    config = parse_command(choose(argv), argv, prog=f"jaxalign {name}")
    from jaxalign.training import AskedToStop, StopRequest

    try:
        # Training commands take over from here, and save.
        with StopRequest() as stop, stop.at_once():
            return recipe.main(config)
    except AskedToStop:
        return STOPPED


def usage() -> str:
    """The text of `jaxalign --help`."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {what}" for name, what in COMMANDS.items()]
    return "\n".join(
        [
            "usage: jaxalign COMMAND [flags]",
            "",
            *lines,
            "",
            "`jaxalign COMMAND --help` lists the flags of a command. Every flag can",
            "stand in a YAML file too: `--config FILE`; flags override the file, and",
            "`--print-config` shows each value and where it came from. Relative paths,",
            "in the file too, are seen from the current folder.",
        ]
    )


if __name__ == "__main__":
    main()

"""The exceptions that are not bugs of the toolkit: the input is wrong, or an environment broke."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one line that names the file or flag, the field, what was found and what was
    expected. The command line prints it without a traceback and exits with status 2.
    """


class EnvironmentFault(RuntimeError):
    """An environment broke while it was played: it died, hung, raised, or returned what it must not.

    The message is one line that names the environment's id, index and seed, the step and the action. The command line
    prints it without a traceback (``--debug`` shows the environment's own) and exits with status 1.
    """

    def __init__(
        self,
        env_id: str,
        problem: str,
        environments: Mapping[int, int | None],
        *,
        when: str = "",
        action: Any = None,
        trace: str = "",
    ) -> None:
        """Say what happened.

        Args:
            env_id: what was played.
            problem: what went wrong: "raised ValueError: ...", "returned NaN", "the worker process died".
            environments: index in the batch to the seed that it was reset with (None: unknown), of the environment
                that broke, or of all that share its process where it is not known which one did.
            when: the moment: "in step 3 of episode 0".
            action: what was played then ``[...]``, or by all of ``environments``, ``[n, ...]``.
            trace: the environment's traceback, where there is one.
        """
        self.environments = dict(environments)
        self.consequence = ""
        """What it means for the work that was under way; follows the message."""
        indices = list(self.environments)
        seeds = ["unknown" if seed is None else str(seed) for seed in self.environments.values()]
        if len(indices) == 1:
            who = f"environment {indices[0]} (seed {seeds[0]})"
        else:
            who = f"environments {indices[0]} to {indices[-1]} (seeds {seeds[0]} to {seeds[-1]})"
        parts = [f"{env_id}: {who}: {problem}", when]
        if action is not None:
            # One line, however many rows the action has.
            parts.append(f"action{'' if len(indices) == 1 else 's'} {' '.join(str(action).split())}")
        super().__init__(", ".join(part for part in parts if part))
        if trace:
            self.add_note(trace)

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message}; {self.consequence}" if self.consequence else message

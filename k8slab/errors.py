"""Every exception that k8slab raises on purpose.

    K8slabError
      UsageError              the caller asked for something that cannot be     exit code 2
        ManifestError           a YAML or JSON document, with file and place
        ExerciseError           an exercise file, with file, exercise and field
      EnvironmentLacksError   the machine lacks something; says what to install exit code 3
        ProgramError            another program failed; carries a pasteable command
      ClusterError            a cluster is not there, or not as it should be    exit code 1
        ClusterNotFoundError
        ClusterNotReadyError
        ApiStatusError          the API answered with a Status that is an error
        PodNetworkError         a pod gets no network, in the words of the CNI plugin
        ReviewPendingError      a write has to wait for what admission webhooks say
      KernelError             the kernel refused something, with the call and errno
      ProbeError              the probe itself did not work (never an outcome)

A message says what happened, where, and what to do next: learners read errors
more often than documentation. The cause stays attached (``raise ... from``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class K8slabError(Exception):
    """The root of the tree: catch this to catch everything that is ours."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        """Say how to make it again in another process, whatever its constructor wants."""
        return _made_again, (type(self), self.args, self.__dict__)

    def _render_traceback_(self) -> list[str]:
        """Show the message alone in a notebook: IPython asks an exception for its traceback."""
        return [f"{type(self).__name__}: {self}"]


def _made_again(kind: type[K8slabError], args: tuple, fields: dict[str, Any]) -> K8slabError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(fields)
    return error


class UsageError(K8slabError):
    """The caller asked for something that cannot be."""

    exit_code = 2


class ManifestError(UsageError):
    """A manifest cannot be read; `place` is ``file:line`` where known."""

    def __init__(self, message: str, *, place: str = "", hint: str = "") -> None:
        super().__init__(f"{place}: {message}" if place else message, hint=hint)
        self.place = place


class ExerciseError(UsageError):
    """An exercise file is wrong; the message names file, exercise and field."""


class EnvironmentLacksError(K8slabError):
    """The machine lacks something that is needed; `hint` says what to install."""

    exit_code = 3


class ProgramError(EnvironmentLacksError):
    """Another program failed; `command` can be pasted into a shell."""

    def __init__(self, message: str, *, command: str, output: str = "", hint: str = "") -> None:
        super().__init__(f"{message}\n  command: {command}\n{output}".rstrip(), hint=hint)
        self.command = command
        self.output = output


class ClusterError(K8slabError):
    """A cluster is not there, or is not as it should be."""


class ClusterNotFoundError(ClusterError):
    """No cluster has this name."""


class ClusterNotReadyError(ClusterError):
    """A cluster did not become ready; the message says what was still missing."""


class ApiStatusError(ClusterError):
    """The Kubernetes API answered with an error `Status` object.

    `code` is the HTTP status, `reason` the machine-readable word
    (``NotFound``, ``Conflict``, ``Invalid``, ...), `details` the Status' details.
    Reasons: apimachinery ``metav1.StatusReason``.
    """

    def __init__(
        self, message: str, *, code: int, reason: str, details: dict | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.details = details or {}


class ReviewPendingError(ClusterError):
    """A write in the embedded API has to wait for admission webhooks, and then be done again.

    Await `answered`; `ledger` has the answer then (``apiserver.webhooks``).
    """

    def __init__(self, ledger: Any, answered: Callable[[], Awaitable[None]]) -> None:
        super().__init__("admission webhooks have to be asked first")
        self.ledger = ledger
        self.answered = answered


class PodNetworkError(ClusterError):
    """A pod cannot be given a network; the message is what the CNI plugin would say."""


class KernelError(K8slabError):
    """The kernel refused a call; `errno` is its number, or 0 when there was none."""

    def __init__(self, message: str, *, errno: int = 0) -> None:
        super().__init__(message)
        self.errno = errno


class ProbeError(K8slabError):
    """A probe itself did not work, so that nothing was observed."""

"""Monitoring of a training: accuracy on held-out images, rows of metrics, time left."""

import logging
import sys

import torch

from architectures.backbones.frozen import trained_part
from architectures.classifier import InterpretableClassifier
from architectures.inference import measured_batches
from configs.open_run import OpenRun
from training.frozen_maps import stored_view
from training.history import History
from training.plan import DENSE, epochs_left
from training.trackers import make_tracker

log = logging.getLogger(__name__)


class Monitor:
    """Monitors the training of one stage of a run: `plan.DENSE`, or the name of the sparse model."""

    def __init__(self, run: OpenRun, stage: str):
        self._run, self._stage = run, stage
        # There are stored maps of a frozen network if this call has trained the dense model.
        self._dense = stage == DENSE or bool(run.frozen_maps)
        self._called = "test" if run.data.held_out is None else "held-out"
        self.history = History(run.folder.path, stage, make_tracker(run.settings.track, run.folder.path))

    def measure(
        self, model: InterpretableClassifier, name: str, epochs_done: int, stored: bool = False
    ) -> float | None:
        """The accuracy on the watched images (a fraction), if it is time for it.

        It uses no random numbers and changes nothing in the model but its mode.

        Args:
            stored: whether to use stored maps of the frozen layers, which are made on first use.
        """
        every = self._run.settings.eval_every
        if not every or epochs_done % every:
            return None
        with torch.random.fork_rng(devices=[]):
            hits = measured_batches(
                trained_part(model) if stored else model,
                stored_view(self._run, model.backbone, None) if stored else self._run.data.watched,
                self._run.hardware,
                f"{self._called.capitalize()} accuracy",
                lambda output, labels: {"right": output.logits.argmax(dim=1) == labels},
            )
            accuracy = torch.cat([batch["right"] for batch in hits]).double().mean().item()
        log.info("%s  after epoch %3d: %s accuracy %6.2f %%", name, epochs_done, self._called, 100 * accuracy)
        return accuracy

    def seconds_left(self, phase: int, storing: float, epochs_done: float, seconds_per_epoch: float) -> float:
        """Time left for all trainings of the run, in seconds, at the present pace.

        Args:
            phase: of the stage, from 0.
            storing: seconds spent before the epoch on maps of a frozen network.
            epochs_done: of the phase; a fraction within an epoch.
        """
        left = epochs_left(self._run.settings, self._stage, phase, epochs_done, dense=self._dense)
        return (storing + seconds_per_epoch) * left


def memory_used(device: torch.device) -> float | None:
    """Peak memory so far in MB, of the GPU or else of this process; None if the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3  # bytes there, else KiB

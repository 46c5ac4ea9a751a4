"""What a run would do, and at what cost (`main.py --dry_run`): nothing is written, a few steps are measured."""

import itertools
import shutil
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace

from tqdm import tqdm

from architectures.backbones.placed import PlacedBackbone
from configs.files import check_writable, fingerprint, innermost_existing
from configs.open_run import OpenRun
from configs.rehearsal import RehearsedFolder, WouldMake
from configs.run_files import DENSE_RESULTS_FILE
from configs.run_folder import MANIFEST
from configs.settings import Settings
from configs.stages import stage_files
from training.batches import epoch_batches, seed_everything
from training.dense import dense_phase, untrained_model
from training.frozen_maps import stored_bytes
from training.loop import training_step
from training.monitor import memory_used
from training.places import searched_images
from training.plan import (
    DENSE,
    FORWARD_COST,
    PLACES_COST,
    PlannedPhase,
    maps_are_stored,
    planned_phases,
    trains_reduced,
)

MEASURED_STEPS = 3
FLOAT_BYTES = 4
REUSED = "reused"
SHARED = (DENSE, "features")  # stages whose result all runs of a folder share
BY_ANOTHER = "done by an earlier run"
UNKNOWN = " and the selection of qsenn and sldd, of unknown length,"


@dataclass(frozen=True)
class Pace:
    """Time and memory of a few training steps."""

    seconds_per_image: float  # at the final resolution, with loading
    # Peak, plus the stored maps of a frozen network; None if the system does not tell
    memory_mb: float | None
    model_bytes: int
    n_features: int
    searched: int  # images in which places are sought


@dataclass(frozen=True)
class Forecast:
    """What a run would do, and its cost."""

    run: OpenRun
    states: dict[str, str]  # of each stage: `REUSED`, or why it would be done
    costs: dict[str, tuple[float, int]]  # seconds, and bytes on disk, of those that would be done
    pace: Pace | None = None  # None: nothing would be done

    @property
    def seconds(self) -> float:
        """Of all stages."""
        return sum(seconds for seconds, _ in self.costs.values())

    @property
    def uncounted(self) -> str:
        """What `seconds` lacks, to be said after it; empty if nothing."""
        return UNKNOWN if "selection" in self.costs and not self.run.settings.kind.class_sets else ""

    @property
    def size(self) -> int:
        """Bytes on disk of all stages."""
        return sum(size for _, size in self.costs.values())

    def __str__(self) -> str:
        lines = [f"{self.run.folder.path}, {self.run.settings.model_name}:"]
        if self.pace is None:
            return "\n".join([*lines, "Everything is there; nothing would be done."])
        lines.append(f"  {'stage':12}{'time':>10}{'disk':>10}  state")
        for stage, state in self.states.items():
            seconds, size = self.costs.get(stage, (0.0, 0))
            shown = (tqdm.format_interval(seconds), f"{size / 1e6:.0f} MB") if stage in self.costs else ("-", "-")
            if stage == "selection" and self.uncounted:
                shown = ("?", shown[1])
            lines.append(f"  {stage:12}{shown[0]:>10}{shown[1]:>10}  {state}")
        free = shutil.disk_usage(innermost_existing(self.run.folder.path)).free
        memory = "" if self.pace.memory_mb is None else f", up to {self.pace.memory_mb / 1e3:.1f} GB of memory"
        size = self.size + 2 * self.pace.model_bytes  # the checkpoint of an unfinished training: model and momentum
        lines.append(
            f"About {tqdm.format_interval(self.seconds)}{self.uncounted} on {self.run.hardware.device}{memory}, "
            f"{size / 1e6:.0f} MB of {free / 1e9:.0f} GB free on disk; from {MEASURED_STEPS} measured steps at "
            f"{1 / self.pace.seconds_per_image:.3g} images/s. Nothing was changed."
        )
        return "\n".join(lines)


def forecast(
    run: OpenRun, pipeline: Callable[[OpenRun], object], before: Collection[str] = (), paces: dict | None = None
) -> Forecast:
    """The stages of a run, whether they are done and why not, and time, memory and disk space for those to be done.

    Args:
        pipeline: all stages; it ends early if something has to be made.
        before: stages that earlier runs in the same folder would do.
        paces: measured on similar runs and not measured again; new ones are added.

    Raises:
        RunError: if the run folder could not be written, or its manifest not be read.
    """
    check_writable(run.folder.file(MANIFEST))
    run.folder.manifest()  # one that cannot be read is told
    folder = RehearsedFolder(run.folder)
    with suppress(WouldMake):
        pipeline(replace(run, folder=folder))
    settings = run.settings
    states = _states(settings, folder) | {stage: BY_ANOTHER for stage in SHARED if stage in before}
    to_do = [stage for stage, state in states.items() if state not in (REUSED, BY_ANOTHER)]
    if not to_do:
        return Forecast(run, states, {})
    paces = {} if paces is None else paces
    key = _pace_key(run)
    if key not in paces:
        paces[key] = measured_pace(run)
    pace = paces[key]
    costs = {stage: _cost(run, stage, pace, dense=settings.do_dense and DENSE in to_do) for stage in to_do}
    if "evaluation" in costs and (DENSE in before or DENSE_RESULTS_FILE in folder.reused):
        costs["evaluation"] = (0.0, 0)  # of the sparse model, from tables
    return Forecast(run, states, costs, pace)


def _pace_key(run: OpenRun) -> str:
    """A name shared by runs whose steps take the same time and memory."""
    settings = run.settings
    depends_on = {
        **settings.dense_dependencies(),
        "seed": None,
        "dense": vars(settings.dense),
        "finetuning": (settings.finetuning.last_stage, settings.finetuning.views),
        "images": run.data.train.fingerprint(),
        "hardware": str(run.hardware),
    }
    return fingerprint(depends_on)


def _states(settings: Settings, folder: RehearsedFolder) -> dict[str, str]:
    """For every stage, whether it is reused or why it would be done."""
    states: dict[str, str] = {}
    first = None
    for stage, files in stage_files(settings).items():
        if stage == DENSE and not settings.do_dense:
            if settings.placed:
                states[stage] = "not trained, but its places are searched for every time"
            continue
        why = [f"{name}: {folder.outdated[name]}" for name in files if name in folder.outdated]
        if why:
            states[stage] = "; ".join(why)
        elif folder.reused.issuperset(files):
            states[stage] = REUSED
        else:
            states[stage] = f"depends on {first}"
        if first is None and any(name in folder.outdated for name in files):
            first = stage
    return states


def measured_pace(run: OpenRun) -> Pace:
    """Train a model with random weights for a few steps."""
    settings, hardware = run.settings, run.hardware
    seed_everything(0)
    recipe = settings.dense
    model = hardware.place(untrained_model(run, "none")).train()
    phase = dense_phase(model, recipe)
    hardware.keep_freed_memory()
    start, n_images = 0.0, 0
    epochs = (  # with few images, an epoch has fewer steps than are measured
        epoch_batches(run.data.train, recipe.batch_size, hardware, seed=seed) for seed in itertools.count()
    )
    for step, (images, targets) in enumerate(itertools.chain.from_iterable(epochs)):
        if step == 1:  # the first one is slower
            start = time.perf_counter()
        losses, _ = training_step(model, phase, images, targets, 0, hardware)
        losses["loss"].item()  # waits for a GPU
        n_images += len(targets) if step else 0
        if step == MEASURED_STEPS:
            break
    seconds = (time.perf_counter() - start) / n_images
    size = sum(value.numel() * value.element_size() for value in model.state_dict().values())
    memory = memory_used(hardware.device)
    if memory is not None and hardware.device.type != "cuda":  # on a GPU, its own memory is reported
        model.backbone.reduce_strides(trains_reduced(settings))  # as when maps are stored
        stored = sum(stored_bytes(run, model.backbone, recipe.views))
        if settings.finetuning.last_stage:
            model.backbone.train_last_stage()
        # Finetuning uses the views of dense training, or replaces them by others of another size.
        memory += max(stored, sum(stored_bytes(run, model.backbone, settings.finetuning.views))) / 1e6
    backbone = model.backbone
    searched = len(searched_images(run, backbone)) if isinstance(backbone, PlacedBackbone) else 0
    return Pace(seconds, memory, size, backbone.n_features, searched)


def _cost(run: OpenRun, stage: str, pace: Pace, *, dense: bool) -> tuple[float, int]:
    """Seconds and bytes of a stage; `dense`: whether the dense model is trained in the same call."""
    settings = run.settings
    n_train, n_test = len(run.data.train), len(run.data.test)
    forward = pace.seconds_per_image * FORWARD_COST

    def training(name: str) -> float:
        phases = planned_phases(settings, dense=dense)
        trained = n_train * sum(p.cost_after() for p in phases if p.stage == name)
        measured = len(run.data.watched) * cost_of_measuring(settings, phases, name)
        return pace.seconds_per_image * trained + forward * measured

    if stage == DENSE:
        searching = pace.searched * pace.seconds_per_image * PLACES_COST
        return training(DENSE) + searching, pace.model_bytes if dense else 0
    if stage == "features":
        return n_train * forward, n_train * pace.n_features * FLOAT_BYTES
    if stage == "selection":
        at_most = settings.selection_seconds + settings.certificate if settings.kind.class_sets else 0.0
        return at_most, 0
    if stage == "finetune":
        return training(settings.model_name), pace.model_bytes
    if stage == "calibration":  # feature tables: features, pooled, peaks, logits of test images
        values = 4 * settings.n_features * (n_train + n_test) + n_test * len(run.data.test.classes)
        return (n_train + n_test) * forward, values * FLOAT_BYTES
    return n_test * forward, 0  # the dense model on the test images


def cost_of_measuring(settings: Settings, phases: list[PlannedPhase], stage: str) -> float:
    """Passes over the watched images while a stage is trained; with frozen layers the first one stores their maps."""
    cost, first = 0.0, 1
    for phase in phases:
        n = phase.epochs // settings.eval_every if settings.eval_every else 0
        stored = n - min(n, first) if maps_are_stored(settings, phase.stage) else 0
        if phase.stage == stage:
            cost += phase.cost * (n - stored) + phase.stored_cost * stored
        first = 0 if n else first
    return cost

"""The stages of a run and the files they leave, so that a stage can be done again."""

from dataclasses import dataclass

from configs import run_files
from configs.arguments import choice, flag
from configs.run_folder import UNFINISHED, RunFolder
from configs.settings import OUTPUT, Settings

STAGES = ("dense", "features", "selection", "finetune", "calibration", "evaluation")


@dataclass(frozen=True)
class StageFlags:
    """Flags that only `main.py` has."""

    redo: str | None = flag(
        OUTPUT, None,
        f"repeat a stage and all later ones: {', '.join(STAGES)}; if this is interrupted, go on without the flag",
        parse=choice(STAGES, "stage"), metavar="STAGE",
    )  # fmt: skip
    dry_run: bool = flag(OUTPUT, False, "print which stages would be done, why, and at what cost; change nothing")
    overwrite: bool = flag(OUTPUT, False, "replace finished models in the run folder that were made from other images")


def forget_from(stage: str, folder: RunFolder, settings: Settings) -> None:
    """Let the files of one of `STAGES`, and of all later ones, count as unfinished; call it with the folder locked."""
    files = stage_files(settings)
    for later in STAGES[STAGES.index(stage) :]:
        for name in files[later]:
            folder.forget(name)
            folder.file(name).with_suffix(UNFINISHED).unlink(missing_ok=True)


def stage_files(settings: Settings) -> dict[str, tuple[str, ...]]:
    """The files that every stage leaves, by stage in order."""
    return {
        "dense": (run_files.DENSE_MODEL_FILE,),
        "features": (run_files.POOLED_FILE, run_files.STATISTICS_FILE),
        "selection": (run_files.selection_file(settings),),
        "finetune": (run_files.sparse_model_file(settings),),
        "calibration": (
            *(run_files.feature_table_file(settings, split) for split in ("train", "test")),
            run_files.calibration_file(settings),
        ),
        "evaluation": (run_files.DENSE_RESULTS_FILE, run_files.sparse_results_file(settings)),
    }

"""Run folders and command lines that are changed at random: the same answer as before, or one line, never a traceback.

Every mutation follows from its number alone.
"""

import json
import random
import shutil
from pathlib import Path

import pytest
from command_line import exit_code
from small_run import left_by_main, make_small_run

import predict
from configs.arguments import parse_flags
from configs.errors import RunError, UsageError
from configs.finished_run import finished_run
from configs.model_card import ModelCard
from configs.settings import Settings, parse_settings
from configs.stages import StageFlags
from dataset_classes.description import DataDescription

FOLDER_MUTATIONS, COMMAND_LINES = 120, 120
ODD_VALUES: tuple = (
    None, True, 0, -1, 10**30, 1e308, float("nan"), float("inf"), "", "x", "../..", "\udce9", [], [[]], {}, {"a": 1},
)  # fmt: skip
ODD_WORDS = (
    "", "-1", "0", "1e9", "nan", "inf", "NaN", "None", "True", "maybe", "a b", "é", "~", "~birds/x", "--", "-", "1.5",
    "999999999999999999999", "/dev/null", "[1, 2]", "dense.lr=0", "dense.lr", "=", "chiqpm", "resnet18", "0.5",
)  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory, narrow_networks):
    """A finished run folder of a narrow network, an image, and the table that predict.py makes of it."""
    root = tmp_path_factory.mktemp("finished")
    flags = make_small_run(root)
    folder = left_by_main(flags)[0].folder
    for other in ("qpm", "qsenn", "sldd"):
        folder.file(f"{other}_6_3_FinetunedModel.pth").unlink()
    image = next(root.glob("data/test/*/0.png"))
    return folder.path, image


def predicted(folder: Path, image: Path, output: Path, capsys, *more: str):
    """Exit code of predict.py, what it said on stderr, and its table or None."""
    output.unlink(missing_ok=True)
    flags = ["--folder", folder, "--image", image, "--output", output, "--device", "cpu", *more]
    code = exit_code(predict, *flags)
    said = capsys.readouterr().err.strip()
    return code, said, output.read_text() if output.exists() else None


def places(content, path=()):
    """All paths in a JSON value."""
    yield path
    if isinstance(content, dict | list):
        items = content.items() if isinstance(content, dict) else enumerate(content)
        for key, value in items:
            yield from places(value, (*path, key))


def edited(content, rng: random.Random):
    """The JSON value with one entry removed or of another kind."""
    *parents, key = rng.choice([path for path in places(content) if path])
    owner = content
    for parent in parents:
        owner = owner[parent]
    if rng.random() < 0.4:
        del owner[key]
    else:
        owner[key] = rng.choice(ODD_VALUES)
    return content


def mutate_json(path: Path, rng: random.Random) -> str:
    """Edit a JSON file as a person or an accident would."""
    text, kind = path.read_text(encoding="utf-8"), rng.random()
    if kind < 0.7:
        path.write_text(json.dumps(edited(json.loads(text), rng)), encoding="utf-8")
    elif kind < 0.8:
        path.write_text(json.dumps(rng.choice(ODD_VALUES)))
    elif kind < 0.9:
        path.write_text(text[: rng.randrange(len(text))], encoding="utf-8")
    else:
        path.write_text("[" * 10**5)
    return f"edited {path.name}"


def mutate_bytes(path: Path, rng: random.Random) -> str:
    """Damage a file: other bytes, an end too early, nothing, or no file at all."""
    content, kind = bytearray(path.read_bytes()), rng.random()
    if kind < 0.6:
        for _ in range(rng.choice((1, 30))):
            content[rng.randrange(len(content))] ^= rng.randrange(1, 256)
    elif kind < 0.8:
        del content[rng.randrange(len(content)) :]
    elif kind < 0.9:
        content.clear()
    path.unlink()
    if kind < 0.95:
        path.write_bytes(content)
    return f"damaged {path.name}"


@pytest.mark.parametrize("first", range(0, FOLDER_MUTATIONS, 20))
def test_a_changed_run_folder_gives_the_same_table_or_one_line(finished, tmp_path, capsys, first):
    source, image = finished
    _, _, expected = predicted(source, image, tmp_path / "a.csv", capsys)
    assert expected is not None
    files = sorted(path.name for path in source.iterdir() if path.is_file() and path.suffix)
    unchanged = 0
    for number in range(first, first + 20):
        rng = random.Random(number)
        folder = tmp_path / str(number)
        shutil.copytree(source, folder)
        done = []
        for name in rng.sample(files, rng.choice((1, 1, 2))):
            mutate = mutate_json if name.endswith(".json") else mutate_bytes
            done.append(mutate(folder / name, rng))
        more = () if rng.random() < 0.5 else ("--data_root", str(tmp_path / "nowhere"))
        code, said, table = predicted(folder, image, tmp_path / "a.csv", capsys, *more)
        about = (number, done, more, code, said)
        assert code in (0, 1, 2), about
        if code == 0:
            assert table == expected, about
            unchanged += 1
        else:
            assert table is None and said.count("\n") == 0 and "error: " in said, about
    assert unchanged  # most files are not needed, or made again


@pytest.mark.parametrize("number", range(20))
def test_a_description_that_is_edited_is_what_was_written_or_refused(finished, number):
    (model,) = finished[0].glob("*_FinetunedModel.pth")
    data = json.loads(json.dumps(ModelCard.read(model).data))
    rng = random.Random(number)
    for _ in range(5):
        data = edited(data, rng)
    with pytest.raises(ValueError, match=r"^data\."):
        DataDescription.from_dict({**data, "transform": rng.choice(ODD_VALUES)})
    try:
        read = DataDescription.from_dict(data)
    except ValueError as error:
        assert str(error).startswith("data.")
    else:
        assert read.transform.side > 0 and all(isinstance(name, str) for name in read.classes)


def test_a_strange_command_line_is_understood_or_refused_in_one_line(finished):
    names = [*parse_settings([], "")[0].as_dict(), "redo", "overwrite", "nonsense"]
    understood = 0
    for number in range(COMMAND_LINES):
        rng = random.Random(number)
        words = []
        for _ in range(rng.choice((1, 2, 4))):
            words.append(f"--{rng.choice(names)}")
            words += rng.choices(ODD_WORDS, k=rng.choice((0, 1, 1, 1, 2)))
        for parse in (
            lambda words=words: parse_settings(words, "", StageFlags)[0].runs_folder,
            lambda words=words: finished_run(["--folder", str(finished[0]), *words], ""),
            lambda words=words: parse_flags(words, "", Settings),
        ):
            try:
                parse()
                understood += 1
            except (UsageError, RunError) as error:
                assert "\n" not in str(error) and str(error), words
    assert understood

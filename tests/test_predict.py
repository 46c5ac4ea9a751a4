"""predict.py: new images through a finished run, with and without its data, and what cannot be read."""

import csv
import json
import os
import shutil
from functools import partial
from itertools import pairwise

import pytest
import torch
from command_line import exit_code
from PIL import Image
from refusals import refused
from small_run import WEIGHT, left_by_main, page

import predict
import prediction.model
from configs.errors import RunError
from configs.finished_run import finished_run
from configs.model_card import ModelCard
from conformal.split import calibration_split
from dataset_classes.contents import read_content
from dataset_classes.image_files import read_image
from dataset_classes.registry import open_finished
from evaluation.prediction_sets import methods
from prediction.images import find_images


@pytest.fixture(scope="module")
def finished(small_run, tmp_path_factory):
    """Run folders as main.py leaves them, one per model type, and the sets that their tables give."""
    folders, expected = {}, {}
    for model_type in ("chiqpm", "qsenn"):
        flags = [*small_run, "--model_type", model_type]
        settings, source = finished_run(flags, "")
        folder = tmp_path_factory.mktemp(model_type)
        shutil.copy(source.file(f"{settings.model_name}_FinetunedModel.pth"), folder)
        run, tables, _ = left_by_main([*flags, "--folder", str(folder)])
        rows, _ = calibration_split(tables.test.labels, 0)
        kind, weight = ("THR", None) if model_type == "qsenn" else ("CHiQPM", WEIGHT)
        method = methods(weight, tables.test[rows])[kind]
        sets = method.predict(tables.test.features, tables.test.logits, 0.8)
        folders[model_type] = folder
        expected[model_type] = {
            path: {run.data.test.classes[c] for c in in_set.nonzero().flatten()}
            for path, in_set in zip(run.data.test.paths, sets, strict=True)
        }
    return folders, expected


call = partial(exit_code, predict, "--device", "cpu")


@pytest.mark.parametrize("model_type", ["chiqpm", "qsenn"])
def test_the_run_folder_alone_gives_the_sets_of_the_run(finished, tmp_path, monkeypatch, model_type):
    folder, expected = finished[0][model_type], finished[1][model_type]
    monkeypatch.setattr(prediction.model, "data_of_model", None)  # the dataset is not looked at
    flags = ["--folder", folder, "--coverage", "0.8", "0.95", "--output", tmp_path / "out.json"]
    assert call(*flags, "--image", *expected) == 0
    found = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert [entry["file"] for entry in found] == list(expected)
    for entry in found:
        assert set(entry["prediction_sets"]["0.8"]) == expected[entry["file"]]
        assert set(entry["prediction_sets"]["0.8"]) <= set(entry["prediction_sets"]["0.95"])
        contributions = [f["activation"] * f["weight"] for f in entry["features"]]
        assert len(contributions) == 3
        assert all(a >= b - 1e-2 for a, b in pairwise(contributions))
        assert 0.25 <= entry["probability"] <= 1
    accuracy = [entry["prediction"] == entry["file"].split("/")[-2] for entry in found]
    assert sum(accuracy) > 0.3 * len(found)  # of 4 classes


@pytest.mark.parametrize("model_type", ["chiqpm", "qsenn"])
def test_the_page_explains_every_image_from_the_run_folder_alone(finished, tmp_path, monkeypatch, model_type):
    folder, expected = finished[0][model_type], finished[1][model_type]
    monkeypatch.setattr(prediction.model, "data_of_model", None)  # the dataset is not looked at
    odd = tmp_path / "a<img onerror=alert(1)><" / "script>.png"
    odd.parent.mkdir()
    shutil.copy(next(iter(expected)), odd)
    files = [odd, *list(expected)[1:5]]
    outputs = [tmp_path / "out.html", tmp_path / "out.json"]
    flags = ["--folder", folder, "--coverage", "0.8", "--output", *outputs]
    assert call(*flags, "--image", *files) == 0
    shown, told = page(outputs[0]), json.loads(outputs[1].read_text(encoding="utf-8"))
    text = outputs[0].read_text(encoding="utf-8")
    assert "<img onerror" not in text and text.count("</script>") == 2
    assert len(text) < 50_000 * len(files)
    position = shown["coverages"].index(0.8)
    names = [c["name"].replace(" ", "_") for c in shown["classes"]]
    for image, entry, file in zip(shown["images"], told, files, strict=True):
        assert str(file).endswith(image["name"])
        assert names[image["predicted"]] == entry["prediction"]
        assert image["probability"] == entry["probability"]
        members = image["sets"][image["setOfCoverage"][position]]
        assert {names[c] for c in members} == set(entry["prediction_sets"]["0.8"])
        if model_type != "chiqpm":
            assert image["columns"] == [f["feature"] for f in entry["features"]]
        heatmaps = shown["pictures"][image["subject"]]["heat"]
        assert set(heatmaps) == set(map(str, image["columns"]))
        assert len(image["trees"]) == (len(image["sets"]) if model_type == "chiqpm" else 0)


@pytest.mark.parametrize("model_type", ["chiqpm", "qsenn"])
def test_the_page_opens_in_a_browser(finished, browser, tmp_path, model_type):
    images = list(finished[1][model_type])[:2]
    flags = ["--folder", finished[0][model_type], "--output", tmp_path / "out.html"]
    assert call(*flags, "--image", *images) == 0
    browser.get((tmp_path / "out.html").as_uri())
    entries = browser.find_elements("css selector", "#list button")
    assert len(entries) == 2
    entries[1].click()
    assert "predicted" in browser.find_element("css selector", "h2").text
    assert len(browser.find_elements("css selector", ".grid .photo")) == 1
    trees = browser.find_elements("id", "tree")
    assert len(trees) == (model_type == "chiqpm")


def test_folders_are_searched_and_the_table_has_a_line_per_image(finished, tmp_path):
    photos = tmp_path / "mes photos é"
    (photos / "deep").mkdir(parents=True)
    for name in ("b.png", "deep/a.JPG", ".hidden.png"):
        Image.new("RGB", (50, 40), "peru").save(photos / name)
    (photos / "notes.txt").write_text("no image")
    output = tmp_path / "out.csv"
    assert call("--folder", finished[0]["chiqpm"], "--image", photos, "--output", output) == 0
    with open(output, encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["file"] for row in table] == [str(photos / "b.png"), str(photos / "deep/a.JPG")]
    assert list(table[0])[:4] == ["file", "prediction", "probability", "prediction_set_0.9"]
    assert table[0]["prediction"] in table[0]["prediction_set_0.9"].split(" | ")
    assert len(table[0]["features"].split()) == 3


def test_what_cannot_be_read_is_named_and_the_rest_predicted(finished, tmp_path, caplog, capsys):
    good, bad, gone = tmp_path / "good.png", tmp_path / "bad.png", tmp_path / "gone.png"
    Image.new("RGB", (50, 40), "peru").save(good)
    bad.write_bytes(good.read_bytes()[:60])
    output = tmp_path / "out.csv"
    flags = ["--folder", finished[0]["chiqpm"], "--output", output]
    assert call(*flags, "--image", bad, good, gone, "--workers", "2") == 1
    assert str(bad) in caplog.text and str(gone) in caplog.text
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "2 of 3 images could not be read" in error
    lines = output.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2 and lines[1].startswith(str(good))
    output.write_text("old")
    assert call(*flags, "--image", bad) == 1
    assert "none of the 1 images can be read" in capsys.readouterr().err
    assert output.read_text() == "old"


def test_images_that_were_trained_on_are_told(small_run, finished, tmp_path, caplog):
    run, _ = open_finished(*finished_run(small_run, ""))
    trained, tested = run.data.train.paths[0], run.data.test.paths[0]
    assert call("--folder", finished[0]["chiqpm"], "--image", trained, tested, "--output", tmp_path / "out.csv") == 0
    assert f"1 of 2 images were trained on, the first is {trained}" in caplog.text


def test_file_names_may_be_no_text(finished, tmp_path):
    photo = tmp_path / os.fsdecode(b"caf\xe9.png")
    Image.new("RGB", (50, 40), "peru").save(photo)
    flags = ["--folder", finished[0]["chiqpm"], "--image", photo, "--output"]
    assert call(*flags, tmp_path / "out.csv") == 0
    assert r"caf\udce9.png" in (tmp_path / "out.csv").read_text(encoding="utf-8")
    assert call(*flags, tmp_path / "out.json") == 0
    (entry,) = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert entry["file"] == str(photo)


def test_a_downloaded_model_is_calibrated_from_its_data_or_says_what_is_missing(small_run, finished, tmp_path, capsys):
    expected = finished[1]["chiqpm"]
    image = next(iter(expected))
    downloaded = tmp_path / "downloaded"
    downloaded.mkdir()
    _, source = finished_run(small_run, "")
    shutil.copy(source.file("chiqpm_6_3_FinetunedModel.pth"), downloaded)
    flags = [*small_run, "--folder", downloaded, "--image", image, "--coverage", "0.8"]
    assert call(*flags, "--output", tmp_path / "out.json") == 0
    (entry,) = json.loads((tmp_path / "out.json").read_text())
    assert set(entry["prediction_sets"]["0.8"]) == expected[image]
    report = tmp_path / "out.html"
    assert call(*flags, "--output", report) == 0  # features of the training images are made
    (downloaded / "manifest.json").unlink()
    assert call(*flags, "--data_root", tmp_path / "nowhere") == 1
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert "has no class names" in message and "nowhere must be a folder" in message


def test_a_calibration_of_another_model_is_not_used(finished, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(finished[0]["chiqpm"], folder)
    path = folder / "chiqpm_6_3_FinetunedModel.pth"
    state = torch.load(path, weights_only=True)
    state["linear.mean"] += 0.1
    card = ModelCard.read(path)
    torch.save(state, path)
    card.add_to(path)
    image = next(iter(finished[1]["chiqpm"]))
    assert call("--folder", folder, "--image", image, "--data_root", tmp_path / "nowhere") == 1
    assert "has no calibration of this model" in capsys.readouterr().err


def test_a_calibration_of_an_earlier_version_is_made_again_without_the_dataset(finished, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished[0]["chiqpm"], folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["chiqpm_6_3_Calibration.npz"]["settings"]["score"] = "a former one"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    image, members = next(iter(finished[1]["chiqpm"].items()))
    flags = ["--folder", folder, "--image", image, "--coverage", "0.8", "--data_root", tmp_path / "nowhere"]
    assert call(*flags, "--output", tmp_path / "out.json") == 0
    (entry,) = json.loads((tmp_path / "out.json").read_text())
    assert set(entry["prediction_sets"]["0.8"]) == members


def test_patterns_and_tables_name_images(tmp_path):
    for name in ("b.png", "a.png", "c.jpg"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    (tmp_path / "plain.csv").write_text("a.png\n\nc.jpg\n")
    (tmp_path / "table.csv").write_text(f"label,File\nx,c.jpg\ny,{tmp_path / 'b.png'}\n")
    a, b, c = (str(tmp_path / name) for name in ("a.png", "b.png", "c.jpg"))
    assert find_images([str(tmp_path / "*.png")]) == [a, b]
    (tmp_path / "more").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "more" / "d.png")
    assert find_images([str(tmp_path / "m*")]) == [str(tmp_path / "more" / "d.png")]
    (tmp_path / "other.csv").write_bytes(b"\xef\xbb\xbf\r\nlabel;file\r\n1,5;a.png\r\n2;c.jpg\r\n")
    assert read_content("a\0.png").error == "embedded null byte"
    assert find_images([str(tmp_path / "plain.csv")]) == [a, c]
    assert find_images([str(tmp_path / "other.csv")]) == [a, c]
    assert find_images([str(tmp_path / "table.csv"), a, c]) == [c, b, a]
    (tmp_path / "gaps.csv").write_text("file,label\na.png,ant\n,bee\n")
    assert find_images([str(tmp_path / "gaps.csv")]) == [a]
    (tmp_path / "bare.csv").write_text("a.png;ant\nc.jpg;bee\n")
    assert find_images([str(tmp_path / "bare.csv")]) == [a, c]
    for pairs in ("a.png,b.png\n", "file,File\na.png,b.png\n"):
        (tmp_path / "pairs.csv").write_text(pairs)
        with refused(RunError, "pairs.csv names several images per line; put 'file' above"):
            find_images([str(tmp_path / "pairs.csv")])
    (tmp_path / "latin.csv").write_text("file,label\na.png,Größe\n", encoding="latin-1")
    with refused(RunError, "latin.csv cannot be read: it is not UTF-8 text"):
        find_images([str(tmp_path / "latin.csv")])
    (tmp_path / "header.csv").write_text("path,label\na.png,ant\n")
    with refused(RunError, "header.csv has no column 'file', only 'path', 'label'"):
        find_images([str(tmp_path / "header.csv")])
    folder = tmp_path / "folder.csv"
    folder.mkdir()
    assert find_images([shutil.copy(a, folder), str(folder)]) == [str(folder / "a.png")]


def test_a_pipe_is_refused_by_name_and_waited_for_by_nothing(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    assert "pipe" in read_content(str(tmp_path / "pipe.png")).error
    with refused(RunError, "pipe.png", "no file"):
        read_image(str(tmp_path / "pipe.png"))


@pytest.mark.parametrize("name", ["images.csv", "config.json", "list.csv"])
def test_an_output_never_replaces_what_is_read(finished, tmp_path, capsys, name):
    folder = shutil.copytree(finished[0]["chiqpm"], tmp_path / "run")
    image = next(iter(finished[1]["chiqpm"]))
    (tmp_path / "list.csv").write_text(f"file\n{image}\n")
    output = folder / name if name != "list.csv" else tmp_path / "run" / ".." / name
    before = output.read_bytes() if output.exists() else None
    flags = ["--folder", folder, "--image", tmp_path / "list.csv", "--output", tmp_path / "p.csv", output]
    assert call(*flags) == 2
    assert "would replace a file that is read" in capsys.readouterr().err
    assert before == (output.read_bytes() if output.exists() else None)
    assert not (tmp_path / "p.csv").exists()


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        ([], 2, "name the images: --image"),
        (["--image", "EMPTY"], 1, "no images in the folder"),
        (["--image", "photos/*.nothing"], 1, "no file fits photos/*.nothing"),
        (["--image", "absent.csv"], 1, "the table absent.csv cannot be read"),
        (["--image", "x.jpg", "--output", "out.xlsx"], 2, "must be a .csv, .json or .html file, not out.xlsx"),
        (["--image", "x.jpg", "--output", f"{__file__}/p.csv"], 1, "cannot write"),
        (["--image", "x.jpg", "--coverage", "90"], 2, "--coverage: it must be more than 0 and below 1, not 90"),
        (["--image", "x.jpg", "--folder", "/nowhere"], 2, "/nowhere is not a folder"),
    ],
)
def test_mistakes_are_answered_in_one_line(finished, tmp_path, capsys, flags, code, message):
    flags = [str(tmp_path) if flag == "EMPTY" else flag for flag in flags]
    assert call("--folder", finished[0]["chiqpm"], *flags) == code
    error = capsys.readouterr().err.strip()
    assert message in error and "\n" not in error

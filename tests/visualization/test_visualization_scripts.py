"""The two explanation scripts on a small finished run, their errors, and the report in a real browser."""

import re
import shutil

import numpy as np
import pytest
import torch
from command_line import call
from PIL import Image
from refusals import refused
from small_run import CLASSES, WEIGHT, page

import compare_classes
import visualize_tree
from compare_classes import CompareFlags, chosen_comparisons
from configs.errors import RunError, UsageError
from visualization.local_explanation import LocalExplanation


def test_all_close_pairs_are_compared_on_both_splits(small_run, tmp_path):
    call(compare_classes, *small_run, "--output", tmp_path)
    for split in ("Train", "Test"):
        folder = tmp_path / f"{split}vizQPMClassComparisons"
        assert sorted(p.name for p in folder.iterdir()) == ["0_1.png", "0_2.png", "index.html"]
        index = (folder / "index.html").read_text(encoding="utf-8")
        assert index.count("<img") == 2 and "Bronzed Cowbird – Fish Crow" in index
    assert (tmp_path / "ClassTree.png").is_file()


def test_other_classes_are_compared_by_name_or_index(small_run, tmp_path):
    flags = ["--classes", "shiny cowbird", "1", "Mallard", "1", "--format", "svg", "--report"]
    call(compare_classes, *small_run, "--output", tmp_path, *flags)
    folder = tmp_path / "TestvizQPMClassComparisons"
    assert sorted(p.name for p in folder.iterdir()) == ["3_1_2.svg", "index.html", "report.html"]
    report = page(folder / "report.html")
    assert report["comparisons"][0]["classes"] == [3, 1, 2]
    assert report["features"][1]["classes"] == [0, 1, 2]
    assert len(report["features"][1]["patches"]) == 6


def test_signed_models_show_their_signs_and_have_no_tree(small_run, tmp_path):
    flags = [*small_run, "--model_type", "qsenn", "--output", tmp_path, "--format", "svg"]
    call(compare_classes, *flags)
    figure = (tmp_path / "TestvizQPMClassComparisons" / "0_1.svg").read_text(encoding="utf-8")
    assert figure.count(">−<") == 1 and figure.count(">+<") == 5
    with pytest.raises(UsageError, match="signed weights: use compare_classes"):
        call(visualize_tree, *flags)


def test_four_figures_per_image_and_coverage(small_run, tmp_path, caplog):
    photo = tmp_path / "my bird.jpg"
    Image.new("RGB", (90, 70), "peru").save(photo)
    flags = ["--index", "3", "--image", photo, "--coverage", "0.8", "0.95", "--output", tmp_path]
    with caplog.at_level("INFO"):
        call(visualize_tree, *small_run, *flags)
    assert re.search(r"Test image 3: predicted .* \(correct\)|Test image 3: predicted .*; true class: ", caplog.text)
    assert re.search(r"my bird: predicted [^(;]*$", caplog.text, re.MULTILINE)
    figures = ["class_comparison.png", "global_tree.png", "heatmaps.png", "local_tree.png"]
    for sample in ("SampleIndex_3", "Image_my bird"):
        for coverage in ("0.8", "0.95"):
            folder = tmp_path / "CHiQPMExplanations" / sample / f"acc_{coverage}"
            assert sorted(p.name for p in folder.iterdir()) == figures


def test_a_downloaded_model_needs_nothing_but_its_file_and_its_figures_lie_beside_it(small_run, tmp_path):
    source = small_run[small_run.index("--log_dir") + 1] + "/resnet18/ImageFolder/7"
    (tmp_path / "downloaded").mkdir()
    shutil.copy(f"{source}/chiqpm_6_3_FinetunedModel.pth", tmp_path / "downloaded")
    call(visualize_tree, *small_run, "--folder", tmp_path / "downloaded", "--index", "0")
    folder = tmp_path / "downloaded/chiqpm_6_3_Figures/CHiQPMExplanations/SampleIndex_0/acc_0.9"
    assert len(list(folder.iterdir())) == 4


@pytest.mark.parametrize(
    ("script", "flags", "kind", "message"),
    [
        (visualize_tree, ["--index", "999"], UsageError, "test images are 0 to 55"),
        (visualize_tree, ["--index", "-1"], UsageError, "test images are 0 to 55"),
        (visualize_tree, ["--image", "missing.jpg"], RunError, "missing.jpg"),
        (visualize_tree, ["--image", __file__], RunError, "not an image"),
        (visualize_tree, ["--image", "."], UsageError, "is a folder; name the image files"),
        (visualize_tree, ["--nearest", "-2"], UsageError, "--nearest"),
        (compare_classes, ["--classes", "0"], UsageError, "two or more"),
        (compare_classes, ["--min_shared", "3"], UsageError, "more than 2 features"),
        (compare_classes, ["--classes", "0", "1", "--min_shared", "1"], UsageError, "leave one of them out"),
    ],
)
def test_mistakes_are_answered_in_one_line(small_run, tmp_path, script, flags, kind, message):
    with refused(kind, match=re.escape(message)):
        call(script, *small_run, "--output", tmp_path, *flags)


def test_pairs_that_are_alike_in_truth_come_first():
    weight = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1], [0, 0, 1, 1]])
    similarity = np.full((4, 4), 0.5)
    similarity[1, 3] = similarity[3, 1] = 0.9
    flags, names = CompareFlags(), list("abcd")
    pairs = [(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)]  # all that share one of two features
    assert chosen_comparisons(flags, weight, names, 2) == pairs
    ordered = chosen_comparisons(flags, weight, names, 2, similarity)
    assert ordered == [(1, 3), (0, 1), (0, 2), (1, 2), (2, 3)]
    asked = CompareFlags(classes=("d", "a"))
    assert chosen_comparisons(asked, weight, names, 2, similarity) == [(3, 0)]


# The report in a browser


@pytest.fixture(scope="module")
def report(small_run, tmp_path_factory):
    """A report on three test images, and the prediction sets that Python computes for them."""
    output, computed = tmp_path_factory.mktemp("report"), []

    def remember(explanation, coverages, original=LocalExplanation.sets):
        sets = original(explanation, coverages)
        if len(sets) > 1:  # of the page
            computed.append(dict(zip(coverages, sets, strict=True)))
        return sets

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalExplanation, "sets", remember)
        flags = ["--index", "1", "30", "50", "--coverage", "0.9", "--report", "--output", output]
        call(visualize_tree, *small_run, *flags)
    return output / "CHiQPMExplanations" / "report.html", computed


def test_the_report_is_one_file_without_a_network(report):
    text = report[0].read_text(encoding="utf-8")
    assert not re.search(r'(src|href|url)\s*[=(]\s*["\']?(https?:)?//', text)
    assert "<script src" not in text and "@import" not in text


def shown_set(browser):
    leaves = browser.find_elements("css selector", "#tree text.leaf.in-set")
    return {int(c) for leaf in leaves for c in leaf.get_attribute("data-classes").split(",")}


def test_the_slider_shows_the_sets_that_python_computes(browser, report, tmp_path):
    path, sets = report
    browser.get(path.as_uri())
    move = "const s = document.getElementById('coverage'); s.value = arguments[0];s.dispatchEvent(new Event('input'));"
    coverages = page(path)["coverages"]
    sizes = set()
    for i, expected in enumerate(sets):
        browser.find_elements("css selector", "#list button")[i].click()
        for position in (0, len(coverages) // 2, coverages.index(0.9), len(coverages) - 1):
            browser.execute_script(move, position)
            members = expected[coverages[position]]
            assert shown_set(browser) == members
            assert browser.find_element("id", "set").text.startswith(f"{len(members)} class")
            sizes.add(len(members))
    assert len(sizes) > 1  # the set grew and shrank
    browser.save_screenshot(str(tmp_path / "report.png"))
    assert (tmp_path / "report.png").stat().st_size > 10_000


def test_levels_are_stops_and_keys_move(browser, report):
    path, _ = report
    browser.get(path.as_uri())
    levels = page(path)["levels"]
    buttons = browser.find_elements("css selector", "#levels button")
    assert [int(b.get_attribute("data-level")) for b in buttons] == list(dict.fromkeys(levels))
    buttons[-1].click()
    position = int(browser.find_element("id", "coverage").get_attribute("value"))
    assert position == len(levels) - 1
    body = browser.find_element("css selector", "body")
    body.send_keys("\ue015")  # arrow down
    assert int(browser.find_element("id", "coverage").get_attribute("value")) == position - 1
    body.send_keys("\ue014")  # arrow right
    current = browser.find_element("css selector", "#list [aria-current=true]")
    assert current.text.splitlines()[0] == "Test image 30"
    body.send_keys("3")
    assert browser.find_element("css selector", "[aria-selected=true]").text == "Features"


def test_hovering_a_feature_lights_it_everywhere(browser, report):
    from selenium.webdriver import ActionChains

    browser.get(report[0].as_uri())
    chip = browser.find_element("css selector", ".grid .chip")
    feature = chip.get_attribute("data-feature")
    ActionChains(browser).move_to_element(chip).perform()
    lit = browser.find_elements("css selector", ".lit")
    everywhere = browser.find_elements("css selector", f"[data-feature='{feature}']")
    rows = browser.find_elements("css selector", ".grid img.photo")
    assert lit == everywhere
    assert sum("heat" in e.get_attribute("class") for e in lit) == len(rows)
    chip.click()
    assert browser.find_element("css selector", "h2").text == f"Feature {feature}"
    names = [e.text for e in browser.find_elements("css selector", "#feature-classes button")]
    users = torch.nonzero(WEIGHT[:, int(feature)]).flatten().tolist()
    assert sorted(names) == sorted(CLASSES[c].replace("_", " ") for c in users)

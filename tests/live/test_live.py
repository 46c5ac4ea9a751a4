"""The live page on a small finished run: its answers, its server under friendly and hostile use, and in a browser."""

import io
import json
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import call
from PIL import Image
from small_run import CLASSES, WEIGHT

from configs.errors import RunError
from configs.finished_run import finished_run
from dataset_classes.image_files import read_image
from dataset_classes.pixels import SIXTEEN_BIT, PixelScale
from visualization.explained_run import open_hierarchical_run

pytest.importorskip("starlette", reason="needs: pip install starlette uvicorn")

from live import crops, server
from live.answers import COVERAGES, LiveModel, Question, class_map
from live.uploads import Box, UploadError

NAMES = [name.replace("_", " ") for name in CLASSES]


@pytest.fixture(scope="module")
def model(small_run):
    settings, run = finished_run(small_run, "")
    return LiveModel(*open_hierarchical_run(settings, run, "vivid"), 0.9)


@pytest.fixture(scope="module")
def address(model):
    """Where the page is served, in a thread of this process."""
    import uvicorn

    listening = server.listening_socket(0)
    config = uvicorn.Config(server.application(model), log_level="error")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    running.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def photo(model):
    """The bytes of a test image's file."""
    return lambda index: Path(model.explained.data.test.paths[index]).read_bytes()


def ask(address: str, path: str, data: bytes | None = b"", **headers):
    request = urllib.request.Request(address + path, data=data, headers=headers)
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


# Answers


def test_an_own_photo_is_answered_as_the_same_test_image(model):
    path = model.explained.data.test.paths[17]
    own, test = model.answer(model.photo(read_image(path))), model.answer(model.test_image(17))
    for key in ("predicted", "sets", "activations", "probabilities"):
        assert own[key] == test[key]


def test_sets_are_those_of_the_predictor_and_hold_all_classes_at_100_percent(model):
    got = model.answer(model.test_image(3))
    table = model.explained.tables.test
    for position, coverage in enumerate(COVERAGES[:-1]):
        (expected,) = model.predictor.predict(table.features[3:4], table.logits[3:4], coverage)
        shown = got["sets"][got["setOfCoverage"][position]]
        assert sorted(shown) == expected.nonzero().flatten().tolist()
    assert sorted(got["sets"][got["setOfCoverage"][-1]]) == [0, 1, 2, 3]


def test_a_feature_switched_off_lowers_the_logits_of_its_classes_alone(model):
    plain = model.see(model.test_image(0))
    strongest = int(plain.features.argmax())
    seen = model.without(plain, (strongest,))
    change = seen.logits - plain.logits
    uses = WEIGHT[:, strongest].numpy() > 0
    assert (change[uses] < 0).all() and np.allclose(change[~uses], 0)
    assert seen.features[strongest] == model.explained.tables.train.features[:, strongest].min()


def test_what_is_greyed_out_is_not_seen(model):
    question = model.test_image(0)
    grey = model.answer(Question(question.photo, "", grey=Box(0, 0, 1, 1)))
    uniform = model.answer(model.photo(Image.new("RGB", question.photo.size, (127, 127, 127))))
    assert grey["activations"] == uniform["activations"]


def test_a_proposed_crop_holds_the_strongest_cells(model):
    left, top, right, bottom = model.proposed_crop(model.test_image(5).photo)["crop"]
    maps = model.see(model.test_image(5)).feature_maps.sum(dim=0)
    row, column = divmod(int(maps.argmax()), maps.shape[1])
    assert left <= (column + 0.5) / maps.shape[1] <= right
    assert top <= (row + 0.5) / maps.shape[0] <= bottom


def test_a_detector_whose_weights_are_there_proposes_the_crop(model, monkeypatch):
    boxes = torch.tensor([[0.0, 0.0, 8.0, 8.0], [8.0, 16.0, 24.0, 32.0]])
    found = {"boxes": boxes, "scores": torch.tensor([0.6, 0.9])}
    photo = model.test_image(0).photo  # 32 pixels
    monkeypatch.setattr(crops, "detector", lambda: lambda images: [found])
    assert model.proposed_crop(photo)["crop"] == (0.2, 0.45, 0.8, 1.0)
    found["scores"] = torch.tensor([0.1, 0.2])  # nothing certain: the model's own features
    unsure = model.proposed_crop(photo)
    monkeypatch.setattr(crops, "detector", lambda: None)
    assert model.proposed_crop(photo) == unsure


def test_the_map_joins_classes_that_share_most_features_first():
    weight = np.array([[1, 1, 0, 0], [1, 0, 0, 1], [1, 1, 0, 0], [0, 0, 1, 1]])
    assert class_map(weight) == {
        "shared": 0.33,
        "children": [
            {"class": 3},
            {"shared": 1.0, "children": [{"class": 1}, {"shared": 2.0, "children": [{"class": 0}, {"class": 2}]}]},
        ],
    }


@pytest.mark.parametrize(
    "wrong",
    [
        lambda m: m.test_image(56),
        lambda m: m.test_image(-1),
        lambda m: m.comparison([1, 1]),
        lambda m: m.comparison([1, 4]),
        lambda m: m.answer(Question(Image.new("RGB", (9, 9)), "", off=(6,))),
    ],
)
def test_what_does_not_exist_is_refused(model, wrong):
    with pytest.raises(UploadError):
        wrong(model)


# The server


def test_every_address_answers_under_a_strict_policy(address):
    for path in ("/", "/style.css", "/script.js", "/page.json"):
        with urllib.request.urlopen(address + path) as response:
            policy = response.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy and "unsafe" not in policy
            text = response.read().decode()
            assert "http://" not in text.replace("http://www.w3.org", "") and "https://" not in text


@pytest.mark.parametrize(
    "path, data, code",
    [
        ("/api/answer", b"<svg/>", 400),
        ("/api/answer", b"", 400),
        ("/api/answer?test=99999", b"", 400),
        ("/api/answer?test=x", b"", 400),
        ("/api/answer?test=1&crop=0,0,9,9", b"", 400),
        ("/api/answer?test=1&off=77", b"", 400),
        ("/api/compare?classes=0", None, 400),
        ("/api/test/4444", None, 400),
        ("/api/test/..%2f..%2fetc%2fpasswd", None, 404),
        ("/../../etc/passwd", None, 404),
        ("/demo.py", None, 404),
    ],
)
def test_wrong_requests_get_a_sentence_and_the_server_lives(address, path, data, code):
    status, content = ask(address, path, data)
    assert status == code and json.loads(content)["error"]
    assert ask(address, "/api/answer?test=0")[0] == 200


def test_a_test_image_that_is_gone_is_named(address, model, monkeypatch):
    monkeypatch.setattr(model.explained.data.test, "paths", ["gone.png"])
    status, content = ask(address, "/api/test/0", None)
    assert status == 404 and "gone.png" in json.loads(content)["error"]


def test_too_large_an_upload_is_cut_off(address):
    # The server stops reading: the sender may get the answer, or find the connection closed.
    try:
        status, content = ask(address, "/api/answer", bytes(server.MAX_BYTES + 10**6))
        assert status == 400 and b"larger" in content
    except urllib.error.URLError:
        pass
    assert ask(address, "/api/answer?test=0")[0] == 200


def test_another_sites_name_for_this_machine_gets_nothing(address):
    assert ask(address, "/page.json", None, Host="attacker.example")[0] == 400


def test_twenty_users_at_once_get_their_own_answers(address, model, photo):
    indices = [i % 56 for i in range(0, 200, 10)]
    expected = [model.answer(model.test_image(i))["activations"] for i in indices]
    with ThreadPoolExecutor(20) as users:
        answers = list(users.map(lambda i: ask(address, "/api/answer", photo(i)), indices))
    assert [json.loads(content)["activations"] for _, content in answers] == expected


def test_photos_are_read_by_the_scale_of_the_models_dataset(address, model, photo, monkeypatch):
    twelve_bits = PixelScale({SIXTEEN_BIT: (0.0, 4095.0)})
    monkeypatch.setattr(model.explained.data.test, "scale", twelve_bits)
    grey = np.asarray(Image.open(io.BytesIO(photo(8))).convert("L"))
    images = Image.fromarray(grey), Image.fromarray((grey * (4095 / 255) + 8).astype(np.uint16))
    files = [io.BytesIO() for _ in images]
    for image, file in zip(images, files, strict=True):
        image.save(file, "PNG")
    for path in ("/api/answer", "/api/crop"):
        eight_bits, sixteen_bits = (ask(address, path, file.getvalue()) for file in files)
        assert eight_bits == sixteen_bits and eight_bits[0] == 200


def test_more_questions_than_can_wait_are_turned_away(model, monkeypatch, address):
    monkeypatch.setattr(server, "MAX_WAITING", 0)
    status, content = ask(address, "/api/answer?test=0")
    assert status == 503 and b"try again" in content


def test_a_port_in_use_is_one_line(small_run):
    import demo

    taken = server.listening_socket(0)
    port = taken.getsockname()[1]
    with pytest.raises(RunError, match=f"port {port} cannot be used .*--port"):
        call(demo, *small_run, "--port", port)


def test_ctrl_c_ends_it(small_run):
    command = [sys.executable, "demo.py", *small_run, "--port", "0"]
    root = Path(__file__).parents[2]
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)
    try:
        said = iter(process.stdout.readline, "")
        address = next(re.search(r"http://\S+", line)[0] for line in said if "Open" in line)
        assert ask(address, "/page.json", None)[0] == 200  # it answers, so it also hears Ctrl-C
        process.send_signal(signal.SIGINT)
        assert "Stopped." in process.communicate()[0]
    finally:
        process.kill()
    assert process.returncode == 0


# In a browser


@pytest.fixture
def page(browser, address):
    browser.get(address)
    wait(browser, "#verdict")
    return browser


def wait(browser, selector, until=lambda element: True):
    """The element, once it is there and as it should be; waits for answers, however slow the machine."""
    from selenium.webdriver.support.ui import WebDriverWait

    def found(driver):
        elements = driver.find_elements("css selector", selector)
        return elements[0] if elements and until(elements[0]) else None

    from selenium.common.exceptions import StaleElementReferenceException

    ignored = [StaleElementReferenceException]
    return WebDriverWait(browser, 60, 0.05, ignored_exceptions=ignored).until(found)


def click(browser, selector):
    browser.execute_script("arguments[0].click()", wait(browser, selector))


def test_an_uploaded_photo_gets_its_prediction_its_crop_and_its_what_ifs(page, model, tmp_path):
    path = model.explained.data.test.paths[20]
    expected = model.answer(model.photo(read_image(path)))
    page.find_element("id", "file").send_keys(path)
    title = NAMES[expected["predicted"]]
    wait(page, "#verdict", lambda e: e.text.startswith(title) and "it is" not in e.text and "correct" not in e.text)
    # A crop by the fields, then a feature switched off: both are said against the answer without them.
    field = page.find_element("id", "edge-2")
    field.clear()
    field.send_keys("60\t")
    wait(page, "body:not(.busy)")
    click(page, "input[id^=off-]")
    wait(page, ".changed", lambda e: e.is_displayed() and e.text != "")
    click(page, "[data-mode=grey]")
    assert page.find_element("id", "whole").text == "Nothing grey"
    page.save_screenshot(str(tmp_path / "live.png"))
    assert (tmp_path / "live.png").stat().st_size > 10_000


def test_the_slider_says_its_guarantee_and_ends_at_all_classes(page):
    page.execute_script("setCoverage(report.coverages.indexOf(0.9))")
    assert "at most about 10 are expected" in page.find_element("id", "guarantee").text
    page.find_element("id", "coverage").send_keys("\ue010")  # End
    wait(page, "#set", lambda e: e.text.startswith("4 classes"))
    assert page.find_element("id", "shown-coverage").text == "100 %"


def test_two_classes_of_the_map_are_compared_with_the_keyboard_alone(page):
    page.find_element("css selector", "body").send_keys("2")
    for name in (NAMES[1], NAMES[3]):
        wait(page, f"#map .leaf[aria-label='{name}']").send_keys("\ue007")
    wait(page, "#pair h2", lambda e: e.text.startswith(f"{NAMES[1]} – {NAMES[3]}: 1 shared"))
    page.find_element("id", "map-search").send_keys("mallard")
    assert len(page.find_elements("css selector", "#map .leaf.found")) == 1


def test_why_not_another_class_names_the_features_that_differ(page):
    page.execute_script(
        "const m = document.getElementById('other'); m.value = [...m.options].at(-1).value; "
        "m.dispatchEvent(new Event('change'))"
    )
    rows = wait(page, "#why-place table").text
    assert rows.count("only") == 2
    wait(page, "#why-place .grid")


def test_squares_and_ticks_of_a_picture_stay_when_further_heatmaps_come(page):
    seen = page.execute_script(
        "const got = f => ({src: '', heat: {[f]: ''}, squares: {[f]: [0, 0, 1, 1]}, marks: {1: true}});"
        "for (const f of [1, 2]) merge({class0: got(f)}); return report.pictures.class0"
    )
    assert seen["marks"] == {"1": True}
    assert {"1", "2"} <= seen["squares"].keys() and {"1", "2"} <= seen["heat"].keys()


@pytest.mark.parametrize("width, scheme", [(1300, "light"), (1300, "dark"), (390, "light")])
def test_no_serious_accessibility_finding(page, address, width, scheme):
    axe = pytest.importorskip("axe_core_python.selenium", reason="needs: pip install axe-core-python")
    emulate = page.execute_cdp_cmd
    emulate(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    emulate("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    try:
        for tab in ("1", "2"):
            page.find_element("css selector", "body").send_keys(tab)
            wait(page, "#verdict" if tab == "1" else "#pair h2")
            found = axe.Axe().run(page)["violations"]
            serious = [f"{v['id']}: {v['nodes'][0]['html']}" for v in found if v["impact"] in ("serious", "critical")]
            assert serious == []
            overflow = "return document.documentElement.scrollWidth - window.innerWidth"
            assert page.execute_script(overflow) <= 0
    finally:
        emulate("Emulation.clearDeviceMetricsOverride", {})
        emulate("Emulation.setEmulatedMedia", {"features": []})

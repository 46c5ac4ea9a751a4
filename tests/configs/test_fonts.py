"""Figures are the same for every user, say names as they are, and cost no run when they fail."""

import io
import logging
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from configs.errors import RunError
from configs.fonts import optional_figure, prepare_fonts


def drawn(text: str) -> np.ndarray:
    """The pixels of a figure that says a text."""
    figure = Figure(figsize=(2, 1), dpi=50)
    figure.text(0.1, 0.5, text)
    figure.subplots().set_title(text)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba()).copy()


def test_figures_do_not_depend_on_the_users_matplotlibrc():
    prepare_fonts([])
    ours = drawn("robin")
    foreign = {"text.color": "white", "axes.facecolor": "black", "text.usetex": True, "font.size": 20}
    matplotlib.rcParams.update(foreign)
    prepare_fonts([])
    assert np.array_equal(drawn("robin"), ours)


@pytest.mark.parametrize("name", ["Ba$$in", "$1_$2", r"$\alpha$", "a_b^c{d}", r"50 % \& <b>", "$", r"\$5"])
def test_names_are_drawn_as_they_are(name):
    prepare_fonts([name])
    figure, file = Figure(figsize=(2, 1)), io.StringIO()
    figure.text(0.1, 0.5, name)
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        figure.savefig(file, format="svg")
    texts = ElementTree.fromstring(file.getvalue()).iter("{http://www.w3.org/2000/svg}text")
    assert [text.text for text in texts] == [name]


def test_a_figure_that_fails_is_a_warning(caplog):
    with caplog.at_level(logging.WARNING), optional_figure("The plot"):
        raise ValueError("too large")
    assert "The plot could not be drawn (ValueError: too large)" in caplog.text
    with pytest.raises(RunError), optional_figure("The plot"):
        raise RunError("cannot write a.png: disk full")

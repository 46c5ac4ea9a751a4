"""Selecting features: the search and its proofs against optima, the general solvers against the search."""

import ctypes
import re
import signal
import sys
import tracemalloc
from itertools import combinations, permutations, product
from types import SimpleNamespace

import gurobipy
import numpy as np
import pytest
from selection_problems import LARGE, SMALL, instance_problem, random_problem, valid_selection

from configs.errors import RunError, UsageError
from sparsification.qpm import NoSelectionError, PairsImpossibleError, Selection, SelectionProblem, solve
from sparsification.qpm import progress as progress_module
from sparsification.qpm.components import Component
from sparsification.qpm.progress import Progress
from sparsification.qpm.proofs import bound as bound_module
from sparsification.qpm.proofs import lagrangian, negative_part
from sparsification.qpm.proofs.bound import Certificate
from sparsification.qpm.proofs.exact import TooLargeError, best_sharing_subsets, set_values
from sparsification.qpm.proofs.lagrangian import Elimination, Multipliers
from sparsification.qpm.proofs.negative_part import NegativePart
from sparsification.qpm.proofs.relaxation import Relaxation
from sparsification.qpm.search import named_pairs
from sparsification.qpm.search import search as search_module
from sparsification.qpm.search.named_rows import NamedRows
from sparsification.qpm.search.neighbourhood import SwapNeighbourhood
from sparsification.qpm.search.row_program import Program, made_distinct, rows_of
from sparsification.qpm.solve import log_summary


def test_unknown_solver_is_refused():
    with pytest.raises(UsageError, match="choose one of"):
        solve(random_problem(0), solver="simplex")


@pytest.mark.parametrize(("n", "k"), [(5, 2), (4, 4), (5, 1)])
def test_swap_changes_equal_recomputed_values(n, k):
    problem = random_problem(3, n_features=5, n_per_class=2)
    neighbourhood = SwapNeighbourhood(problem.gain, problem.penalty, problem.bias, k)
    selected = np.arange(n)

    def value(members):
        best = np.sort(problem.gain[:, members], axis=1)[:, -k:]
        return best.sum() + problem.set_value(members)

    neighbourhood.move_to(selected)
    for position, feature in ((0, 8), (2, 7), (1, 0)):
        neighbourhood.swap(position % n, feature)
    selected = neighbourhood.selected
    found, change = neighbourhood.evaluate()
    assert found == pytest.approx(value(selected), rel=1e-5)
    for i in range(n):
        for j in set(range(9)) - set(selected.tolist()):
            swapped = selected.copy()
            swapped[i] = j
            assert change[i, j] == pytest.approx(value(swapped) - value(selected), abs=1e-3)


@pytest.mark.parametrize("name", SMALL)
def test_search_finds_the_proven_optimum(qp_instance, name):
    case = qp_instance(name)
    problem = instance_problem(case)
    selection = valid_selection(problem)
    assert selection.objective == pytest.approx(case["optimum"], rel=1e-6)
    assert selection.gap == 0.0
    assert problem.objective(selection.selected, selection.weight) == selection.objective


@pytest.mark.parametrize("name", LARGE)
def test_search_reaches_the_best_known_selection(qp_instance, name):
    case = qp_instance(name)
    selection = solve(instance_problem(case), time_limit=600.0, seed=1)
    assert selection.objective >= case["best_known"] - 1e-4


def test_same_seed_gives_the_same_selection():
    problem = random_problem(5, n_pool=30, n_features=8)
    first, second = solve(problem, seed=4), solve(problem, seed=4)
    np.testing.assert_array_equal(first.selected, second.selected)
    np.testing.assert_array_equal(first.weight, second.weight)


@pytest.mark.parametrize("pairs", ["any", "named"])
@pytest.mark.parametrize("seed", range(3))
def test_search_proves_what_enumeration_finds(seed, pairs):
    problem = random_problem(seed, n_pool=6, n_classes=3, n_features=4, rho=0.7, pairs=pairs)
    subsets = list(combinations(range(4), 2))
    best = -np.inf
    for selected in combinations(range(6), 4):
        for rows in permutations(subsets, 3):
            weight = np.zeros((3, 4))
            for row, subset in zip(weight, rows, strict=True):
                row[list(subset)] = 1
            if not problem.violations(selected, weight):
                best = max(best, problem.objective(selected, weight))
    selection = valid_selection(problem)
    assert selection.objective == pytest.approx(best)
    assert selection.gap == 0.0


@pytest.mark.parametrize("name", LARGE)
def test_any_pairs_hardly_cost_anything(qp_instance, name):
    case = qp_instance(name)
    problem = instance_problem(case, rho=0.5)
    selection = valid_selection(problem, time_limit=600.0)
    assert selection.objective > 0.997 * case["best_known"]


def test_named_pairs_all_share_at_a_known_price(qp_instance, monkeypatch):
    """A short search already; docs/selection.md has what a whole one reaches."""
    monkeypatch.setattr(bound_module, "ITERATIONS_OF_PRICES", 50)
    for name, value in {"KICKS_WITHOUT_GAIN": 1, "SETS_PER_WALK": 3, "N_IMPROVED": 0, "N_ELITE": 1}.items():
        monkeypatch.setattr(named_pairs, name, value)
    case = qp_instance("large_qpm_512x196")
    problem = instance_problem(case, rho=0.5, pairs="named")
    selection = valid_selection(problem, time_limit=600.0)
    assert problem.count_named_pairs(selection.weight) == len(problem.named_pairs)
    assert selection.objective > 0.96 * case["best_known"]
    certificate = Certificate(problem)
    with Progress("certificate", 600.0, seed=0) as progress:
        certificate.first_prices(progress, time_share=1.0)
        certificate.tighten(progress, iterations=150)
    assert certificate.bound < case["best_known"]  # a bound that knows the rule
    assert selection.objective <= certificate.bound < 1.03 * selection.objective


def clique_problem(n_classes, n_features, n_per_class, n_pool=12, pairs="named"):
    """All pairs of some nearly equal classes are named."""
    rng = np.random.default_rng(0)
    correlation = rng.random((n_pool, 1)) + 0.01 * rng.random((n_pool, n_classes))
    return SelectionProblem(
        correlation, np.zeros((n_pool, n_pool)), np.zeros(n_pool), n_features, n_per_class,
        rho=(n_classes - 1) / 2, threshold=1.0, pairs=pairs,
    )  # fmt: skip


@pytest.mark.parametrize(("n_classes", "n_features"), [(4, 6), (5, 5)])
def test_classes_of_which_all_pairs_are_named_share_a_core_or_a_superset(n_classes, n_features):
    problem = clique_problem(n_classes, n_features, n_features - 1 if n_features == 5 else 3)
    selection = valid_selection(problem)
    assert selection.gap == 0.0


def test_named_pairs_that_cannot_all_share_are_refused_with_what_helps():
    problem = clique_problem(n_classes=6, n_features=5, n_per_class=2)
    with pytest.raises(PairsImpossibleError, match=r"^it is proved .* 10 named pairs"):
        solve(clique_problem(n_classes=5, n_features=4, n_per_class=2, n_pool=4), solver="highs")
    with pytest.raises(
        PairsImpossibleError, match=r"proved.* 15 named pairs among 6 similar classes.*--n_features.*--pairs any"
    ):
        solve(problem)


def test_a_selection_that_is_not_found_is_called_impossible_only_if_that_is_proved(monkeypatch):
    problem = clique_problem(n_classes=6, n_features=5, n_per_class=2, pairs="any")
    with pytest.raises(PairsImpossibleError, match=r"^it is proved .* 15 pairs .*pair_density$"):
        solve(problem)
    monkeypatch.setattr(search_module, "MAX_PROVEN_POOL", 0)
    with pytest.raises(NoSelectionError, match=r"may be one; raise --selection_seconds") as error:
        solve(problem)
    assert not isinstance(error.value, PairsImpossibleError)


def test_a_proof_that_is_too_large_is_given_up_before_it_fills_the_memory():
    values = np.random.default_rng(0).normal(size=(16, 24))
    tracemalloc.start()
    with pytest.raises(TooLargeError):
        best_sharing_subsets(values, 3, counted=~np.eye(16, dtype=bool), required=20, budget=5.0)
    largest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert largest < 3e8  # bytes


def test_classes_of_one_component_are_parted_and_taken_rows_are_avoided():
    values = np.array([[3.0, 2.0, 1.0, 0.5], [3.0, 2.1, 1.0, 0.0], [3.0, 2.0, 1.2, 0.0]])
    pool, pairs = np.array([4, 6, 7, 9]), np.array([[0, 1], [1, 2]])
    uses = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 0, 0]], dtype=float)
    distinct = made_distinct(values, uses, pairs, pool, taken={(4, 9)})
    rows = rows_of(distinct, pool)
    assert len(set(rows)) == 3 and (4, 9) not in rows
    assert distinct[0] @ distinct[1] == distinct[1] @ distinct[2] == 1


@pytest.mark.parametrize("seed", range(3))
def test_with_the_prices_of_a_set_the_bound_over_it_is_what_its_programs_reach(seed):
    settings = {"n_features": 6, "rho": 0.7, "pairs": "named"}
    problem = random_problem(seed, n_pool=12, n_classes=6, **settings)
    rows, bound, members = NamedRows(problem), lagrangian.Lagrangian(problem), np.arange(6)
    prices = rows.prices(members, bound)
    scores = bound.component_scores(problem.gain[:, members], prices)
    relaxed = 0.0
    for component in rows.components:
        gain = problem.gain[np.ix_(component.classes, members)]
        relaxed -= Program(gain, component, 2).relaxed().fun
    assert bound.component_constant(prices) + scores.sum() == pytest.approx(relaxed)


def rule_optimum(problem):
    """Largest objective by enumeration, under all rules of the problem."""
    F, n, k, C = problem.pool_size, problem.n_features, problem.n_per_class, problem.n_classes
    subsets = np.array(list(combinations(range(n), k)))
    use = np.zeros((len(subsets), n))
    np.put_along_axis(use, subsets, 1.0, axis=1)
    rows = np.array(list(permutations(range(len(subsets)), C)))
    shared = use @ use.T
    kept = np.ones(len(rows), dtype=bool)
    for c, d in problem.named_pairs:
        kept &= shared[rows[:, c], rows[:, d]] == k - 1
    rows = rows[kept]
    best = -np.inf
    for selected in map(list, combinations(range(F), n)):
        value = (problem.gain[:, selected] @ use.T)[np.arange(C), rows].sum(axis=1).max()
        best = max(best, value + problem.set_value(np.array(selected)))
    return best


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("pairs", ["any", "named"])
def test_any_multipliers_give_a_true_bound(seed, pairs):
    problem = random_problem(seed, rho=0.8, pairs=pairs)
    if pairs == "any":
        best = set_values(problem, np.array(list(combinations(range(9), 5)))).max()
    else:
        best = rule_optimum(problem)
    rng = np.random.default_rng(seed)
    certificate = Certificate(problem)
    for scale in (0.0, 0.1, 1.0, 10.0):
        n_pairs = certificate.lagrangian.n_pairs
        multipliers = Multipliers(rng.normal(size=4) * 10, rng.normal(size=n_pairs) * 10)
        state = Relaxation(problem, certificate.lagrangian, np.arange(9), multipliers)
        slack = scale * rng.normal(size=(9, 9))
        state.slack, state.balance = slack + slack.T, scale * rng.normal(size=9)
        assert certificate.evaluate(state.lagrangian, multipliers, state)[0] >= best
    with Progress("certificate", 600.0, seed=0) as progress:
        certificate.tighten(progress)
    assert best <= certificate.bound <= best + 0.1 * abs(best)


@pytest.mark.parametrize("width", [8, 1])
def test_elimination_finds_the_best_use_of_every_feature(width, monkeypatch):
    monkeypatch.setattr(lagrangian, "MAX_WIDTH", width)
    rng = np.random.default_rng(0)
    component = Component(np.arange(5), np.array([[0, 1], [0, 2], [1, 2], [2, 3], [3, 4], [0, 4]]))
    gain, classes = rng.normal(size=(5, 7)), rng.normal(size=5)
    part = Elimination(component)
    assert len(part.pairs) == (6 if width == 8 else 4)  # a tree is what width 1 allows
    pairs = rng.normal(size=len(part.pairs))
    every = np.array(list(product((0, 1), repeat=5)))
    both = every[:, part.pairs[:, 0]] * every[:, part.pairs[:, 1]]
    worth = every @ (gain - classes[:, None]) + (both @ pairs)[:, None]
    scores, uses = part.best_uses(gain, classes, pairs)
    np.testing.assert_allclose(scores, worth.max(axis=0))
    np.testing.assert_array_equal(uses, every[worth.argmax(axis=0)].T)


def test_the_bound_counts_features_that_are_not_among_the_promising_ones(monkeypatch):
    monkeypatch.setattr(bound_module, "MOST_ACTIVE", 4)
    for seed in range(10):
        problem = random_problem(seed)
        best = set_values(problem, np.array(list(combinations(range(9), 5)))).max()
        certificate = Certificate(problem)
        with Progress("certificate", 600.0, seed=0) as progress:
            certificate.first_prices(progress, time_share=1.0)
            certificate.tighten(progress)
        assert best <= certificate.bound


def test_certificate_closes_most_of_the_gap_on_a_large_instance(qp_instance):
    case = qp_instance("large_qpm_512x196")
    certificate = Certificate(instance_problem(case))
    with Progress("certificate", 600.0, seed=0) as progress:
        certificate.tighten(progress, objective=float(case["best_known"]), iterations=90)
    assert case["best_known"] <= certificate.bound <= 1.025 * case["best_known"]


@pytest.mark.parametrize("name", ["qpm_00", "qpm_02", "qpm_08", "chiqpm_04"])
@pytest.mark.parametrize("solver", ["gurobi", "highs"])
def test_general_solvers_agree_with_the_search(qp_instance, solver, name):
    case = qp_instance(name)
    problem = instance_problem(case)
    try:
        selection = valid_selection(problem, solver=solver)
    except UsageError as error:
        assert solver == "gurobi"
        pytest.skip(str(error))
    assert selection.objective == pytest.approx(case["optimum"], rel=1e-6)
    assert selection.upper_bound == pytest.approx(case["optimum"], rel=1e-6)


@pytest.mark.parametrize("solver", ["gurobi", "highs"])
def test_general_solvers_force_named_pairs_too_and_print_nothing(solver, capfd):
    problem = random_problem(1, n_pool=8, n_classes=4, rho=0.75, pairs="named")
    selection, proven = valid_selection(problem, solver=solver), solve(problem)
    ctypes.CDLL(None).fflush(None)
    assert capfd.readouterr().out == ""
    assert proven.gap == 0.0
    assert problem.count_named_pairs(selection.weight) == 3
    assert selection.objective == pytest.approx(proven.objective)


def test_too_small_gurobi_licence_names_the_alternatives(qp_instance):
    try:
        with gurobipy.Env(params={"OutputFlag": 0}) as env, gurobipy.Model(env=env) as model:
            model.addMVar(3000)
            model.optimize()
        pytest.skip("a full licence is installed")
    except gurobipy.GurobiError:
        pass
    problem = instance_problem(qp_instance("chiqpm_06"))
    with pytest.raises(UsageError, match="too many for the free licence; use --solver search"):
        solve(problem, solver="gurobi")


def test_missing_gurobi_package_names_the_alternatives(monkeypatch):
    monkeypatch.setitem(sys.modules, "gurobipy", None)
    with pytest.raises(UsageError, match="needs the package gurobipy; use --solver search"):
        solve(random_problem(0), solver="gurobi")


def test_highs_without_time_says_what_to_do(qp_instance):
    problem = instance_problem(qp_instance("qpm_10"))
    with pytest.raises(RunError, match="may be one; raise --selection_seconds"):
        solve(problem, solver="highs", time_limit=0.0)


@pytest.mark.parametrize("pairs", ["any", "named"])
def test_interrupt_returns_the_best_selection_so_far(qp_instance, pairs, monkeypatch):
    """The signal comes when the first set of features has been valued."""
    problem = instance_problem(qp_instance("large_qpm_512x196"), rho=0.5, pairs=pairs)
    monkeypatch.setattr(bound_module, "ITERATIONS_OF_PRICES", 50)
    real = SwapNeighbourhood.evaluate
    interrupts = iter([signal.SIGINT])

    def evaluate(self):
        for number in interrupts:
            signal.raise_signal(number)
        return real(self)

    monkeypatch.setattr(SwapNeighbourhood, "evaluate", evaluate)
    selection = valid_selection(problem, time_limit=600.0)
    assert next(interrupts, None) is None
    assert selection.seconds < 600.0


def test_waiting_for_other_programs_does_not_count(monkeypatch):
    now = {"monotonic": 10.0, "process_time": 3.0}
    clocks = {name: lambda name=name: now[name] for name in now}
    monkeypatch.setattr(progress_module, "time", SimpleNamespace(**clocks))
    progress = Progress("search", time_limit=5.0, seed=0)
    now |= {"monotonic": 109.0, "process_time": 7.0}
    assert not progress.expired and progress.elapsed == 4  # of 99 seconds
    assert progress.left_on_clock == 20  # one of 5 seconds, in which 1 in 20 is computed
    now["process_time"] = 300.0  # three threads at work
    assert progress.elapsed == 99


def test_progress_and_result_are_logged_in_plain_words(caplog, monkeypatch):
    monkeypatch.setattr(progress_module, "SECONDS_BETWEEN_LINES", 0.0)
    with caplog.at_level("INFO", logger="sparsification.qpm"):
        solve(random_problem(0), seed=7)
    line = next(record.message for record in caplog.records if "best so" in record.message)
    tried = r"search: tries a set worth about [\d.]+, best so far [\d.]+, \d+ s, seed 7"
    assert re.fullmatch(tried, line)
    assert re.search(r"search: objective [\d.]+, proven to be the largest possible", caplog.text)


def test_a_gap_is_explained_where_it_is_logged(caplog):
    selection = Selection(np.arange(2), np.ones((2, 2)), 100.0, 104.0, 0.04, "search", 1.5)
    with caplog.at_level("INFO", logger="sparsification.qpm"):
        log_summary(random_problem(0), selection, seed=3)
    assert "no selection can exceed 104.000 (gap 4.00 %: at most that much is missing)" in caplog.text


def test_all_features_selected():
    problem = random_problem(2, n_pool=5, n_features=5)
    selection = valid_selection(problem)
    assert selection.gap == 0.0


def test_the_negative_part_is_followed_while_the_matrix_turns(monkeypatch):
    monkeypatch.setattr(negative_part, "LEAST_SIZE", 0)
    rng, size = np.random.default_rng(0), 200
    part, turned = NegativePart(size), np.linalg.qr(rng.normal(size=(size, size)))[0]
    decomposed, eigh = [], negative_part.eigh
    monkeypatch.setattr(negative_part, "eigh", lambda *args, **kw: decomposed.append(len(args[0])) or eigh(*args, **kw))
    for count in (20, 22, 25, 27, 30, 100, 30):
        turned = np.linalg.qr(turned + 0.002 * rng.normal(size=(size, size)))[0]
        values = np.concatenate([-rng.uniform(0.1, 20, count), rng.uniform(0, 4, size - count)])
        matrix = (turned * values) @ turned.T
        negative = (turned[:, :count] * -values[:count]) @ turned[:, :count].T
        roots = part.roots((matrix + matrix.T) / 2)
        assert np.linalg.norm(roots @ roots.T - negative) < 0.02 * np.linalg.norm(negative)
    # Whole ones at first, where it has outgrown the basis, and where that would be too wide.
    assert decomposed.count(size) == 3
    for matrix in (np.zeros((size, size)), -np.eye(size), np.eye(size), np.eye(size)):
        roots = part.roots(matrix)
        np.testing.assert_allclose(roots @ roots.T, np.maximum(-matrix, 0.0), atol=1e-9)


def test_the_bound_is_as_good_where_the_negative_part_is_followed(qp_instance, monkeypatch):
    problem = instance_problem(qp_instance("large_qpm_512x196"))
    bounds = []
    for least_size in (1000, 0):
        monkeypatch.setattr(negative_part, "LEAST_SIZE", least_size)
        certificate = Certificate(problem)
        with Progress("certificate", 600.0, seed=0) as progress:
            certificate.tighten(progress, iterations=100)
        bounds.append(certificate.bound)
    assert bounds[1] == pytest.approx(bounds[0], rel=5e-4)

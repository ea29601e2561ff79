"""What the stages of the didactic experiment do with draws: cloning, labelling, search, reinforcement, evaluation.

Networks are untrained and draws procedural, kept where earlier stages would have left them.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from llm_validation.gpt2_planted import base, cloning, evaluation, labelling, measure, reinforcement, search
from llm_validation.gpt2_planted.bench import Bench, Cell, Drawn
from llm_validation.gpt2_planted.network import load_verifier, log_probabilities, new_network, new_verifier, scores
from llm_validation.gpt2_planted.recipe import RECIPES, Recipe, read_recipe
from llm_validation.gpt2_planted.stages import EXPERIMENT, STAGES
from llm_validation.gpt2_planted.world import World, returns_of
from llm_validation.staged.cells import CellError, Done
from llm_validation.staged.keys import words_of
from llm_validation.staged.training import within_memory
from sim.tasks.planted_traces import draw_traces, predictive
from strategies import checked

Floats = NDArray[np.float64]
H = 8
N = 24
STANDARD_ERRORS = 5.0
POOL, DRAWS, NEVER = Cell(arm="pool"), Cell(arm="draws"), Cell(seed=1, arm="draws")


def tiny() -> Recipe:
    """The smoke recipe with a smaller network, n = 24, and 6 draws on each prompt of the pool."""
    smoke = read_recipe("smoke")
    changes: dict[str, dict[str, Any]] = {
        "network": {"width": 16, "layers": 1},
        "grid": {"n": (N,)},
        "measure": {"samples": 6},
        "best_of_n": {"N": (1, 2, 4)},
        "evaluate": {"samples": 200},
        "vf": {"learning_rate": 0.02},
        "verifier": {"steps": 12, "checks": 4, "learning_rate": 0.05, "validation": 0.25},
        "rl": {"learning_rate": 0.01},
    }
    return dataclasses.replace(
        smoke, **{name: dataclasses.replace(getattr(smoke, name), **values) for name, values in changes.items()}
    )


def record(bench: Bench, name: str, digests: dict[Cell, str]) -> None:
    """Say what a stage left, as its run would."""
    path = bench.out / name / "files.json"
    path.write_text(json.dumps({cell.identity: digest for cell, digest in digests.items()}))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A base, its pool, training draws of seed 0, draws of seed 1 that never solve, and verifiers of seed 0."""
    found = Bench(tmp_path_factory.mktemp("out"), tiny())
    recipe, world = found.recipe, found.world
    model = new_network(recipe.network, recipe.task.V, recipe.task.ell + H, 1)
    record(found, "base", {Cell(): found.save(model, "base", Cell())})

    def kept(cell: Cell, prompt: Any, tokens: Any) -> tuple[Cell, str]:
        return cell, found.keep_draws("measure", cell, prompt, tokens)

    pool = np.repeat(world.held_out[: recipe.measure.prompts], recipe.measure.samples)
    drawn = world.drawn(200, words_of("prompts"))
    golds = world.automata.golds[drawn]
    other = np.array([next(v for v in range(5) if v not in gold) for gold in golds.tolist()])
    digests = dict([
        kept(POOL, pool, draw_traces(world.levels[0], world.automata, pool, words_of("pool"))[0]),
        kept(DRAWS, drawn, draw_traces(world.levels[0], world.automata, drawn, words_of("draws"))[0]),
        kept(NEVER, drawn, np.repeat(other[:, None], H, axis=1)),
    ])  # fmt: skip
    record(found, "measure", digests)
    verifiers = {
        Cell(horizon=H, n=N, seed=seed, arm=labels): new_verifier(model, seed + 1)
        for seed in range(recipe.grid.seeds)
        for labels in recipe.verifier.labels
    }
    record(found, "verifier", {cell: found.save(made, "verifier", cell) for cell, made in verifiers.items()})
    return found


@st.composite
def draws_in_any_order(draw: st.DrawFn) -> tuple[Drawn, int]:
    """Up to 40 draws of solve times 0 (never), 2..12, some tied, some beyond H = 8; and n = 1..45."""
    times = np.array(draw(st.lists(st.sampled_from([0, *range(2, 13)]), max_size=40)), dtype=np.int64)
    number = np.arange(times.size)
    return Drawn(number, np.zeros((times.size, 12), dtype=np.int64), times), draw(st.integers(1, 45))


def numbers(drawn: Drawn, n: int, arm: str) -> list[int]:
    """Which draws the arm takes."""
    return cloning.chosen(drawn, Cell(horizon=H, n=n, arm=arm)).prompt.tolist()


@given(draws_in_any_order())
@checked
def test_equal_draws_clones_those_of_the_first_n_that_solve(made: tuple[Drawn, int]) -> None:
    """``equal-draws``: draws 1..n with 1 <= T <= H, in their order."""
    drawn, n = made
    assert numbers(drawn, n, "equal-draws") == [i for i, t in enumerate(drawn.times[:n].tolist()) if 1 <= t <= H]


@given(draws_in_any_order())
@checked
def test_equal_traces_clones_the_first_n_that_solve(made: tuple[Drawn, int]) -> None:
    """``equal-traces``: the first n draws with 1 <= T <= H, however many it takes."""
    drawn, n = made
    assert numbers(drawn, n, "equal-traces") == [i for i, t in enumerate(drawn.times.tolist()) if 1 <= t <= H][:n]


@given(draws_in_any_order())
@checked
def test_fastest_clones_a_quarter_of_equal_draws(made: tuple[Drawn, int]) -> None:
    """``equal-draws-fastest``: a quarter of those, at least one if there is one, none slower than any left out."""
    drawn, n = made
    solved, fastest = numbers(drawn, n, "equal-draws"), numbers(drawn, n, "equal-draws-fastest")
    assert set(fastest) <= set(solved)
    assert len(set(fastest)) == len(fastest) == (max(1, len(solved) // 4) if solved else 0)
    left = [drawn.times[i] for i in set(solved) - set(fastest)]
    assert max((drawn.times[i] for i in fastest), default=0) <= min(left, default=math.inf)


def test_where_nothing_solved_the_policy_is_the_base(bench: Bench) -> None:
    """Cloning no traces takes no step and keeps the base's weights."""
    for arm in bench.recipe.vf.arms:
        cell = Cell(horizon=H, n=N, seed=1, arm=arm)
        done = cloning.run(bench, cell)
        assert (done.rows[0]["traces"], done.rows[0]["steps"]) == (0, 0)
        assert done.digest == bench.digest("base", Cell())


def test_cloning_makes_its_traces_likelier(bench: Bench) -> None:
    """The mean log-likelihood of the cloned traces rises, and the table says how many draws and traces were used."""
    drawn = bench.draws("measure", DRAWS, H)
    for arm in ("equal-draws", "equal-traces"):
        cell = Cell(horizon=H, n=N, seed=0, arm=arm)
        done = cloning.run(bench, cell)
        record(bench, "vf", {cell: done.digest})
        mine = cloning.chosen(drawn, cell)
        words = bench.world.words[mine.prompt]
        model = dataclasses.replace(bench).network("vf", cell)  # digests are read once a bench
        before, after = (log_probabilities(one, words, mine.tokens).mean() for one in (bench.base(0), model))
        assert after > before + 0.01
        solved = np.flatnonzero(drawn.within(H))
        assert done.rows[0]["traces"] == len(mine.times) > 0
        assert done.rows[0]["draws"] == (N if arm == "equal-draws" else solved[N - 1] + 1)


def test_cloning_is_a_function_of_its_cell(bench: Bench) -> None:
    """The same cell gives the same weights byte by byte, another n others."""
    cell = Cell(horizon=H, n=N, seed=0, arm="equal-draws")
    assert cloning.run(bench, cell) == cloning.run(bench, cell)
    assert cloning.run(bench, cell.at(n=N // 2)).digest != cloning.run(bench, cell).digest


def test_labels_are_one_from_the_solution_on() -> None:
    """r_h is 1 from token T on, and 0 throughout where T is 0 or beyond H; they add up to the return."""
    times = np.array([0, 1, 3, 4, 5])
    expected = [[0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0]]
    np.testing.assert_array_equal(labelling.rewards_of(times, 4), expected)
    np.testing.assert_array_equal(labelling.rewards_of(times, 4).sum(axis=1), returns_of(times, 4))


def test_learnt_return_is_in_tokens_or_a_probability() -> None:
    """``per-token`` labels add up over the trace, ``final`` ones are read at its last token."""
    p = np.array([[0.1, 0.5, 0.9], [0.0, 0.0, 1.0]])
    np.testing.assert_allclose(labelling.learnt_return(p, "per-token"), [1.5, 1.0])
    np.testing.assert_allclose(labelling.learnt_return(p, "final"), [0.9, 1.0])


def cross_entropy(p: Floats, y: Floats) -> Floats:
    return np.asarray(-(y * np.log(p) + (1.0 - y) * np.log1p(-p)))


@pytest.fixture(scope="module", params=["per-token", "final"])
def trained(bench: Bench, request: pytest.FixtureRequest) -> tuple[Cell, Done, Any]:
    """The verifier of seed 0 under each kind of labels: its cell, its row and itself. Kept aside of the bench's."""
    cell = Cell(horizon=H, n=N, seed=0, arm=request.param)
    aside = dataclasses.replace(bench, out=bench.out.with_name(f"{bench.out.name}-{request.param}"))
    aside.out.mkdir()
    for name in ("base", "measure"):
        (aside.out / name).symlink_to(bench.out / name)
    done = labelling.run(aside, cell)
    return cell, done, load_verifier(aside.file("verifier", cell), done.digest)


def test_the_loss_kept_is_the_cross_entropy_on_draws_kept_aside(bench: Bench, trained: tuple[Cell, Done, Any]) -> None:
    """``validation_loss`` is -y log p - (1 - y) log(1 - p) of the verifier that is kept, on a quarter of the n draws.

    Its mean over all tokens for ``per-token`` labels, over last tokens for ``final`` ones.
    """
    cell, done, verifier = trained
    kept = bench.draws("measure", DRAWS, H).first(N // 4)
    p = scores(verifier, bench.world.words[kept.prompt], kept.tokens)
    y = np.array([[float(1 <= t <= h) for h in range(1, H + 1)] for t in kept.times.tolist()])
    terms = cross_entropy(p, y)
    exact = terms.mean() if cell.arm == "per-token" else terms[:, -1].mean()
    assert done.rows[0]["validation_loss"] == pytest.approx(exact, rel=1e-5)
    assert done.rows[0]["best_step"] in (3, 6, 9, 12)


@pytest.mark.parametrize(("patience", "ends"), [(1, 9), (2, 12)])
def test_the_best_checkpoint_is_kept(
    bench: Bench, patience: int, ends: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checked at steps 3, 6, 9, 12 with the best at 6, that one is kept; ``patience`` worse ones end the training."""
    settings = dataclasses.replace(bench.recipe.verifier, patience=patience)
    mine = Bench(tmp_path / "out", dataclasses.replace(bench.recipe, verifier=settings))
    mine.out.mkdir()
    for name in ("base", "measure"):
        (mine.out / name).symlink_to(bench.out / name)
    kept = bench.draws("measure", DRAWS, H).first(N // 4)
    share = np.mean([[1 <= t <= h for h in range(1, H + 1)] for t in kept.times.tolist()])
    best = math.log(share / (1.0 - share))  # the loss of a constant grows with its distance from this logit
    away = {3: 2.0, 6: 0.5, 9: 0.8, 12: 1.5}
    taken = []

    def fit(model: Any, batches: Any, loss: Any, steps: int, *rest: Any, after: Callable[[int], bool]) -> None:
        for step in range(1, steps + 1):
            taken.append(step)
            with torch.no_grad():
                model.classifier.weight.zero_()
                model.classifier.bias.fill_(best + away.get(step, 9.0))
            if after(step):
                return

    monkeypatch.setattr(labelling, "fit", fit)
    done = labelling.run(mine, Cell(horizon=H, n=N, arm="per-token"))
    verifier = load_verifier(mine.file("verifier", Cell(horizon=H, n=N, arm="per-token")), done.digest)
    assert done.rows[0]["best_step"] == 6
    assert verifier.classifier.bias.item() == pytest.approx(best + 0.5, rel=1e-5)
    assert taken[-1] == ends


def test_quality_is_that_of_the_verifier_on_its_part_of_the_pool(bench: Bench, trained: tuple[Cell, Done, Any]) -> None:
    """Accuracy, Brier score and (``per-token``) the error of the learnt return are means over the judged draws."""
    cell, done, verifier = trained
    pool = labelling.mine_of_pool(bench, cell, 4)
    p = scores(verifier, bench.world.words[pool.prompt], pool.tokens)
    right = (pool.times > 0).astype(np.float64)
    row = done.rows[0]
    assert row["accuracy"] == ((p[:, -1] > 0.5) == (right == 1.0)).mean()
    assert row["brier"] == pytest.approx(((p[:, -1] - right) ** 2).mean())
    assert row["labels_right"] == (bench.draws("measure", DRAWS, H).times[:N] > 0).sum()
    if cell.arm == "per-token":
        error = abs(p.sum(axis=1) - returns_of(pool.times, H)).mean()
        assert row["epsilon_ver"] == pytest.approx(error)
        assert row["epsilon_ver_low"] <= error <= row["epsilon_ver_high"]
    else:
        assert math.isnan(row["epsilon_ver"])


def test_seeds_judge_different_prompts(bench: Bench) -> None:
    """The parts of the pool that judge seeds share no prompt, are all of it together, as many draws of each."""
    parts = [labelling.mine_of_pool(bench, Cell(horizon=H, seed=seed), 4).prompt for seed in range(3)]
    assert not set(parts[0]) & set(parts[1])
    assert set().union(*parts) == set(bench.world.held_out[: bench.recipe.measure.prompts])
    for part in parts:
        assert (np.unique(part, return_counts=True)[1] == 4).all()


def test_near_misses_never_solve_and_differ_in_completions_only(bench: Bench) -> None:
    """Each is a solved trace of the pool, in order, that never solves: a token of every completion is another.

    Hardly any other token is (a replaced one can complete the gold with its neighbours, and is replaced again).
    """
    pool = labelling.mine_of_pool(bench, Cell(horizon=H), 6)
    missed = labelling._near_misses(bench.world, Cell(horizon=H), pool)
    solved = pool.where((pool.times > 0) & (pool.times <= H))
    assert len(solved.times) == len(missed.times) > 0
    assert np.array_equal(missed.prompt, solved.prompt)
    first_differs, total = [], 0
    for x, old, new in zip(solved.prompt.tolist(), solved.tokens.tolist(), missed.tokens.tolist(), strict=True):
        gold = bench.world.automata.golds[x].tolist()
        assert not any(new[h : h + 2] == gold for h in range(H - 1))
        ends = [h for h in range(H - 1) if old[h : h + 2] == gold]
        changed = [h for h in range(H) if old[h] != new[h]]
        assert all({h, h + 1} & set(changed) for h in ends)
        assert {h for end in ends for h in range(end - 1, end + 3)} >= set(changed)
        first_differs += [h - ends[0] for h in (ends[0], ends[0] + 1) if h in changed]
        total += len(changed) - len(ends)
    assert {0, 1} == set(first_differs)
    assert abs(total) <= 0.1 * len(solved.times)


def test_traces_are_held_against_their_own_near_misses(bench: Bench, trained: tuple[Cell, Done, Any]) -> None:
    """``paired_near_miss``: mean over prompts of the share of solved traces that score above their near miss."""
    cell, done, verifier = trained
    pool = labelling.mine_of_pool(bench, cell, 4)
    solved, missed = pool.where(pool.within(H)), labelling._near_misses(bench.world, cell, pool)
    won: dict[int, list[float]] = {}
    for x, old, new in zip(solved.prompt.tolist(), solved.tokens, missed.tokens, strict=True):
        ours, theirs = (scores(verifier, bench.world.words[[x]], t[None])[0, -1] for t in (old, new))
        won.setdefault(x, []).append(1.0 if ours > theirs else 0.5 if ours == theirs else 0.0)
    row = done.rows[0]
    assert row["paired_near_miss"] == pytest.approx(np.mean([np.mean(of_prompt) for of_prompt in won.values()]))
    assert 0.0 <= row["paired_near_miss_low"] <= row["paired_near_miss"] <= row["paired_near_miss_high"] <= 1.0


def test_cues_never_look_for_a_whole_gold(bench: Bench, trained: tuple[Cell, Done, Any]) -> None:
    """AUROC of the numbers of letters of the gold and of neighbours in it, over all pairs of traces, ties half."""
    cell, done, _ = trained
    pool = labelling.mine_of_pool(bench, cell, 4)

    def counts(x: int, tokens: list[int]) -> dict[str, int]:
        gold = bench.world.automata.golds[x].tolist()
        neighbours = list(itertools.pairwise(gold))
        return {
            "letters": sum(v in gold for v in tokens),
            "pairs": sum(pair in neighbours for pair in itertools.pairwise(tokens)),
        }

    def of(drawn: Drawn) -> list[dict[str, int]]:
        return [counts(*trace) for trace in zip(drawn.prompt.tolist(), drawn.tokens.tolist(), strict=True)]

    right = of(pool.where(pool.within(H)))
    wrong = {
        "auroc": of(pool.where(~pool.within(H))),
        "auroc_near_miss": of(labelling._near_misses(bench.world, cell, pool)),
        "auroc_other_prompt": of(labelling._other_prompts(bench.world, cell, pool)),
    }
    for (name, negatives), cue in itertools.product(wrong.items(), ("letters", "pairs")):
        won = [(a[cue] > b[cue]) + 0.5 * (a[cue] == b[cue]) for a in right for b in negatives]
        assert done.rows[0][f"{name}_{cue}"] == pytest.approx(np.mean(won))


def test_wrong_traces_of_other_prompts_are_solved_ones_there(bench: Bench) -> None:
    """Each is a solved trace of the pool put to another prompt of the pool, which it does not solve within H."""
    pool = labelling.mine_of_pool(bench, Cell(horizon=H), 6)
    matched = labelling._other_prompts(bench.world, Cell(horizon=H), pool)
    solved = pool.where((pool.times > 0) & (pool.times <= H))
    assert 0 < len(matched.times) <= len(solved.times)
    known = {(int(x), *row) for x, row in zip(solved.prompt, solved.tokens.tolist(), strict=True)}
    styles = {row[1:] for row in known}
    for x, row in zip(matched.prompt.tolist(), matched.tokens.tolist(), strict=True):
        assert x in pool.prompt
        assert tuple(row) in styles
        assert (x, *row) not in known
        gold = bench.world.automata.golds[x].tolist()
        assert not any(row[h : h + 2] == gold for h in range(H - 1))


def test_the_base_learns_the_exact_law(bench: Bench) -> None:
    """The loss of the base is -sum_v p(v) log q(v), p the exact law of each token, over the task's tokens."""
    world, prompt = bench.world, bench.world.train[:12]
    tokens, _ = draw_traces(world.levels[0], world.automata, prompt, words_of("loss"))
    known = predictive(world.levels[0], world.automata, prompt, tokens)
    ids = torch.from_numpy(np.concatenate([world.words[prompt], tokens], axis=1))
    model = bench.base(0).eval()
    inputs = {"input_ids": ids, "gold": torch.from_numpy(known.gold), "chance": torch.from_numpy(known.chance)}
    with torch.inference_mode():
        loss = float(base._loss(model, inputs))
        q = torch.log_softmax(model(input_ids=ids).logits.double(), dim=-1).numpy()
    terms = []
    for row, h in itertools.product(range(12), range(H)):
        for v in range(5):
            chance = known.chance[row, h]
            p = chance if v == known.gold[row, h] else (1.0 - chance) / 4
            terms.append(-p * q[row, 1 + h, v])  # after 2 tokens of the prompt and h of the trace
    assert loss == pytest.approx(sum(terms) / (12 * H), rel=1e-5)


def test_divergence_of_a_network_that_knows_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the uniform law the divergence is log V minus the law's entropy, within 5 standard errors."""
    monkeypatch.setattr(base, "log_probabilities", lambda model, words, tokens: np.full(tokens.shape, -math.log(5)))
    found, fresh, mine = base.divergence(bench.world, Cell(), None, H), 2000, 4000
    world, prompt = bench.world, np.resize(bench.world.held_out, mine)
    tokens, _ = draw_traces(world.levels[0], world.automata, prompt, words_of("entropy"))
    law = predictive(world.levels[0], world.automata, prompt, tokens)
    ratio = np.log(np.where(tokens == law.gold, law.chance, (1.0 - law.chance) / 4)).mean(axis=1)
    entropy = law.entropy(5).mean(axis=1)
    error = math.hypot(ratio.std() / math.sqrt(fresh), entropy.std() / math.sqrt(mine))
    assert abs(found - (math.log(5) - entropy.mean())) <= STANDARD_ERRORS * error
    assert math.log(5) - entropy.mean() > 2.0 * STANDARD_ERRORS * error


def of_all_subsets(values: Sequence[float], keys: Sequence[float], size: int) -> float:
    """Mean over all subsets of the value of the draw with the largest key, ties shared."""
    found = []
    for chosen in itertools.combinations(range(len(values)), size):
        best = max(keys[i] for i in chosen)
        found.append(np.mean([values[i] for i in chosen if keys[i] == best]))
    return float(np.mean(found))


@pytest.mark.parametrize("arm", ["per-token", "final", "oracle"])
def test_best_of_n_is_the_mean_over_all_subsets(bench: Bench, arm: str) -> None:
    """J, solve rate and J of the oracle at each N are means over prompts of means over all subsets of N draws."""
    cell = Cell(horizon=H, n=0 if arm == "oracle" else N, arm=arm)
    done = search.run(bench, cell)
    pool = labelling.mine_of_pool(bench, cell, 6)
    returns = returns_of(pool.times, H).astype(np.float64)
    keys = returns
    if arm != "oracle":
        verifier = labelling.verifier_of(bench, cell)
        keys = labelling.learnt_return(scores(verifier, bench.world.words[pool.prompt], pool.tokens), arm)
    assert [row["N"] for row in done.rows] == [1, 2, 4]
    for row in done.rows:
        for column, values, by in (
            ("J", returns, keys),
            ("J_oracle", returns, returns),
            ("solve_rate", np.sign(returns), keys),
            ("learnt", keys, keys),
        ):
            means = [
                of_all_subsets(values[pool.prompt == x], by[pool.prompt == x], row["N"]) for x in np.unique(pool.prompt)
            ]
            assert row[column] == pytest.approx(np.mean(means), rel=1e-9), (column, row["N"])
            if column == "J":
                assert row["J_se"] == pytest.approx(np.std(means, ddof=1) / math.sqrt(len(means)), rel=1e-9)
        assert row["prompts"] == 3


def test_search_loses_at_most_n_errors_of_the_verifier(bench: Bench) -> None:
    """J(oracle) - J(kept) <= N epsilon_ver on the draws of the pool, even for a verifier that was never trained."""
    for seed in range(3):
        for row in search.run(bench, Cell(horizon=H, n=N, seed=seed, arm="per-token")).rows:
            assert 0.0 <= row["J_oracle"] - row["J"] <= row["N"] * row["epsilon_ver"]


@pytest.mark.parametrize("name", RECIPES)
def test_number_of_reinforced_policies(name: str) -> None:
    """Every n at weight 0 on the divergence, the largest n with each one at ``kl_horizons``, the true reward once."""
    recipe = read_recipe(name)
    rl, grid = recipe.rl, recipe.grid
    each = len(rl.levels) * grid.seeds
    positive = sum(weight > 0.0 for weight in rl.kl_weights)
    expected = each * len(rl.horizons) * (len(grid.n) + rl.true_reward)
    expected += each * len(set(rl.horizons) & set(rl.kl_horizons)) * positive
    cells = reinforcement.cells(recipe)
    assert 0.0 in rl.kl_weights
    assert len(cells) == expected
    assert {cell.n for cell in cells if cell.kl_weight > 0.0} <= {grid.n[-1]}


def test_number_of_reinforced_policies_of_the_smoke_recipe() -> None:
    """Three seeds, each at one n, one weight, and the true reward: nine."""
    assert len(reinforcement.cells(read_recipe("smoke"))) == 9


@pytest.mark.parametrize("name", RECIPES)
def test_cells_of_a_stage_have_different_names(name: str) -> None:
    """No two cells of a stage share the name under which they keep their work."""
    recipe = read_recipe(name)
    for found in STAGES:
        names = [cell.identity for cell in found.cells(recipe)]
        assert len(set(names)) == len(names) > 0, found.name


@pytest.mark.parametrize("name", RECIPES)
def test_every_verifier_that_reinforcement_asks_for_is_trained(name: str) -> None:
    """Cells of ``rl`` against a verifier have that verifier among the cells of ``verifier``."""
    recipe = read_recipe(name)
    trained = set(labelling.cells(recipe))
    for cell in reinforcement.cells(recipe):
        if cell.arm == "verifier":
            assert cell.at(arm=recipe.rl.labels, kl_weight=0.0) in trained


def reinforced(bench: Bench, arm: str, **changes: Any) -> Done:
    cell = Cell(horizon=H, n=N if arm == "verifier" else 0, arm=arm)
    return reinforcement.run(bench, cell.at(**changes))


def garbage(world: World, prompt: Any, tokens: Any) -> Any:
    """Solve times that have nothing to do with the traces."""
    return 1 + (7 * np.arange(len(prompt)) + tokens[:, 0]) % H


def test_reinforcement_against_a_verifier_never_sees_the_true_reward(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With solve times replaced by garbage the policy is the same byte by byte; only what is recorded differs."""
    honest = reinforced(bench, "verifier")
    monkeypatch.setattr(World, "solve_times", garbage)
    blind = reinforced(bench, "verifier")
    assert blind.digest == honest.digest != bench.digest("base", Cell())
    assert [row["learnt_return"] for row in blind.rows] == [row["learnt_return"] for row in honest.rows]
    assert [row["true_return"] for row in blind.rows] != [row["true_return"] for row in honest.rows]


def test_reinforcement_against_the_true_reward_sees_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """With arm ``true`` garbage gives another policy, and the learnt return of the table is the true one."""
    honest = reinforced(bench, "true")
    assert [row["learnt_return"] for row in honest.rows] == [row["true_return"] for row in honest.rows]
    monkeypatch.setattr(World, "solve_times", garbage)
    assert reinforced(bench, "true").digest != honest.digest


def test_a_weight_on_the_divergence_holds_the_policy_back(bench: Bench) -> None:
    """A large weight leaves the policy nearer to the base than none, and at the first step both are the base."""
    free, held = reinforced(bench, "verifier"), reinforced(bench, "verifier", kl_weight=3.0)
    assert free.rows[0]["step"] == held.rows[0]["step"] == 0
    assert abs(free.rows[0]["kl"]) < 1e-4
    assert abs(held.rows[0]["kl"]) < 1e-4
    assert held.rows[-1]["kl"] < free.rows[-1]["kl"]


def test_the_base_does_not_diverge_from_itself(bench: Bench) -> None:
    """A policy that is the base has divergence 0; the base's own row says so too, J within H."""
    cell = Cell(horizon=H, n=N, seed=1, arm="equal-draws")
    aside = dataclasses.replace(bench)
    record(aside, "vf", {cell: cloning.run(aside, cell).digest})
    rows = [evaluation.run(aside, one).rows[0] for one in (Cell(horizon=H, arm="base"), cell)]
    assert [row["kl"] for row in rows] == [0.0, 0.0]
    assert [row["method"] for row in rows] == ["base", "vf"]
    for row in rows:
        assert 0.0 < row["J"] < H
        assert row["samples"] == 200
        assert row["solve_rate"] * 200 == round(row["solve_rate"] * 200)
        assert row["tokens"] == pytest.approx(
            row["solve_rate"] * row["solve_time"] + (1.0 - row["solve_rate"]) * H, rel=1e-9
        )
        assert row["J"] == pytest.approx(row["solve_rate"] * (H + 1 - row["solve_time"]), rel=1e-9)


def test_a_base_that_has_not_learnt_is_named() -> None:
    """A base off in law by ``base.most_kl``, or in solve rate by ``base.tolerance``, is a line each; no other is."""
    recipe = read_recipe("smoke")
    row = {"level": 0, "horizon": 8, "quantity": "solve rate", "estimate": 0.5}
    rows = [
        {**row, "exact": 0.55},
        {**row, "exact": 0.65, "level": 1},
        {**row, "exact": 0.35, "horizon": 16},
        {**row, "exact": 0.0, "quantity": "J"},
    ]
    bases = [{"level": 0, "kl_per_token": 0.1}, {"level": 1, "kl_per_token": math.nan}]
    unlike, *found = measure.refused(recipe, bases, rows)
    assert unlike.startswith("base of level 1: nan nats a token")
    assert len(found) == 2
    assert found[0].startswith("base of level 1: solves 0.500 within 8 tokens, the mixture 0.650")
    assert found[1].startswith("base of level 0: solves 0.500 within 16 tokens, the mixture 0.350")
    assert all("base.tolerance = 0.1" in line and "\n" not in line for line in found)


def test_a_stage_is_found_by_name() -> None:
    """Stages are named once each, come after all they need, and an unknown name is refused in one line."""
    names = [found.name for found in STAGES]
    assert len(set(names)) == len(names)
    for i, found in enumerate(STAGES):
        assert EXPERIMENT.stage(found.name) is found
        assert set(found.needs) <= set(names[:i])
    with pytest.raises(ValueError, match=r"--stages sft: expected of data, base, .*, evaluate\Z"):
        EXPERIMENT.stage("sft")


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda path: path.unlink(), "cannot be read"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"?"), "corrupt, its digest is another"),
    ],
    ids=["missing", "changed"],
)
def test_spoilt_draws_are_refused(bench: Bench, tmp_path: Path, spoil: Callable[[Path], None], expected: str) -> None:
    """Draws that are missing, or of which one byte is another, are refused in one line that names the file."""
    mine = dataclasses.replace(bench, out=tmp_path)
    drawn = bench.draws("measure", DRAWS, H)
    record_digest = mine.keep_draws("measure", DRAWS, drawn.prompt, drawn.tokens)
    record(mine, "measure", {DRAWS: record_digest})
    again = mine.draws("measure", DRAWS, 3)
    np.testing.assert_array_equal(again.tokens, drawn.tokens[:, :3])
    path = mine.file("measure", DRAWS, ".parquet")
    spoil(path)
    with pytest.raises(CellError, match=expected) as caught:
        mine.draws("measure", DRAWS, H)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried\nx"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB\nmore"),
        torch.OutOfMemoryError("CUDA out of memory\nmore"),
        MemoryError(),
    ],
    ids=["cpu", "cuda text", "cuda", "python"],
)
def test_running_out_of_memory_is_one_line(error: BaseException) -> None:
    """Whatever a library says of memory becomes one line that says what to change."""
    with (
        pytest.raises(CellError, match=r"out of memory \(.*\): take a smaller batch or network\Z") as caught,
        within_memory(),
    ):
        raise error
    assert "\n" not in str(caught.value)


def test_other_errors_of_libraries_stay_what_they_are() -> None:
    """An error that is not of memory is not hidden."""
    with pytest.raises(RuntimeError, match="size mismatch") as caught, within_memory():
        raise RuntimeError("size mismatch")
    assert not isinstance(caught.value, CellError)

"""Cross-validated search: a grid for lists of values, Optuna with a resumable journal and pruning
when there are ranges.

Nested cross-validation judges the whole search: each outer fold is held out from a search of its
own (Varma and Simon, BMC Bioinformatics 2006), because the best score of a search is too good.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from casemate.config import TrainTable
from casemate.core.sandbox.child import Channel
from casemate.core.types import Record
from casemate.stages.train.calibrate import Fold
from casemate.stages.train.candidates import MODEL, Models
from casemate.stages.train.folds import Array, BadSearch, Rows
from casemate.stages.train.metrics import metric_of, require_weighable
from casemate.stages.train.trials import Ask, Bench, Engine, Scored, Trial, engine_of

Candidate = tuple[dict[str, Any], list[float]]
"""Parameters and scores of the folds."""
Score = Callable[[dict[str, Any], Callable[[list[float]], bool]], list[float]]
"""Parameters, and whether to stop after these scores -> scores of the folds."""


class Tried(Record, frozen=True, kw_only=True):
    """A candidate and how it did."""

    params: dict[str, Any]
    scores: list[float]
    """Of the folds that it was tried on: fewer where it was stopped early."""
    mean: float
    std: float


class Memory:
    """What the best candidate so far said out of fold, so that nobody has to train it again to hear
    that.
    """

    def __init__(self) -> None:
        self.params: dict[str, Any] = {}
        self.folds: list[Fold] = []
        self._best = -np.inf

    def keep(
        self,
        params: dict[str, Any],
        found: list[float],
        rows: list[Array],
        heard: list[Array | None],
    ) -> None:
        """Take it if its mean score is better; `heard` of the first folds, whose `rows` are
        numbers.
        """
        if np.mean(found) <= self._best:
            return
        self._best, self.params = float(np.mean(found)), params
        self.folds = [
            Fold(at, said) for at, said in zip(rows, heard, strict=False) if said is not None
        ]


def search(
    models: Models,
    rows: Rows,
    options: TrainTable,
    study: Path,
    channel: Channel,
    memory: "Memory | None" = None,
    ask: Ask | None = None,
) -> tuple[dict[str, Any], list[Tried], str]:
    """(best parameters, every candidate with its scores, metric).

    Args:
        models: unfitted classifiers or regressors.
        rows: training rows.
        options: the `[train]` table.
        study: folder for Optuna's journal.
        channel: gets progress.
        memory: gets what the best candidate said out of fold.
        ask: has trials done by helpers; None: they are done here.
    """
    bench = bench_of(models, rows, options)
    metric, engine = bench.metric, engine_of(bench, ask)
    space = _space(models, options)
    trier = Trier(bench, engine, None, memory)
    candidates = (
        _study(models, space, options, study, trier.score)
        if _ranges(space)
        else trier.each(_products(models, space))
    )
    total = options.trials if _ranges(space) else len(_products(models, space))
    history: list[Tried] = []
    channel.progress("cross-validation", 0, total)
    for params, scores in candidates:
        if not np.isfinite(scores).all():
            raise BadSearch(
                f"{metric} is not defined in every fold (a class may be missing in one): lower"
                " [train] folds, or use more rows"
            )
        history.append(_tried(params, scores))
        channel.progress(f"cross-validation, {metric} {history[-1].mean:.4f}", len(history), total)
    return _best(history).params, history, metric


def nested(
    models: Models, rows: Rows, options: TrainTable, channel: Channel, ask: Ask | None = None
) -> list[float]:
    """Score of the whole search on every outer fold; arguments as in `search`."""
    bench = bench_of(models, rows, options)
    engine = engine_of(bench, ask)
    found = []
    for cut in bench.folds(-1):
        channel.progress("nested cross-validation", cut.number, options.nested)
        space = _space(models, options)
        trier = Trier(bench, engine, cut.number)
        candidates = (
            _study(models, space, options, None, trier.score)
            if _ranges(space)
            else trier.each(_products(models, space))
        )
        best = _best([_tried(params, scores) for params, scores in candidates])
        found += [
            score for score, _ in engine([Trial(params=best.params, fold=cut.number, outer=-1)])
        ]
    return found


def bench_of(models: Models, rows: Rows, options: TrainTable) -> Bench:
    """Where the search's trials are done; BadSearch where its metric cannot weigh rows."""
    metric = metric_of(options, rows.views[0].target)
    require_weighable(metric, rows)
    return Bench(models, rows, options, metric)


def _space(models: Models, options: TrainTable) -> dict[str, Any]:
    """What to search: the `[train] search` of casemate.toml, without the models that the mode does
    not train.

    Raises:
        BadSearch: it names what no model has.
    """
    space = options.search
    named = space.get(MODEL) if not models.single else None
    if named is not None:
        if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
            raise BadSearch(f"[train] search: {MODEL} must be a list of names")
        left = [name for name in named if name in models.by_name]
        missing = next(
            (name for name in named if name not in models.by_name and name not in models.left_out),
            "",
        )
        if not left or (options.mode == "plain" and missing):
            missing = missing or named[0]
            raise BadSearch(
                f"[train] search names the model {missing!r}, there are:"
                f" {', '.join(models.by_name)}"
            )
        gone = tuple(f"{name}__" for name in named if name not in left)
        space = (
            {name: value for name, value in space.items() if not name.startswith(gone)}
            | {MODEL: left}
            if gone
            else space
        )
        space = {MODEL: space[MODEL], **space}  # first: it decides which parameters follow
    unknown = models.unknown(space)
    if unknown:
        known = (
            ", ".join(sorted(models.first.get_params()))[:300]
            if models.single
            else f"{MODEL} ({', '.join(models.by_name)}) and their parameters"
        )
        raise BadSearch(
            f"[train] search names {unknown!r}, the estimator has: {known}; write the search that"
            " fits train.py, or leave it out"
        )
    return space


def _ranges(space: dict[str, Any]) -> bool:
    return any(isinstance(values, dict) for values in space.values())


def _tried(params: dict[str, Any], scores: list[float]) -> Tried:
    return Tried(
        params=params, scores=scores, mean=float(np.mean(scores)), std=float(np.std(scores))
    )


def _best(history: list[Tried]) -> Tried:
    """The best of those that were not stopped early."""
    most = max(len(candidate.scores) for candidate in history)
    return max(
        (candidate for candidate in history if len(candidate.scores) == most),
        key=lambda candidate: candidate.mean,
    )


class Trier:
    """Tries candidates on every fold."""

    def __init__(
        self, bench: Bench, engine: Engine, outer: int | None, memory: "Memory | None" = None
    ) -> None:
        self._bench, self._engine, self._outer, self._memory = bench, engine, outer, memory

    def each(self, candidates: list[dict[str, Any]]) -> Iterator[Candidate]:
        """Scores of each; the engine hears of all at once."""
        found = self._engine([trial for one in candidates for trial in self._trials(one)])
        # so many scores a candidate; to the end, at which an engine lets go of what it holds
        turns = zip(*[found] * len(self._folds), strict=True)
        for params, scored in zip(candidates, turns, strict=True):
            yield params, self._kept(params, list(scored))

    def score(self, params: dict[str, Any], stop: Callable[[list[float]], bool]) -> list[float]:
        """Scores of one, on fewer folds where it is stopped."""
        options, trials = self._bench.options, self._trials(params)
        step = options.jobs if options.prune and _ranges(options.search) else len(trials)
        found: list[Scored] = []
        for start in range(0, len(trials), step):
            found += self._engine(trials[start : start + step])
            if len(found) < len(trials) and stop([score for score, _ in found]):
                break
        return self._kept(params, found)

    @property
    def _folds(self) -> Sequence[Any]:
        return self._bench.folds(self._outer)

    def _trials(self, params: dict[str, Any]) -> list[Trial]:
        hear = self._memory is not None
        return [
            Trial(params=params, fold=cut.number, outer=self._outer, hear=hear)
            for cut in self._folds
        ]

    def _kept(self, params: dict[str, Any], found: list[Scored]) -> list[float]:
        scores = [score for score, _ in found]
        if self._memory is not None and len(found) == len(self._folds):
            rows = [cut.test for cut in self._folds[: self._bench.options.folds]]
            self._memory.keep(params, scores, rows, [said for _, said in found])
        return scores


def _products(models: Models, space: dict[str, Any]) -> list[dict[str, Any]]:
    """Every combination once; parameters of the models that are not chosen make none."""
    found: list[dict[str, Any]] = []
    for values in itertools.product(*space.values()):
        params = models.kept(dict(zip(space, values, strict=True)))
        if params not in found:
            found.append(params)
    return found


def _study(
    models: Models, space: dict[str, Any], options: TrainTable, folder: Path | None, score: Score
) -> Iterator[tuple[dict[str, Any], list[float]]]:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import TrialState

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = (
        None if folder is None else JournalStorage(JournalFileBackend(str(folder / "journal")))
    )
    pruner = (
        optuna.pruners.MedianPruner(n_startup_trials=5)
        if options.prune
        else optuna.pruners.NopPruner()
    )
    study = optuna.create_study(
        study_name="search",
        storage=storage,
        load_if_exists=True,
        direction="maximize",
        pruner=pruner,
    )
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    for earlier in finished:
        yield earlier.user_attrs["params"], earlier.user_attrs["scores"]
    for count in range(len(finished), options.trials):
        # A sampler seeded by the number of finished trials makes a resumed search equal an
        # uninterrupted one.
        study.sampler = optuna.samplers.TPESampler(seed=options.seed + count)
        trial = study.ask()
        params: dict[str, Any] = {}
        for name, values in space.items():
            if name in models.kept({**params, name: None}):
                params[name] = _suggest(trial, name, values)

        def stop(scores: list[float], trial: Any = trial) -> bool:
            trial.report(float(np.mean(scores)), len(scores))
            return bool(trial.should_prune())

        scores = score(params, stop if options.prune else lambda _: False)
        trial.set_user_attr("params", params)
        trial.set_user_attr("scores", scores)
        whole = len(scores) == max(
            [
                len(scores),
                *(
                    len(one.user_attrs["scores"])
                    for one in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
                ),
            ]
        )
        if whole:
            study.tell(trial, float(np.mean(scores)))
        else:
            study.tell(trial, state=TrialState.PRUNED)
        yield params, scores


def _suggest(trial: Any, name: str, space: Any) -> Any:
    if isinstance(space, list):
        return trial.suggest_categorical(name, space)
    log = bool(space.get("log", False))
    if space.get("int"):
        return trial.suggest_int(name, int(space["low"]), int(space["high"]), log=log)
    return trial.suggest_float(name, float(space["low"]), float(space["high"]), log=log)

"""One fine-tuning run from reading to accepting: two folds, then everything, then mixing and the acceptance check.

Each part is resumable to the bit on CPU. What the folds show decides how far the child may go from its parent, its
thresholds, and whether the child is accepted.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from napari_tinymig.annotations.teaching_cases import check_roles
from napari_tinymig.base.errors import ModelFileError
from napari_tinymig.base.records import Message
from napari_tinymig.base.safe_files import sweep, write_atomic
from napari_tinymig.base.stopwatch import Stopwatch, over_budget
from napari_tinymig.models.file import ModelFile
from napari_tinymig.models.registry import open_model
from napari_tinymig.recipes.finetune import FineTuneSpec, SettingsByCount, folds_of, settings_for
from napari_tinymig.recipes.student import ModelHeader, Recipe

from ..data.annotations import annotated_set
from ..data.image_set import ImageSet
from ..networks.export import save_model
from ..networks.saved import load_student
from ..networks.student import Student
from ..run.train import pick_device
from .acceptance import Acceptance, decide_acceptance
from .costs import Budget, Clock, Trial
from .data import DRAWINGS, STYLED, gather, reference_problem, references, references_seconds, replay_pictures
from .mixing import EPOCH, Views, child_recipe, mixed
from .plan import SHARES, Choice, Plan, choose, load_plan
from .result import Result, child_header, held_out_gains
from .school import school_instead
from .scores import Scoring
from .steps import DecoderTraining, WholeTraining, choose_scope

PREVIEW_S = 2.0


class Tuning:
    """One fine-tuning run from reading to accepting.

    before_s: spent before it, on starting the program. clock: seconds that only rise; tests count work instead.
    """

    def __init__(
        self,
        model: str | Path | ModelFile,
        data: Path,
        out: Path,
        spec: FineTuneSpec,
        resume: bool,
        stop: Callable[[], bool],
        before_s: float = 0.0,
        clock: Clock = time.monotonic,
    ):
        self.clock = Stopwatch(before_s, clock)
        self.model = model if isinstance(model, ModelFile) else open_model(model)
        self.header: ModelHeader = self.model.header
        self.data, self.out, self.spec, self.resume, self.stop = data, out, spec, resume, stop
        self.device = pick_device(spec.device)
        self.next_preview = -math.inf

    @property
    def seconds(self) -> float:
        """Since the start."""
        return self.clock.seconds

    @property
    def limited(self) -> bool:
        """Whether the minutes count; not where the number of steps is given."""
        return self.spec.steps is None

    def messages(self) -> Iterator[Message]:
        """The whole run."""
        torch.manual_seed(self.spec.seed)
        cases = gather(self.data, self.model, self.spec.labels)
        for sentence in cases.warnings:
            yield Message("warning", text=sentence)
        if self.spec.reference and (problem := reference_problem(self.spec.reference, self.header)):
            yield Message("warning", text=problem)
        self.by_count: SettingsByCount = settings_for(cases.annotated)
        self.parent: Student = load_student(self.model)  # type: ignore[assignment]
        self.cases = cases
        self.recipe: Recipe = child_recipe(self.header, self.spec, self.by_count, self.by_count.most_steps)
        self.images, self.rows = annotated_set(cases.items, self.recipe)
        self.views = [Views(self.images, rows, self.recipe) for rows in self.rows]
        self.plan: Any = load_plan(self.out, self.model.model_id, cases.hashes) if self.resume else None
        scope = self.plan.scope if self.plan else choose_scope(self.spec, self.header, self.device)
        threads = torch.get_num_threads()
        where = f"{self.device.type.upper()}, {threads} thread{'s' if threads > 1 else ''}"
        text = f"{cases.annotated} annotated image(s) of {len(cases.items)} file(s), on {where}, {self._budget()}"
        yield Message("started", 0, 0, {"images": cases.annotated, "threads": threads}, text)
        self.folds = self._folds()
        self.budget = Budget(self.spec.minutes * 60, len(self.folds), self.clock)
        if self.limited:
            yield from self._try_costs(scope)
        yield from self._prepare(scope)
        if self.plan is None:
            self.plan = self._make_plan(scope)
            self.plan.save(self.out)
        self.clock.spent["reading and preparing the images"] = self.seconds
        child = yield from self._parts()
        yield from self._finish(child)

    def _way(self, scope: str, extra: ImageSet | None) -> WholeTraining:
        """The way of training. extra: replay pictures, None without."""
        share = self.by_count.replay if self.spec.replay is None else self.spec.replay
        kind = DecoderTraining if scope == "decoder" else WholeTraining
        return kind(self.parent, self.images, self.rows, extra, share, self.device, self.spec.seed)

    def _try_costs(self, scope: str) -> Iterator[Message]:
        """What a run takes here and now. Raises ValueError where it cannot end in time; a message says how long first.

        A message with the value 'needed_minutes' comes before the error, so that a panel can offer them.
        """
        replayed = DRAWINGS + STYLED if self.recipe.task.input == "photograph" else 0
        trial = Trial(
            self.parent, self.images, self.rows, self.recipe, self._way(scope, None), replayed, self.clock.now
        )
        checked = references_seconds(self.model, self.parent, self.spec.reference, self.clock.now)
        self.budget.costs = trial.costs(self.out, checked)
        minutes, text = self.budget.too_short()
        if text and self.plan is None:
            yield Message("budget", values={"needed_minutes": minutes}, text=text)
            raise ValueError(text)

    def _prepare(self, scope: str) -> Iterator[Message]:
        """Everything before the first step: the parent's scores, replay pictures, kept maps."""
        if scope == "decoder":
            for view in self.views:
                view.keep_maps(self.parent)
        self.scoring = Scoring(self.parent, self.views, self.header.thresholds, self.recipe)
        extra, self.scoring.replayed = replay_pictures(
            self.cases, self.images, self.rows, self.parent, self.recipe, self.header
        )
        self.way = self._way(scope, extra if self.spec.guard else None)
        yield from self.way.prepare(self.recipe)

    def _budget(self) -> str:
        return f"{self.spec.minutes:g} min" if self.spec.steps is None else f"{self.spec.steps} steps"

    # ------------------------------------------------------------------------------------------- the plan

    def _by_role(self) -> tuple[list[int], list[int]]:
        """Items to train on, and the validation cases of the set, which no part ever trains on."""
        roles = self.cases.roles
        taught = [i for i, role in enumerate(roles) if role != "val"]
        check_roles(roles)
        return taught, [i for i, role in enumerate(roles) if role == "val"]

    def _folds(self) -> list[tuple[list[int], list[int]]]:
        """(trained on, held out) of each part but the last; the user's own validation cases take the folds' place."""
        taught, held = self._by_role()
        if held:
            return [(taught, held)]
        names = [v.cases[0] for v in self.views]
        return folds_of(names, self.spec.folds, self.spec.seed) if self.by_count.folds else []

    def _make_plan(self, scope: str) -> Plan:
        steps = self.spec.steps or self.budget.steps(self.by_count.most_steps)
        recipe = child_recipe(self.header, self.spec, self.by_count, steps)
        return Plan(
            scope,
            steps,
            self.budget.step_s,
            self.folds,
            recipe.model_dump(mode="json"),
            self.model.model_id,
            self.cases.hashes,
        )

    # ------------------------------------------------------------------------------------------- training

    def _parts(self) -> Generator[Message, None, nn.Module | None]:
        """Folds, then everything; returns the child (before mixing) as the generator's value."""
        recipe = Recipe.model_validate(self.plan.recipe)
        everything = self._by_role()[0]
        child: nn.Module | None = None
        for number, (train, held) in enumerate([*self.plan.folds, (everything, [])]):
            done = number < len(self.plan.results)
            if done:
                continue
            child = yield from self._part(number, train, held, recipe)
            if self.stop():
                break
        return child

    def _part(
        self, number: int, train: list[int], held: list[int], recipe: Recipe
    ) -> Generator[Message, None, nn.Module]:
        """One part: epochs of a few steps, a look at the held-out cases after each."""
        folder = self.out / f"part{number}"
        folder.mkdir(exist_ok=True)
        sweep(folder)  # what a killed run left half written
        run = self.way.run(train, recipe, folder)
        if self.resume and (folder / "last.safetensors").exists():
            run.load_last()
        epochs, parts = recipe.optim.epochs, len(self.plan.folds) + 1
        total = epochs * EPOCH * parts
        shown = held or train
        tick, before = self.clock.now(), run.progress.epoch
        self.budget.begin(number)
        while run.progress.epoch < epochs and not self.stop():
            if self.budget.is_over((run.progress.epoch - before) * EPOCH):
                trained = f"{run.progress.epoch * EPOCH} of {epochs * EPOCH}"
                yield Message("log", text=f"The time is over after {trained} steps.")
                break
            for message in run.train_epoch(self.stop):
                done = number * epochs * EPOCH + message.step
                rate = (self.clock.now() - tick) / max(1, message.step - before * EPOCH)
                values = message.values | {"eta_s": rate * (total - done), "part": float(number)}
                yield Message("step", done, total, values)
            if self.stop():
                break
            run.finish_epoch()
            if run.progress.epoch < epochs and run.progress.epoch % self.budget.between_looks:
                continue
            with self.clock.of("scoring"):
                scores = self.scoring.dice(run.student, shown)
            values = scores | {"held_out": float(bool(held)), "part": float(number)}
            values["seconds"] = self.seconds
            yield Message("epoch", (number * epochs + run.progress.epoch) * EPOCH, total, values)
            yield from self._preview(run.student, shown, bool(held))
        child = run.student.cpu().eval()
        if held and not self.stop():
            shares = SHARES if self.spec.guard else (1.0,)
            with self.clock.of("scoring"):
                self.plan.results.append(self.scoring.of_a_fold(child, held, shares))
            self.plan.save(self.out)
        return child

    def _preview(self, student: nn.Module, items: list[int], held: bool) -> Iterator[Message]:
        """A picture of one case, before and now, at most every two seconds, and no more than a tenth of the time."""
        if self.clock.now() < self.next_preview:
            return
        begun = self.clock.now()
        path = self.out / "preview.png"
        with self.clock.of("scoring"):
            png, scores = self.scoring.picture(student, items)
        write_atomic(path, png)
        self.next_preview = begun + max(PREVIEW_S, 10 * (self.clock.now() - begun))
        values = scores | {"held_out": float(held), "seconds": self.seconds}
        yield Message("preview", values=values, text=str(path))

    # --------------------------------------------------------------------------- mixing and the acceptance check

    def _choose(self) -> Choice:
        """Share and innermost threshold from the folds."""
        return choose(
            self.plan, self.scoring.thresholds_tried(), self.spec.guard, self.spec.margin, len(self.recipe.task.regions)
        )

    def _finish(self, child: nn.Module | None) -> Iterator[Message]:
        """Mix, export, ask the acceptance check, write it all down."""
        stopped = self.stop()
        if child is None:
            raise ModelFileError(f"nothing was trained in {self.out}; start again in another folder")
        with self.clock.of("export and the acceptance check"):
            path, share, acceptance = self._export(child, stopped)
        for gain in acceptance.gains:
            values = {"before": float(np.mean(gain.before)), "after": float(np.mean(gain.after)), "gain": gain.gain}
            values |= {"low": gain.low, "high": gain.high}
            yield Message("validation", values=values, text=gain.name)
        yield Message("saved", values={"share": share, "seconds": self.seconds}, text=str(path))
        values = {"keep": float(acceptance.keep), "measured": float(acceptance.measured), "seconds": self.seconds}
        if self.limited:
            values |= self.clock.values(self.spec.minutes * 60)
        text = f"{acceptance.text} {over_budget(values)}".strip()
        yield Message("stopped" if stopped else "done", values=values, text=text)

    def _export(self, child: nn.Module, stopped: bool) -> tuple[Path, float, Acceptance]:
        """Write best.safetensors and gate.json; the model's path, the child's share in it, and the acceptance."""
        choice = self._choose()
        share = choice.share
        header = child_header(self.model, self.spec, self.plan, self.cases, self.data.name, choice)
        header = header.model_copy(
            update={"extra": header.extra | {"finetune_seconds": round(self.seconds, 1), "device": str(self.device)}}
        )
        regions = [r.name for r in self.recipe.task.regions]
        gains = held_out_gains(self.views, self.scoring.before, choice, regions)
        names = [self.views[i].names[0] for i in choice.held]
        instead = school_instead(header, self.header, self.parent, self.views, gains) if self.spec.school else None
        if instead is not None:
            share, header, gains, names = 0.0, instead.header, instead.gains, instead.names
        student = mixed(self.parent, child, share)
        judged = header if instead is None else self.header  # weights that stay can have forgotten nothing
        proxy, missing = references(self.model, judged, self.parent, student, self.spec.reference, few=stopped)
        acceptance = decide_acceptance(gains, names, proxy, self.spec.margin, self.cases.same_case, missing)
        if instead is not None:
            acceptance = replace(acceptance, reasons=(*acceptance.reasons, instead.text))
        self.result = Result(child, student, header, acceptance)
        header = header.model_copy(update={"scores": header.scores | {"finetune": acceptance.as_record()}})
        path = self.out / "best.safetensors"
        save_model(path, header, student)
        write_atomic(self.out / "gate.json", json.dumps(acceptance.as_record(), indent=1).encode())
        return path, share, acceptance


with contextlib.suppress(RuntimeError):  # threads between operators only get in the way of the interface
    torch.set_num_interop_threads(1)

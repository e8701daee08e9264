"""The lineage of all models as a tree: which came from which, which is the default, what the acceptance check said."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHeaderView, QTreeWidget, QTreeWidgetItem

from ...models.lineage import tree
from ...models.registry import Entry
from ...reports.numbers import dice_change
from ..parts.predicting import preferred_model

DEFAULT_MARK = "\u2605 "  # a filled star
LONGEST = 26  # characters of a value beside its name; more would widen the panel

KINDS = {
    "gate": "tells the task",
    "locator": "finds the disc",
    "cup_head": "reads the cup's size",
    "prompted": "answers prompts",
}
"""What models that segment no task do, for people."""


class ModelTree(QTreeWidget):
    """Every known model under its parent; the star marks the default of a task."""

    def __init__(self) -> None:
        super().__init__()
        self.setHeaderLabels(["model", "task", "gain"])
        self.setRootIsDecorated(True)
        self.setMinimumHeight(180)
        self.setIndentation(14)
        header = self.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for column in (1, 2):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        self._entries: dict[str, Entry] = {}

    def show_models(self, chosen: str = "") -> None:
        """Read the models again; `chosen`, or what was chosen before, stays chosen."""
        chosen = chosen or self.chosen_name
        self.blockSignals(True)
        self.clear()
        self._entries = {}
        branch: list[QTreeWidgetItem] = []
        for depth, entry in tree():
            self._entries[entry.name] = entry
            item = QTreeWidgetItem([self._title(entry), KINDS.get(entry.task, entry.task), gain_of(entry)])
            item.setData(0, Qt.ItemDataRole.UserRole, entry.name)
            item.setToolTip(0, entry.problem or f"{entry.model_id}\n{entry.path}")
            del branch[depth:]
            if branch:
                branch[-1].addChild(item)
            else:
                self.addTopLevelItem(item)
            branch.append(item)
            if entry.name == chosen:
                self.setCurrentItem(item)
        self.expandAll()
        self.blockSignals(False)
        self.itemSelectionChanged.emit()

    @staticmethod
    def _title(entry: Entry) -> str:
        segmenter = entry.header is not None and entry.header.kind == "segmenter"
        default = segmenter and preferred_model(entry.task) == entry.name
        return f"{DEFAULT_MARK if default else ''}{entry.name}"

    @property
    def chosen_name(self) -> str:
        """Name of the chosen model, '' for none."""
        items = self.selectedItems()
        return str(items[0].data(0, Qt.ItemDataRole.UserRole)) if items else ""

    @property
    def chosen(self) -> Entry | None:
        """What is known of the chosen model."""
        return self._entries.get(self.chosen_name)

    def entry_of(self, model_id: str | None) -> Entry | None:
        """The model of an id, wherever it was renamed to."""
        wanted = (model_id or "").split("@")[-1]
        known = (e for e in self._entries.values() if e.model_id and e.model_id.split("@")[-1] == wanted)
        return next(known, None) if wanted else None


def gain_of(entry: Entry) -> str:
    """Mean gain of Dice in points over the regions that the acceptance check saw, '' for a model that never met it."""
    acceptance = acceptance_record(entry)
    gains = [float(g["gain"]) for g in acceptance.get("gains", ()) if g.get("gain") is not None]
    return f"{100 * sum(gains) / len(gains):+.1f}" if gains else ("unknown" if acceptance else "")


def acceptance_record(entry: Entry) -> dict:
    """What the acceptance check wrote into the model, {} for nothing."""
    found = entry.header.scores.get("finetune") if entry.header else None
    return found if isinstance(found, dict) else {}


def short_hashes(entry: Entry) -> list[str]:
    """The first eight digits of the hash of every image with its mask that the model learned from."""
    return [h[:8] for h in entry.header.lineage.data_hashes] if entry.header else []


def _short(model_id: str) -> str:
    """An id whose name is cut, never its hash."""
    name, at, number = model_id.rpartition("@")
    room = LONGEST - len(at + number)
    return f"{name[: room - 1]}…{at}{number}" if len(name) > room else model_id


def facts_of(entry: Entry) -> dict[str, str]:
    """What there is to know of a model, name -> value; hashes of its data shortened."""
    header = entry.header
    if header is None:
        return {}
    line = header.lineage
    hashes = short_hashes(entry)
    more = f" and {len(hashes) - 1} more" if len(hashes) > 1 else ""
    facts = {
        "id": _short(str(entry.model_id)),
        "from": _short(line.parent or "a first training"),
        "made": line.created[:16].replace("T", " ") or "not recorded",
        "origin": "part of the package" if entry.bundled else "yours",
        "data": f"{hashes[0]}{more}" if hashes else "not recorded",
    }
    acceptance = acceptance_record(entry)
    for gain in acceptance.get("gains", ()):
        facts[f"{gain['name']} Dice"], _ = dice_change(gain["before"], gain["after"])
    for kind, value in (acceptance.get("proxy") or {}).items():
        facts[f"agreement, {kind}"] = f"{100 * value:.1f} %"
    if acceptance:
        facts["acceptance check"] = "agreed" if acceptance.get("keep") else "refused"
    return facts

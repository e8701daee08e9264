"""What the package depends on: licences, floors of versions, known holes, a bill of materials.

    python benchmarks/reliability/supply_chain.py licences -o benchmarks/reliability
    python benchmarks/reliability/supply_chain.py floors
    python benchmarks/reliability/supply_chain.py bill -o build

`licences` writes dependencies.csv: every distribution that the package and its extra `all` ask for, directly or through
others, as installed: version, floor, licence as its metadata states it, and who asks. `floors` asks pip-audit for known
holes of the *lowest* allowed version of each direct dependency (needs `pip install pip-audit` and a network). `bill`
writes a CycloneDX bill of materials of this environment (needs `pip install cyclonedx-bom`).
"""

from __future__ import annotations

import argparse
import csv
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PACKAGE = "napari-tinymig"
ROOT = Path(__file__).resolve().parents[2]
FIELDS = ["distribution", "version", "floor", "licence", "asked_by"]


def floor(requirement: Requirement) -> str:
    """The lowest allowed version; '' where any is."""
    return next((s.version for s in requirement.specifier if s.operator in (">=", "==", "~=")), "")


def licence(found: importlib.metadata.Distribution) -> str:
    """Licence expression of the metadata, or its classifiers, or the first line of its licence field."""
    if expression := found.metadata.get("License-Expression"):
        return str(expression)
    classifiers = [c.split(" :: ")[-1] for c in found.metadata.get_all("Classifier") or [] if c.startswith("License")]
    first = str(found.metadata.get("License") or "").strip().splitlines()
    return "; ".join(sorted(set(classifiers))) or (first[0][:80] if first else "not stated")


def dependencies() -> list[dict[str, str]]:
    """A row for every installed distribution that the package asks for, itself or through others."""
    rows: dict[str, dict[str, str]] = {}
    waiting = [(PACKAGE, frozenset({"all"}))]
    seen = set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        for text in importlib.metadata.requires(name) or []:
            needed = Requirement(text)
            chosen = [needed.marker is None or needed.marker.evaluate({"extra": e}) for e in (extras or {""})]
            if not any(chosen) or ((key := canonicalize_name(needed.name)) == PACKAGE and not needed.extras):
                continue
            if key == PACKAGE:
                waiting.append((PACKAGE, frozenset(needed.extras)))
                continue
            try:
                found = importlib.metadata.distribution(key)
            except importlib.metadata.PackageNotFoundError:
                continue
            row = rows.setdefault(key, dict.fromkeys(FIELDS, "") | {"distribution": key, "version": found.version})
            row["licence"] = licence(found)
            row["asked_by"] = PACKAGE if name == PACKAGE else row["asked_by"] or name
            row["floor"] = floor(needed) if name == PACKAGE else row["floor"]
            waiting.append((key, frozenset(needed.extras)))
    return [rows[key] for key in sorted(rows)]


def audit() -> int:
    """Ask pip-audit about the floors of the direct dependencies; its exit code."""
    program = shutil.which("pip-audit") or str(Path(sys.executable).with_name("pip-audit"))
    lines = [f"{r['distribution']}=={r['floor']}" for r in dependencies() if r["asked_by"] == PACKAGE and r["floor"]]
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "floors.txt"
        listed.write_text("\n".join(lines) + "\n")
        print(f"{len(lines)} floors")
        try:
            return subprocess.run([program, "-r", listed, "--no-deps", "--disable-pip"], check=False).returncode
        except FileNotFoundError:
            print("pip-audit is not installed: python -m pip install pip-audit")
            return 2


def bill(out: Path) -> int:
    """Write bill.cdx.json of this environment."""
    program = shutil.which("cyclonedx-py") or str(Path(sys.executable).with_name("cyclonedx-py"))
    out.mkdir(parents=True, exist_ok=True)
    command = [program, "environment", sys.executable, "--pyproject", str(ROOT / "pyproject.toml")]
    try:
        return subprocess.run([*command, "-o", str(out / "bill.cdx.json")], check=False).returncode
    except FileNotFoundError:
        print("cyclonedx-py is not installed: python -m pip install cyclonedx-bom")
        return 2


def main() -> None:
    """Do what is asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["licences", "floors", "bill"])
    parser.add_argument("-o", "--out", type=Path, default=Path("."), help="folder for what is written")
    args = parser.parse_args()
    if args.what != "licences":
        raise SystemExit(audit() if args.what == "floors" else bill(args.out))
    rows = dependencies()
    with (args.out / "dependencies.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    copyleft = [r["distribution"] for r in rows if re.search(r"\bA?L?GPL|General Public", r["licence"])]
    unknown = [r["distribution"] for r in rows if r["licence"] == "not stated"]
    print(f"{len(rows)} distributions")
    print(f"GPL or LGPL: {', '.join(copyleft) or 'none'}; licence not stated: {', '.join(unknown) or 'none'}")


if __name__ == "__main__":
    main()

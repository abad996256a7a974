#!/usr/bin/env python3
"""Runs what action.yml, or a job of a GitLab file, has a runner do: each script in its order, as that runner does it.

    steps.py action ACTION_YML --server URL [NAME=VALUE]...
    steps.py gitlab FILE JOB [NAME=VALUE]...

In the current folder, with URL in place of the forge's address, and with the inputs or variables that are given; HOME is the caller's. Of a composite action steps with
`run` are run; those with `uses` are named and left out. Of expressions what our own files use is known: inputs, github.NAME,
and conditions that compare an input with a text.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

import yaml


def run(name, shell, script, environment, folder):
    print(f"== {name}", flush=True)
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as file:
        file.write(script)
        file.flush()
        done = subprocess.run([*shell, file.name], env=environment, cwd=folder)
    if done.returncode:
        sys.exit(f"error: {name}: status {done.returncode}")


class Action:
    def __init__(self, path, server, given):
        self.text = yaml.safe_load(path.read_text())
        known = self.text["inputs"]
        for name in given:
            if name not in known:
                sys.exit(f"error: no input of this name: {name}")
        self.inputs = {name: str(given.get(name, entry.get("default", ""))) for name, entry in known.items()}
        self.github = {"action_path": str(path.resolve().parent), "action_repository": "bootdisk", "server_url": server}

    def value(self, expression):
        kind, _, name = expression.strip().partition(".")
        return {"inputs": self.inputs, "github": self.github}[kind][name]

    def filled(self, text):
        return re.sub(r"\$\{\{(.*?)\}\}", lambda found: self.value(found.group(1)), str(text))

    def holds(self, condition):
        found = re.fullmatch(r"(inputs\.[\w-]+) (==|!=) '([^']*)'", condition)
        if not found:
            sys.exit(f"error: not a condition that is known here: {condition}")
        name, operator, text = found.groups()
        return (self.value(name) == text) == (operator == "==")

    def run(self, temporary):
        environment = dict(os.environ, RUNNER_TEMP=temporary)
        files = {name: pathlib.Path(temporary, name) for name in ("GITHUB_PATH", "GITHUB_ENV", "GITHUB_OUTPUT")}
        for name, file in files.items():
            file.touch()
            environment[name] = str(file)
        for step in self.text["runs"]["steps"]:
            name = step.get("name", "?")
            if "run" not in step:
                print(f"== {name}: {step['uses']}, not run here")
            elif "if" in step and not self.holds(step["if"]):
                print(f"== {name}: not asked for")
            else:
                own = {key: self.filled(value) for key, value in step.get("env", {}).items()}
                folder = self.filled(step.get("working-directory", "."))
                # What the runner calls bash with.
                shell = {"bash": ["bash", "--noprofile", "--norc", "-eo", "pipefail"]}[step["shell"]]
                run(name, shell, self.filled(step["run"]), environment | own, folder)
                added = files["GITHUB_PATH"].read_text().split()
                environment["PATH"] = ":".join([*reversed(added), os.environ["PATH"]])


def gitlab(path, job, given):
    entry = yaml.safe_load(path.read_text())[job]
    environment = dict(os.environ, CI_PROJECT_DIR=os.getcwd())
    for name, value in (entry.get("variables", {}) | given).items():
        environment[name] = re.sub(r"\$(\w+)", lambda found: environment.get(found.group(1), ""), str(value))
    # Both parts are one script there; a line that fails ends it.
    lines = entry.get("before_script", []) + entry["script"]
    run(job, ["bash", "-eo", "pipefail"], "\n".join(lines) + "\n", environment, ".")
    for kept in entry["artifacts"]["paths"] + [entry["artifacts"]["reports"]["junit"]]:
        if not os.path.exists(kept):
            sys.exit(f"error: {job}: it keeps {kept}, which is not there")


def main():
    kind, path, *rest = sys.argv[1:]
    if kind == "action" and rest.pop(0) != "--server" or kind not in ("action", "gitlab"):
        sys.exit(__doc__)
    place = rest.pop(0)
    given = dict(word.split("=", 1) for word in rest)
    if kind == "gitlab":
        gitlab(pathlib.Path(path), place, given)
        return
    with tempfile.TemporaryDirectory() as temporary:
        Action(pathlib.Path(path), place, given).run(temporary)


if __name__ == "__main__":
    main()

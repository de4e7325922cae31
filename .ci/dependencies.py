"""Checks that every dependency, for every platform, has a licence that deny.toml allows and comes from the registry.

Reads `cargo metadata --format-version 1` on standard input; the argument is deny.toml.
"""

import json
import re
import sys
import tomllib

with open(sys.argv[1], "rb") as file:
    ALLOWED = set(tomllib.load(file)["licenses"]["allow"])


def allowed(expression):
    """Whether a licence expression (SPDX) can be met with the allowed licences. `AND` binds closer than `OR`."""
    words = re.findall(r"[()]|[^\s()]+", expression.replace("/", " OR "))

    def one():
        word = words.pop(0)
        if word == "(":
            met = either()
            words.pop(0)  # the closing parenthesis
            return met
        while words and words[0] == "WITH":  # an exception makes it another licence, to be allowed by itself
            word = f"{word} {words.pop(0)} {words.pop(0)}"
        return word in ALLOWED

    def all_of():
        met = one()
        while words and words[0] == "AND":
            words.pop(0)
            met = one() and met
        return met

    def either():
        met = all_of()
        while words and words[0] == "OR":
            words.pop(0)
            met = all_of() or met
        return met

    met = either()
    return met and not words


def main():
    packages = json.load(sys.stdin)["packages"]
    faults = []
    for package in packages:
        name, source = f"{package['name']} {package['version']}", package["source"]
        licence = package["license"]
        if not licence:
            faults.append(f"{name} names no licence")
        elif not allowed(licence):
            faults.append(f"{name} has the licence {licence}, which deny.toml does not allow")
        if source and not source.startswith("registry+"):
            faults.append(f"{name} comes from {source}, not from the registry")
    registries = {package["source"] for package in packages if (package["source"] or "").startswith("registry+")}
    if len(registries) > 1:
        faults.append(f"packages come from several registries: {', '.join(sorted(registries))}")
    if faults:
        sys.exit("\n".join(faults))
    print(f"{len(packages)} packages, all with an allowed licence")


main()

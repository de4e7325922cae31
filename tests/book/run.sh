#!/usr/bin/env bash
# The documentation is built as a book, and each of its links leads somewhere:
#
#   tests/book/run.sh          then open target/book/index.html
#
# Links within the book are checked in what was built, to the heading. Links of the pages beside it (README.md and others) are checked as
# files. Links elsewhere are not followed, as there may be no network: they must be https and name a host. Each page of docs is in the
# book, and so is none that is not there.
#
# Needs Rust; the first time it builds mdbook and hyperlink, which takes two to four minutes.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
tools=${XDG_CACHE_HOME:-$HOME/.cache}/longshore-ci/book-1 # the number changes with the versions
[[ -e $tools/complete ]] || {
  cargo install --quiet --locked --root "$tools" mdbook --version 0.5.4 --no-default-features --features search
  cargo install --quiet --locked --root "$tools" hyperlink --version 0.3.2
  touch "$tools/complete"
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
rm -rf target/book
"$tools/bin/mdbook" build 2>&1 | tee "$log"
# what it cannot find it only warns about
if grep -qE '^ *(WARN|ERROR)' "$log"; then
  printf 'mdbook warns\n' >&2
  exit 1
fi

python3 - <<'PYTHON'
"""What the built book does not show: pages that are in no contents, links beside the book, and the form of links elsewhere."""
import pathlib
import re
import subprocess
import sys

faults = []
files = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"], capture_output=True, text=True, check=True)
pages = [pathlib.Path(line) for line in files.stdout.splitlines() if pathlib.Path(line).exists()]
# what stands in code or in a comment is no link
texts = {page: re.sub(r"<!--.*?-->|^( *)(`{3,})[^\n]*\n.*?^\1\2`*$|(`+)(?!`).+?(?<!`)\3(?!`)", "", page.read_text(), flags=re.S | re.M) for page in pages}
contents = set(re.findall(r"\]\(([^)]+)\)", texts[pathlib.Path("docs/SUMMARY.md")]))
for page, text in texts.items():
    if page.parts[0] == "docs" and page.name != "SUMMARY.md" and str(page.relative_to("docs")) not in contents:
        faults.append(f"{page} is not in docs/SUMMARY.md")
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z+]+:", link):
            if not re.match(r"https://[a-z0-9-]+(\.[a-z0-9-]+)+(/|$)", link):
                faults.append(f"{page}: {link} is not https and a host")
            continue
        path, _, heading = link.partition("#")
        target = (page.parent / path).resolve() if path else page.resolve()
        if not target.exists():
            faults.append(f"{page}: there is no {link}")
        elif page.parts[0] == "docs" and not target.is_relative_to(pathlib.Path("docs").resolve()):
            faults.append(f"{page}: {link} leads out of the book; name the file instead")
        elif heading and target.suffix == ".md" and page.parts[0] != "docs":
            # within the book it is looked up in what was built, below
            titles = re.findall(r"^#+ +(.*?) *$", re.sub(r"^```.*?^```$", "", target.read_text(), flags=re.S | re.M), flags=re.M)
            ids = [re.sub(r"[^\w -]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title)).strip().lower().replace(" ", "-") for title in titles]
            if heading not in ids:
                faults.append(f"{page}: {link} is no heading there")
sys.exit("\n".join(faults) if faults else None)
PYTHON
"$tools/bin/hyperlink" target/book --check-anchors --sources docs

"""Makes jobs of a real text: one `echo` job a line.

usage: lines.py FOLDER LINES BATCH

Reads licences and the sources of Python's own library, in an order that does not change, until there are at least
LINES lines. Writes into FOLDER
    lines.txt           the text: what must come back
    batch-00.ndjson …   the same as jobs, BATCH lines each: bodies of POST /v1/jobs/batch
and prints how many lines there are.
"""

import json
import pathlib
import sys
import sysconfig

SOURCES = [("/usr/share/common-licenses", "*"), (sysconfig.get_path("stdlib"), "**/*.py"), ("/usr/share/perl", "**/*.pm")]


def files():
    for folder, pattern in SOURCES:
        for path in sorted(pathlib.Path(folder).glob(pattern)):
            if path.is_file() and "site-packages" not in path.parts:
                yield path


def read(least):
    lines = []
    for path in files():
        text = path.read_bytes().decode("utf-8", errors="replace").replace("\0", "\N{SYMBOL FOR NULL}")
        lines += text.split("\n")
        if len(lines) >= least:
            return lines
    sys.exit(f"lines.py: this machine has only {len(lines)} lines of text where it was looked for")


def main():
    folder, least, batch = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    lines = read(least)
    with open(folder / "lines.txt", "w", encoding="utf-8", newline="") as out:
        out.writelines(line + "\n" for line in lines)
    for start in range(0, len(lines), batch):
        with open(folder / f"batch-{start // batch:02}.ndjson", "w", encoding="utf-8", newline="") as out:
            for number, line in enumerate(lines[start : start + batch], start + 1):
                job = {"kind": "echo", "queue": "lines", "args": {"line": number, "text": line}}
                out.write(json.dumps(job, ensure_ascii=False) + "\n")
    print(len(lines))


main()

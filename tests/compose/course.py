"""Runs a page of commands in real terminals and compares what the page says is seen.

usage: course.py PAGE [--record] [--from HEADING]

The page is Markdown. Its fenced blocks marked `console` hold, line by line,

    $ command            typed at the shell's prompt
    demo=# command       typed at the prompt of a program that the shell has started (psql, a shell in a container)
    > command goes on    the second and later lines of a command
    ^C                   Ctrl-C
    anything else        what is seen then, in this order and complete

In what is seen, `…` stands for anything within a line, and alone on a line for any number of lines. Runs of blanks and of
dashes count as one, empty lines not at all. Each command must end with 0, except one that Ctrl-C ends and one in whose
line stands `# fails`. A block marked `console retry` is typed again, for a while, until it shows what the page says:
where the page tells the reader to wait. A block marked `console terminal=2` is typed in a second terminal. A block that begins with what is
seen goes on with what runs in its terminal.

--record prints the end of what was really seen and compares nothing: for writing the page.
"""

import argparse
import os
import pathlib
import pty
import re
import select
import signal
import subprocess
import sys
import time

# Of a step: the first build of all images takes minutes.
TIMEOUT = 900
# Of a prompt inside, and of a block marked `retry`.
PATIENCE = 90
PROMPT = re.compile(r"\x02(\d+)\x03$")
# A prompt of a program inside: psql's, or that of a shell in a container, whatever its host is called.
INNER_PROMPT = re.compile(r"(?:demo[=*-]+[#>]|[a-z_]+@\S+:\S*[$#]) ")
INNER = re.compile(f"^({INNER_PROMPT.pattern})(.*)$")
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|\x1b[=>]")


class Failed(Exception):
    """What the page says is not what is seen."""


def blocks(text):
    """Yields (heading, words after `console`, [(line number, line)…]) of each console block."""
    heading, inside, lines, words = "", False, [], ()
    for number, line in enumerate(text.split("\n"), 1):
        if inside:
            if line.startswith("```"):
                yield heading, words, lines
                inside = False
            else:
                lines.append((number, line))
        elif match := re.fullmatch(r"```console((?: (?:terminal=2|retry))*)", line):
            inside, lines, words = True, [], match[1].split()
        elif line.startswith("#"):
            heading = line.lstrip("# ")


def number_of(words):
    """Of the terminal."""
    return 2 if "terminal=2" in words else 1


def normal(line):
    return re.sub(r"-{2,}", "-", re.sub(r"\s+", " ", line)).strip()


def pattern(line):
    return re.compile(".*?".join(re.escape(part) for part in normal(line).split("…")))


class Terminal:
    """A shell in a pseudo terminal, wide and high enough that nothing wraps and no pager starts."""

    def __init__(self, folder, environment):
        self.pid, self.file = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execvpe("bash", ["bash", "--norc", "--noprofile", "--noediting"], environment)
        self.text, self.read_to = "", 0
        self.seen, self.fails, self.interrupted = Seen(), False, False  # of the command that runs
        subprocess.run(["stty", "-echo", "rows", "1000", "cols", "400"], stdin=self.file, check=True)
        self.prompt()

    def receive(self, wait):
        ready, _, _ = select.select([self.file], [], [], wait)
        if ready:
            try:
                self.text += os.read(self.file, 65536).decode("utf-8", errors="replace")
            except OSError:
                raise Failed("the terminal has ended") from None

    def send(self, text):
        os.write(self.file, text.encode())

    def lines(self):
        """What has been seen since the last look, complete lines, and what stands in the last one."""
        seen = ESCAPES.sub("", self.text[self.read_to :]).replace("\r\n", "\n")
        # a carriage return alone overwrites its line: what counts is what stands there in the end
        *complete, last = seen.split("\n")
        return [line.rsplit("\r", 1)[-1] for line in complete], last.rsplit("\r", 1)[-1]

    def prompt(self, keep=False):
        """Waits for the shell's prompt and returns (lines before it, the last command's exit status)."""
        if keep and self.read_to == len(self.text):
            return [], 0  # it stands there already
        until = time.monotonic() + TIMEOUT
        while True:
            lines, last = self.lines()
            if match := PROMPT.search(last):
                self.read_to = len(self.text)
                before = last[: match.start()]
                return lines + ([before] if before else []), int(match[1])
            if time.monotonic() > until:
                raise Failed(f"did not end within {TIMEOUT} s; last seen: {lines[-5:]} {last}")
            self.receive(0.2)

    def end(self):
        os.kill(self.pid, signal.SIGHUP)
        os.close(self.file)
        os.waitpid(self.pid, 0)


class Seen:
    """Compares what is seen with what the page says, line after line."""

    def __init__(self):
        self.gap, self.used = False, 0

    def expect(self, lines, line):
        """Whether this line of the page is among the lines; None: not yet."""
        wanted = pattern(line)
        for at in range(self.used, len(lines)):
            if not normal(lines[at]):
                continue
            if wanted.fullmatch(normal(lines[at])):
                self.used, self.gap = at + 1, False
                return True
            if not self.gap:
                raise Failed(f"the page says  {normal(line)}\n    but seen is   {normal(lines[at])}")
        return None

    def rest(self, lines):
        if not self.gap and (left := [line for line in lines[self.used :] if normal(line)]):
            raise Failed("more is seen than the page says:\n    " + "\n    ".join(left[:10]))


class Course:
    def __init__(self, page, folder, record):
        self.items = list(blocks(page.read_text(encoding="utf-8")))
        self.folder, self.record, self.terminals = folder, record, {}
        self.commands = self.compared = 0
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("LONGSHORE_", "COMPOSE_"))}
        # \2 and \3 do not occur in any output: by them the prompt is known
        self.environment = kept | {"PS1": "\x02$?\x03", "PS2": "", "TERM": "xterm", "LC_ALL": "C.UTF-8", "HISTFILE": ""}

    def terminal(self, number):
        if number not in self.terminals:
            self.terminals[number] = Terminal(self.folder, self.environment)
        return self.terminals[number]

    def goes_on(self, at):
        """Whether a later block of the same terminal goes on with what runs there."""
        number = number_of(self.items[at][1])
        later = (lines for _, words, lines in self.items[at + 1 :] if number_of(words) == number and lines)
        return next((not lines[0][1].startswith("$ ") for lines in later), False)

    def run(self, begin):
        heading_before, number = None, 1
        for at, (heading, words, lines) in enumerate(self.items):
            if begin and begin.lower() not in heading.lower():
                continue
            begin = None
            if heading != heading_before:
                print(f"{time.monotonic() - START:4.0f}s  {heading}", flush=True)
                heading_before = heading
            if number_of(words) != number:
                time.sleep(2)  # a person who turns to the other terminal takes longer
                number = number_of(words)
            terminal = self.terminal(number)
            until = time.monotonic() + (PATIENCE if "retry" in words else 0)
            while True:
                try:
                    self.block(terminal, lines, self.goes_on(at))
                    break
                except Failed:
                    if time.monotonic() > until:
                        raise
                    terminal.prompt(keep=True)
                    time.sleep(1)

    def block(self, terminal, lines, goes_on):
        for n, (number, line) in enumerate(lines):
            try:
                self.line(terminal, line)
                last = n + 1 == len(lines)
                if last and not goes_on or not last and lines[n + 1][1].startswith("$ "):
                    self.finish(terminal)
            except Failed as failed:
                raise Failed(f"line {number}: {line}\n    {failed}") from None

    def line(self, terminal, line):
        if line.startswith("$ "):
            terminal.seen, terminal.fails, terminal.interrupted = Seen(), "# fails" in line, False
            self.commands += 1
            if self.record:
                print(line, flush=True)
            terminal.send(line[2:] + "\n")
        elif line.startswith("> "):
            if self.record:
                print(line, flush=True)
            terminal.send(line[2:] + "\n")
        elif line == "^C":
            terminal.interrupted = True
            terminal.send("\x03")
        elif match := INNER.match(line):
            self.commands += 1
            self.inner(terminal, line, match[2])
        elif line.strip() == "…":
            terminal.seen.gap = True
        elif line.strip() and not self.record:
            self.compared += 1
            self.await_line(terminal, line)

    def await_line(self, terminal, line):
        until = time.monotonic() + TIMEOUT
        while True:
            lines, last = terminal.lines()
            ended = PROMPT.search(last)
            if ended and last[: ended.start()]:
                lines = lines + [last[: ended.start()]]
            if terminal.seen.expect(lines, line):
                return
            if ended or INNER_PROMPT.fullmatch(last):
                raise Failed("is not seen; at last:\n    " + "\n    ".join(lines[terminal.seen.used :][-15:]))
            if time.monotonic() > until:
                raise Failed(f"is not seen in time; at last: {lines[-10:]} {last}")
            terminal.receive(0.2)

    def inner(self, terminal, line, text):
        """Types at the prompt of a program inside."""
        until = time.monotonic() + PATIENCE
        while True:
            lines, last = terminal.lines()
            if INNER_PROMPT.fullmatch(last):
                break
            if PROMPT.search(last):
                raise Failed(f"the program has ended; at last: {lines[-10:]}")
            if time.monotonic() > until:
                raise Failed(f"no prompt; at last: {lines[-10:]} {last}")
            terminal.receive(0.2)
        self.compare_rest(terminal, lines)
        if self.record:
            print(line, flush=True)
        terminal.seen = Seen()
        terminal.read_to = len(terminal.text)
        terminal.send(text + "\n")
        while not terminal.lines()[0]:  # the program's own echo of what was typed
            terminal.receive(0.2)
        terminal.read_to = terminal.text.index("\n", terminal.read_to) + 1

    def compare_rest(self, terminal, lines):
        if self.record:
            print("\n".join([line for line in lines if normal(line)][-14:]), flush=True)
        else:
            terminal.seen.rest(lines)

    def finish(self, terminal):
        lines, status = terminal.prompt()
        self.compare_rest(terminal, lines)
        if not terminal.interrupted and not self.record and terminal.fails != (status != 0):
            raise Failed(f"ended with {status}")

    def close(self):
        for terminal in self.terminals.values():
            terminal.end()


START = time.monotonic()


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("page", type=pathlib.Path)
    arguments.add_argument("--record", action="store_true", help="print the end of what is seen, compare nothing")
    arguments.add_argument("--from", dest="begin", metavar="HEADING", help="leave out what comes before this heading")
    given = arguments.parse_args()
    root = pathlib.Path(__file__).resolve().parents[2]
    course = Course(given.page, root, given.record)
    try:
        course.run(given.begin)
    except Failed as failed:
        sys.exit(f"{given.page}: {failed}")
    finally:
        course.close()
    print(f"{given.page}: {course.commands} commands, {course.compared} lines compared", flush=True)
    if not course.compared and not given.record:
        sys.exit("nothing was compared")


main()

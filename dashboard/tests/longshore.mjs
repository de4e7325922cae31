// A Longshore of its own for the browser's tests: a real process, ended by its id.

import { execFile, spawn } from "node:child_process";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { closeSync, openSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

/** What `look` finds, as soon as it finds something. */
export async function eventually(what, within, look) {
  const until = Date.now() + within;
  for (let last; ; await sleep(100)) {
    try {
      const found = await look();
      if (found) return found;
    } catch (error) {
      last = error;
    }
    if (Date.now() > until) throw new Error(`${what}: not within ${within} ms`, { cause: last });
  }
}

/** Milliseconds in which whatever is to happen has happened, also on a slow machine. */
export const SOON = 15_000;

/** Starts `longshore dev` with the handlers that `handlers(folder)` writes down; `stop()` ends it, `restart()` goes on where it was. */
export async function start(program, handlers = () => "") {
  const folder = await mkdtemp(join(tmpdir(), "longshore-browser-"));
  await chmod(folder, 0o755);
  await writeFile(join(folder, "longshore.toml"), handlers(folder));
  let running = await launch(program, folder, "127.0.0.1:0");
  const url = `http://${running.address}`;
  const call = async (method, path, body) => {
    const answer = await fetch(url + path, { method, body: body && JSON.stringify(body), headers: body ? { "content-type": "application/json" } : {} });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    return answer.status === 204 ? undefined : answer.json();
  };
  return {
    url,
    folder,
    call,
    enqueue: (job) => call("POST", "/v1/jobs", job),
    /** What the command line prints, of this very database. */
    async line(...args) {
      const { stdout } = await promisify(execFile)(program, args, { env: { ...process.env, LONGSHORE_DATABASE__URL: running.database } });
      return stdout;
    },
    /** A session of psql that has run this and stays; `end()` ends it. */
    async psql(text) {
      const psql = spawn("psql", [running.database, "-qAtX"], { stdio: ["pipe", "pipe", "inherit"] });
      const ended = new Promise((resolve) => psql.once("exit", resolve));
      psql.stdin.write(`${text}\nselect 'pid ' || pg_backend_pid();\n`);
      let said = "";
      psql.stdout.on("data", (part) => (said += part));
      const pid = await eventually("psql has answered", 10_000, async () => said.match(/^pid (\d+)$/m)?.[1]);
      return { pid, end: () => (psql.stdin.end(), ended) };
    },
    /** `meanwhile` is while it is away. */
    async restart(meanwhile) {
      await running.end();
      await meanwhile();
      running = await launch(program, folder, running.address);
    },
    async stop() {
      await running.end();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A process, ready. */
async function launch(program, folder, listen) {
  const log = join(folder, "log");
  const out = openSync(log, "w");
  const env = { ...process.env, LONGSHORE_API__LISTEN: listen };
  const dev = spawn(program, ["dev", "--data", join(folder, "data")], { cwd: folder, env, stdio: ["ignore", out, out] });
  closeSync(out);
  const ended = new Promise((resolve) => dev.once("exit", (code, signal) => resolve(code ?? signal)));
  const [, address, database] = await eventually("longshore dev is ready", 60_000, async () => {
    const text = await readFile(log, "utf8");
    return text.includes("is ready") && text.match(/listening addr=(\S+)[^]*psql '([^']+)'/);
  }).catch(async (error) => {
    dev.kill("SIGKILL");
    throw new Error(await readFile(log, "utf8"), { cause: error });
  });
  return {
    address,
    database,
    async end() {
      dev.kill("SIGTERM");
      const code = await ended;
      if (code !== 0) throw new Error(`longshore dev ended with ${code}`);
    },
  };
}

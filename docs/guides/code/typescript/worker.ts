// A worker that leases its jobs over HTTP, with Node alone. Start as many of it as you like.
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

const api = process.env.LONGSHORE_API ?? "http://127.0.0.1:8000";
const key = process.env.LONGSHORE_KEY;
const name = `${hostname()}:${process.pid}`;
const leaseFor = 5; // seconds: what a killed worker held comes back after them
const atOnce = 10;

interface Job {
  id: number;
  lease: string;
  kind: string;
  args: unknown;
}

// What a job does: the value is the result, an exception fails this attempt.
type Handler = (args: unknown, cancelled: AbortSignal) => Promise<unknown>;
const handlers: Record<string, Handler> = {
  async greet(args, cancelled) {
    const { name, seconds } = args as { name?: string; seconds?: number };
    if (name === undefined) throw new Error("there is no name");
    await sleep((seconds ?? 0) * 1000, undefined, { signal: cancelled });
    return `Good morning, ${name}`;
  },
};

class Refused extends Error {
  constructor(readonly status: number, body: string) {
    super(`${status} ${body}`);
  }
  /** Whether the same request may be answered otherwise later. */
  get passes() {
    return this.status >= 500 || this.status === 429;
  }
}

async function call<Answer>(path: string, body: object): Promise<Answer> {
  const response = await fetch(api + path, {
    method: "POST",
    headers: { "content-type": "application/json", ...(key ? { authorization: `Bearer ${key}` } : {}) },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(30_000),
  });
  if (!response.ok) throw new Refused(response.status, await response.text());
  return (await response.json()) as Answer;
}

/** Extends the lease three times as often as it would end, until the job is done or not ours any more. */
async function keep(job: Job, done: AbortSignal, cancel: AbortController) {
  for (;;) {
    try {
      await sleep((leaseFor / 3) * 1000, undefined, { signal: done });
    } catch {
      return;
    }
    try {
      const answer = await call<{ lost: number[]; cancelled: number[] }>("/v1/leases/heartbeat", {
        leases: [{ id: job.id, lease: job.lease }],
        extend: leaseFor,
      });
      if (answer.lost.length + answer.cancelled.length > 0) return cancel.abort(new Error("cancelled, or lost"));
    } catch (error) {
      console.log("heartbeat:", String(error));
    }
  }
}

/** All that is reported may be sent again: after an outage the same outcome is accepted once more. */
async function report(job: Job, outcome: "complete" | "fail", body: object) {
  for (;;) {
    try {
      await call(`/v1/jobs/${job.id}/${outcome}`, { lease: job.lease, ...body });
      return console.log(`job ${job.id}: ${outcome}`);
    } catch (error) {
      if (error instanceof Refused && error.status === 409) return console.log(`job ${job.id} is not ours any more: ${error.message}`);
      if (error instanceof Refused && !error.passes) throw error;
      console.log("report:", String(error));
      await sleep(1000);
    }
  }
}

async function run(job: Job) {
  const done = new AbortController();
  const cancel = new AbortController();
  void keep(job, done.signal, cancel);
  try {
    const result = await handlers[job.kind]!(job.args, cancel.signal);
    done.abort();
    await report(job, "complete", { result });
  } catch (error) {
    done.abort();
    if (error instanceof Refused) throw error;
    await report(job, "fail", { error: String(error) }); // whatever a job does wrong is its own attempt's failure
  }
}

let stop = false;
for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => (stop = true)); // jobs in hand are finished, no other begun
while (!stop) {
  try {
    const wanted = { queues: ["typescript"], kinds: Object.keys(handlers), limit: atOnce, lease_for: leaseFor, wait: 5, worker: name };
    const { jobs } = await call<{ jobs: Job[] }>("/v1/leases", wanted);
    await Promise.all(jobs.map(run));
  } catch (error) {
    if (error instanceof Refused && !error.passes) throw error;
    console.log("lease:", String(error)); // the API is away: it will be back
    await sleep(1000);
  }
}

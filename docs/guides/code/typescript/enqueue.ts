// Enqueues a job over HTTP and waits for its result.
const api = process.env.LONGSHORE_API ?? "http://127.0.0.1:8000";
const key = process.env.LONGSHORE_KEY;

const response = await fetch(`${api}/v1/jobs?wait=30s`, {
  method: "POST",
  headers: {
    "content-type": "application/json",
    "idempotency-key": `greet-ann-${process.pid}`, // the same request sent again enqueues nothing twice
    ...(key ? { authorization: `Bearer ${key}` } : {}),
  },
  body: JSON.stringify({ kind: "greet", queue: "typescript", args: { name: "Ann" } }),
});
if (!response.ok) throw new Error(await response.text());
const job = (await response.json()) as { id: number; state: string; result: unknown };
console.log(job.id, job.state, job.result);

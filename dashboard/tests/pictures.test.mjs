// The documentation's pictures, of a Longshore at work: taken by each run, into target/pictures or the folder that PICTURES names.

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { open, shot, visit } from "./browser.mjs";
import { SOON, start } from "./longshore.mjs";

/** Milliseconds of work, so that the charts have something to draw. */
const WORK = 45_000;
let longshore;
let browser;

before(async () => {
  longshore = await start(process.env.LONGSHORE, (folder) => `[handlers.invoice]\ncommand = ["cat", "${folder}/prices.json"]\n`);
  await writeFile(join(longshore.folder, "prices.json"), '{"rope": 12.5}');
  browser = await open();
});

after(async () => {
  await browser?.close();
  await longshore?.stop();
});

async function work(until) {
  for (let n = 0; Date.now() < until; n += 1) {
    const busy = 8 + Math.round(6 * Math.sin(n / 6));
    const jobs = Array.from({ length: busy }, (_, i) => ({ kind: "echo", queue: i % 3 ? "emails" : "default", args: { to: `customer-${n}` } }));
    jobs.push({ kind: "sleep", queue: "reports", args: { for: `${1 + (n % 3)}s` }, tags: ["monthly"] });
    if (n % 4 === 0) jobs.push({ kind: "invoice", queue: "billing", args: { order: 1000 + n } });
    if (n % 9 === 0) jobs.push({ kind: "fail", queue: "billing", max_attempts: 2, args: { message: `the payment provider answered 503 to order ${1000 + n}` } });
    await longshore.call("POST", "/v1/jobs/batch", { jobs });
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

test("pictures", { timeout: 3 * WORK }, async () => {
  await longshore.call("PUT", "/v1/queues/reports", { max_running: 5, max_waiting: 100_000 });
  await longshore.call("PUT", "/v1/queues/emails", { rate: { limit: 500, per: "1m" } });
  await longshore.call("PUT", "/v1/schedules/nightly-report", { cron: "30 3 * * *", timezone: "Europe/Berlin", job: { kind: "echo", queue: "reports" } });
  await longshore.call("PUT", "/v1/schedules/heartbeat", { cron: "@every 30s", job: { kind: "echo" } });
  const { page } = await visit(browser, longshore.url);
  page.setDefaultTimeout(SOON);
  await work(Date.now() + WORK);
  const steps = [
    ["fetch", []], ["check", ["fetch"]], ["resize", ["check"]], ["scan", ["check"]], ["publish", ["resize", "scan"]],
  ].map(([name, after]) => ({ name, kind: name === "scan" ? "sleep" : "echo", args: name === "scan" ? { for: "30s" } : {}, after }));
  const workflow = await longshore.call("POST", "/v1/workflows", { name: "upload", jobs: steps });
  await longshore.call("POST", "/v1/jobs/batch", { jobs: Array.from({ length: 9 }, () => ({ kind: "sleep", queue: "reports", args: { for: "20s" } })) });
  const failed = (await longshore.call("GET", "/v1/jobs?state=failed&limit=1")).items[0];
  await shot(page, "overview");
  for (const [path, name, wait] of [
    ["queues", "queues", "emails"],
    ["jobs", "jobs", "reports"],
    [`jobs/${failed.id}`, "job", "History"],
    ["failures", "failures", "payment provider"],
    ["schedules", "schedules", "nightly-report"],
    ["workers", "workers", "sleep"],
    ["database", "database", "What the doctor says"],
    [`workflows/${workflow.id}`, "workflow", "As a table"],
  ]) {
    await page.goto(`${longshore.url}/#/${path}`);
    await page.getByText(wait).first().waitFor();
    await shot(page, name);
  }
  await page.emulateMedia({ colorScheme: "dark" });
  await page.setViewportSize({ width: 390, height: 844 });
  await page.goto(`${longshore.url}/#/`);
  await page.getByText("Jobs a second").waitFor();
  await shot(page, "phone");
});

// What an operator does, clicked and typed in a real browser against a real Longshore.

import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { open, violations, visit } from "./browser.mjs";
import { eventually, SOON, start } from "./longshore.mjs";

const PAGES = ["", "queues", "jobs", "failures", "schedules", "workers", "database"];
let longshore;
let browser;

before(async () => {
  // fails until somebody writes the price list
  longshore = await start(process.env.LONGSHORE, (folder) => `[handlers.price]\ncommand = ["cat", "${folder}/prices.json"]\n`);
  browser = await open();
});

after(async () => {
  await browser?.close();
  await longshore?.stop();
});

/** A test with a page of its own, on which nothing may go wrong besides. */
function clicked(name, work, options = {}) {
  test(name, async () => {
    const { page, faults, context } = await visit(browser, longshore.url, options);
    page.setDefaultTimeout(SOON);
    try {
      await work(page);
    } catch (error) {
      throw new Error(`${error.message}\non the page: ${await page.locator("main").innerText().catch(String)}`, { cause: error });
    }
    assert.deepEqual(faults, []);
    await context.close();
  });
}

const heading = (page, name) => page.getByRole("heading", { level: 1, name, exact: true }).waitFor();
const link = (page, name) => page.getByRole("link", { name: String(name), exact: true });
const button = (page, name) => page.getByRole("button", { name, exact: true });
const jobs = async (query) => (await longshore.call("GET", `/v1/jobs?${query}`)).items;

clicked("a failing job is followed from the overview to its error, its cause is mended, and it is seen to succeed, without a reload", async (page) => {
  let loads = 0;
  page.on("load", () => (loads += 1));
  const job = await longshore.enqueue({ kind: "price", args: { article: "rope" }, max_attempts: 1 });
  // nobody touches the page: it tells by itself
  await page.getByText("1 failed for good").waitFor();
  await link(page, "Failures").last().click();
  await heading(page, "Failures");
  await page.getByRole("row", { name: /price/ }).getByRole("link").click();
  await link(page, job.id).click();
  await heading(page, `Job ${job.id}`);
  await page.getByText("No such file or directory").first().waitFor();
  await writeFile(join(longshore.folder, "prices.json"), '{"rope": 12.50, "order": 12345678901234567890}');
  await button(page, "Retry").click();
  await page.getByRole("main").getByText("succeeded").first().waitFor();
  await page.getByText('"rope": 12.50').waitFor();
  await page.getByText("12345678901234567890").waitFor(); // to the digit
  assert.equal(loads, 0, "nothing was loaded anew");
});

clicked("what happens is shown as it happens", async (page) => {
  await page.goto(`${longshore.url}/#/jobs?queue=live`);
  await page.getByText("No job is like that.").waitFor();
  const job = await longshore.enqueue({ kind: "sleep", queue: "live", args: { for: "2s" } });
  const row = page.getByRole("row", { name: new RegExp(`^${job.id} `) });
  await row.getByText("running").waitFor();
  await page.goto(`${longshore.url}/#/workers`);
  await link(page, job.id).click();
  await page.getByRole("main").getByText("succeeded").first().waitFor();
});

clicked("a job that logged twice in one attempt", async (page) => {
  const job = await longshore.enqueue({ kind: "pulled", queue: "twice" });
  const run = async (log, path, body) => {
    const { jobs: [held] } = await longshore.call("POST", "/v1/leases", { queues: ["twice"], worker: "mine" });
    await longshore.call("POST", "/v1/leases/heartbeat", { leases: [{ id: held.id, lease: held.lease, log }] });
    await longshore.call("POST", `/v1/jobs/${held.id}/${path}`, { lease: held.lease, ...body });
  };
  await run("the first words", "snooze", { for: 0 });
  await run("the last words", "complete", {});
  await page.goto(`${longshore.url}/#/jobs/${job.id}`);
  for (const words of ["the first words", "the last words"]) await page.getByText(words).waitFor();
});

clicked("a long list has pages, each as true as the first", async (page) => {
  const { ids } = await longshore.call("POST", "/v1/jobs/batch", { jobs: Array(120).fill({ kind: "pulled", queue: "long" }) });
  await page.goto(`${longshore.url}/#/jobs?queue=long&state=available`);
  await link(page, ids.at(-1)).waitFor();
  await link(page, "Older ones").click();
  await link(page, ids.at(-51)).waitFor();
  assert.equal(await link(page, ids.at(-1)).count(), 0);
  await longshore.call("POST", `/v1/jobs/${ids.at(-51)}/cancel`);
  await link(page, ids.at(-51)).waitFor({ state: "detached" });
  await link(page, "Older ones").click();
  await link(page, ids[0]).waitFor();
  assert.equal(await link(page, "Older ones").count(), 0);
  // what is done to all that are found is done to those of all pages
  await button(page, "Delete…").click();
  await page.getByRole("dialog").getByText("119 jobs are found").waitFor();
  await page.keyboard.press("Escape");
  await link(page, "Newest ones").click();
  await link(page, ids.at(-1)).waitFor();
  await page.goBack();
  await link(page, ids[0]).waitFor();
  await longshore.call("POST", "/v1/jobs/cancel", { filter: { queue: "long" } });
});

clicked("a tab that nobody sees keeps no connection, and is true again when it is seen", async (page) => {
  const opened = () => page.waitForRequest((request) => request.url().endsWith("/v1/events"));
  const closed = page.waitForEvent("requestfailed", (request) => request.url().endsWith("/v1/events"));
  const show = (hidden) =>
    page.evaluate((hidden) => {
      Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }, hidden);
  await page.goto(`${longshore.url}/#/jobs?queue=unseen`);
  await page.getByText("No job is like that.").waitFor();
  await show(true);
  await closed;
  const job = await longshore.enqueue({ kind: "pulled", queue: "unseen" });
  const again = opened();
  await show(false);
  await again;
  await link(page, job.id).waitFor();
  await longshore.call("POST", `/v1/jobs/${job.id}/cancel`);
});

clicked("by the keyboard alone: to the jobs, a filter, a job", async (page) => {
  const job = await longshore.enqueue({ kind: "echo", queue: "keyboard", args: { n: 1 } });
  const focused = () => page.evaluate(() => document.activeElement?.textContent?.trim() ?? "");
  const until = async (name) => {
    for (let n = 0; n < 60; n += 1) {
      if ((await focused()) === name) return;
      await page.keyboard.press("Tab");
    }
    assert.fail(`Tab never comes to ${name}`);
  };
  await until("Jobs");
  await page.keyboard.press("Enter");
  await eventually("the page's heading has the focus", SOON, async () => (await focused()) === "Jobs");
  await page.keyboard.press("Tab"); // state
  await page.keyboard.press("Tab"); // queue
  await page.keyboard.type("keyboard");
  await page.keyboard.press("Enter");
  await link(page, job.id).waitFor();
  await until(String(job.id));
  await page.keyboard.press("Enter");
  await heading(page, `Job ${job.id}`);
});

clicked("many jobs are retried together, after a look at how many", async (page) => {
  for (let n = 0; n < 3; n += 1) await longshore.enqueue({ kind: "fail", queue: "bulk", max_attempts: 1, args: { message: "no disk" } });
  await eventually("they have failed", SOON, async () => (await jobs("queue=bulk&state=failed")).length === 3);
  await page.goto(`${longshore.url}/#/jobs?queue=bulk&state=failed`);
  await button(page, "Retry…").click();
  await page.getByRole("dialog").getByText("3 jobs are found").waitFor();
  await page.keyboard.press("Escape");
  assert.deepEqual((await jobs("queue=bulk")).map((job) => job.max_attempts), [1, 1, 1], "who leaves it has changed nothing");
  await button(page, "Retry…").click();
  await button(page, "Retry them").click();
  await page.getByText("retry: 3 jobs").waitFor();
  await eventually("each has had another attempt", SOON, async () => (await jobs("queue=bulk&state=failed")).filter((job) => job.attempt === 2).length === 3);
});

clicked("a group of failures is retried", async (page) => {
  await longshore.enqueue({ kind: "fail", queue: "group", max_attempts: 1, args: { message: "the printer is out of paper", times: 1 } });
  await page.goto(`${longshore.url}/#/failures`);
  await page.getByRole("button", { name: /Retry all fail: .*out of paper/ }).click();
  await button(page, "Retry").click();
  await page.getByText("1 job is available again.").waitFor();
  await eventually("it has succeeded", SOON, async () => (await jobs("queue=group&state=succeeded")).length === 1);
});

clicked("a queue is paused, resumed, and limited", async (page) => {
  await longshore.call("PUT", "/v1/queues/orders", { defaults: { priority: 7 }, on_failed: { kind: "echo", args: { exact: 1 } } });
  await longshore.enqueue({ kind: "echo", queue: "orders" });
  await link(page, "Queues").first().click();
  await button(page, "Pause orders").click();
  await button(page, "Resume orders").waitFor();
  assert.equal((await longshore.call("GET", "/v1/queues/orders")).paused, true);
  await button(page, "Resume orders").click();
  await button(page, "Pause orders").waitFor();
  await button(page, "Limits of orders: none").click();
  await page.getByLabel("Running at once, on all workers together").fill("3");
  await page.getByLabel("Starts").fill("100");
  await page.getByLabel("in a time of").fill("x");
  await button(page, "Change").click();
  await page.getByRole("dialog").getByText("/rate/per").waitFor(); // what is wrong, and where
  await page.getByLabel("in a time of").fill("1m");
  await button(page, "Change").click();
  await page.getByRole("button", { name: "Limits of orders: 3 at once, 100 in 1 min" }).waitFor();
  const queue = await longshore.call("GET", "/v1/queues/orders");
  assert.deepEqual([queue.max_running, queue.defaults.priority, queue.on_failed.args, queue.paused], [3, 7, { exact: 1 }, false], "the rest is as it was");
});

clicked("a job that waits is changed, and cancelled", async (page) => {
  const job = await longshore.enqueue({ kind: "echo", queue: "later", delay: "1h", args: { n: 1 } });
  await page.goto(`${longshore.url}/#/jobs/${job.id}`);
  await page.getByText("Why it is not running").waitFor();
  await button(page, "Change args…").click();
  await page.getByLabel("Args, as JSON").fill('{"n": 1e400}');
  await button(page, "Change").click();
  await page.getByRole("alert").waitFor();
  await page.getByLabel("Args, as JSON").fill('{"n": 10000000000000000001}');
  await button(page, "Change").click();
  await page.getByText('"n": 10000000000000000001').waitFor();
  await button(page, "Cancel…").click();
  await button(page, "Cancel it").click();
  await page.getByRole("main").getByText("cancelled").first().waitFor();
});

clicked("a workflow is drawn, and leads to its jobs", async (page) => {
  const body = { name: "import", jobs: [{ name: "fetch", kind: "echo" }, { name: "check", kind: "fail", max_attempts: 1, after: ["fetch"] }, { name: "load", kind: "echo", after: ["check"] }] };
  const workflow = await longshore.call("POST", "/v1/workflows", body);
  await page.goto(`${longshore.url}/#/workflows/${workflow.id}`);
  await button(page, "Retry what failed").waitFor();
  assert.equal(await page.locator("svg rect").count(), 3);
  await page.locator("svg text", { hasText: "check" }).click();
  await page.getByRole("heading", { name: "Workflow import" }).waitFor();
});

clicked("a schedule's job is enqueued now, and its next times are shown", async (page) => {
  await longshore.call("PUT", "/v1/schedules/nightly", { cron: "0 3 * * *", job: { kind: "echo" } });
  await link(page, "Schedules").first().click();
  await button(page, "Next times: nightly").click();
  await eventually("five of them", SOON, async () => (await page.getByText(/3:00:00/).count()) === 5);
  await button(page, "Run now: nightly").click();
  await page.getByText("was enqueued by nightly").waitFor();
});

clicked("what holds vacuum back is named", async (page) => {
  const session = await longshore.psql("begin isolation level repeatable read; select count(*) from longshore.queues;");
  const row = page.getByRole("row", { name: new RegExp(`^transaction ${session.pid} `) });
  try {
    await page.goto(`${longshore.url}/#/database`);
    await row.getByText("idle in transaction").waitFor();
    await row.getByText("pg_backend_pid").waitFor(); // what it did last
  } finally {
    await session.end();
  }
  await row.waitFor({ state: "detached" });
});

clicked("the overview says which queue is paused while jobs wait", async (page) => {
  await longshore.call("PUT", "/v1/queues/stuck", { paused: true });
  await longshore.enqueue({ kind: "echo", queue: "stuck" });
  await page.getByText("stuck is paused, and 1 job waits in it.").waitFor();
});

clicked("an API that goes away is told, and the page goes on by itself when it is back", async (page) => {
  await page.goto(`${longshore.url}/#/jobs?queue=after`);
  await page.getByText("live", { exact: true }).waitFor();
  await page.getByText("No job is like that.").waitFor();
  await longshore.restart(async () => {
    await page.getByText("not live: reconnecting").waitFor();
    await page.getByRole("alert").filter({ hasText: "The API does not answer" }).waitFor();
  });
  const job = await longshore.enqueue({ kind: "echo", queue: "after" });
  await link(page, job.id).waitFor();
  await page.getByText("live", { exact: true }).waitFor();
  assert.equal(await page.getByRole("alert").count(), 0);
});

clicked("/docs lets a request be tried", async (page) => {
  await page.goto(`${longshore.url}/docs`);
  await page.getByText("List queues").first().click();
  await page.getByRole("button", { name: "Execute" }).click();
  await page.locator(".response-col_status").filter({ hasText: "200" }).first().waitFor();
});

for (const colorScheme of ["light", "dark"]) {
  for (const [device, viewport] of [
    ["desk", { width: 1280, height: 800 }],
    ["phone", { width: 390, height: 844 }],
  ]) {
    clicked(
      `no page has a fault that axe finds: ${colorScheme}, ${device}`,
      async (page) => {
        const failed = await longshore.enqueue({ kind: "fail", max_attempts: 1, args: { message: "a long word: ".padEnd(300, "x") } });
        const jobs = [{ name: "a", kind: "sleep", args: { for: "60s" } }, { name: "b", kind: "echo", after: ["a"] }];
        const workflow = await longshore.call("POST", "/v1/workflows", { name: "w", jobs });
        await longshore.call("PUT", "/v1/schedules/nightly", { cron: "0 3 * * *", job: { kind: "echo" } });
        for (const path of [...PAGES, `jobs/${failed.id}`, `workflows/${workflow.id}`, "nowhere"]) {
          await page.goto(`${longshore.url}/#/${path}`);
          await page.locator("main :is(table, article, section, p:not(:empty))").first().waitFor();
          await clean(page, path);
        }
        await page.goto(`${longshore.url}/#/jobs`);
        await button(page, "Delete…").click();
        await button(page, "Delete them").waitFor();
        await clean(page, "a confirmation");
        await page.keyboard.press("Escape");
        await page.goto(`${longshore.url}/#/queues`);
        await page.getByRole("button", { name: /^Limits of default/ }).click();
        await page.getByRole("dialog").waitFor();
        await clean(page, "a form");
      },
      { colorScheme, viewport },
    );
  }
}

async function clean(page, where) {
  const found = await violations(page);
  assert.deepEqual(found, [], `${where}: ${found.join("\n")}`);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(wide <= 0, `${where} is ${wide} pixels wider than the screen`);
}

clicked("where no key is needed, logging out leads back to the page", async (page) => {
  await button(page, "Log out").click();
  await page.getByText("live", { exact: true }).waitFor();
  await page.getByText(/live worker/).waitFor();
  assert.equal(await page.getByRole("dialog").count(), 0);
});

// the last one: from here on every request needs a key
clicked("who has a key logs in, sees what it allows, and logs out", async (page) => {
  const key = JSON.parse(await longshore.line("keys", "create", "--name", "looks", "--scope", "read", "--json")).key;
  await page.goto(`${longshore.url}/#/queues`);
  const field = page.getByLabel("API key");
  await field.waitFor();
  const found = await violations(page);
  assert.deepEqual(found, [], found.join("\n"));
  await field.fill("ls_wrong");
  await page.keyboard.press("Enter");
  await page.getByText("the API key is not known").waitFor();
  await field.fill(key);
  await page.keyboard.press("Enter");
  await button(page, "Pause default").click();
  await page.getByText(/scope.*admin|admin.*scope/).first().waitFor(); // it may look and change nothing
  await button(page, "Log out").click();
  await field.waitFor();
  assert.equal(await page.getByRole("table").count(), 0, "nothing of what was seen is left");
  await field.fill(key);
  await page.keyboard.press("Enter");
  await button(page, "Pause default").waitFor();
  await longshore.line("keys", "revoke", "looks");
  await longshore.line("keys", "create", "--name", "another", "--scope", "read");
  await field.waitFor(); // by itself, since the key is no more
});

// What an operator does, clicked and typed in a real browser against a real Longshore.

import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { open, shot, violations, visit } from "./browser.mjs";
import { eventually, start } from "./longshore.mjs";

const PROGRAM = process.env.LONGSHORE;
const PAGES = ["", "queues", "jobs", "failures", "schedules", "workers"];
let longshore;
let browser;

before(async () => {
  // fails until somebody writes the price list
  longshore = await start(PROGRAM, (folder) => `[handlers.price]\ncommand = ["cat", "${folder}/prices.json"]\n`);
  browser = await open();
});

after(async () => {
  await browser?.close();
  await longshore?.stop();
});

async function heading(page) {
  return page.getByRole("heading", { level: 1 }).textContent();
}

test("a failing job is followed from the overview to its error, its cause mended, and seen to succeed, without a reload", async () => {
  const prices = join(longshore.folder, "prices.json");
  const job = await longshore.enqueue({ kind: "price", args: { article: "rope" }, max_attempts: 1 });
  const { page, faults, context } = await visit(browser, longshore.url);
  let loads = 0;
  page.on("load", () => (loads += 1));
  await page.getByRole("link", { name: "Failures", exact: true }).first().click();
  await page.getByRole("row", { name: /price/ }).getByRole("link").click();
  await page.getByRole("link", { name: String(job.id), exact: true }).click();
  assert.equal(await heading(page), `Job ${job.id}`);
  await page.getByText("No such file or directory").first().waitFor();
  await shot(page, "job-failed");
  await writeFile(prices, '{"rope": 12}');
  await page.getByRole("button", { name: "Retry" }).click();
  await page.getByText("succeeded").first().waitFor();
  await page.getByText('"rope": 12').waitFor();
  assert.equal(loads, 0, "nothing was loaded anew");
  assert.deepEqual(faults, []);
  await context.close();
});

for (const colorScheme of ["light", "dark"]) {
  for (const [device, viewport] of [
    ["desk", { width: 1280, height: 800 }],
    ["phone", { width: 390, height: 844 }],
  ]) {
    test(`no page has a fault that axe finds: ${colorScheme}, ${device}`, async () => {
      await longshore.enqueue({ kind: "fail", max_attempts: 1 });
      const workflow = await longshore.call("POST", "/v1/workflows", { name: "w", jobs: [{ name: "a", kind: "sleep", args: { for: "60s" } }, { name: "b", kind: "echo", after: ["a"] }] });
      await longshore.call("PUT", "/v1/schedules/nightly", { cron: "0 3 * * *", job: { kind: "echo" } });
      const { page, faults, context } = await visit(browser, longshore.url, { colorScheme, viewport });
      for (const path of [...PAGES, "jobs/1", `workflows/${workflow.id}`, "nowhere"]) {
        await page.goto(`${longshore.url}/#/${path}`);
        await page.waitForLoadState("networkidle").catch(() => {}); // the stream of events never ends
        await page.locator("main :is(table, article, section, p)").first().waitFor();
        const found = await violations(page);
        assert.deepEqual(found, [], `${path}: ${found.join("\n")}`);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(wide <= 0, `${path} is ${wide} pixels wider than the screen`);
        if (colorScheme === "light" && device === "desk" && PAGES.includes(path)) await shot(page, path || "overview");
      }
      assert.deepEqual(faults, []);
      await context.close();
    });
  }
}

test("by the keyboard alone: to the jobs, a filter, a job", async () => {
  const job = await longshore.enqueue({ kind: "echo", queue: "keyboard", args: { n: 1 } });
  const { page, faults, context } = await visit(browser, longshore.url);
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
  await eventually("the page's heading has the focus", 5000, async () => (await focused()) === "Jobs");
  await page.keyboard.press("Tab"); // state
  await page.keyboard.press("Tab"); // queue
  await page.keyboard.type("keyboard");
  await page.keyboard.press("Enter");
  await page.getByRole("link", { name: String(job.id), exact: true }).waitFor();
  await until(String(job.id));
  await page.keyboard.press("Enter");
  await eventually("the job is shown", 5000, async () => (await heading(page)) === `Job ${job.id}`);
  assert.deepEqual(faults, []);
  await context.close();
});

test("many jobs are retried together, after a look at how many", async () => {
  for (let n = 0; n < 3; n += 1) await longshore.enqueue({ kind: "fail", queue: "bulk", max_attempts: 1, args: { message: "no disk" } });
  await eventually("they have failed", 10_000, async () => (await longshore.call("GET", "/v1/jobs?queue=bulk&state=failed")).items.length === 3);
  const { page, faults, context } = await visit(browser, longshore.url);
  await page.goto(`${longshore.url}/#/jobs?queue=bulk&state=failed`);
  await page.getByRole("button", { name: "Retry…" }).click();
  await page.getByRole("dialog").getByText("3 jobs are found").waitFor();
  await page.keyboard.press("Escape");
  assert.equal((await longshore.call("GET", "/v1/jobs?queue=bulk&state=failed")).items.length, 3, "whoever leaves it has changed nothing");
  await page.getByRole("button", { name: "Retry…" }).click();
  await page.getByRole("button", { name: "Retry them" }).click();
  await page.getByText("retry: 3 jobs").waitFor();
  assert.deepEqual(faults, []);
  await context.close();
});

test("a queue is paused and resumed", async () => {
  await longshore.enqueue({ kind: "echo", queue: "pausing" });
  const { page, faults, context } = await visit(browser, longshore.url);
  await page.getByRole("link", { name: "Queues" }).click();
  await page.getByRole("button", { name: "Pause pausing" }).click();
  await page.getByRole("button", { name: "Resume pausing" }).waitFor();
  assert.equal((await longshore.call("GET", "/v1/queues/pausing")).paused, true);
  await page.getByRole("button", { name: "Resume pausing" }).click();
  await page.getByRole("button", { name: "Pause pausing" }).waitFor();
  assert.deepEqual(faults, []);
  await context.close();
});

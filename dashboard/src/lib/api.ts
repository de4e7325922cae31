// The HTTP API, with the types of its own document.

import { LosslessNumber, parse, stringify } from "lossless-json";
import createClient from "openapi-fetch";
import type { components, paths } from "../api";

type Schemas = components["schemas"];
export type Job = Schemas["Job"];
export type JobWithHistory = Schemas["JobWithHistory"];
export type Queue = Schemas["Queue"];
export type Schedule = Schemas["Schedule"];
export type Worker = Schemas["Worker"];
export type Workflow = Schemas["Workflow"];
export type FailureGroup = Schemas["FailureGroup"];
export type Stats = Schemas["Stats"];
export type Event = Schemas["Event"];
export type Explanation = Schemas["Explanation"];

export const STATES = ["available", "running", "scheduled", "retryable", "blocked", "succeeded", "failed", "cancelled"] as const;
export type State = (typeof STATES)[number];

/** Why a request was refused, or that nobody answered. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    title: string,
    readonly detail: string,
  ) {
    super(title);
  }
}

export const api = createClient<paths>({ baseUrl: location.origin });

/** Longer than an answer is shared. */
const SHARED_MS = 1500;
let changed = 0;

// Many may look at the same pages: an answer of the last second will do, which all of them share. Not for who has just changed something
// and wants to see it.
api.use({
  onRequest({ request }) {
    if (request.method !== "GET") changed = Date.now();
    else if (Date.now() - changed > SHARED_MS) request.headers.set("cache-control", "max-stale=1");
    return request;
  },
});

interface Answered<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/** JSON whose numbers keep their digits: what a job is given and gives is shown as it is. */
export function exact(text: string): unknown {
  return parse(text, undefined, (digits) => (String(Number(digits)) === digits ? Number(digits) : new LosslessNumber(digits)));
}

export function json(value: unknown): string {
  return stringify(value, undefined, 2) ?? "";
}

/** One job with its history, its numbers as they are. */
export async function job(id: number, signal?: AbortSignal): Promise<JobWithHistory> {
  return exact(await ask(api.GET("/v1/jobs/{id}", { signal, parseAs: "text", params: { path: { id: String(id) } } }))) as JobWithHistory;
}

/** A queue with all its settings, the args of what it enqueues on failure as they are. */
export async function queue(name: string): Promise<Queue> {
  return exact(await ask(api.GET("/v1/queues/{name}", { parseAs: "text", params: { path: { name } } }))) as Queue;
}

/** A workflow; the same path also draws it, as text. */
export async function workflow(id: number, signal?: AbortSignal): Promise<Workflow> {
  return (await ask(api.GET("/v1/workflows/{id}", { signal, params: { path: { id: String(id) } } }))) as Workflow;
}

/** What was answered, or the problem. */
export async function ask<T>(answer: Promise<Answered<T>>): Promise<T> {
  let answered: Answered<T>;
  try {
    answered = await answer;
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Problem(0, "The API does not answer", "It is stopped, or the network between here and there is cut. This page goes on trying.");
  }
  if (answered.response.ok) return answered.data as T;
  const { title, detail, errors } = (answered.error ?? {}) as { title?: string; detail?: string; errors?: { pointer: string; detail: string }[] };
  const faults = errors?.map((fault) => `${fault.pointer}: ${fault.detail}`).join("\n");
  throw new Problem(answered.response.status, title ?? `Status ${answered.response.status}`, [detail, faults].filter(Boolean).join("\n"));
}

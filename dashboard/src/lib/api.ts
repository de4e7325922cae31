// The HTTP API, with the types of its own document.

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

const client = createClient<paths>({ baseUrl: location.origin });

export const api = client;

interface Answered<T> {
  data?: T;
  error?: unknown;
  response: Response;
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

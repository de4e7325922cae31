// What a page shows, kept true: read when it opens, again when something happens that concerns it, and now and then.

import { Problem, type Event } from "./api";
import { session } from "./session.svelte";

/** Between two reads of one thing, however much happens; longer than an answer is shared. */
const LEAST_MS = 1200;
const EVENTS = [
  ...["enqueued", "started", "succeeded", "failed", "retryable", "cancelled", "progress", "snoozed", "handed_back", "retried", "changed", "deleted"].map((e) => `job.${e}`),
  ...["paused", "resumed", "changed", "deleted"].map((e) => `queue.${e}`),
];

type Listener = (event: Event | null) => void;
const listeners = new Set<Listener>();
let source: EventSource | undefined;

/** Whether events come. */
export const stream = $state({ open: false });

function listen(listener: Listener): () => void {
  listeners.add(listener);
  connect();
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) disconnect();
  };
}

function disconnect() {
  source?.close();
  source = undefined;
  stream.open = false;
}

// A browser has six connections to a host for all its tabs together: one that nobody sees keeps none. Seen again, it reads anew.
document.addEventListener("visibilitychange", () => (document.hidden ? disconnect() : connect()));

function connect() {
  if (source || listeners.size === 0 || document.hidden) return;
  source = new EventSource("/v1/events");
  const tell = (event: Event | null) => listeners.forEach((listener) => listener(event));
  source.onopen = () => {
    stream.open = true;
    tell(null); // something may have been missed
  };
  source.onerror = () => {
    stream.open = false;
    // refused, by an answer that is no stream: the browser does not try again by itself
    if (source?.readyState === EventSource.CLOSED) {
      source = undefined;
      setTimeout(connect, 3000);
    }
  };
  for (const name of EVENTS) source.addEventListener(name, (message) => tell(JSON.parse((message as MessageEvent<string>).data) as Event));
  source.addEventListener("gap", () => tell(null));
}

export interface Kept<T> {
  /** `undefined`: not read yet. */
  readonly value: T | undefined;
  readonly problem: Problem | undefined;
  /** Reads again, at once. */
  again(): Promise<void>;
}

/**
 * Keeps what `load` reads true for as long as the component lives. What `load` reads of the page's state is followed.
 * `concerns`: after which events to read again; `every`: and after how many milliseconds anyway.
 */
export function keep<T>(load: (signal: AbortSignal) => Promise<T>, concerns: (event: Event) => boolean, every = 10_000): Kept<T> {
  let value = $state.raw<T>();
  let problem = $state.raw<Problem>();
  let again: () => Promise<void> = async () => {};
  $effect(() => {
    void session.changes; // after a login all is read anew
    const over = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let last = 0;
    let reading = false;
    let wanted = false;
    // what is read right after an event may be shared with who read right before it: so once more when that is over
    let unsure = false;
    const read = async () => {
      if (reading) {
        wanted = true;
        return;
      }
      clearTimeout(timer);
      reading = true;
      last = Date.now();
      try {
        value = await load(over.signal);
        problem = undefined;
      } catch (error) {
        if (over.signal.aborted) return;
        problem = error instanceof Problem ? error : new Problem(0, "This page has a fault", String(error));
        if (problem.status === 401) session.ask();
      } finally {
        reading = false;
      }
      if (!over.signal.aborted) plan(wanted || unsure ? LEAST_MS : every * (0.9 + Math.random() / 5));
      unsure = wanted;
      wanted = false;
    };
    const plan = (after: number) => {
      clearTimeout(timer);
      timer = setTimeout(read, after);
    };
    again = read;
    const leave = listen((event) => {
      if (event && !concerns(event)) return;
      unsure = true;
      if (reading) wanted = true;
      else plan(Math.max(0, last + LEAST_MS - Date.now()));
    });
    void read();
    return () => {
      over.abort();
      clearTimeout(timer);
      leave();
    };
  });
  return {
    get value() {
      return value;
    },
    get problem() {
      return problem;
    },
    again: () => again(),
  };
}

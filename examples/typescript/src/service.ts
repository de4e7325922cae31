// Counts the words of texts: a service that Longshore's worker calls for each job, signed as Standard Webhooks says.
//
//   TEXTS=../../docs WEBHOOK_SECRET=whsec_… npm start

import { readFile, realpath } from "node:fs/promises";
import { createServer, type IncomingMessage } from "node:http";
import { join, sep } from "node:path";
import { readFileSync } from "node:fs";
import { Webhook, WebhookVerificationError } from "standardwebhooks";

const LARGEST_BODY = 1024 * 1024; // of a job's args

const texts = await realpath(process.env.TEXTS ?? ".");
const secret = process.env.WEBHOOK_SECRET ?? readFileSync(process.env.WEBHOOK_SECRET_FILE ?? "secret", "utf8").trim();
const webhook = new Webhook(secret);

/** An answer that is not a success. */
class Refusal extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** 410 says that trying again is of no use. */
const discard = (message: string) => new Refusal(410, message);

interface Counted {
  file: string;
  bytes: number;
  lines: number;
  words: number;
  distinct: number;
  top: [string, number][];
}

async function body(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    length += part.length;
    if (length > LARGEST_BODY) throw new Refusal(413, "too long");
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

/** The job itself. */
async function countWords(args: unknown): Promise<Counted> {
  const file = (args as { file?: unknown } | null)?.file;
  if (typeof file !== "string") throw discard('the args must be such as {"file": "containers.md"}');
  const missing = discard(`there is no such text: ${file}`);
  const path = await realpath(join(texts, file)).catch(() => Promise.reject(missing));
  if (!path.startsWith(texts + sep)) throw missing;
  const text = await readFile(path).catch(() => Promise.reject(missing));

  const counts = new Map<string, number>();
  // latin1: each byte a character, as the words are of ASCII letters only
  const found = text.toString("latin1").match(/[A-Za-z]+/g) ?? [];
  for (const word of found) counts.set(word.toLowerCase(), (counts.get(word.toLowerCase()) ?? 0) + 1);
  const top = [...counts].sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1)).slice(0, 5);
  return { file, bytes: text.length, lines: text.filter((byte) => byte === 10).length, words: found.length, distinct: counts.size, top };
}

const server = createServer(async (request, response) => {
  try {
    if (request.method !== "POST" || request.url !== "/count-words") throw new Refusal(404, "there is only POST /count-words");
    const sent = await body(request);
    // Who calls? A wrong or old signature throws. Only then is the body looked at.
    webhook.verify(sent, request.headers as Record<string, string>);
    const result = await countWords(JSON.parse(sent));
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(result));
  } catch (error) {
    const status = error instanceof Refusal ? error.status : error instanceof WebhookVerificationError ? 401 : 500;
    if (status === 500) console.error(error);
    response.writeHead(status, { "content-type": "text/plain" }).end(error instanceof Error ? error.message : String(error));
  }
});

server.keepAliveTimeout = 75_000; // the worker keeps its connections, and should be the one who closes them
server.listen(Number(process.env.PORT ?? 3000), process.env.HOST ?? "127.0.0.1", () => {
  console.log("counting the words of", texts, "at", server.address());
});
// Calls under way are answered; the worker repeats what was not.
for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => server.close(() => process.exit(0)));

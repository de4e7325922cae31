// Numbers, times and spans as people read them.

const units: [number, string][] = [
  [86_400, "d"],
  [3600, "h"],
  [60, "min"],
];

/** Seconds, with one unit that matters and the next below: "2 h 5 min", "12 s", "35 ms". */
export function span(seconds: number): string {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  for (const [index, [size, unit]] of units.entries()) {
    if (seconds < size) continue;
    const rest = Math.floor((seconds % size) / (units[index + 1]?.[0] ?? 1));
    const below = units[index + 1]?.[1] ?? "s";
    return `${Math.floor(seconds / size)} ${unit}${rest ? ` ${rest} ${below}` : ""}`;
  }
  return `${Math.round(seconds)} s`;
}

/** From now: "in 5 min", "12 s ago". */
export function fromNow(time: string, now = Date.now()): string {
  const seconds = (Date.parse(time) - now) / 1000;
  if (Math.abs(seconds) < 1) return "now";
  return seconds > 0 ? `in ${span(seconds)}` : `${span(-seconds)} ago`;
}

const clock = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

export function moment(time: string): string {
  return clock.format(new Date(time));
}

const whole = new Intl.NumberFormat("en");

/** "1,234,567"; "≈" before an estimate. */
export function count(n: number, estimated = false): string {
  return `${estimated ? "≈ " : ""}${whole.format(n)}`;
}

/** A rate a second: "0.25", "12.5", "1,234". */
export function rate(n: number): string {
  return n === 0 ? "0" : n < 10 ? n.toFixed(2) : n < 100 ? n.toFixed(1) : whole.format(Math.round(n));
}

/** "512 B", "8.0 KiB", "1.5 GiB". */
export function bytes(n: number): string {
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (n < 1024) return unit === "B" ? `${n} B` : `${n.toFixed(1)} ${unit}`;
    n /= 1024;
  }
  return `${n.toFixed(1)} TiB`;
}

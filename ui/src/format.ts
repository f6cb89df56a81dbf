// Values as people read them. Times come as RFC 3339 with nanoseconds, durations as nanoseconds.

// Nanoseconds since 1970; exact, which a Date is not.
export function nanoseconds(time: string): bigint {
  const match = /^(.*T[0-9:]+)(?:\.(\d{1,9}))?(Z|[+-].*)$/.exec(time);
  if (!match) return 0n;
  const seconds = Date.parse(`${match[1]}${match[3]}`);
  if (Number.isNaN(seconds)) return 0n;
  return BigInt(seconds) * 1_000_000n + BigInt((match[2] ?? "").padEnd(9, "0"));
}

export function duration(ns: number | null | undefined): string {
  if (ns === null || ns === undefined) return "";
  const sign = ns < 0 ? "−" : "";
  const value = Math.abs(ns);
  if (value < 1_000) return `${sign}${value} ns`;
  if (value < 1_000_000) return `${sign}${digits(value / 1_000)} µs`;
  if (value < 1_000_000_000) return `${sign}${digits(value / 1_000_000)} ms`;
  if (value < 120_000_000_000) return `${sign}${digits(value / 1_000_000_000)} s`;
  return `${sign}${Math.round(value / 60_000_000_000)} min`;
}

function digits(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const DAY = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric" });

export function clock(time: string): string {
  const ns = nanoseconds(time);
  const date = new Date(Number(ns / 1_000_000n));
  const ms = String(Number((ns / 1_000_000n) % 1000n)).padStart(3, "0");
  const today = new Date().toDateString() === date.toDateString();
  return `${today ? "" : `${DAY.format(date)} `}${TIME.format(date)}.${ms}`;
}

export function ago(time: string, now: number): string {
  const seconds = Math.max(0, Math.round((now - Number(nanoseconds(time) / 1_000_000n)) / 1000));
  if (seconds < 2) return "now";
  if (seconds < 90) return `${seconds} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 129_600) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86_400)} d ago`;
}

export function short(id: string): string {
  return id.length > 16 ? `${id.slice(0, 8)}…${id.slice(-4)}` : id;
}

export function count(value: number, one: string, many: string): string {
  return `${value.toLocaleString("en")} ${value === 1 ? one : many}`;
}

// What many requests tell: call paths, and who consumed what. Both are counted when asked for.

import * as api from "./api";
import { h } from "./dom";
import { clock, count, duration, short } from "./format";
import type { Counted, Line, PathRow, PathStep } from "./types";

export async function pathsView(): Promise<HTMLElement> {
  const list = await api.paths();
  const kinds = new Map<string, PathRow[]>();
  for (const row of list.paths) {
    const kind = stepName(row);
    kinds.set(kind, [...(kinds.get(kind) ?? []), row]);
  }
  const sections = [...kinds].map(([kind, rows]) =>
    h(
      "section",
      {},
      h("header", {}, h("h2", {}, kind), h("span", { class: "quiet" }, count(rows[0]?.of ?? 0, "request", "requests"))),
      table(["Share", "A request", "Half", "99 of 100", "Failed", "Inferred", "Path", "Newest"], rows.map(pathRow)),
    ),
  );
  return h("div", { class: "tables" }, ...sections, foot(list, list.paths.length, "No requests yet."));
}

export async function auditView(query: string): Promise<HTMLElement> {
  const list = await api.audit(query);
  const heads = ["Consumer", "Service", "Calls", "Handled", "Failed", "Work", "Sent", "Received", "Requests"];
  return h(
    "div",
    { class: "tables" },
    h("section", {}, table(heads, list.lines.map(lineRow))),
    foot(list, list.lines.length, "Nobody consumed anything yet."),
  );
}

export async function proofView(query: string): Promise<HTMLElement> {
  const list = await api.proof(query);
  const rows = list.requests.map((row) => [
    h("td", { class: "time", title: row.start }, clock(row.start)),
    h("td", {}, requestLink(row.origin)),
    number(row.calls),
    number(row.errors, "failed"),
    number(row.work),
  ]);
  return h(
    "div",
    { class: "tables" },
    h("section", {}, table(["Started", "Request", "Calls", "Failed", "Work"], rows)),
    list.next !== null && h("p", { class: "empty" }, `The newest ${rows.length}; the API has the others.`),
  );
}

// How many calls a service certainly handled, and how many it can have.
export function handled(line: Pick<Line, "calls" | "calls_min" | "calls_max">): string {
  const { calls_min: least, calls_max: most } = line;
  if (least === most) return "all";
  return most === null ? `${least} or more` : `${least} to ${most}`;
}

export function stepName(step: PathStep): string {
  return [step.service ?? "?", step.operation].filter((name) => name !== null).join(" ");
}

function pathRow(row: PathRow): HTMLElement[] {
  const path = row.remainder ? "all others" : row.path.map(stepName).join(" → ");
  const newest = row.examples[0];
  return [
    h("td", { class: "number" }, row.share === null ? "" : `${(row.share * 100).toFixed(1)} %`),
    h("td", { class: "number" }, row.calls_per_request === null ? "" : `${row.calls_per_request.toFixed(2)}×`),
    h("td", { class: "number" }, duration(row.latency.p50)),
    h("td", { class: "number" }, duration(row.latency.p99)),
    number(row.errors, "failed"),
    number(row.inferred),
    h("td", { class: "way" }, path),
    h("td", {}, newest === undefined ? null : requestLink(newest)),
  ];
}

function lineRow(row: Line): HTMLElement[] {
  const of = `#/audit/${encodeURIComponent(`consumer=${encodeURIComponent(row.consumer)}`)}`;
  const proof = `#/proof/${encodeURIComponent(row.trees.split("?")[1] ?? "")}`;
  const [kind, name] = row.consumer.split(/:(.*)/s);
  return [
    h("td", {}, h("a", { href: of, title: row.consumer }, name === undefined ? row.consumer : `${kind} ${short(name)}`)),
    h("td", {}, row.service ?? "?"),
    number(row.calls),
    h("td", { class: "number" }, handled(row)),
    number(row.errors, "failed"),
    number(row.work),
    number(row.request_bytes),
    number(row.response_bytes),
    h("td", { class: "number" }, h("a", { href: proof }, row.requests.toLocaleString("en"))),
  ];
}

function requestLink(origin: string): HTMLElement {
  return h("a", { class: "mono", href: `#/request/${origin}`, title: origin }, short(origin));
}

function number(value: number, alarm?: string): HTMLElement {
  const text = value.toLocaleString("en");
  return h("td", { class: "number" }, alarm && value > 0 ? h("span", { class: `badge ${alarm}` }, text) : text);
}

function table(heads: string[], rows: HTMLElement[][]): HTMLElement {
  const body = rows.map((cells) => h("tr", {}, ...cells));
  // A head stands where its column's values stand.
  const place = (at: number) => (rows[0]?.[at]?.className === "number" ? "number" : undefined);
  const head = h("tr", {}, ...heads.map((head, at) => h("th", { scope: "col", class: place(at) }, head)));
  return h("div", { class: "list" }, h("table", {}, h("thead", {}, head), h("tbody", {}, ...body)));
}

// What is to be said below: that there is nothing, more, or that not all was counted.
function foot(list: { next: string | null; counted: Counted }, rows: number, empty: string): HTMLElement {
  const said = [];
  if (rows === 0) said.push(empty);
  if (list.next !== null) said.push(`The first ${rows}; the API has the others.`);
  if (!list.counted.complete && list.counted.from) said.push(`Counted since ${clock(list.counted.from)}.`);
  return h("p", { class: "empty", hidden: said.length === 0 }, said.join(" "));
}

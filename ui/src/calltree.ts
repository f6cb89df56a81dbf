// A request's call tree: a row per call, indented, with its evidence, host, latency and time bar.

import { add, h, styled } from "./dom";
import { clock, duration, nanoseconds, short } from "./format";
import type { Call, Part, Tree } from "./types";

interface Row {
  call: Call;
  level: number;
  element: HTMLTableRowElement;
  details: HTMLTableRowElement | null;
  open: boolean;
}

const EVIDENCE: Record<Call["evidence"], string> = {
  observed: "both sides logged it",
  "one-sided": "one side logged it",
  inferred: "no log of it: rebuilt from a deeper request",
  ambiguous: "the logs allow several places",
};

export function treeView(tree: Tree): HTMLElement {
  const calls = new Map(tree.nodes.map((call) => [call.id, call]));
  const roots = tree.nodes.filter((call) => !call.parent || !calls.has(call.parent));
  const span = range(tree.nodes);
  const hues = new Map<string, number>();
  for (const call of tree.nodes) hues.set(call.service ?? "", hues.get(call.service ?? "") ?? hues.size % 8);

  const body = h("tbody");
  const rows: Row[] = [];
  const seen = new Set<string>();
  // An explicit stack: real trees are thousands of calls deep or wide.
  const stack: [Call, number][] = roots.map((call): [Call, number] => [call, 0]).reverse();
  while (stack.length > 0) {
    const [call, level] = stack.pop() as [Call, number];
    if (seen.has(call.id)) continue;
    seen.add(call.id);
    const row: Row = { call, level, element: h("tr"), details: null, open: true };
    rows.push(row);
    const children = call.children.flatMap((id) => calls.get(id) ?? []);
    for (const child of [...children].reverse()) stack.push([child, level + 1]);
  }
  rows.forEach((row, at) => {
    fill(row, hasChildren(rows, at), span, hues.get(row.call.service ?? "") ?? 0, () => fold(rows, at));
    body.append(row.element);
  });

  const notes = h("ul", { class: "notes" });
  for (const warning of tree.warnings) notes.append(h("li", {}, warning));
  return h(
    "div",
    { class: "tree" },
    summary(tree, span),
    notes.childElementCount > 0 && notes,
    h(
      "div",
      { class: "scroll" },
      h(
        "table",
        { class: "calls" },
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", { scope: "col" }, "Call"),
            h("th", { scope: "col" }, "Evidence"),
            h("th", { scope: "col" }, "Host"),
            h("th", { scope: "col", class: "number", title: "sent to received; corrected for clock skew" }, "Latency"),
            h("th", { scope: "col", class: "number" }, "Duration"),
            h("th", { scope: "col", class: "bars" }, scale(span)),
          ),
        ),
        body,
      ),
    ),
  );
}

function summary(tree: Tree, span: Range): HTMLElement {
  const services = new Set(tree.nodes.map((call) => call.service).filter(Boolean)).size;
  const failed = tree.nodes.filter((call) => failure(call) !== null).length;
  return h(
    "p",
    { class: "facts" },
    fact("calls", String(tree.nodes.length)),
    fact("services", String(services)),
    fact("took", duration(Number(span.end - span.start))),
    failed > 0 && h("span", { class: "badge failed" }, failed === 1 ? "1 error" : `${failed} errors`),
    !tree.complete && h("span", { class: "badge inferred", title: "parts are inferred or missing" }, "incomplete"),
    // Said by the badges before it.
    ...tree.flags.filter((flag) => flag !== "error").map((flag) => h("span", { class: "badge" }, flag)),
    ...tree.links.map((link) =>
      h("a", { href: `#/request/${link.origin}`, title: "a related request, no caller" }, `linked to ${short(link.origin)}`),
    ),
  );
}

function fact(name: string, value: string): HTMLElement {
  return h("span", { class: "fact" }, h("span", { class: "label" }, name), " ", value);
}

function fill(row: Row, parent: boolean, span: Range, hue: number, toggle: () => void): void {
  const { call, level, element } = row;
  const failed = failure(call);
  element.className = `call ${call.evidence}${failed === null ? "" : " failed"}`;
  const fold = parent
    ? h("button", { class: "fold", "aria-expanded": "true", "aria-label": "calls below", click: (event) => { event.stopPropagation(); toggle(); } })
    : h("span", { class: "leaf" });
  const indent = styled(h("span", { class: "indent" }), { "--level": String(Math.min(level, 24)) });
  const opener = h(
    "button",
    { class: "name", "aria-expanded": "false", click: () => details(row, opener) },
    h("span", { class: `service hue-${hue}` }, call.service ?? "unknown"),
    " ",
    h("span", { class: "operation" }, call.operation ?? ""),
  );
  const evidence = h("span", { class: `badge ${call.evidence}`, title: evidenceTitle(call) }, call.evidence);
  const latency = call.latency_in === null ? "" : duration(call.latency_in);
  add(element, [
    h("td", { class: "what" }, h("div", { class: "line" }, indent, fold, opener)),
    h("td", {}, evidence),
    h("td", { class: "host" }, call.host ?? ""),
    h("td", { class: "number" }, latency),
    h("td", { class: "number" }, call.duration === null ? "—" : duration(call.duration)),
    h("td", { class: "bars" }, bar(call, span, hue, failed !== null)),
  ]);
}

function bar(call: Call, span: Range, hue: number, failed: boolean): HTMLElement {
  const track = h("div", { class: "track" });
  const whole = Number(span.end - span.start);
  if (call.start !== null && whole > 0) {
    const left = Number(nanoseconds(call.start) - span.start) / whole;
    const width = (call.duration ?? 0) / whole;
    const title = `${clock(call.start)}, ${duration(call.duration) || "end unknown"}`;
    const shown = h("div", { class: `bar hue-${hue}${failed ? " failed" : ""}${call.duration === null ? " open" : ""}`, title });
    track.append(styled(shown, { "--left": `${(left * 100).toFixed(3)}%`, "--width": `${(width * 100).toFixed(3)}%` }));
  }
  return track;
}

// What a call holds beside its row; opened by its name.
function details(row: Row, opener: HTMLElement): void {
  if (row.details) {
    row.details.remove();
    row.details = null;
    opener.setAttribute("aria-expanded", "false");
    return;
  }
  const { call } = row;
  const list = h("dl", { class: "details" });
  const show = (name: string, value: unknown) => {
    if (value === null || value === undefined || value === "") return;
    list.append(h("dt", {}, name), h("dd", {}, text(value)));
  };
  const parts = (name: string, parts: Part[]) => {
    for (const part of parts) {
      const ended = part.duration === null ? "end unknown" : duration(part.duration);
      show(name, [part.operation, `${part.service} on ${part.host}`, ended, part.error].filter(Boolean).join(" · "));
    }
  };
  show("error", failure(call));
  show("evidence", `${call.evidence}: ${EVIDENCE[call.evidence]}`);
  show("inferred from", call.inferred_from);
  if (call.levels_lost > 0) show("levels lost", call.levels_lost);
  show("candidates", call.candidates.join(", "));
  show("status", call.status);
  parts("did", call.actions ?? []);
  parts("delivered to", call.deliveries ?? []);
  show("flags", (call.flags ?? []).join(", "));
  show("interaction", call.id);
  show("depth", call.depth);
  show("start", call.start === null ? null : `${call.start} (corrected)`);
  show("start on its host's clock", call.start_raw);
  if (call.skew_bound !== null) show("clock correction within", `± ${duration(call.skew_bound)}`);
  show("work", call.work);
  for (const [name, value] of Object.entries(call.attributes ?? {})) show(name, value);
  row.details = h("tr", { class: "more" }, h("td", { colspan: 6 }, list));
  row.element.after(row.details);
  opener.setAttribute("aria-expanded", "true");
}

// Hides or shows everything below a call.
function fold(rows: Row[], at: number): void {
  const row = rows[at];
  if (!row) return;
  row.open = !row.open;
  row.element.querySelector(".fold")?.setAttribute("aria-expanded", String(row.open));
  let hidden = Number.POSITIVE_INFINITY;
  for (let below = at; below < rows.length; below++) {
    const other = rows[below] as Row;
    if (below > at && other.level <= row.level) break;
    if (below > at) {
      const show = other.level <= hidden;
      other.element.hidden = !show;
      if (other.details) other.details.hidden = !show;
      if (!show) continue;
    }
    hidden = other.open ? Number.POSITIVE_INFINITY : other.level;
  }
}

const hasChildren = (rows: Row[], at: number) => (rows[at + 1]?.level ?? 0) > (rows[at]?.level ?? 0);

interface Range {
  start: bigint;
  end: bigint;
}

function range(calls: Call[]): Range {
  let start: bigint | null = null;
  let end = 0n;
  for (const call of calls) {
    if (call.start === null) continue;
    const from = nanoseconds(call.start);
    const to = from + BigInt(Math.max(0, Math.round(call.duration ?? 0)));
    start = start === null || from < start ? from : start;
    end = to > end ? to : end;
  }
  return { start: start ?? 0n, end: start === null ? 0n : end };
}

function scale(span: Range): HTMLElement {
  const whole = Number(span.end - span.start);
  return h("div", { class: "scale" }, h("span", {}, "0"), h("span", {}, duration(whole / 2)), h("span", {}, duration(whole)));
}

function failure(call: Call): string | null {
  if (call.error) return call.error;
  return call.outcome === "error" ? "failed" : null;
}

function evidenceTitle(call: Call): string {
  const lost = call.levels_lost ? ` (${call.levels_lost} lost)` : "";
  return EVIDENCE[call.evidence] + lost;
}

function text(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value) ?? "";
}

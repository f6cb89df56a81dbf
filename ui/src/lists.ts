// The first view: latest visits and latest requests, kept fresh.

import * as api from "./api";
import { h } from "./dom";
import { ago, clock, duration, short } from "./format";
import type { List, RequestRow, SessionRow } from "./types";

const REFRESH_MS = 2000;
const PAGE = 50;
const ROWS_MAX = 1000;

export interface View {
  element: HTMLElement;
  stop(): void;
}

export function overview(onHealth: (problem: string | null) => void): View {
  const filter = filterBar(() => requests.restart());
  const visits = new Table<SessionRow>(
    ["Last action", "Visit", "Client", "Actions", "Begun"],
    (cursor, limit, signal) => api.sessions({ limit: String(limit), ...(cursor ? { cursor } : {}) }, signal),
    (row) => row.session,
    sessionRow,
    "No visits yet. Send requests through the gateway, and they appear here.",
  );
  const requests = new Table<RequestRow>(
    ["Started", "Request", "Service", "Operation", "Calls", "Duration"],
    (cursor, limit, signal) => api.requests({ ...filter.value(), limit: String(limit), cursor }, signal),
    (row) => row.origin,
    requestRow,
    "No requests here.",
  );
  const stop = new AbortController();
  let timer = 0;
  const round = async () => {
    if (!document.hidden) {
      try {
        await Promise.all([visits.refresh(stop.signal), requests.refresh(stop.signal)]);
        onHealth(null);
      } catch (error) {
        if (stop.signal.aborted) return;
        onHealth(error instanceof Error ? error.message : String(error));
      }
    }
    if (!stop.signal.aborted) timer = window.setTimeout(() => void round(), REFRESH_MS);
  };
  void round();
  void filter.load(stop.signal);
  return {
    element: h(
      "div",
      { class: "overview" },
      h("section", {}, h("header", {}, h("h2", {}, "Latest visits")), visits.element),
      h("section", {}, h("header", {}, h("h2", {}, "Latest requests"), filter.element), requests.element),
    ),
    stop() {
      stop.abort();
      window.clearTimeout(timer);
    },
  };
}

function sessionRow(row: SessionRow): HTMLElement[] {
  return [
    time(row.last),
    h("td", {}, h("a", { class: "mono", href: `#/session/${row.session}`, title: row.session }, short(row.session))),
    h("td", { class: "mono quiet", title: row.client ?? "" }, row.client ? short(row.client) : ""),
    h("td", { class: "number" }, row.entries.toLocaleString("en")),
    h("td", { class: "quiet" }, clock(row.first)),
  ];
}

function requestRow(row: RequestRow): HTMLElement[] {
  return [
    time(row.start),
    h("td", {}, h("a", { class: "mono", href: `#/request/${row.origin}`, title: row.origin }, short(row.origin))),
    h("td", {}, row.service),
    h(
      "td",
      { class: "operation", title: row.operation },
      row.operation,
      row.error && h("span", { class: "badge failed" }, "error"),
      ...row.flags.filter((flag) => flag !== "error" || !row.error).map((flag) => h("span", { class: "badge" }, flag)),
    ),
    h("td", { class: "number" }, row.nodes),
    h("td", { class: "number" }, row.duration === null ? "—" : duration(row.duration)),
  ];
}

function time(at: string): HTMLElement {
  return h("td", { class: "time", title: at }, h("time", { datetime: at }, ago(at, Date.now())));
}

// A list that grows at its end by hand and at its start by itself. Rows that did not change keep
// their elements, so that a refresh disturbs neither focus nor selection.
class Table<Row> {
  readonly element: HTMLElement;
  private readonly body = h("tbody");
  private readonly more = h("button", { class: "more", hidden: true, click: () => void this.grow() }, "Show more");
  private readonly note = h("p", { class: "empty", hidden: true });
  private shown = new Map<string, { json: string; element: HTMLTableRowElement; time: string }>();
  private limit = PAGE;
  private round = 0;

  constructor(
    heads: string[],
    private readonly ask: (cursor: string | undefined, limit: number, signal?: AbortSignal) => Promise<List<Row>>,
    private readonly key: (row: Row) => string,
    private readonly cells: (row: Row) => HTMLElement[],
    private readonly empty: string,
  ) {
    const numbers = new Set(["Actions", "Calls", "Duration"]);
    const head = heads.map((name) => h("th", { scope: "col", class: numbers.has(name) ? "number" : "" }, name));
    this.element = h("div", { class: "list" }, h("table", {}, h("thead", {}, h("tr", {}, ...head)), this.body), this.note, this.more);
  }

  restart(): void {
    this.limit = PAGE;
    this.refresh().catch(() => undefined);
  }

  async refresh(signal?: AbortSignal): Promise<void> {
    const round = ++this.round;
    const answer = await this.ask(undefined, this.limit, signal);
    // A later question (another filter) has overtaken this one.
    if (round !== this.round) return;
    const next = new Map<string, { json: string; element: HTMLTableRowElement; time: string }>();
    for (const row of answer.rows) {
      const key = this.key(row);
      const json = JSON.stringify(row);
      const held = this.shown.get(key);
      if (held?.json === json) {
        const time = held.element.querySelector("time");
        if (time) time.textContent = ago(held.time, Date.now());
        next.set(key, held);
      } else {
        const element = h("tr", {}, ...this.cells(row));
        next.set(key, { json, element, time: element.querySelector("time")?.getAttribute("datetime") ?? "" });
      }
    }
    let at = this.body.firstElementChild;
    for (const { element } of next.values()) {
      if (element === at) at = at.nextElementSibling;
      else this.body.insertBefore(element, at);
    }
    while (at) {
      const after = at.nextElementSibling;
      at.remove();
      at = after;
    }
    this.shown = next;
    this.note.hidden = next.size > 0;
    this.note.textContent = this.empty;
    this.more.hidden = answer.next === null || this.limit >= ROWS_MAX;
  }

  private async grow(): Promise<void> {
    this.limit = Math.min(ROWS_MAX, this.limit * 4);
    await this.refresh().catch(() => undefined);
  }
}

interface Filter {
  element: HTMLElement;
  value(): api.RequestFilter;
  load(signal: AbortSignal): Promise<void>;
}

function filterBar(changed: () => void): Filter {
  const service = h("select", { "aria-label": "service", change: changed }, h("option", { value: "" }, "all services"));
  const slow = h("select", { "aria-label": "duration", change: changed });
  for (const [value, name] of [["", "any duration"], ["10ms", "over 10 ms"], ["100ms", "over 100 ms"], ["1s", "over 1 s"]] as const) {
    slow.append(h("option", { value }, name));
  }
  const failed = h("input", { type: "checkbox", change: changed });
  return {
    element: h("div", { class: "filter" }, service, slow, h("label", {}, failed, " errors only")),
    value: () => ({
      service: service.value || undefined,
      min_duration: slow.value || undefined,
      error: failed.checked ? "true" : undefined,
    }),
    async load(signal) {
      const rows = await api.services(signal).catch(() => []);
      for (const row of rows) service.append(h("option", { value: row.service }, row.service));
    },
  };
}

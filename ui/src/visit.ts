// A visit: its actions in order, side by side where they were concurrent, each opening into the
// call tree of what it caused.

import * as api from "./api";
import { treeView } from "./calltree";
import { h, svg } from "./dom";
import { clock, count, duration, short } from "./format";
import { type Place, places, position } from "./lanes";
import type { Action, Timeline } from "./types";

const LANE = 14;
const ROW = 34;
const LANES_SHOWN = 16;

// The view; `opened` names an action to open and show.
export function visitView(timeline: Timeline, opened: string): HTMLElement {
  const actions = timeline.entries;
  const placed = places(actions);
  const lanes = Math.min(LANES_SHOWN, Math.max(1, ...placed.map((place) => place.lanes.length)));
  const body = h("div", { class: "actions", role: "list" });
  const rows = new Map<string, HTMLElement>();
  actions.forEach((action, at) => {
    const place = placed[at] as Place;
    const row = actionRow(timeline.session, action, at, place, lanes);
    rows.set(position(action), row);
    body.append(row);
  });
  const shown = rows.get(opened);
  if (shown) {
    shown.querySelector<HTMLElement>(".open")?.click();
    window.requestAnimationFrame(() => shown.scrollIntoView({ block: "center" }));
  }
  // Pointing at an action shows what it was concurrent with.
  const mark = (target: EventTarget | null, on: boolean) => {
    const row = target instanceof Element ? target.closest<HTMLElement>(".action") : null;
    const action = actions[Number(row?.dataset["at"] ?? -1)];
    if (!action) return;
    for (const other of action.concurrent_with) rows.get(other)?.classList.toggle("beside", on);
    for (const other of action.unproven_with) rows.get(other)?.classList.toggle("doubtful", on);
  };
  body.addEventListener("mouseover", (event) => mark(event.target, true));
  body.addEventListener("mouseout", (event) => mark(event.target, false));

  const servers = new Set(actions.map((action) => action.server)).size;
  const concurrent = actions.filter((action) => action.concurrent_with.length > 0).length;
  const unproven = actions.filter((action) => action.unproven_with.length > 0).length;
  return h(
    "div",
    { class: "visit" },
    h(
      "p",
      { class: "facts" },
      fact("client", timeline.client ?? "unknown", true),
      fact("actions", actions.length.toLocaleString("en")),
      fact("servers", String(servers)),
      concurrent > 0 && fact("concurrent", String(concurrent)),
      unproven > 0 && fact("unproven", String(unproven)),
    ),
    actions.length === 0 ? h("p", { class: "empty" }, "No action of this visit has arrived yet.") : body,
  );
}

function fact(name: string, value: string, mono = false): HTMLElement {
  return h("span", { class: "fact" }, h("span", { class: "label" }, name), " ", h("span", mono ? { class: "mono" } : {}, value));
}

function actionRow(session: string, action: Action, at: number, place: Place, lanes: number): HTMLElement {
  const row = h("div", { class: `action ${action.outcome}`, role: "listitem", "data-at": at });
  if (place.lanes.length > 1) row.classList.add("group");
  if (place.lanes.length > 1 && at === place.first) row.classList.add("group-first");
  if (place.lanes.length > 1 && at === place.last) row.classList.add("group-last");
  const panel = h("div", { class: "panel", hidden: true });
  const opener = h(
    "button",
    { class: "open", "aria-expanded": "false", title: action.origin === null ? "no request is known" : "show the call tree" },
    h("span", { class: "counter" }, action.ordering === null ? "" : String(action.ordering[0])),
    gutter(action, at, place, lanes),
    h("span", { class: "what" }, action.action),
    h("span", { class: "note" }, note(action, place, at)),
    h("span", { class: "server" }, action.server),
    h("span", { class: "status" }, outcome(action)),
    h("span", { class: "number" }, action.duration === null ? "—" : duration(action.duration)),
    h("time", { class: "time", datetime: action.received, title: action.received }, clock(action.received)),
  );
  opener.addEventListener("click", () => void toggle(session, action, opener, panel));
  row.append(opener, panel);
  return row;
}

// The lanes of a row: a dot where its action stands, a strong line from a lane's first action to
// its last, a faint one as far as its group goes.
function gutter(action: Action, at: number, place: Place, lanes: number): SVGElement {
  const drawing = svg("svg", { class: "lanes", width: lanes * LANE + 6, height: ROW, "aria-hidden": "true" });
  const x = (lane: number) => lane * LANE + LANE / 2 + 3;
  const line = (x1: number, x2: number, y1: number, y2: number, kind: string) =>
    drawing.append(svg("line", { x1, x2, y1, y2, class: kind }));
  const shown = place.lanes.slice(0, LANES_SHOWN);
  const alone = shown.length === 1;
  shown.forEach(([first, last], lane) => {
    line(x(lane), x(lane), 0, ROW, alone ? "lane" : "lane faint");
    if (alone || at < first || at > last || first === last) return;
    line(x(lane), x(lane), at === first ? ROW / 2 : 0, at === last ? ROW / 2 : ROW, "lane");
  });
  // Where a group begins its lanes part, and where it ends they meet again.
  if (!alone && at === place.first) line(x(0), x(shown.length - 1), 0.5, 0.5, "lane faint");
  if (!alone && at === place.last) line(x(0), x(shown.length - 1), ROW - 0.5, ROW - 0.5, "lane faint");
  const doubtful = action.unproven_with.length > 0 ? " doubtful" : "";
  const lane = Math.min(place.lane, LANES_SHOWN - 1);
  drawing.append(svg("circle", { cx: x(lane), cy: ROW / 2, r: 4.5, class: `dot ${action.outcome}${doubtful}` }));
  return drawing;
}

function note(action: Action, place: Place, at: number): string {
  const notes: string[] = [];
  if (place.lanes.length > 1 && at === place.first) {
    const count = place.last - place.first + 1;
    const width = place.lanes.length;
    notes.push(count === width ? `${count} side by side` : `${count} actions, up to ${width} side by side`);
  }
  if (action.unproven_with.length > 0) notes.push("order unproven");
  if (action.unseen.length > 0) notes.push("answered before it saw all");
  notes.push(...action.flags);
  return notes.join(" · ");
}

function outcome(action: Action): string {
  if (action.outcome === "unknown") return "outcome unknown";
  return action.status ? String(action.status) : action.outcome;
}

async function toggle(session: string, action: Action, opener: HTMLElement, panel: HTMLElement): Promise<void> {
  const open = panel.hidden;
  panel.hidden = !open;
  opener.setAttribute("aria-expanded", String(open));
  if (!open || panel.childElementCount > 0) return;
  const place = h("div", { class: "loading" }, action.origin === null ? "No request is known." : "Loading the call tree…");
  panel.append(place, entry(session, action));
  if (action.origin === null) return;
  try {
    place.replaceWith(treeView(await api.tree(action.origin)));
  } catch (error) {
    place.className = "problem";
    place.textContent = error instanceof Error ? error.message : String(error);
  }
}

// What the entry itself says.
function entry(session: string, action: Action): HTMLElement {
  const list = h("dl", { class: "details" });
  const show = (name: string, ...value: (Node | string)[]) => list.append(h("dt", {}, name), h("dd", {}, ...value));
  show("application", `${action.service} ${action.version}`.trim());
  const link = `#/session/${session}/${position(action)}`;
  show("position", h("a", { class: "mono", href: link, title: "a link to this action" }, position(action)));
  if (action.origin !== null) {
    show("request", h("a", { href: `#/request/${action.origin}`, class: "mono" }, action.origin));
  }
  if (action.after.length > 0) show("follows", ...lines(action.after));
  if (action.concurrent_with.length > 0) show("concurrent with", ...lines(action.concurrent_with));
  if (action.unproven_with.length > 0) show("unproven against", ...lines(action.unproven_with));
  if (action.unseen.length > 0) show("not seen in time", ...lines(action.unseen));
  if (action.error !== null) show("error", action.error);
  show("asked", h("code", {}, data(action.request)));
  show("answered", h("code", {}, data(action.response)));
  for (const [name, value] of Object.entries(action.attributes)) show(name, value);
  return list;
}

function lines(positions: string[]): HTMLElement[] {
  const shown = positions.slice(0, 8).map((other) => h("div", { class: "mono" }, other));
  if (positions.length > 8) shown.push(h("div", {}, `and ${positions.length - 8} more`));
  return shown;
}

// The kept data, without what is empty.
function data(kept: Record<string, unknown>): string {
  const told = Object.entries(kept).filter(([, value]) => value !== null && value !== false);
  return told.map(([name, value]) => `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`).join("\n") || "nothing kept";
}

export function visitTitle(timeline: Timeline): string {
  return `Visit ${short(timeline.session)}, ${count(timeline.entries.length, "action", "actions")}`;
}

const REFRESH_MS = 3000;

// Asks again until `signal` says to stop. What changed is shown at once, unless an action is open
// to be read: then a button says that there is more.
export function follow(
  timeline: Timeline,
  signal: AbortSignal,
  show: (timeline: Timeline) => HTMLElement,
  view: HTMLElement,
): void {
  let shown = JSON.stringify(timeline);
  const more = h("button", { class: "more", hidden: true }, "This visit went on: show it");
  let newest = timeline;
  const take = () => {
    more.hidden = true;
    shown = JSON.stringify(newest);
    const next = show(newest);
    view.replaceWith(next);
    view = next;
    view.append(more);
  };
  more.addEventListener("click", take);
  view.append(more);
  const round = async () => {
    if (!document.hidden) {
      try {
        newest = await api.timeline(timeline.session, signal);
        const reading = view.querySelector(".panel:not([hidden])") !== null;
        if (JSON.stringify(newest) !== shown) {
          if (reading) more.hidden = false;
          else if (!signal.aborted) take();
        }
      } catch {
        // The next round asks again; the overview says when the repository is away.
      }
    }
    if (!signal.aborted) window.setTimeout(() => void round(), REFRESH_MS);
  };
  window.setTimeout(() => void round(), REFRESH_MS);
}

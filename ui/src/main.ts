// The page: an address after # names the view, so every view is a link.
//   #/                      latest visits and requests
//   #/session/ID            a visit
//   #/session/ID/POSITION   a visit, one of its actions open
//   #/request/ORIGIN        a request's call tree
//   #/paths                 the ways that requests go
//   #/audit, #/audit/QUERY  who consumed what
//   #/proof/QUERY           the requests that a line of the audit counts

import { auditView, pathsView, proofView } from "./analysis";
import * as api from "./api";
import { treeView } from "./calltree";
import { h } from "./dom";
import { type View, overview } from "./lists";
import type { Timeline } from "./types";
import { follow, visitTitle, visitView } from "./visit";

const HEX_ID = /^[0-9a-f]{32}$/;

const HEADINGS: Record<string, string> = {
  session: "Visit ",
  request: "Request ",
  paths: "Call paths",
  audit: "Who consumed what",
  proof: "Requests that prove it",
};

const main = h("main", {});
const health = h("span", { class: "health", role: "status" });
const search = h("input", {
  type: "search",
  placeholder: "Session or request id",
  "aria-label": "session or request id",
  spellcheck: "false",
  autocomplete: "off",
});
const form = h("form", { role: "search", submit: (event) => { event.preventDefault(); void find(search.value.trim()); } }, search);

document.body.append(
  h("header", { class: "top" }, h("a", { class: "brand", href: "#/" }, "Selvedge"), nav(), health, form),
  main,
);

let current: View | null = null;
let visit = 0;

window.addEventListener("hashchange", () => void route());
void route();

async function route(): Promise<void> {
  const turn = ++visit;
  current?.stop();
  current = null;
  const [, kind, id, ...rest] = location.hash.replace(/^#/, "").split("/");
  if (!kind) {
    document.title = "Selvedge";
    current = overview(showHealth);
    main.replaceChildren(current.element);
    return;
  }
  const named = kind === "session" || kind === "request";
  const heading = h("h1", {}, HEADINGS[kind] ?? "", named && h("span", { class: "mono" }, id ?? ""));
  const place = h("div", { class: "loading" }, "Loading…");
  main.replaceChildren(h("nav", { class: "crumbs" }, h("a", { href: "#/" }, "Latest")), heading, place);
  const leave = new AbortController();
  current = { element: main, stop: () => leave.abort() };
  try {
    const view = await load(kind, id ?? "", rest.join("/"), leave.signal);
    if (turn !== visit) return;
    place.replaceWith(view);
    showHealth(null);
  } catch (error) {
    if (turn !== visit) return;
    place.className = "problem";
    place.textContent = error instanceof Error ? error.message : String(error);
  }
}

async function load(kind: string, id: string, rest: string, left: AbortSignal): Promise<HTMLElement> {
  if (kind === "session") {
    const timeline = await api.timeline(id);
    const show = (timeline: Timeline, opened = "") => {
      document.title = visitTitle(timeline);
      return visitView(timeline, opened);
    };
    const view = show(timeline, rest);
    follow(timeline, left, show, view);
    return view;
  }
  if (kind === "request") {
    const tree = await api.tree(id);
    document.title = `Request ${id.slice(0, 8)}`;
    return treeView(tree);
  }
  if (kind === "paths" || kind === "audit" || kind === "proof") {
    document.title = `Selvedge: ${HEADINGS[kind]?.toLowerCase() ?? kind}`;
    const query = decodeURIComponent(id);
    return kind === "paths" ? pathsView() : kind === "audit" ? auditView(query) : proofView(query);
  }
  throw new Error(`There is no view called “${kind}”.`);
}

function nav(): HTMLElement {
  return h("nav", { class: "views" }, h("a", { href: "#/paths" }, "Paths"), h("a", { href: "#/audit" }, "Audit"));
}

// An id alone does not say what it is of: a session is asked for first.
async function find(id: string): Promise<void> {
  if (!HEX_ID.test(id)) {
    showHealth("An id has 32 lower-case hex digits.");
    return;
  }
  const isSession = await api.timeline(id).then(
    () => true,
    () => false,
  );
  location.hash = isSession ? `#/session/${id}` : `#/request/${id}`;
}

function showHealth(problem: string | null): void {
  health.className = problem === null ? "health" : "health bad";
  health.textContent = problem ?? "";
}

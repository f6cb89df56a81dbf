// The page of the interactive channel: plays the stream, votes and orders, and shows what the
// indications *in the video* say, when the picture that they belong to is on.
import Hls from "hls.js/light";
import { h } from "./dom";
import { values } from "./id3";

const STREAM = "/selvedge/channel/channel.m3u8";

interface Indication {
  id: string;
  rule: string;
  group: string | null;
  state: "raised" | "cleared";
  value: number;
  at: string;
  placed: string;
  repeat: boolean;
}

// A content server's broadcast, in the video.
interface Carried {
  broadcast: string;
  content_type: string;
  content: string;
}

const element = <T extends HTMLElement>(id: string): T => {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element ${id}`);
  return found as T;
};

const video = element<HTMLVideoElement>("video");
const overlay = element("overlay");

// What has come and is not due yet, by the player's time.
let coming: { due: number; act: () => void }[] = [];
// The state of each rule and group that is on.
const states = new Map<string, Indication>();
const seen = new Set<string>();

function take(data: Uint8Array, due: number): void {
  for (const text of values(data)) {
    const said = JSON.parse(text) as Partial<Indication & Carried>;
    if (typeof said.id === "string") coming.push({ due, act: () => act(said as Indication) });
    else if (typeof said.content === "string") coming.push({ due, act: () => comeOn(said as Carried) });
  }
  coming.sort((a, b) => a.due - b.due);
}

// What a viewer ordered to be broadcast comes on; it is carried more than once.
function comeOn(said: Carried): void {
  if (seen.has(said.broadcast)) return;
  seen.add(said.broadcast);
  if (said.content_type !== "application/json") return;
  const { now } = JSON.parse(said.content) as { now?: { content: string } };
  element("content").hidden = !now;
  element("content").textContent = now ? `On now: ${now.content}` : "";
  element("content").dataset.broadcast = said.broadcast;
}

function act(said: Indication): void {
  states.set(`${said.rule}\n${said.group ?? ""}`, said);
  // Heartbeats say again what was said; a receiver acts on an id once.
  if (seen.has(said.id)) return;
  seen.add(said.id);
  const late = (Date.now() - Date.parse(said.at)) / 1000;
  const what = `${said.rule}${said.group === null ? "" : `: ${said.group}`} ${said.state} at ${said.value}`;
  element("indications").prepend(h("li", { "data-id": said.id }, `${what}, ${late.toFixed(1)} s after the crossing`));
}

function show(): void {
  const now = video.currentTime;
  const due = coming.filter((one) => one.due <= now);
  coming = coming.filter((one) => one.due > now);
  for (const one of due) {
    try {
      one.act();
    } catch (error) {
      // What one says wrong must not silence the next.
      console.warn(error);
    }
  }
  const raised = [...states.values()].filter((said) => said.state === "raised");
  const last = raised.sort((a, b) => a.at.localeCompare(b.at)).at(-1);
  overlay.hidden = last === undefined;
  overlay.className = last?.group ?? "";
  const text = last === undefined ? "" : `${last.group ?? last.rule} is ahead: ${last.value} votes`;
  if (overlay.textContent !== text) overlay.textContent = text;
  overlay.dataset.id = last?.id ?? "";
  requestAnimationFrame(show);
}

function play(): void {
  if (!Hls.isSupported()) {
    say("this browser cannot play the stream", true);
    return;
  }
  const hls = new Hls({ enableWorker: false, liveSyncDurationCount: 2, liveMaxLatencyDurationCount: 6 });
  hls.on(Hls.Events.FRAG_PARSING_METADATA, (_, { samples }) => {
    for (const sample of samples) take(sample.data, sample.pts);
  });
  hls.on(Hls.Events.ERROR, (_, { fatal, type }) => {
    if (!fatal) return;
    if (type === Hls.ErrorTypes.MEDIA_ERROR) hls.recoverMediaError();
    // The channel may begin later, or be back soon.
    else setTimeout(() => hls.loadSource(STREAM), 1000);
  });
  hls.loadSource(STREAM);
  hls.attachMedia(video);
  // A browser may want a click before it plays.
  hls.on(Hls.Events.MANIFEST_PARSED, () => void video.play().catch(() => say("press play")));
  requestAnimationFrame(show);
}

function say(text: string, no = false): void {
  element("said").textContent = text;
  element("said").className = no ? "no" : "";
}

async function call<T>(path: string, body?: unknown): Promise<T> {
  const headers = { accept: "application/json", "content-type": "application/json" };
  const post = { method: "POST", headers, body: JSON.stringify(body) };
  const response = await fetch(path, body === undefined ? { headers } : post);
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error?.message ?? `the server answered ${response.status}`);
  return answer as T;
}

interface Shop {
  now: { content: string } | null;
  votes: Record<string, number>;
  items: { id: string; name: string; price_cents: number }[];
}

async function refresh(): Promise<void> {
  const shop = await call<Shop>("/channel");
  element("votes").textContent = Object.entries(shop.votes)
    .map(([choice, count]) => `${choice} ${count}`)
    .join(" · ");
  const item = (it: Shop["items"][number]) =>
    h("li", {}, h("button", { click: () => void doIt(() => order(it.id, it.name)) }, "Order"),
      ` ${it.name}, ${(it.price_cents / 100).toFixed(2)}`);
  element("items").replaceChildren(...shop.items.map(item));
}

async function doIt(action: () => Promise<string>): Promise<void> {
  try {
    say(await action());
    await refresh();
  } catch (error) {
    say(error instanceof Error ? error.message : String(error), true);
  }
}

async function order(item: string, name: string): Promise<string> {
  const { server } = await call<{ server: string }>("/orders", { item, quantity: 1 });
  return `${name} ordered, at ${server}`;
}

for (const button of document.querySelectorAll<HTMLElement>("[data-vote]")) {
  button.addEventListener("click", () => void doIt(async () => {
    const choice = button.dataset.vote ?? "";
    const { server } = await call<{ server: string }>("/vote", { choice });
    return `voted ${choice}, at ${server}`;
  }));
}

element("broadcast").addEventListener("submit", (event) => {
  event.preventDefault();
  const wanted = element<HTMLInputElement>("wanted");
  void doIt(async () => {
    const content = wanted.value;
    const { server } = await call<{ server: string }>("/broadcast", { content });
    wanted.value = "";
    return `${content} is ordered, at ${server}`;
  });
});

// What is broadcast comes on when the video brings it; here the visit goes on from it: a head of the
// visit's goes to the cookies, which scripts cannot touch.
new EventSource("/selvedge/broadcast").addEventListener("broadcast", async (event: MessageEvent<string>) => {
  const told = JSON.parse(event.data) as { head?: string };
  if (told.head) {
    await fetch("/selvedge/broadcast", { method: "POST", headers: { "selvedge-session": told.head } });
  }
});

play();
refresh().catch((error: Error) => say(error.message, true));

// Tests of what the page computes, without a browser: npm test.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";

const out = await mkdtemp(join(tmpdir(), "selvedge-ui-"));
after(() => rm(out, { recursive: true }));
await build({ entryPoints: ["src/lanes.ts", "src/format.ts", "src/analysis.ts"], bundle: true, format: "esm", outdir: out, outExtension: { ".js": ".mjs" } });
const load = (name) => import(pathToFileURL(join(out, `${name}.mjs`)).href);
const { places } = await load("lanes");
const { duration, nanoseconds } = await load("format");
const { handled, stepName } = await load("analysis");

const action = (sequence, beside) => ({
  server: "a",
  epoch: "1-0",
  sequence,
  concurrent_with: beside.map((other) => `a/1-0/${other}`),
  unproven_with: [],
});
const lanes = (actions) => places(actions).map((place) => place.lane);

test("actions in order stand in one lane", () => {
  assert.deepEqual(lanes([action(1, []), action(2, []), action(3, [])]), [0, 0, 0]);
});

test("concurrent actions stand side by side, and what follows returns to the first lane", () => {
  const actions = [action(1, []), action(2, [3, 4]), action(3, [2, 4]), action(4, [2, 3]), action(5, [])];
  assert.deepEqual(lanes(actions), [0, 0, 1, 2, 0]);
  const { first, last } = places(actions)[2];
  assert.deepEqual([first, last], [1, 3]);
});

test("an action takes the lane of one that it is not concurrent with", () => {
  // 1 runs beside 2 and 3; 3 follows 2.
  assert.deepEqual(lanes([action(1, [2, 3]), action(2, [1]), action(3, [1])]), [0, 1, 1]);
});

test("times keep their nanoseconds", () => {
  assert.equal(nanoseconds("2026-11-20T19:05:00.123456789Z"), 1795201500123456789n);
  assert.equal(nanoseconds("2026-11-20T19:05:00Z") % 1_000_000_000n, 0n);
  assert.equal(nanoseconds("nonsense"), 0n);
});

test("durations are short", () => {
  assert.deepEqual([999, 1500, 20_000_000, 1_234_000_000, -450_000].map(duration), ["999 ns", "1.50 µs", "20.0 ms", "1.23 s", "−450 µs"]);
});

test("a line says how many calls were handled, as far as anybody knows", () => {
  const line = (calls_min, calls_max) => handled({ calls: 5, calls_min, calls_max });
  assert.deepEqual([line(5, 5), line(4, 9), line(5, null)], ["all", "4 to 9", "5 or more"]);
});

test("a step of a path is named as far as it is known", () => {
  assert.equal(stepName({ service: "stock", operation: "GET /" }), "stock GET /");
  assert.equal(stepName({ service: null, operation: null }), "?");
});

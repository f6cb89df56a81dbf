// Where a visit's actions stand side by side.
//
// The actions come sorted by ordering id. A *group* is a run of them that concurrency holds
// together; within a group each action takes the first lane in which it is concurrent with
// nothing, so two actions side by side were sent without knowing of each other, and one below
// another in the same lane followed it.

import type { Action } from "./types";

export const position = (action: Action) => `${action.server}/${action.epoch}/${action.sequence}`;

export interface Place {
  lane: number;
  // The rows of its group, first and last.
  first: number;
  last: number;
  // Lanes of its group, each with its first and last row.
  lanes: [number, number][];
}

export function places(actions: Action[]): Place[] {
  const rows = new Map(actions.map((action, row) => [position(action), row]));
  const beside = actions.map((action) => {
    const others = [...action.concurrent_with, ...action.unproven_with];
    return new Set(others.flatMap((other) => rows.get(other) ?? []));
  });
  const placed: Place[] = [];
  let first = 0;
  while (first < actions.length) {
    let last = first;
    for (let row = first; row <= last; row++) {
      for (const other of beside[row] ?? []) last = Math.max(last, other);
    }
    const lanes: number[][] = [];
    const group: number[] = [];
    for (let row = first; row <= last; row++) {
      let lane = lanes.findIndex((held) => !held.some((other) => beside[row]?.has(other)));
      if (lane < 0) lane = lanes.push([]) - 1;
      lanes[lane]?.push(row);
      group.push(lane);
    }
    const ends = lanes.map((held): [number, number] => [held[0] ?? first, held.at(-1) ?? last]);
    for (const lane of group) placed.push({ lane, first, last, lanes: ends });
    first = last + 1;
  }
  return placed;
}

// The answers of the query API that the page reads (docs/openapi.json).

export interface List<Row> {
  rows: Row[];
  next: string | null;
}

export interface SessionRow {
  session: string;
  client: string | null;
  first: string;
  last: string;
  entries: number;
}

export interface RequestRow {
  origin: string;
  service: string;
  operation: string;
  start: string;
  duration: number | null;
  error: boolean;
  nodes: number;
  flags: string[];
}

export interface Action {
  ordering: [number, string] | null;
  after: string[];
  server: string;
  epoch: string;
  sequence: number;
  service: string;
  version: string;
  action: string;
  client: string | null;
  origin: string | null;
  received: string;
  duration: number | null;
  outcome: string;
  status: number | null;
  error: string | null;
  request: Record<string, unknown>;
  response: Record<string, unknown>;
  concurrent_with: string[];
  unproven_with: string[];
  unseen: string[];
  flags: string[];
  attributes: Record<string, string>;
}

export interface Timeline {
  session: string;
  client: string | null;
  entries: Action[];
}

export interface Call {
  id: string;
  service: string | null;
  operation: string | null;
  host: string | null;
  depth: number;
  parent: string | null;
  children: string[];
  evidence: "observed" | "one-sided" | "inferred" | "ambiguous";
  inferred_from: string | null;
  levels_lost: number;
  candidates: string[];
  start: string | null;
  start_raw: string | null;
  skew_bound: number | null;
  duration: number | null;
  error: string | null;
  work: number | null;
  latency_in: number | null;
  attributes: Record<string, unknown> | null;
  status?: number;
  outcome: string;
  deliveries?: Part[];
  actions?: Part[];
  flags?: string[];
}

// An entry of a call: one of several deliveries, or an action inside the service.
export interface Part {
  entry: string;
  service: string;
  host: string;
  operation: string;
  duration: number | null;
  outcome: string;
  error: string | null;
}

export interface Tree {
  origin: string;
  complete: boolean;
  nodes: Call[];
  links: { node: string; origin: string; interaction: string }[];
  flags: string[];
  warnings: string[];
}

// What an analysis has counted.
export interface Counted {
  requests: number;
  from: string | null;
  to: string | null;
  complete: boolean;
}

export interface PathStep {
  service: string | null;
  operation: string | null;
}

export interface PathRow extends PathStep {
  path: PathStep[];
  remainder: boolean;
  of: number;
  share: number | null;
  calls_per_request: number | null;
  errors: number;
  inferred: number;
  latency: { p50: number | null; p99: number | null };
  examples: string[];
}

export interface Totals {
  requests: number;
  calls: number;
  errors: number;
  work: number;
  request_bytes: number;
  response_bytes: number;
}

// What one consumer took of one service.
export interface Line extends Totals {
  consumer: string;
  service: string | null;
  calls_min: number;
  calls_max: number | null;
  trees: string;
}

export interface ChargedRow extends Totals {
  origin: string;
  start: string;
}

export interface ServiceRow {
  service: string;
  operations: string[];
}
